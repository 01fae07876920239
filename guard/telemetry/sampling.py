"""Which requests are traced, and under whose trace: by a share, and by W3C's `traceparent` within bounds.

What a client sends is a wish. Its trace is gone on with, and its flag counts; but no more traces a second are recorded
because of flags than the settings allow, and no chance hangs on an id that a client chose (docs/decisions/0008).
"""

import random
import re
import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Came", "Sampling", "came"]

_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)


class Came(NamedTuple):
    """The trace that a request is part of, as its client says: ids in hexadecimal digits, and whether it is recorded
    there."""

    trace_id: str
    span_id: str
    sampled: bool


def came(traceparent: bytes) -> Came | None:
    """What a `traceparent` says; None where it is malformed, as W3C Trace Context (level 1) has it."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    # Later versions may have more at their end; the first has not.
    if more and version == b"00":
        return None
    return Came(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & 1))


class Sampling:
    """Decides request by request, for one event loop.

    Of those that come without a trace, `share` (0 to 1) are recorded. One whose client does not record it is not
    recorded. One whose client does is: up to `asked_per_second`, and a second's worth of them at once; past that the
    share decides as it does for everybody.
    """

    def __init__(
        self,
        share: float,
        asked_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._rate = asked_per_second
        self._clock = clock
        self._chance = chance
        self._room = self._most = max(1.0, asked_per_second) if asked_per_second else 0.0
        self._at = clock()

    def records(self, parent: Came | None) -> bool:
        """Whether a request that is part of this trace, or of none, is recorded."""
        if parent is None:
            return self._chance() < self._share
        return parent.sampled and (self._granted() or self._chance() < self._share)

    def _granted(self) -> bool:
        now = self._clock()
        self._room = min(self._most, self._room + (now - self._at) * self._rate)
        self._at = now
        if self._room < 1.0:
            return False
        self._room -= 1.0
        return True
