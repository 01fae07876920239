"""Label log-probabilities of prompts, with the prefixes that were computed before.

The policy stands first in every prompt, so its keys and values are computed once and kept. The prompts about one text
run as branches of one pass. One pass holds one text: its numbers cannot depend on what else is asked.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from guard.engine.model import NOTHING, KeyValues, Mistral

__all__ = ["Scored", "Scorer"]

CHUNK = 2_048
"""Tokens of a text that run in one pass; longer ones are read in several."""
PREFIXES = 16
"""Prefixes that are kept, those used last."""


class Scored(NamedTuple):
    """The log-probabilities of each branch's labels, and how many tokens of the prompts were there from before."""

    logprobs: list[list[float]]
    cached: int


class Scorer:
    """For one thread."""

    def __init__(self, model: Mistral) -> None:
        self._model = model
        self._kept: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()

    def score(
        self,
        prefix: Sequence[int],
        text: Sequence[int],
        branches: Sequence[Sequence[int]],
        labels: Sequence[Sequence[int]],
    ) -> Scored:
        """The labels' log-probabilities after `prefix + text + branch`, for each branch."""
        before, cached = self._prefix(tuple(prefix))
        whole = len(text) // CHUNK * CHUNK if len(text) > CHUNK else 0
        if whole:
            before = self._model.extend(before, text[:whole], chunk=CHUNK)
        hidden = self._model.hidden(before, text[whole:], branches)
        return Scored(self._model.log_probabilities(hidden, labels), cached)

    def _prefix(self, tokens: tuple[int, ...]) -> tuple[KeyValues, int]:
        known = self._kept.get(tokens)
        if known is not None:
            self._kept.move_to_end(tokens)
            return known, len(tokens)
        made = self._model.extend(NOTHING, tokens, chunk=CHUNK)
        self._kept[tokens] = made
        if len(self._kept) > PREFIXES:
            self._kept.popitem(last=False)
        return made, 0
