"""The static tier: word vectors and a few sums that foresee, in 0.1 ms, what the encoder would say.

It was distilled from the encoder and settles a text only where every score that it foresees stays below what the
policy acts on or doubts, with a margin that was measured (`model.json`, `static`). All else goes to the encoder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import msgspec
import numpy as np
import numpy.typing as npt

from guard.errors import ModelError

__all__ = ["Foreseen", "StaticSettings", "StaticTier"]

Floats = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]
Scaling = tuple[Probabilities, Probabilities]


class StaticSettings(msgspec.Struct, frozen=True):
    """`static` of `model.json`.

    `heads` are the columns of the output; `margin`, in logits, is added to what is foreseen; texts of more than
    `max_tokens` tokens are left to the encoder; a pair of tokens a, b is row `(a * multiplier + b) % pairs`.
    """

    heads: tuple[str, ...]
    margin: float
    max_tokens: int
    pairs: int
    multiplier: int


class Foreseen(NamedTuple):
    """Probabilities [heads]: what the encoder is expected to say, and what it will hardly exceed."""

    scores: Probabilities
    at_most: Probabilities


class StaticTier:
    """Foresees the encoder's scores. Safe to call from several threads.

    A text's tokens and pairs of neighbouring tokens each have a vector; their means, the words' maximum and the
    role go through two small matrices. `scaling` gives for each role the scale and offset [heads] that turn the
    encoder's logits into probabilities; its order is that of the file's roles.

    Raises:
        ModelError: the file is missing or damaged.
    """

    def __init__(self, path: Path, settings: StaticSettings, scaling: Mapping[str, Scaling]) -> None:
        try:
            with np.load(path) as kept:
                arrays = {name: kept[name] for name in kept.files}
            self._words, self._words_scale = arrays["words"], arrays["words_scale"]
            self._pairs, self._pairs_scale = arrays["pairs"], arrays["pairs_scale"]
            self._inner, self._inner_bias = arrays["inner"], arrays["inner_bias"]
            self._outer, self._outer_bias = arrays["outer"], arrays["outer_bias"]
            self._roles = dict(zip(scaling, arrays["roles"], strict=True))
        except (OSError, KeyError, ValueError, BadZipFile) as exc:
            raise ModelError(f"{path} cannot be read ({exc}); reinstall the package") from exc
        self.settings = settings
        self._scaling = scaling

    def foresee(self, ids: Sequence[int], role: str) -> Foreseen | None:
        """The scores of a text given by its token ids; None where it is empty or too long."""
        logits = self.logits(ids, role)
        if logits is None:
            return None
        scale, offset = self._scaling[role if role in self._scaling else "unknown"]
        return Foreseen(_sigmoid(scale * logits + offset), _sigmoid(scale * (logits + self.settings.margin) + offset))

    def logits(self, ids: Sequence[int], role: str) -> Floats | None:
        """What is foreseen before calibration, without the margin; None for a text that is empty or too long."""
        if not 0 < len(ids) <= self.settings.max_tokens:
            return None
        tokens = np.array(ids)
        words = self._words[tokens] * self._words_scale[tokens]
        if len(tokens) > 1:
            rows = (tokens[:-1] * self.settings.multiplier + tokens[1:]) % self.settings.pairs
            pairs = (self._pairs[rows] * self._pairs_scale[rows]).mean(0)
        else:
            pairs = np.zeros(self._pairs.shape[1], dtype=np.float32)
        by = self._roles.get(role)
        seen = np.concatenate([words.mean(0), words.max(0), pairs, self._roles["unknown"] if by is None else by])
        hidden = np.maximum(self._inner @ seen + self._inner_bias, 0.0)
        found: Floats = self._outer @ hidden + self._outer_bias
        return found


def _sigmoid(x: Probabilities) -> Probabilities:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))
