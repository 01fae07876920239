"""What is known, as a short table: figures beside what the arithmetic allows and what is aimed at.

Ceilings are for the copy rate and the matrix rates in `ASSUMED`, and move with those that the same run measured.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_suite.parts import PARTS, file_name
from benchmarks.gpu_suite.sizes import FULL, Sizes

__all__ = ["ASSUMED", "UNKNOWN", "Records", "Row", "errors", "markdown", "records", "rows", "text"]

UNKNOWN = "not yet measured"
ASSUMED = {"copy": 4.3e12, "bf16": 790e12, "fp8": 1_250e12}
"""Bytes and operations a second of an H200, as measured, measured and expected."""

Records = Mapping[int, Mapping[str, Any]]
"""Parts' records by number."""


class Goal(NamedTuple):
    """What a figure can be at most, by which of the rates it is bound, and what is aimed at."""

    ceiling: float | None = None
    bound: str | None = None
    target: str = ""
    least: bool = False
    """Whether less is better: then the ceiling is a floor."""


class Row(NamedTuple):
    """A figure of one case, or its ratio to that of another case."""

    label: str
    part: int
    case: str
    figure: str
    shown: Callable[[float], str]
    goal: Goal = Goal()
    over: str | None = None


def _plain(x: float) -> str:
    return f"{x:,.0f}"


def _tera(unit: str) -> Callable[[float], str]:
    return lambda x: f"{x / 1e12:,.2f} T{unit}/s" if x < 1e13 else f"{x / 1e12:,.0f} T{unit}/s"


def _times(x: float) -> str:
    return f"{x:.1f} ×"


def _ms(x: float) -> str:
    return f"{x:.1f} ms"


def _share(x: float) -> str:
    return f"{x:.0%}"


def _of_one(x: float) -> str:
    """A ratio of two times as the share that is saved."""
    return f"{1 - x:.0%}"


def _signed(x: float) -> str:
    return f"{x:.2f} ×"


GOALS = {
    "copy": Goal(target="4.3 TB/s seen"),
    "bf16 product": Goal(target="790 TFLOP/s seen"),
    "fp8 rowwise product": Goal(target="1,250 TFLOP/s assumed"),
    "prefill 4096": Goal(56_600, "bf16", "≥ 45,000"),
    "prefill 4096 fp8": Goal(89_600, "fp8", "≥ 65,000"),
    "verdicts at 128": Goal(428, "bf16", "≥ 340"),
    "verdicts at 128 fp8": Goal(665, "fp8", "≥ 500"),
    "verdicts at 128 without the policy kept": Goal(76, "bf16"),
    "kept at 128": Goal(target="5.6 × by tokens"),
    "kept at 32": Goal(target="19.5 × by tokens"),
    "kept at 512": Goal(target="2.1 × by tokens"),
    "one request at 128 in a graph": Goal(3.3, "copy", "≤ 8 ms", True),
    "branches": Goal(target="4.4 × by tokens"),
    "decode 1": Goal(300, "copy", "≥ 85 % of it"),
    "decode 64": Goal(12_100, "copy", "≥ 85 % of it"),
    "decode 256": Goal(22_700, "copy", "≥ 85 % of it"),
    "window 8192": Goal(target="4 % by arithmetic"),
    "window 16384": Goal(target="16 % by arithmetic"),
    "window 32768": Goal(target="34 % by arithmetic"),
    "prefill 8192": Goal(target="25 % of the pairs"),
    "prefill 16384": Goal(target="56 % of the pairs"),
    "prefill 32768": Goal(target="77 % of the pairs"),
    "prefill 4096 full: ours": Goal(target="350–450 TFLOP/s"),
    "prefill 4096 full: fa2": Goal(target="290–335 TFLOP/s published (H100)"),
    "prefill 4096 full: fa3": Goal(target="541–639 TFLOP/s published (H100)"),
    "decode 64 at 4096: ours": Goal(ASSUMED["copy"], "copy"),
    "sequences at 32768 rolling": Goal(target="239 by arithmetic"),
    "sequences at 32768 full": Goal(target="29 by arithmetic"),
    "answer checked, kept": Goal(target="1,968 by arithmetic"),
    "answer checked, policy": Goal(target="24,040 by arithmetic"),
    "answer checked, nothing": Goal(target="43,240 by arithmetic"),
}


def rows(sizes: Sizes) -> list[Row]:
    """The table's rows, in their order; cases are named by their sizes."""
    goals = GOALS if sizes == FULL else {}
    first = sizes.texts[0]
    step, window, far = sizes.step[0], sizes.network.window, sizes.far

    def row(label: str, part: int, case: str, figure: str, shown: Callable[[float], str], **rest: Any) -> Row:
        return Row(label, part, case, figure, shown, goals.get(rest.pop("goal", case), Goal()), **rest)

    made = [
        row("copy, bytes read and written", 2, "copy", "bytes_per_s", _tera("B")),
        row("matrix product, bf16", 2, "bf16 product", "flop_per_s", _tera("FLOP")),
        row("matrix product, fp8 rowwise", 2, "fp8 rowwise product", "flop_per_s", _tera("FLOP")),
        row("packed prefill, bf16, tokens/s", 4, f"prefill {step}", "tokens_per_s", _plain),
        row("packed prefill, fp8, tokens/s", 4, f"prefill {step} fp8", "tokens_per_s", _plain),
    ]
    verdicts = f"verdicts at {first}"
    made += [
        row(f"verdicts/s, {first} tokens, bf16", 4, verdicts, "verdicts_per_s", _plain),
        row(f"verdicts/s, {first} tokens, fp8", 4, f"{verdicts} fp8", "verdicts_per_s", _plain),
        row("the same, policy not kept, bf16", 4, f"{verdicts} without the policy kept", "verdicts_per_s", _plain),
    ]
    for length in sorted(sizes.texts):
        case = f"verdicts at {length}"
        made.append(
            row(
                f"gain of the kept policy at {length:,} tokens",
                4,
                case,
                "verdicts_per_s",
                _times,
                goal=f"kept at {length}",
                over=f"{case} without the policy kept",
            )
        )
    alone = f"one request at {first}"
    made += [
        row(f"one request alone, {first} tokens, CUDA graph", 4, f"{alone} in a graph", "ms", _ms),
        row("the same in fp8", 4, f"{alone} fp8 in a graph", "ms", _ms),
        row("the same in bf16 without a graph", 4, alone, "ms", _ms),
        row("12 questions: requests over branches", 4, "branches", "ratio", _times),
        row(
            "verdicts/s: ours over transformers' forward",
            4,
            verdicts,
            "verdicts_per_s",
            _times,
            goal="",
            over=f"transformers at {first}",
        ),
        row(
            "verdicts/s: ours over transformers' generate",
            4,
            verdicts,
            "verdicts_per_s",
            _times,
            goal="",
            over=f"transformers' generate at {first}",
        ),
    ]
    for batch in sorted(sizes.decoded):
        made.append(row(f"decode, batch {batch}, tokens/s, CUDA graph", 5, f"decode {batch}", "tokens_per_s", _plain))
    made.append(
        row(
            f"decode at {far:,} tokens: rolling buffers over full",
            5,
            f"decode at {far} rolling",
            "tokens_per_s",
            _times,
            over=f"decode at {far} full",
        )
    )
    for length in sorted(sizes.long):
        made.append(row(f"time that the window saves at {length:,} tokens", 4, f"window {length}", "saved", _share))
    for length in sorted(n for n in sizes.prefill if n > window):
        made.append(
            row(
                f"the same in attention alone at {length:,}",
                3,
                f"prefill {length} windowed: ours",
                "seconds",
                _of_one,
                goal=f"prefill {length}",
                over=f"prefill {length} full: ours",
            )
        )
    at = sizes.prefill[0]
    kind = "windowed" if at > window else "full"
    for name, what in (
        ("ours", "ours"),
        ("fa2", "FlashAttention-2"),
        ("flex", "FlexAttention"),
        ("fa3", "FlashAttention-3"),
    ):
        made.append(
            row(f"attention, {at:,} tokens, {what}", 3, f"prefill {at} {kind}: {name}", "flop_per_s", _tera("FLOP"))
        )
    suffix = f"suffixes of {sizes.suffixes[0]}"
    keys = f"decode {sizes.batches[0]} at {window}"
    made += [
        row(
            f"packed suffixes of {sizes.suffixes[0]}: time of FlashAttention-2 over ours",
            3,
            f"{suffix}: fa2",
            "seconds",
            _signed,
            over=f"{suffix}: ours",
        ),
        row(
            f"decode attention, batch {sizes.batches[0]}, {window:,} keys",
            3,
            f"{keys}: ours",
            "bytes_per_s",
            _tera("B"),
        ),
        row(f"sequences at {far:,} tokens, rolling buffers", 7, f"sequences at {far} rolling", "sequences", _plain),
        row(f"sequences at {far:,} tokens, full", 7, f"sequences at {far} full", "sequences", _plain),
    ]
    for way, what in (("kept", "answer kept"), ("policy", "policy kept"), ("nothing", "nothing kept")):
        made.append(
            row(
                f"tokens computed to check a streamed answer, {what}",
                6,
                f"answer checked, {way}",
                "tokens_computed",
                _plain,
            )
        )
    return made


def records(folder: Path) -> Records:
    """Those that are there."""
    found = {}
    for number in PARTS:
        path = folder / file_name(number)
        if path.exists():
            found[number] = json.loads(path.read_text())
    return found


def markdown(known: Records, sizes: Sizes) -> str:
    """The table, and under it how right everything was."""
    rates = _rates(known, sizes)
    lines = ["| figure | measured | ceiling | target |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _cells(known, sizes, rates)]
    return "\n".join([*lines, "", _checks(known)]) + "\n"


def text(known: Records, sizes: Sizes) -> str:
    """The same for a terminal."""
    cells = [("figure", "measured", "ceiling", "target"), *_cells(known, sizes, _rates(known, sizes))]
    widths = [max(len(row[n]) for row in cells) for n in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, _checks(known)]) + "\n"


def errors(known: Records) -> list[str]:
    """A line for each case that has no figures, and for each part that did not come to its end."""
    lines = []
    for number, record in known.items():
        name = f"{number} {PARTS[number].name}"
        if record["state"] != "done":
            lines.append(f"{name}: {record['state']}")
        for case in record["cases"]:
            why = case.get("error") or case.get("left_out")
            if why:
                lines.append(f"{name}, {case['case']}: {why.splitlines()[0][:120]}")
            elif case.get("figures", {}).get("agrees") is False:
                lines.append(f"{name}, {case['case']}: computes something else than ours")
    return lines


def _checks(known: Records) -> str:
    judged = [case for case in known.get(1, {"cases": []})["cases"] if "figures" in case]
    if not judged:
        return f"Correctness: {UNKNOWN}."
    right = sum(case["figures"]["right"] for case in judged)
    wrong = sorted({case["case"] for case in judged if not case["figures"]["right"]})
    return f"Correctness: {right} of {len(known[1]['cases'])} checks right." + (
        f" Wrong: {', '.join(wrong)}." if wrong else ""
    )


def _cells(known: Records, sizes: Sizes, rates: Mapping[str, float]) -> Iterable[tuple[str, str, str, str]]:
    for row in rows(sizes):
        goal, value = row.goal, _value(known, row)
        ceiling = goal.ceiling
        if ceiling is not None and goal.bound is not None:
            pace = rates[goal.bound] / ASSUMED[goal.bound]
            ceiling = ceiling / pace if goal.least else ceiling * pace
        measured = _said(known, row) if value is None else row.shown(value)
        if value is not None and ceiling is not None:
            measured += f" ({ceiling / value if goal.least else value / ceiling:.0%})"
        yield row.label, measured, "" if ceiling is None else row.shown(ceiling), goal.target


def _case(known: Records, part: int, name: str) -> Mapping[str, Any] | None:
    cases = known.get(part, {"cases": []})["cases"]
    return next((case for case in cases if case["case"] == name), None)


def _value(known: Records, row: Row) -> float | None:
    found = []
    for name in (row.case, row.over):
        if name is not None:
            case = _case(known, row.part, name)
            figure = (case or {}).get("figures", {}).get(row.figure)
            if figure is None:
                return None
            found.append(float(figure))
    return found[0] if len(found) == 1 else found[0] / found[1]


def _said(known: Records, row: Row) -> str:
    """Why there is no figure."""
    for name in (row.case, row.over):
        case = _case(known, row.part, name) if name is not None else None
        if case is not None and "error" in case:
            return f"error: {case['error'].split(':')[0]}"
    return UNKNOWN


def _rates(known: Records, sizes: Sizes) -> dict[str, float]:
    """Those measured, or those assumed."""
    found = {}
    for name, case, figure in (
        ("copy", "copy", "bytes_per_s"),
        ("bf16", "bf16 product", "flop_per_s"),
        ("fp8", "fp8 rowwise product", "flop_per_s"),
    ):
        figures = (_case(known, 2, case) or {}).get("figures", {})
        found[name] = float(figures.get(figure, ASSUMED[name]))
    return found
