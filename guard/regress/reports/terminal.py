"""A policy's cases at a terminal: figures, what failed and why, what flipped, which gates were reached."""

import math
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from guard.metrics import Interval
from guard.regress.flips import Flip, Flips
from guard.regress.scores import CategoryScores
from guard.regress.suite import CaseReport, PolicyReport
from guard.verdict import CategoryVerdict

__all__ = ["details", "excerpt", "flip_line", "show"]

EXCERPT = 100
"""Characters of a text that are shown."""
WIDE = 110
"""Columns from which figures are shown with their intervals."""
MOST = 50
"""Failed cases and flips that are shown; the JSON and HTML reports have all."""


def show(report: PolicyReport, console: Console, *, known: bool = False) -> None:
    """Prints one policy's report; `known` also prints the cases that are known to fail."""
    models = ", ".join(f"{kind} {name}" for kind, name in report.models.items() if name is not None)
    console.print(
        Text(report.policy, style="bold").append(f" {report.fingerprint[:12]}  {models}", style="not bold dim")
    )
    if report.categories:
        console.print(_figures(report.categories, intervals=console.width >= WIDE))
    _failures(report, console, known=known)
    if report.flips is not None:
        _flips(report.flips, console)
    for gate in report.gates:
        if not gate.reached:
            console.print(Text(f"gate {gate.name}: asked {gate.asked}, found {gate.found}", style="bold red"))
    console.print(Text(_summary(report), style="green" if report.reached else "red"))
    console.print()


def details(result: CaseReport) -> list[str]:
    """Why a case is not as expected, a line each: what was missed, the scores behind it, and where they come from."""
    lines = [f"{excerpt(result)!r}", *result.missed]
    said = {name for name, truth in result.truths.items() if truth or result.categories[name].violated}
    shown = said | {name for name, found in result.categories.items() if found.violated}
    lines += [_category(name, found) for name, found in result.categories.items() if name in shown]
    if result.reasons:
        lines.append("reasons: " + "; ".join(result.reasons))
    return lines


def excerpt(result: CaseReport) -> str:
    """The beginning of what is judged, on one line."""
    text = " ".join(result.turns[-1][1].split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def flip_line(flip: Flip) -> str:
    """One flip: its actions, and the categories that came or went with their scores."""
    before, after = flip.violated_before, flip.violated_after
    parts = [f"{flip.before} → {flip.after}"]
    parts += [f"-{name} ({score:.2f})" for name, score in before.items() if name not in after]
    parts += [f"+{name} ({score:.2f})" for name, score in after.items() if name not in before]
    return "  ".join(parts)


def _category(name: str, found: CategoryVerdict) -> str:
    spans = ", ".join(f"{span.start}–{span.end}" for span in found.spans)
    violated = f"violated ({found.action})" if found.violated else "not violated"
    where = f", characters {spans}" if spans else ""
    return f"{name}: score {found.score:.3f}, threshold {found.threshold:.2f}, {violated}, from {found.source}{where}"


def _figures(categories: Mapping[str, CategoryScores], *, intervals: bool) -> Table:
    def said(found: Interval) -> str:
        if math.isnan(found.value):
            return "–"
        return found.brief if intervals else f"{found.value:.2f}"

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("category")
    for heading in ("violating", "not", "precision", "recall", "F1", "false positives"):
        table.add_column(heading, justify="right")
    for name, found in categories.items():
        figures = (found.precision, found.recall, found.f1, found.false_positive_rate)
        table.add_row(name, str(found.positives), str(found.negatives), *map(said, figures))
    return table


def _failures(report: PolicyReport, console: Console, *, known: bool) -> None:
    wanted = ("failed", "known failure") if known else ("failed",)
    failed = [result for result in report.results if result.status in wanted]
    for result in failed[:MOST]:
        reason = f"  known: {result.known_failure}" if result.known_failure else ""
        console.print(
            Text(f"✗ {result.id}", style="bold red").append(f"  {result.file}:{result.line}{reason}", style="dim")
        )
        for line in details(result):
            console.print(Text(f"    {line}"))
    if len(failed) > MOST:
        console.print(f"… and {len(failed) - MOST} more: --json and --html have all")
    fixed = [result.id for result in report.results if result.status == "fixed"]
    if fixed:
        console.print(Text(f"marked as known failures, and pass: {', '.join(fixed)}", style="yellow"))


def _flips(flips: Flips, console: Console) -> None:
    styles = {"broken": "red", "mended": "green", "changed": "yellow"}
    for flip in flips.flips[:MOST]:
        console.print(Text(f"{flip.direction:8}", style=styles[flip.direction]).append(f"{flip.id}  {flip_line(flip)}"))
    if len(flips.flips) > MOST:
        console.print(f"… and {len(flips.flips) - MOST} more: --json and --html have all")
    changed = [name for name, is_so in (("policy", flips.policy_changed), ("models", flips.models_changed)) if is_so]
    since = f" ({' and '.join(changed)} changed)" if changed else ""
    cases = [f"{len(found)} {name}" for name, found in _others(flips) if found]
    parts = [
        f"{len(flips.flips)} flips against the baseline{since}: {flips.broken} broken, {flips.mended} mended, "
        f"McNemar p = {flips.p_value:.3g}",
        *cases,
    ]
    console.print("; ".join(parts))


def _others(flips: Flips) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("new", flips.new), ("gone", flips.gone), ("edited", flips.edited))


def _summary(report: PolicyReport) -> str:
    parts = [
        f"{report.cases} cases",
        f"{report.passed} passed",
        f"{report.failed} failed",
        f"{report.known_failures} known to fail",
    ]
    if report.fixed:
        parts.append(f"{report.fixed} fixed")
    if report.degraded:
        parts.append(f"{report.degraded} degraded")
    reached = sum(gate.reached for gate in report.gates)
    parts[-1] += f", in {report.seconds:.1f} s"
    return f"{report.policy}: {', '.join(parts)}; {reached} of {len(report.gates)} gates reached"
