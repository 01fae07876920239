"""Guard: self-hosted content moderation and guardrails."""

__all__ = ["__version__"]

__version__ = "0.1.0"
