"""Typed questions about a text, and their answers: what a judge is asked, and what it says.

A question has a fixed set of options; an answer has the probability of each. Nothing is generated and nothing is
parsed: the probabilities are those of the options' labels as the model's next token.
"""

from collections.abc import Sequence
from math import fsum

import msgspec

__all__ = ["Answer", "Choice", "Option", "Predicate", "Question", "Scale"]


class Option(msgspec.Struct, frozen=True):
    """One possible answer: how it is named, and what it means where the name does not say it."""

    name: str
    description: str = ""


class Predicate(msgspec.Struct, frozen=True, tag="predicate"):
    """Is this statement true of the text? Options: yes, no."""

    instructions: str

    @property
    def options(self) -> tuple[Option, ...]:
        """Yes first."""
        return (Option("Yes"), Option("No"))


class Choice(msgspec.Struct, frozen=True, tag="choice"):
    """Which of these is it?"""

    instructions: str
    options: tuple[Option, ...]


class Scale(msgspec.Struct, frozen=True, tag="score"):
    """How much? Levels from the least to the most."""

    instructions: str
    options: tuple[Option, ...]


Question = Predicate | Choice | Scale


class Answer(msgspec.Struct, frozen=True):
    """The answer to one question.

    Attributes:
        probabilities: of each option, in the question's order; they add up to 1.
        mass: the probability that the model's next token is any of the labels. Where it is low, the model wanted to
            say something else, and the probabilities mean little.
        error: how far each probability may be off because the server told only its most likely tokens; 0: exact.
        prompt: the ids of the tokens that the model read, where they were asked for and are known.
        labels: the token id of each option's label, likewise.
    """

    probabilities: tuple[float, ...]
    mass: float = 1.0
    error: float = 0.0
    prompt: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()

    @property
    def best(self) -> int:
        """The most probable option; the first of equals."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of the best option among all that the model might have said."""
        return self.probabilities[self.best] * self.mass

    @property
    def expected(self) -> float:
        """The expected level of a scale, from 0."""
        return fsum(level * value for level, value in enumerate(self.probabilities))

    @classmethod
    def of_weights(cls, weights: Sequence[float], **more: object) -> "Answer":
        """The answer where the labels' probabilities among all tokens are `weights`.

        Raises:
            ValueError: no label has any probability, or one is not a number.
        """
        mass = fsum(weights)
        if not mass > 0.0:
            raise ValueError("the model gives none of the labels any probability")
        return cls(tuple([weight / mass for weight in weights]), min(mass, 1.0), **more)  # type: ignore[arg-type]
