"""Policies: the language, the loader, the book of loaded policies, and the decision.

    policy.yaml --document--> tree --validate, extends--> PolicySpec --compiled--> Policy
    calibration.yaml, where there is one, goes into the Policy too
    PolicyBook holds the loaded ones, knows what is tried beside them (rollout), and watches their folder
    decide(policy, assessment) -> Verdict

A policy decides; it never scores. What it needs to know of patterns it is given (`PatternNames`).
"""

from guard.policy.book import BookStatus, PolicyBook
from guard.policy.compiled import ActiveCategory, Policy
from guard.policy.decide import decide, explain
from guard.policy.loader import load_policies
from guard.policy.rollout import Canary, Rollout, load_folder
from guard.policy.schema import PolicySpec
from guard.policy.validate import PatternNames

__all__ = [
    "ActiveCategory",
    "BookStatus",
    "Canary",
    "PatternNames",
    "Policy",
    "PolicyBook",
    "PolicySpec",
    "Rollout",
    "decide",
    "explain",
    "load_folder",
    "load_policies",
]
