"""`python -m benchmarks.gpu_suite`: measures on this machine's GPU, leaves a record for each part, and prints a table.

Each part runs in a process of its own: one that dies, hangs or takes the GPU's context with it leaves the others alone.
What a part does not use of its time goes to those after it. `--cpu-smoke` runs the same code at toy size on a CPU, all
parts in one process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu_suite.parts import NO_GPU, ORDER, PARTS, file_name
from benchmarks.gpu_suite.sizes import FULL, SMOKE
from benchmarks.gpu_suite.table import errors, markdown, records, text

__all__ = ["RESULTS", "main"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "gpu_suite"
_SECONDS = 540.0
_START, _GRACE = 10.0, 15.0
"""Seconds that a part's process may need to begin, and to end its last case."""


def main() -> int:
    """0 where every part came to its end and all that was checked is right."""
    asked = _parser().parse_args()
    sizes = SMOKE if asked.cpu_smoke else FULL
    if asked.table:
        print(markdown(records(asked.out or RESULTS), sizes), end="")
        return 0
    out: Path = asked.out or (ROOT / "runs" / "gpu_suite-smoke" if asked.cpu_smoke else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    chosen = [number for number in ORDER if number in asked.parts]
    for number in chosen:
        (out / file_name(number)).unlink(missing_ok=True)
    end = time.monotonic() + asked.seconds
    groups = [chosen] if asked.cpu_smoke else [[number] for number in chosen]
    for place, group in enumerate(groups):
        after = [number for later in groups[place:] for number in later]
        status = _run(group, _budgets(group, after, end), out, smoke=asked.cpu_smoke, fa3=asked.fa3)
        if status == NO_GPU:
            return 2
        for number in group:
            print(_ended(out / file_name(number), number), flush=True)
    known = records(out)
    (out / "table.md").write_text(markdown(known, sizes))
    if asked.cpu_smoke:
        print("toy sizes on a CPU: that the suite runs is all that these figures say")
    for line in errors(known):
        print(line)
    print(f"\n{text(known, sizes)}", end="")
    right = all(case["figures"]["right"] for case in known.get(1, {"cases": []})["cases"] if "figures" in case)
    return 0 if right and all(known[number]["state"] == "done" for number in chosen) else 1


def _budgets(group: Sequence[int], after: Sequence[int], end: float) -> dict[int, float]:
    """Of the time that is left each part has its share; those after it, and the beginnings of processes, count too."""
    processes = 1 + len(after) - len(group)
    left = max(0.0, end - time.monotonic() - _START * processes)
    shares = sum(PARTS[number].share for number in after)
    return {number: left * PARTS[number].share / shares for number in group}


def _run(group: Sequence[int], budgets: dict[int, float], out: Path, *, smoke: bool, fa3: str | None) -> int:
    """One process; what it could not say itself is added to its parts' records."""
    said = json.dumps({"parts": list(group), "seconds": budgets, "out": str(out.resolve()), "smoke": smoke, "fa3": fa3})
    paths = [str(ROOT), str(ROOT / "kernels"), *filter(None, [os.environ.get("PYTHONPATH")])]
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu_suite.one", said],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        status = process.wait(sum(budgets.values()) + _START + _GRACE)
        how = f"ended with status {status}"
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
        how = f"killed after {time.monotonic() - begun:.0f} s"
    except BaseException:
        process.kill()
        raise
    if status not in (0, NO_GPU):
        for number in group:
            _amend(out / file_name(number), number, how)
    return status


def _amend(path: Path, number: int, how: str) -> None:
    record = json.loads(path.read_text()) if path.exists() else {"part": number, "cases": []}
    if record.get("state") != "done":
        path.write_text(json.dumps(record | {"state": how}, indent=1) + "\n")


def _ended(path: Path, number: int) -> str:
    """A line for a part that is over: should the whole run be cut short, no table follows."""
    record = json.loads(path.read_text())
    found = sum("figures" in case for case in record["cases"])
    seconds = record.get("seconds", 0.0)
    return f"{number} {PARTS[number].name}: {found} of {len(record['cases'])} cases, {seconds:.0f} s, {record['state']}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_suite", description="Measures what needs a GPU, in under ten minutes."
    )
    parser.add_argument("--cpu-smoke", action="store_true", help="toy sizes on a CPU: whether the suite runs at all")
    parser.add_argument("--parts", type=_numbers, default=tuple(PARTS), metavar="1,3", help=_parts())
    parser.add_argument("--out", type=Path, metavar="DIR", help="where records go; benchmarks/results/gpu_suite")
    parser.add_argument("--seconds", type=float, default=_SECONDS, metavar="N", help="for all parts together")
    parser.add_argument("--fa3", metavar="FILE", help="vLLM's _vllm_fa3_C library, to be measured beside ours")
    parser.add_argument("--table", action="store_true", help="measure nothing: the records that are there, as Markdown")
    return parser


def _numbers(said: str) -> tuple[int, ...]:
    numbers = tuple([int(one) for one in said.split(",") if one.strip().isdigit()])
    if not numbers or set(numbers) - set(PARTS):
        raise argparse.ArgumentTypeError(f"parts are {', '.join(map(str, PARTS))}")
    return numbers


def _parts() -> str:
    return "; ".join(f"{number}: {part.what}" for number, part in PARTS.items())


if __name__ == "__main__":
    sys.exit(main())
