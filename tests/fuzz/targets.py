"""What is fuzzed."""

__all__ = ["LOOKED_AT"]

LOOKED_AT = {"normalise": ["guard.text"], "policy": ["guard.policy"], "events": ["guard.chat.sse"]}
"""Targets, and the modules whose branches are counted for each. Nothing else is, which would be slow."""
