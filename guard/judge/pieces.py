"""Long text in pieces that surely fit, for judges whose tokenizer is elsewhere."""

__all__ = ["pieces_of", "prose_tokens", "tokens_at_most"]

_ASCII_CHARACTERS = 2.5
"""Characters of plain text that make a token, at the least: English has four, code and numbers fewer."""
_OTHER_TOKENS = 1.5
"""Tokens of a character beyond ASCII, at the most but for rare scripts, which fall back to bytes."""
_PROSE_CHARACTERS = 3.5
"""The same for English sentences: the shipped policies have 4.0 in Mistral's vocabularies."""
_OVERLAP = 0.1


def tokens_at_most(text: str) -> int:
    """More tokens than the text has under any of the usual vocabularies."""
    return _tokens(text, _ASCII_CHARACTERS)


def prose_tokens(text: str) -> int:
    """About as many tokens as sentences have, and rather more."""
    return _tokens(text, _PROSE_CHARACTERS)


def _tokens(text: str, characters: float) -> int:
    other = sum(not character.isascii() for character in text)
    return int((len(text) - other) / characters + other * _OTHER_TOKENS) + 1


def pieces_of(text: str, *, most: int) -> list[str]:
    """The text, or overlapping pieces of at most `most` tokens, cut between words where there are any.

    Every character is in a piece, and a tenth of each piece stands in the one before it.
    """
    if tokens_at_most(text) <= most:
        return [text]
    pieces = []
    start = 0
    while True:
        end = _fitting(text, start, most)
        pieces.append(text[start:end])
        if end == len(text):
            return pieces
        start = _after_a_space(text, max(start + 1, end - int((end - start) * _OVERLAP)), end)


def _fitting(text: str, start: int, most: int) -> int:
    """The end of the longest piece from `start` that fits, after a space if there is one in its last tenth."""
    left = float(most - 1)
    end = start
    while end < len(text):
        left -= 1 / _ASCII_CHARACTERS if text[end].isascii() else _OTHER_TOKENS
        if left < 0:
            break
        end += 1
    end = max(end, start + 1)
    if end == len(text):
        return end
    space = text.rfind(" ", end - max(1, (end - start) // 10), end)
    return space + 1 if space > start else end


def _after_a_space(text: str, start: int, end: int) -> int:
    space = text.find(" ", start, end)
    return space + 1 if space >= 0 else start
