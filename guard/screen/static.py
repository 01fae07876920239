"""The static tier: word vectors and a few sums that say, for a tenth of its cost, that the encoder would find nothing.

It was distilled from the encoder and knows one answer: that every category stays below a low ceiling. It never says how
harmful a text is; whatever it is not sure of goes to the encoder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import msgspec
import numpy as np
import numpy.typing as npt

from guard.errors import ModelError
from guard.policy.compiled import FAINT

__all__ = ["StaticSettings", "StaticTier"]

Floats = npt.NDArray[np.float32]


class StaticSettings(msgspec.Struct, frozen=True):
    """`static` of `model.json`.

    Attributes:
        ceiling: what the tier promises of a text that it settles: the encoder would score no category this high.
        bound: the highest logit at which it settles; chosen on held-back texts.
        scores: for each category the mean of the encoder's scores over held-back texts that the tier settles.
        roles: the order of the roles' vectors; `unknown` is one of them.
        max_characters: longer texts are left to the encoder, unread.
        max_tokens: and so are texts of more tokens.
        multiplier: a pair of tokens a, b has row `(a * multiplier + b) % rows` of the table of pairs.
    """

    ceiling: float
    bound: float
    scores: Mapping[str, float]
    roles: tuple[str, ...]
    max_characters: int
    max_tokens: int
    multiplier: int


class StaticTier:
    """Knows plain texts. Safe to call from several threads.

    A text's tokens and its pairs of neighbouring tokens each have a vector; their means and maxima, the length and the
    role go through two small matrices. A token that was hardly seen when the tier was distilled has a scale of 0.

    Raises:
        ModelError: the file is missing, damaged, or does not suit the settings.
    """

    def __init__(self, path: Path, settings: StaticSettings) -> None:
        try:
            with np.load(path) as kept:
                arrays = {name: kept[name] for name in kept.files}
            self._words, self._words_scale = arrays["words"], arrays["words_scale"]
            self._pairs, self._pairs_scale = arrays["pairs"], arrays["pairs_scale"]
            self._inner, self._inner_bias = arrays["inner"], arrays["inner_bias"]
            self._outer, self._outer_bias = arrays["outer"], arrays["outer_bias"]
            self._roles = dict(zip(settings.roles, arrays["roles"], strict=True))
            self._unknown_role = self._roles["unknown"]
            self._no_pair = np.zeros(2 * self._pairs.shape[1], dtype=np.float32)
            self.settings = settings
            self._forward(np.array([0, 0]), "unknown")
        except (OSError, EOFError, KeyError, IndexError, ValueError, BadZipFile) as exc:
            raise ModelError(f"{path} cannot be read ({exc}); reinstall the package") from exc
        if settings.ceiling > FAINT:
            raise ModelError(f"{path}: its ceiling is {settings.ceiling}; the cache's keys allow at most {FAINT}")

    def settles(self, ids: Sequence[int], role: str) -> bool:
        """Whether a text, given by its token ids, surely stays below the ceiling in every category."""
        logit = self.logit(ids, role)
        return logit is not None and logit <= self.settings.bound

    def logit(self, ids: Sequence[int], role: str) -> float | None:
        """The logit that some category reaches the ceiling; None for a text that is empty, too long, or has a token
        that the tier does not know."""
        if not 0 < len(ids) <= self.settings.max_tokens:
            return None
        tokens = np.array(ids)
        if int(tokens.max()) >= len(self._words_scale) or not self._words_scale[tokens].all():
            return None
        return self._forward(tokens, role)

    def _forward(self, tokens: npt.NDArray[np.int64], role: str) -> float:
        words = self._words[tokens] * self._words_scale[tokens]
        parts = [words.mean(0), words.max(0)]
        if len(tokens) > 1:
            rows = (tokens[:-1] * self.settings.multiplier + tokens[1:]) % len(self._pairs)
            pairs = self._pairs[rows] * self._pairs_scale[rows]
            parts += [pairs.mean(0), pairs.max(0)]
        else:
            parts.append(self._no_pair)
        parts += [self._roles.get(role, self._unknown_role), np.array([np.log(len(tokens)) / 3], dtype=np.float32)]
        hidden = np.maximum(self._inner @ np.concatenate(parts) + self._inner_bias, 0.0)
        found: Floats = self._outer @ hidden + self._outer_bias
        return float(found.max())
