"""Long text in pieces: its sentences, and overlapping windows over its tokens."""

import re

__all__ = ["sentences", "windows"]

_BREAK = re.compile(r"(?P<stop>[.!?…]+)[\"'”’»)\]]*|[。！？｡]+[」』”’）]*|[\r\n\u2028\u2029]+")
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof rev fr sr jr st gen col lt sgt capt hon gov sen rep pres mt ave blvd vs cf e.g i.e eg ie
    approx
    no vol fig figs eq sec ch pp ed eds al inc ltd corp co dept est jan feb mar apr jun jul aug sep sept
    oct nov dec hr bzw z.b d.h u.a ca nr bspw usw
    """.split()  # noqa: SIM905
)
_ALWAYS_CONTINUE = frozenset(
    "mr mrs ms dr prof rev st gen col lt sgt capt e.g i.e vs cf z.b d.h fig bzw".split()  # noqa: SIM905
)
_LONGEST_ABBREVIATION = 8


def sentences(text: str) -> list[tuple[int, int]]:
    """Sentence and line spans: in order, never overlapping, never empty, without outer white space.

    ``sentences("Dr. Smith paid 3.5. Why?") == [(0, 19), (20, 24)]``. Everything but white space
    is in some span. One pass; each break looks at most a few characters to either side.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _BREAK.finditer(text):
        end = match.end()
        if match["stop"] and not _ends_a_sentence(text, match):
            continue
        _append(spans, text, start, end)
        start = end
    _append(spans, text, start, len(text))
    return spans


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    bare = piece.strip()
    if bare:
        start += len(piece) - len(piece.lstrip())
        spans.append((start, start + len(bare)))


def _ends_a_sentence(text: str, match: re.Match[str]) -> bool:
    end = match.end()
    if end == len(text):
        return True
    if not text[end].isspace():
        return False
    if match["stop"] != ".":
        return not text[end + 1 : end + 2].islower() or match["stop"][0] in "!?"
    head = text[max(0, match.start() - _LONGEST_ABBREVIATION - 1) : match.start()].split()
    word = head[-1].lstrip("(\"'“‘[").lower() if head and not text[match.start() - 1].isspace() else ""
    following = text[end + 1 : end + 2]
    if word in _ALWAYS_CONTINUE or (len(word) == 1 and word.isalpha() and word != "i" and head[-1].isupper()):
        return False
    if word in _ABBREVIATIONS and (following.islower() or following.isdigit()):
        return False
    return not following.islower()


def windows(count: int, *, size: int, overlap: int) -> list[tuple[int, int]]:
    """Windows ``[start, end)`` over `count` tokens, each full and overlapping its neighbour by `overlap`.

    ``windows(10, size=4, overlap=1) == [(0, 4), (3, 7), (6, 10)]``; the last is shifted back to be
    full, so it may overlap by more. One window where everything fits, ``[(0, 0)]`` for nothing.
    Raises ValueError unless ``0 <= overlap < size``.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be from 0 to size - 1 ({size - 1}), not {overlap}")
    if count <= size:
        return [(0, max(count, 0))]
    starts = range(0, count - size, size - overlap)
    return [(start, start + size) for start in starts] + [(count - size, count)]
