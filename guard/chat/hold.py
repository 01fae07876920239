"""When the text of a stream may leave.

A *lane* is one growing text of one choice: its content, its reasoning, the arguments of a tool call. Text leaves

- once everything up to the end of its sentence has passed a check that found nothing to doubt;
- in the middle of such a sentence between words, once it has been held back as long as the policy allows; the last few
  words wait for those that follow, so that a phrase is seen whole before its beginning leaves; an answer's first words
  sooner, where they are as good as certainly harmless;
- when more is held back than the policy allows, whatever it is, so long as nothing is blocked.

Every check reads all that has not left and some of what has, so a phrase across a border is seen whole.
"""

import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from guard.policy.schema import Streaming
from guard.text import sentences

__all__ = ["Edit", "Lane", "Window"]

OVERLAP = 320
"""Characters that have left already and are read again in a check."""
MOST_READ = 8_000
"""New characters that one check reads at most."""
FIRST = 0.1
"""Share of the hold-back after which an answer's first words may leave: whoever waits for an answer waits for them."""
STEADY = 0.3
"""Share of the hold-back that lies between two checks once an answer has begun: sentences come often in lists and in
code, and while there is something to read nobody sees how old the next sentence is."""
SUSPICION = 0.4
"""Share of the score at which a category blocks, from which on the middle of a sentence is not let go."""
CALM = 0.04
"""The same share, below which an answer's first words need not be held for long. The beginnings of harmless sentences
lie below it, those of most harmful ones above from their fourth word on."""
KEPT_WORDS = 4
"""Words at the end of a text, the unfinished one included, that wait for the next ones."""


class Edit(NamedTuple):
    """Characters `start` to `end` leave as `replace` makes of them."""

    start: int
    end: int
    replace: Callable[[str], str]


class Window(NamedTuple):
    """What one check reads: the text and where it stands in its lane."""

    start: int
    end: int
    text: str


class Lane:
    """One growing text and how much of it may leave. Times are seconds of any steady clock.

    Attributes:
        text: all that came.
        checked: characters that have passed a check.
        allowed: characters that may leave.
        sent: characters that the client has been sent, as it has them.
    """

    def __init__(self, streaming: Streaming) -> None:
        self.text = ""
        self.checked = 0
        self.allowed = 0
        self.sent = 0
        self._start = 0
        self._mode = streaming.mode
        self._most = streaming.hold_back_characters
        self._longest = streaming.hold_back_ms / 1e3
        self._first = FIRST * self._longest
        self._patience = self._longest if self._mode == "through" else self._first
        self._arrivals: deque[tuple[int, float]] = deque()
        self._edits: list[Edit] = []
        self._suspicion = 0.0

    def add(self, text: str, now: float) -> None:
        """More text."""
        self.text += text
        if self._mode != "buffer":
            self._arrivals.append((len(self.text), now))
        if self._mode == "through":
            self.allowed = len(self.text)

    @property
    def unchecked(self) -> int:
        """Characters that no check has read."""
        return len(self.text) - self.checked

    @property
    def vetted(self) -> int:
        """How many of the client's characters have passed a check."""
        return self.checked if self._mode == "through" else self.sent

    def due(self) -> float | None:
        """When a check is due, or held text that passed one may leave; None where only more text or the end changes
        anything."""
        if self._mode == "buffer" or not self.text:
            return None
        if not self.unchecked:
            return self._ripe_at() if self._mode == "hold" and self.allowed < self.checked else None
        since = self._arrived(self.checked)
        if self.unchecked >= max(1, self._most // 2):
            return since
        if self._mode == "through":
            return since + self._patience
        soonest = since + self._between
        if not self._clear or self._sentence(len(self.text)) > self.allowed:
            return soonest
        return max(self._arrived(self.allowed) + self._patience, soonest)

    @property
    def _clear(self) -> bool:
        return self._suspicion < SUSPICION

    @property
    def _between(self) -> float:
        """Seconds between the first unread character and its check, at least."""
        return STEADY * self._longest if self.allowed else self._first

    def changes(self, planned: float | None, now: float) -> bool:
        """Whether what has just come may make something due before the time that was planned for."""
        if self._mode == "buffer":
            return False
        soon = self._longest if self._mode == "through" else self._between
        return planned is None or planned > now + soon or self.unchecked >= self._most // 2

    def window(self) -> Window:
        """What the next check reads. It begins with a sentence where one begins near, else with a word.

        And where the last one began, for as long as that is near enough: a judge goes on with what it has read.
        """
        read = self.checked if self._mode == "buffer" else min(self.checked, self.allowed)
        earliest = max(0, read - 2 * OVERLAP)
        if self._start < earliest:
            self._start = self._beginning(earliest, read - OVERLAP)
        end = min(len(self.text), self.checked + MOST_READ)
        return Window(self._start, end, self.text[self._start : end])

    def passed(self, upto: int, edits: Sequence[Edit], *, suspicion: float, over: bool, now: float) -> None:
        """A check of the text up to `upto` found nothing to block; what has not left leaves with `edits`.

        `suspicion`: the greatest score as a share of that at which its category blocks. `over`: nothing comes after the
        text as it was checked.
        """
        self.checked = max(self.checked, upto)
        for edit in edits:
            self._edit(edit)
        self._suspicion = suspicion
        if self._mode == "hold" and not over:
            self._let_go(upto, now)
        elif over:
            self.allowed = upto
        done = self.checked if self._mode == "through" else self.allowed
        while self._arrivals and self._arrivals[0][0] <= done:
            self._arrivals.popleft()

    def ripened(self, now: float) -> None:
        """Lets go of what has passed its check and has waited long enough."""
        self._let_go(self.checked, now)

    def leaving(self, start: int, end: int) -> str:
        """What the client gets for these characters: an edit leaves with its first one."""
        parts, done = [], start
        for edit in self._edits:
            if edit.end <= start or edit.start >= end:
                continue
            if edit.start >= start:
                parts += [self.text[done : edit.start], edit.replace(self.text[edit.start : edit.end])]
            done = min(edit.end, end)
        return "".join([*parts, self.text[done:end]])

    def _beginning(self, earliest: int, latest: int) -> int:
        """The last sentence that begins between the two places, else the last word."""
        begins = [earliest + start for start, _ in sentences(self.text[earliest : latest + OVERLAP])]
        # The first one may have begun before.
        begins = [place for place in begins[1:] if place <= latest]
        start = begins[-1] if begins else latest
        while start > earliest and not _between_words(self.text, start):
            start -= 1
        return start

    def _let_go(self, upto: int, now: float) -> None:
        allowed = self._target(upto, now)
        if allowed > self.allowed:
            self.allowed = allowed
            # Later words may wait longer: nobody sees how old a word is while others come.
            self._patience = self._longest

    def _target(self, upto: int, now: float) -> int:
        """How much of what has passed up to `upto` may leave at `now`."""
        allowed = max(self.allowed, self._sentence(upto)) if self._clear else self.allowed
        patience = self._patience if self._suspicion < CALM else self._longest
        if self._clear and not self._more_is_due(upto, now) and now >= self._arrived(allowed) + patience:
            word = self._word(upto)
            # The last words wait for what follows, unless nothing follows for so long.
            stalled = now >= self._arrived(upto - 1) + self._longest
            allowed = max(allowed, word if stalled else self._without_last_words(word))
        if upto - allowed > self._most:
            allowed = max(allowed, self._word(upto - self._most), upto - 2 * self._most)
        # What is replaced leaves as a whole.
        return min([allowed, *[edit.start for edit in self._edits if edit.start < allowed < edit.end]])

    def _more_is_due(self, upto: int, now: float) -> bool:
        """Whether what came after `upto` is to be read at once: a sentence is not cut where its end may have come."""
        rest = len(self.text) - upto
        return rest > 0 and (rest >= self._most // 2 or now >= self._arrived(upto) + self._first)

    def _edit(self, edit: Edit) -> None:
        """Of edits that overlap the longest stays; what has left cannot be changed, the rest can."""
        if edit.start < self.allowed:
            edit = edit._replace(start=self.allowed)
        if edit.start >= edit.end:
            return
        overlapping = [known for known in self._edits if known.start < edit.end and edit.start < known.end]
        if all(known.end - known.start < edit.end - edit.start for known in overlapping):
            kept = [known for known in self._edits if known not in overlapping]
            self._edits = sorted([*kept, edit], key=lambda known: known.start)

    def _arrived(self, place: int) -> float:
        """When the character at `place` came."""
        for end, when in self._arrivals:
            if end > place:
                return when
        return self._arrivals[-1][1] if self._arrivals else 0.0

    def _ripe_at(self) -> float | None:
        """When more of what has passed may leave; None where nothing would."""
        first, last = self._arrived(self.allowed), self._arrived(self.checked - 1)
        times = (first + self._patience, first + self._longest, last + self._longest)
        return next((when for when in times if self._target(self.checked, when) > self.allowed), None)

    def _without_last_words(self, place: int) -> int:
        for _ in range(KEPT_WORDS - 1):
            if place <= self.allowed:
                break
            place = self._word(place - 1)
        return place

    def _sentence(self, upto: int) -> int:
        """Where the last sentence begins, which may go on."""
        spans = sentences(self.text[self.allowed : upto])
        place = self.allowed + spans[-1][0] if len(spans) > 1 else self.allowed
        while place > self.allowed and _within_a_character(self.text, place):
            place -= 1
        return place

    def _word(self, upto: int) -> int:
        """The last place up to `upto` between two words; what may leave already where there is none."""
        place = min(upto, len(self.text) - 1)
        while place > self.allowed and not _between_words(self.text, place):
            place -= 1
        return max(place, self.allowed)


def _between_words(text: str, place: int) -> bool:
    """Whether a word begins at `place`: after a space, and anywhere between characters that are words themselves.

    Groups of digits are one word: a phone or card number is known by all of them.
    """
    before, after = text[place - 1], text[place]
    if _within_a_character(text, place):
        return False
    if before.isspace():
        return not after.isspace() and not (
            _of_a_number(after) and _of_a_number(text[max(0, place - 8) : place].rstrip()[-1:])
        )
    return all(unicodedata.east_asian_width(c) == "W" and c.isalpha() for c in (before, after))


def _within_a_character(text: str, place: int) -> bool:
    """Whether what stands at `place` belongs to the character before it: an accent, a part of an emoji."""
    after = text[place]
    return unicodedata.combining(after) > 0 or after in "\u200d\ufe0f" or text[place - 1] == "\u200d"


def _of_a_number(character: str) -> bool:
    return character.isdigit() or (character != "" and character in "+-()/.")
