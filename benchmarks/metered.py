"""`guard serve` with a meter on its encoder: how often it was asked, and how much CPU time it took for it.

`python -m benchmarks.metered FILE serve …` is `guard serve …`. The meter is around `Encoder.read`, in the process and
in the very calls that are measured: the thread's CPU time, tokeniser, network, calibration and traced sentences
included, waiting for a core or for the interpreter's lock not. Its own cost is a few microseconds a call.

With `free` in the place of FILE the encoder costs nothing: it reads its first text, and says the same of all others. So
the rest of Guard is seen by itself; beside a real encoder, whose weights push everything else out of the caches, the
same work takes several times as long.
"""

import mmap
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from guard.cli import main
from guard.screen.encoder import Encoder, Reading

__all__ = ["Meter", "read_meter"]

_FORM = struct.Struct("=qd")


class Meter(NamedTuple):
    """Calls of the encoder so far, and their CPU time in seconds."""

    calls: int
    seconds: float


def read_meter(file: Path) -> Meter:
    """What the meter has written, once nothing is being asked any more."""
    return Meter(*_FORM.unpack(file.read_bytes()))


def _metered(file: Path) -> None:
    """Puts the meter around the encoder. The file is shared memory, written by whoever has the lock."""
    lock = threading.Lock()
    plain = Encoder.read
    calls, seconds = 0, 0.0
    with file.open("r+b") as opened:
        sink = mmap.mmap(opened.fileno(), _FORM.size)

    def read(self: Encoder, *args: Any, **named: Any) -> Reading:
        nonlocal calls, seconds
        begun = time.thread_time()
        try:
            return plain(self, *args, **named)
        finally:
            taken = time.thread_time() - begun
            with lock:
                calls, seconds = calls + 1, seconds + taken
                _FORM.pack_into(sink, 0, calls, seconds)

    Encoder.read = read  # type: ignore[method-assign]


def _free() -> None:
    """An encoder that says of every text what it has said of its first."""
    plain = Encoder.read
    known: list[Reading] = []

    def read(self: Encoder, *args: Any, **named: Any) -> Reading:
        if not known:
            known.append(plain(self, *args, **named))
        return known[0]

    Encoder.read = read  # type: ignore[method-assign]


if __name__ == "__main__":
    asked = sys.argv.pop(1)
    if asked == "free":
        _free()
    else:
        Path(asked).write_bytes(_FORM.pack(0, 0.0))
        _metered(Path(asked))
    main()
