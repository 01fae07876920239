"""Long text in pieces that surely fit, for judges whose tokenizer is elsewhere."""

import numpy as np
import numpy.typing as npt

__all__ = ["pieces_of", "prose_tokens", "tokens_at_most"]

_LOWER, _UPPER, _SPACE, _OTHER_ASCII = 0.4, 0.8, 0.25, 1.0
"""Tokens of a character of plain text, at the most: English has four lower-case letters to a token, code and random
letters fewer; digits and signs are often tokens by themselves."""
_BYTES = ((0x80, 1.5), (0x800, 3.0), (0x10000, 4.0))
"""The same from a code point on: rare scripts fall back to bytes."""
_PROSE_CHARACTERS = 3.5
"""Characters of a token of English sentences: the shipped policies have 4.0 in Mistral's vocabularies."""
_OVERLAP = 0.1

_ASCII = np.full(128, _OTHER_ASCII)
_ASCII[[ord(c) for c in "abcdefghijklmnopqrstuvwxyz"]] = _LOWER
_ASCII[[ord(c) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = _UPPER
_ASCII[ord(" ")] = _SPACE


def tokens_at_most(text: str) -> int:
    """More tokens than the text has under any of the usual vocabularies."""
    return int(_costs(text).sum()) + 1


def prose_tokens(text: str) -> int:
    """About as many tokens as sentences have, and rather more."""
    other = "".join(character for character in text if not character.isascii())
    return int((len(text) - len(other)) / _PROSE_CHARACTERS + _costs(other).sum()) + 1


def pieces_of(text: str, most: int) -> list[str]:
    """The text, or overlapping pieces of at most `most` tokens, cut between words where there are any.

    Every character is in a piece, and a tenth of each piece stands in the one before it.
    """
    # One for the token that a beginning may cost.
    ends = np.cumsum(_costs(text)) + 1
    if not len(ends) or ends[-1] <= most:
        return [text]
    pieces = []
    start = 0
    while True:
        spent = ends[start - 1] - 1 if start else 0.0
        end = _word_end(text, start, int(np.searchsorted(ends - spent, most, side="right")))
        pieces.append(text[start:end])
        if end == len(text):
            return pieces
        start = _after_a_space(text, max(start + 1, end - int((end - start) * _OVERLAP)), end)


def _costs(text: str) -> npt.NDArray[np.float64]:
    """Each character's tokens, at the most."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    costs: npt.NDArray[np.float64] = _ASCII[np.minimum(codes, 127)]
    for first, cost in _BYTES:
        costs[codes >= first] = cost
    return costs


def _word_end(text: str, start: int, end: int) -> int:
    """`end`, or after the last space in the tenth before it; at least one character."""
    end = max(end, start + 1)
    if end == len(text):
        return end
    space = text.rfind(" ", end - max(1, (end - start) // 10), end)
    return space + 1 if space > start else end


def _after_a_space(text: str, start: int, end: int) -> int:
    space = text.find(" ", start, end)
    return space + 1 if space >= 0 else start
