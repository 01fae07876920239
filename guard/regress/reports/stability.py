"""How verdicts bear attacks, for a terminal: shares with their intervals, what did not withstand, which gates were
reached."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from guard.regress.perturb import AttackStability, Broken, Kept, StabilityReport

__all__ = ["show_stability"]

MOST = 20
"""Evasions and false alarms that are shown; the JSON report has all."""
FEW = 5
"""Cases from which a category may be called the weakest."""
EXCERPT = 100
"""Characters of a text that are shown."""


def show_stability(
    report: StabilityReport, console: Console, *, by_category: bool = False, broken: bool = False
) -> None:
    """Prints one policy's report; `by_category` also each attack's categories, `broken` what did not withstand."""
    models = ", ".join(f"{kind} {name}" for kind, name in report.models.items() if name is not None)
    console.print(
        Text(report.policy, style="bold").append(f" {report.fingerprint[:12]}  {models}", style="not bold dim")
    )
    console.print(_attacks(report))
    if by_category:
        console.print(_categories(report))
    if broken:
        for one in report.broken[:MOST]:
            _broken(one, console)
        if len(report.broken) > MOST:
            console.print(f"… and {len(report.broken) - MOST} more: --json has all")
    if degraded := sum(found.degraded for found in report.attacks.values()):
        console.print(Text(f"{degraded} verdicts are degraded and in no share", style="bold red"))
    for gate in report.gates:
        if not gate.reached:
            console.print(Text(f"gate {gate.name}: asked {gate.asked}, found {gate.found}", style="bold red"))
    console.print(Text(_summary(report), style="green" if report.reached else "red"))
    console.print()


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right")
    return table


def _attacks(report: StabilityReport) -> Table:
    table = _table("attack", "violating", "withstand", "harmless", "still pass", "weakest category")
    for attack, found in report.attacks.items():
        table.add_row(attack, *_said(found.violating), *_said(found.harmless), _weakest(found))
    return table


def _categories(report: StabilityReport) -> Table:
    table = _table("attack", "category", "violating", "withstand", "harmless", "not raised")
    for attack, found in report.attacks.items():
        for name, category in found.categories.items():
            table.add_row(attack, name, *_said(category.violating), *_said(category.harmless))
    return table


def _said(found: Kept) -> tuple[str, str]:
    return str(found.cases), found.kept.brief


def _weakest(found: AttackStability) -> str:
    """The category whose violating cases withstand least, among those with more than a few."""
    shares = {name: one.violating for name, one in found.categories.items() if one.violating.cases >= FEW}
    if not shares:
        return "–"
    value: Callable[[str], float] = lambda name: shares[name].kept.value  # noqa: E731 (typed)
    name = min(shares, key=value)
    return f"{name} {value(name):.2f} of {shares[name].cases}"


def _broken(one: Broken, console: Console) -> None:
    kind = "evasion" if one.violating else "false alarm"
    console.print(Text(f"✗ {one.id}", style="bold red").append(f"  {kind}  {one.file}:{one.line}", style="dim"))
    text = " ".join(one.turns[-1][1].split())
    shown = text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"
    for line in (repr(shown), *one.missed):
        console.print(Text(f"    {line}"))


def _summary(report: StabilityReport) -> str:
    evasions = sum(one.violating for one in report.broken)
    reached = sum(gate.reached for gate in report.gates)
    return (
        f"{report.policy}: {report.passed} of {report.cases} cases pass as they stand; {report.derived} derived, "
        f"{evasions} evasions, {len(report.broken) - evasions} false alarms, seed {report.seed}, "
        f"in {report.seconds:.1f} s; {reached} of {len(report.gates)} gates reached"
    )
