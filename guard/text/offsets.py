"""Where a rewritten text came from: the offset map of one pass, and the pass itself."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence

__all__ = ["Edit", "Offsets", "back", "rewrite"]

Edit = tuple[int, int, int]
"""Source start, source end, and how many characters stand there now (0: removed)."""


class Offsets:
    """The stretches that one pass rewrote; everything between them was copied.

    Worked example: ``"a\\u200bﬁ!"`` became ``"afi!"`` by two edits, ``(1, 2, 0)`` (a zero-width
    space, removed) and ``(2, 3, 2)`` (one ligature, now two letters)::

        out     a   f   i   !          out_starts 1 1    src_starts 1 2
                0   1   2   3          out_ends   1 3    src_ends   2 3
        back(0, 1) == (0, 1)           a copied character
        back(1, 2) == (2, 3)           the f is half of the ligature: its whole source is given
        back(0, 2) == (0, 3)           what was removed strictly inside counts
        back(1, 1) == (2, 2)           an empty span stays empty
    """

    __slots__ = ("_out_ends", "_out_starts", "_src_ends", "_src_starts")

    def __init__(self, edits: Sequence[Edit]) -> None:
        """`edits` in the order of the source, not overlapping."""
        self._out_starts, self._out_ends = array("q"), array("q")
        self._src_starts, self._src_ends = array("q"), array("q")
        shift = 0
        for start, end, length in edits:
            self._src_starts.append(start)
            self._src_ends.append(end)
            self._out_starts.append(start + shift)
            shift += length - (end - start)
            self._out_ends.append(end + shift)

    def back(self, start: int, end: int) -> tuple[int, int]:
        """The smallest source span that produced the characters ``start`` to ``end`` (exclusive)."""
        source_start = self._character(start)[0]
        return (source_start, self._character(end - 1)[1] if start < end else source_start)

    def forward(self, position: int) -> int:
        """Where a source position stands now; one inside a rewritten stretch gives the stretch's start."""
        edit = bisect_right(self._src_starts, position) - 1
        if edit < 0:
            return position
        if position < self._src_ends[edit]:
            return self._out_starts[edit]
        return self._out_ends[edit] + position - self._src_ends[edit]

    def _character(self, index: int) -> tuple[int, int]:
        edit = bisect_right(self._out_starts, index) - 1
        if edit < 0:
            return (index, index + 1)
        past = index - self._out_ends[edit]
        if past < 0:
            return (self._src_starts[edit], self._src_ends[edit])
        source = self._src_ends[edit] + past
        return (source, source + 1)


def back(maps: Sequence[Offsets], start: int, end: int, *, length: int) -> tuple[int, int]:
    """A span of the last pass's text through all `maps`, newest last; clamped to ``[0, length]`` first."""
    start = min(max(start, 0), length)
    end = min(max(end, start), length)
    for offsets in reversed(maps):
        start, end = offsets.back(start, end)
    return (start, end)


def rewrite(
    text: str, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], *, aligned: bool = False
) -> tuple[str, Offsets | None]:
    """`text` with every match replaced, and the map back; None where all positions still hold.

    `aligned` promises that a replacement of the same length stands character for character
    where its match stood; otherwise every character of it maps to the whole match.
    """
    pieces: list[str] = []
    edits: list[Edit] = []
    copied = 0
    for match in pattern.finditer(text):
        found = match[0]
        new = replace(match)
        if new == found:
            continue
        start, end = match.span()
        pieces.append(text[copied:start])
        pieces.append(new)
        copied = end
        if len(new) != len(found) or not (aligned or len(new) == 1):
            edits.append((start, end, len(new)))
    if not pieces:
        return text, None
    pieces.append(text[copied:])
    return "".join(pieces), Offsets(edits) if edits else None
