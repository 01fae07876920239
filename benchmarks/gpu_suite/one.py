"""Runs parts in this process: what `benchmarks.gpu_suite` starts. Its arguments are JSON on the command line."""

import importlib
import json
import sys
from pathlib import Path

import torch

from benchmarks.gpu_suite.bench import Bench
from benchmarks.gpu_suite.parts import NO_GPU, PARTS, file_name

__all__ = ["main"]


def main() -> int:
    """{"parts": [numbers], "seconds": {number: budget}, "out": folder, "smoke": bool, "fa3": path or null}."""
    asked = json.loads(sys.argv[1])
    if not asked["smoke"] and not torch.cuda.is_available():
        print("no GPU here; --cpu-smoke tries the suite out on a CPU", file=sys.stderr)
        return NO_GPU
    if asked["smoke"]:
        # Everything is so small that threads would only wait for one another.
        torch.set_num_threads(1)
    for number in asked["parts"]:
        name = PARTS[number].name
        bench = Bench(
            number,
            name,
            Path(asked["out"]) / file_name(number),
            seconds=asked["seconds"][str(number)],
            smoke=asked["smoke"],
            fa3=asked["fa3"],
        )
        try:
            run = importlib.import_module(f"benchmarks.gpu_suite.{name}").run
        except ImportError as error:
            bench.finish(f"{type(error).__name__}: {error}")
            continue
        run(bench)
        bench.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
