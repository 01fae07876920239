"""Categories of a policy's own, scored by example: how near is a text to those that violate, and to all others?

It is what a category has where there is no judge. A text lies where the encoder's embedding puts it; its nearest
violating example is weighed against its nearest allowed one and against ordinary sentences. That knows subjects and
wordings, not intent: it finds more of the same, and little that is said quite differently.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from guard.policy import Policy

__all__ = ["Nearest", "Vector", "ordinary"]

Vector = npt.NDArray[np.float32]

EDGE = 0.2
"""How much nearer to a violating example than to any other a text must be for a score of one half."""
SLOPE = 20.0
"""How fast the score climbs beyond that. Both were chosen on intents of public assistants: `training.nearest`."""


def ordinary() -> tuple[str, ...]:
    """Ordinary sentences of all kinds: what most texts are like that a category does not mean."""
    return tuple(files("guard.screen").joinpath("ordinary.txt").read_text(encoding="utf-8").splitlines())


class Nearest:
    """The examples of one policy's own categories, as vectors. Safe to call from several threads.

    `scored` are the categories that it knows: those that the encoder does not score and that have violating examples.
    The vectors are made when the first text is scored: few policies need any.
    """

    def __init__(self, policy: Policy, *, heads: tuple[str, ...], embed: Callable[[str], Vector]) -> None:
        self._examples = {
            name: category.examples
            for name, category in policy.categories.items()
            if name not in heads and category.examples.violates
        }
        self.scored = tuple(self._examples)
        self._embed = embed
        self._lock = threading.Lock()
        self._vectors: _Vectors | None = None

    def scores(self, text: Vector) -> dict[str, float]:
        """The score of each category for a text's vector."""
        if not self.scored:
            return {}
        vectors = self._made()
        here = _directions(text[None] - vectors.centre)[0]
        found = {}
        for name in self.scored:
            nearer = float((vectors.violating[name] @ here).max() - (vectors.others[name] @ here).max())
            found[name] = float(1.0 / (1.0 + np.exp(-SLOPE * (nearer - EDGE))))
        return found

    def _made(self) -> "_Vectors":
        with self._lock:
            if self._vectors is None:
                plain = self._all(ordinary())
                # What all texts have in common says nothing about any.
                centre: Vector = plain.mean(0)
                violating = {name: self._all(found.violates) for name, found in self._examples.items()}
                others = {
                    name: np.concatenate([plain, self._all(found.allowed)]) if found.allowed else plain
                    for name, found in self._examples.items()
                }
                self._vectors = _Vectors(
                    centre,
                    {name: _directions(found - centre) for name, found in violating.items()},
                    {name: _directions(found - centre) for name, found in others.items()},
                )
            return self._vectors

    def _all(self, texts: Sequence[str]) -> Vector:
        return np.stack([self._embed(text) for text in texts])


class _Vectors(NamedTuple):
    """Of each category, the directions in which its violating and all other examples lie from the centre."""

    centre: Vector
    violating: Mapping[str, Vector]
    others: Mapping[str, Vector]


def _directions(vectors: Vector) -> Vector:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), dtype=np.float32)
