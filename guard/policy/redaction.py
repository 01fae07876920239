"""Redaction: characters of a text replaced by placeholders or marks, and put back."""

import re
from collections.abc import Sequence
from typing import Literal

from guard.verdict import Cut

__all__ = ["Redactor", "disjoint"]

Style = Literal["placeholder", "mask"]


class Redactor:
    """Replaces cuts by `[LABEL_1]`, or by `•` for each character.

    It numbers the distinct originals of each label from 1, in the order in which it sees them: the same characters have
    the same placeholder in every text that one redactor is given. `taken` are texts whose own words must not be
    mistaken for placeholders.
    """

    def __init__(self, style: Style, taken: Sequence[str] = ()) -> None:
        self._style = style
        self._taken = "\n".join(taken)
        self._placeholders: dict[tuple[str, str], str] = {}
        self._originals: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def apply(self, text: str, cuts: Sequence[Cut]) -> str:
        """The text without its cuts, which are in order and do not overlap."""
        parts, done = [], 0
        for cut in cuts:
            parts += [text[done : cut.start], self.replacement(text[cut.start : cut.end], cut.label)]
            done = cut.end
        return "".join([*parts, text[done:]])

    def replacement(self, original: str, label: str) -> str:
        """What stands for these characters."""
        if self._style == "mask":
            return "•" * len(original)
        key = (label, original)
        if key not in self._placeholders:
            placeholder = self._next(label)
            self._placeholders[key] = placeholder
            self._originals[placeholder] = original
        return self._placeholders[key]

    def restored(self, text: str) -> str:
        """The text with the originals in place of its placeholders."""
        pattern = self.placeholders
        return text if pattern is None else pattern.sub(lambda found: self._originals[found[0]], text)

    @property
    def given(self) -> list[str]:
        """Every placeholder that was given out."""
        return list(self._originals)

    @property
    def placeholders(self) -> re.Pattern[str] | None:
        """Finds every placeholder that was given out; None where none was."""
        return re.compile("|".join(map(re.escape, self._originals))) if self._originals else None

    def _next(self, label: str) -> str:
        while True:
            self._counts[label] = self._counts.get(label, 0) + 1
            placeholder = f"[{label}_{self._counts[label]}]"
            if placeholder not in self._taken:
                return placeholder


def disjoint(cuts: Sequence[Cut]) -> list[Cut]:
    """The cuts in order, overlapping ones joined under the label of the longest."""
    joined: list[Cut] = []
    for cut in sorted(cuts, key=lambda c: (c.start, -c.end)):
        if joined and cut.start < joined[-1].end:
            last = joined[-1]
            label = last.label if last.end - last.start >= cut.end - cut.start else cut.label
            joined[-1] = Cut(last.start, max(last.end, cut.end), label)
        else:
            joined.append(cut)
    return joined
