"""A breaker: spares a sick server, and its callers the wait for it."""

import random
from collections.abc import Callable

__all__ = ["Breaker"]

_FAILURES_TO_OPEN = 3
_OPEN_SECONDS = 0.5
_MAX_OPEN_SECONDS = 30.0
_OPEN_JITTER = 0.25


class Breaker:
    """Lets operations through until three in a row have failed, then none for a growing time.

    After that time it is half open: one operation goes through, and its outcome decides. The time
    starts at half a second, doubles up to thirty, and is spread by a quarter either way.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the last operations have failed; also true when half open."""
        return self._openings > 0

    def refuses(self) -> bool:
        """Whether an operation may not start now."""
        return self.open and (self._probing or self._clock() < self._until)

    def started(self) -> None:
        """Notes that an operation starts; asked only when it is not refused."""
        self._probing = self.open

    def succeeded(self) -> None:
        """Notes that an operation went well, be it one from before the opening: closed."""
        self._failures = self._openings = 0
        self._probing = False

    def failed(self) -> None:
        """Notes a failure; one that comes in late, from before the opening, lengthens nothing."""
        self._failures += 1
        if self._probing or (not self.open and self._failures >= _FAILURES_TO_OPEN):
            seconds = min(_MAX_OPEN_SECONDS, _OPEN_SECONDS * 2.0**self._openings)
            self._until = self._clock() + seconds * random.uniform(1 - _OPEN_JITTER, 1 + _OPEN_JITTER)
            self._openings = min(self._openings + 1, 30)
            self._probing = False

    def abandoned(self) -> None:
        """Notes that an operation was given up by its caller: that says nothing, and another may probe."""
        self._probing = False
