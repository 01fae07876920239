"""Times. On a GPU by its own events, so that the host's lead does not count; on a CPU by the clock on the wall."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

__all__ = ["Clock", "Timed"]


class Timed(NamedTuple):
    """Seconds: the median of the repeats, and how far the middle half of them lies apart."""

    seconds: float
    spread: float
    repeats: int

    def figures(self) -> dict[str, float]:
        """For a record."""
        return {"seconds": self.seconds, "spread": self.spread, "repeats": self.repeats}


class Clock:
    """Takes times on one device. `limit` is how many seconds the repeats of one figure may take together."""

    def __init__(self, device: torch.device, *, limit: float, repeats: int) -> None:
        self._device = device
        self._limit = limit
        self._repeats = repeats
        size = 0
        if device.type == "cuda":
            # Twice the L2, so that nothing of a repeat's data is left in it for the next one.
            size = 2 * getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 1 << 27)
        self._flushed = torch.empty(size, dtype=torch.int8, device=device)

    def device_time(self, call: Callable[[], object], *, warm_up: int = 3) -> Timed:
        """Of one call on the device, its data not in the L2.

        The flush also gives the host time to put the call on the stream before the device gets there.
        """
        if self._device.type != "cuda":
            return self.wall_time(call, warm_up=min(warm_up, 1))
        for _ in range(warm_up):
            call()
        self.settle()
        taken: list[float] = []
        end = time.perf_counter() + self._limit
        while len(taken) < self._repeats and (len(taken) < 3 or time.perf_counter() < end):
            pairs = []
            for _ in range(min(5, self._repeats - len(taken))):
                self._flushed.zero_()
                begun, done = _event(), _event()
                begun.record()
                call()
                done.record()
                pairs.append((begun, done))
            self.settle()
            taken += [begun.elapsed_time(done) / 1e3 for begun, done in pairs]
        return _timed(taken)

    def wall_time(self, call: Callable[[], object], *, warm_up: int = 2) -> Timed:
        """From the call to the moment when the device is done: what somebody who waits sees."""
        for _ in range(warm_up):
            call()
        self.settle()
        taken: list[float] = []
        end = time.perf_counter() + self._limit
        while len(taken) < self._repeats and (len(taken) < 3 or time.perf_counter() < end):
            begun = time.perf_counter()
            call()
            self.settle()
            taken.append(time.perf_counter() - begun)
        return _timed(taken)

    def flow_time(self, call: Callable[[], object], *, warm_up: int = 2) -> Timed:
        """Of one call among many that follow each other without a pause: what throughput goes by."""
        one = self.wall_time(call, warm_up=warm_up)
        count = max(3, min(self._repeats, int(self._limit / max(one.seconds, 1e-6))))
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            for _ in range(count):
                call()
            self.settle()
            taken.append((time.perf_counter() - begun) / count)
        return _timed(taken)

    def once(self, call: Callable[[], object]) -> float:
        """Seconds of a call that cannot be repeated."""
        begun = time.perf_counter()
        call()
        self.settle()
        return time.perf_counter() - begun

    def settle(self) -> None:
        """Waits until the device has nothing left to do."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _event() -> Any:
    make: Any = torch.cuda.Event
    return make(enable_timing=True)


def _timed(taken: list[float]) -> Timed:
    quarters = statistics.quantiles(taken, n=4) if len(taken) > 1 else [taken[0]] * 3
    return Timed(statistics.median(taken), quarters[2] - quarters[0], len(taken))
