"""The screen: the cheap first stage that scores every text and settles the clear cases.

    Screen          the contract, on this page
    StandardScreen  rules (terms, patterns) of the policy, then the encoder

This page imports no model runtime.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from guard.content import Content
from guard.policy import Policy
from guard.policy.calibration import Model
from guard.text import Normalised
from guard.verdict import Assessment

__all__ = ["Material", "Screen"]


class Material(msgspec.Struct, frozen=True):
    """A content with its normalised text; the content's context is normalised too."""

    content: Content
    normalised: Normalised


class Screen(Protocol):
    """Scores texts under a policy.

    Assessments come in the order of the texts, with spans in normalised coordinates. An assessment
    depends on its own text, role, context and policy alone: never on neighbours, load or threads.
    """

    @property
    def name(self) -> str:
        """The model's name, as verdicts show it."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever scores may change; part of the cache key."""

    @property
    def model(self) -> Model:
        """The model that gives the scores: it changes with the model alone, not with Guard's version or what stands
        before the model. A calibration is of one model."""

    def prepare(self, policy: Policy) -> None:
        """Compiles what the policy's rules need, ahead of its first text."""

    async def assess(
        self, materials: Sequence[Material], policy: Policy, *, deadline: float | None = None
    ) -> list[Assessment]:
        """One assessment per text. `deadline` is a reading of `time.monotonic`; None is no hurry.

        A text that could not be scored, or not in time, has `failures=("screen",)` and leaves its
        neighbours alone.

        Raises:
            ScreenFailed: no text could be scored.
            Overloaded: too many texts are waiting already.
        """
