"""Which language a text is in, as far as it matters: whether the encoder was made for it.

fastText's identifier `lid.176.ftz` (Joulin and others, 2016; 0.9 MB, 176 languages), about 20 µs a text.
"""

from collections.abc import Collection
from pathlib import Path

import fasttext

from guard.errors import ModelError

__all__ = ["LanguageIdentifier"]

MODEL = Path(__file__).parent / "lid.176.ftz"
LETTERS = 20
"""Fewer Latin letters than these are too few to tell one of their languages from another."""
SURE = 0.5
"""How sure the identifier must be that a text is in an unsupported language. On English training texts it is
wrongly so for 0.0 to 1.3 % (docs/encoder.md); that costs a remark in the verdict, nothing else."""
READ = 2_000
"""Characters that are looked at."""


class LanguageIdentifier:
    """Tells texts in one of `supported` (ISO 639-1 codes) from others. Safe to call from several threads.

    Raises:
        ModelError: the identifier's file is missing or damaged.
    """

    def __init__(self, supported: Collection[str]) -> None:
        try:
            self._model = fasttext.load_model(str(MODEL))
        except ValueError as exc:
            raise ModelError(f"{MODEL} cannot be read ({exc}); reinstall the package") from exc
        self._supported = frozenset(supported)

    def supports(self, text: str) -> bool:
        """False where most letters are of another script than Latin, or where the text is surely in an
        unsupported language. True in doubt: a few words, a name, code, numbers."""
        read = text[:READ]
        letters = [c for c in read if c.isalpha()]
        # The Latin alphabets end before `ɐ`; full-width and mathematical letters were folded before.
        foreign = sum([c >= "ɐ" for c in letters])
        if foreign > 1 and 2 * foreign >= len(letters):
            return self._language(read)[0] in self._supported
        if len(letters) - foreign < LETTERS:
            return True
        language, probability = self._language(read)
        return language in self._supported or probability < SURE

    def _language(self, text: str) -> tuple[str, float]:
        """The most probable language and its probability."""
        labels, probabilities = self._model.predict(text.encode("utf-8", "replace").decode().replace("\n", " "), k=1)
        return (labels[0].removeprefix("__label__"), float(probabilities[0])) if labels else ("", 0.0)
