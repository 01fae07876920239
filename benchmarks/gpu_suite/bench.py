"""What a part is given, and the record that it leaves.

A record is written after every case: a run that is killed keeps what it has. A case that fails is recorded with its
error, and one that there was no time for with that; the others go on.
"""

import gc
import json
import os
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_suite.clock import Clock
from benchmarks.gpu_suite.machine import clocks, machine
from benchmarks.gpu_suite.sizes import FULL, SMOKE, Sizes

__all__ = ["Bench"]

_MESSAGE = 600
"""Characters of an error that are kept."""


class Bench:
    """One part's surroundings.

    Attributes:
        device, dtype: where, and in what, the engine computes.
        sizes: how large everything is.
        clock: takes the times.
        fa3: FlashAttention-3's library, where one was given.
    """

    def __init__(self, number: int, name: str, path: Path, *, seconds: float, smoke: bool, fa3: str | None) -> None:
        self.device = torch.device("cpu" if smoke else "cuda")
        self.dtype = torch.float32 if smoke else torch.bfloat16
        self.sizes: Sizes = SMOKE if smoke else FULL
        self.clock = Clock(self.device, limit=0.02 if smoke else 0.6, repeats=3 if smoke else 30)
        self.fa3 = fa3
        self._path = path
        self._begun = time.monotonic()
        self._end = self._begun + seconds
        self._cases: list[dict[str, Any]] = []
        self._document: dict[str, Any] = {
            "benchmark": f"gpu_suite {number} {name}",
            "command": "python -m benchmarks.gpu_suite" + (" --cpu-smoke" if smoke else ""),
            "part": number,
            "smoke": smoke,
            "state": "cut short",
            "budget_s": seconds,
            "machine": machine(self.device),
            "clocks_before": clocks(self.device),
            "cases": self._cases,
        }
        self._write()

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def case(
        self, name: str, call: Callable[..., Mapping[str, Any]], *given: Any, **shape: Any
    ) -> dict[str, Any] | None:
        """Runs `call(*given)` and records the figures that it returns, beside `shape`; None where there are none."""
        entry: dict[str, Any] = {"case": name, "shape": shape}
        self._cases.append(entry)
        if self.left <= 0:
            entry["left_out"] = "no time was left"
            self._write()
            return None
        begun = time.monotonic()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        failed = False
        try:
            entry["figures"] = dict(call(*given))
            self.clock.settle()
        except Exception as error:  # noqa: BLE001 (whatever it is, the other cases go on)
            entry.pop("figures", None)
            entry["error"] = _told(error)
            entry["at"] = _place(error)
            failed = True
        if failed and self.device.type == "cuda":
            # Out of the handler: there the frames, and what they hold of the device's memory, would still live.
            gc.collect()
            torch.cuda.empty_cache()
        entry["seconds"] = round(time.monotonic() - begun, 3)
        entry["peak_bytes"] = self._peak()
        self._write()
        return entry.get("figures")

    def finish(self, state: str = "done") -> None:
        """The last word."""
        self._document |= {
            "state": state,
            "clocks_after": clocks(self.device),
            "seconds": round(time.monotonic() - self._begun, 1),
        }
        self._write()

    def _peak(self) -> int:
        """Of the device's memory in this case; on a CPU, of the process so far."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._document, indent=1) + "\n")
        os.replace(partial, self._path)


def _told(error: BaseException) -> str:
    """The kind of error, and the beginning of its message."""
    return f"{type(error).__name__}: {str(error).strip()}"[:_MESSAGE]


def _place(error: BaseException) -> str:
    """Where it was raised: file and line."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
