"""What is let go goes back to the machine."""

import ctypes
import subprocess
import sys

import pytest

from guard.memory import give_back

_SCRIPT = """
from guard.memory import give_back


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


before = resident()
held = [bytearray(4_000) for _ in range(25_000)]
# What stays lies between what goes: the C library's own trimming, from the top, finds nothing.
held = held[::1_000]
freed = resident()
give_back()
print(freed - before, resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library cannot")
def test_freed_memory_is_given_back():
    """A hundred megabytes were taken and let go."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    kept, left = map(float, done.stdout.split())
    assert kept > 50
    assert left < 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """musl and macOS have no such function."""
    asked = []

    def library(name):
        asked.append(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", library)
    give_back()
    assert asked == [None]
