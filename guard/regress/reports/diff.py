"""Two policies side by side at a terminal: what differs in them, whose verdict is another one, and why. No texts."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from guard.regress.diff import Diff, Part, Parts, Side, TextFlip
from guard.regress.reports.changes import show_changes

__all__ = ["show_diff"]

MOST = 50
"""Flips that are shown; the JSON and HTML reports have all."""
STYLES = {"broken": "red", "harder": "yellow", "milder": "yellow", "changed": "yellow", "mended": "green"}


def show_diff(diff: Diff, console: Console) -> None:
    """Prints one comparison."""
    console.print(Text("before ", style="dim").append_text(_side(diff.before)))
    console.print(Text("after  ", style="dim").append_text(_side(diff.after)))
    if diff.changes:
        console.print(Text(f"{len(diff.changes)} differences between the policies:", style="bold"))
        show_changes(diff.changes, console)
    elif diff.on != "reports":
        console.print("the policies do not differ")
    for flip in diff.flips[:MOST]:
        _flip(flip, console)
    if len(diff.flips) > MOST:
        console.print(f"… and {len(diff.flips) - MOST} more: --json and --html have all")
    if diff.categories:
        console.print(_categories(diff))
    console.print(Text(_summary(diff), style="red" if diff.broken else "green" if not diff.flips else "yellow"))


def _side(side: Side) -> Text:
    models = ", ".join(f"{kind} {name}" for kind, name in side.models.items() if name is not None)
    name = side.policy if side.given == side.policy else f"{side.given} ({side.policy})"
    return Text(name, style="bold").append(f" {side.fingerprint[:12]}  {models}", style="not bold dim")


def _flip(flip: TextFlip, console: Console) -> None:
    expected = f"  expected {flip.expected}" if flip.expected else ""
    line = Text(f"{flip.direction:8}", style=STYLES[flip.direction])
    line.append(f"{flip.id}  {flip.before} → {flip.after}", style="default").append(
        f"  {flip.place}{expected}", style="dim"
    )
    console.print(line)
    width = max(map(len, flip.categories), default=0)
    for name, parts in flip.categories.items():
        console.print(Text(f"        {name:{width}}  {_parts(parts)}"))


def _parts(parts: Parts) -> str:
    return f"{_part(parts.before):38} → {_part(parts.after)}"


def _part(part: Part | None) -> str:
    """A score beside its threshold; a rule acts at none."""
    if part is None:
        return "not checked"
    if part.source in ("terms", "patterns"):
        return f"{part.action} by {part.source}"
    if part.violated:
        return f"{part.score:.3f} ≥ {part.threshold:g} {part.action} ({part.source})"
    # Where only rules decide, the highest score does nothing either.
    below = "<" if part.score < part.threshold else "of"
    return f"{part.score:.3f} {below} {part.threshold:g} {part.action} ({part.source})"


def _categories(diff: Diff) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("category")
    for heading in ("before", "after", "came", "went", "harder", "milder"):
        table.add_column(heading, justify="right")
    for name, one in diff.categories.items():
        table.add_row(name, *map(str, (one.before, one.after, one.came, one.went, one.harder, one.milder)))
    return table


def _summary(diff: Diff) -> str:
    counts = ", ".join(f"{count} {direction}" for direction, count in diff.directions.items())
    said = f"{len(diff.flips)} flips in {diff.texts} texts" + (f": {counts}" if counts else "")
    if diff.p_value is not None:
        said += f"; McNemar p = {diff.p_value:.3g}"
        if diff.labelled < diff.texts:
            said += f" over the {diff.labelled} texts that say what is expected"
    parts = [
        said,
        *[f"{len(names)} {word}" for word, names in _others(diff) if names],
    ]
    if diff.degraded:
        parts.append(f"{diff.degraded} left out, for a stage failed")
    if diff.errors:
        parts.append(f"{diff.errors} rows cannot be read")
    if diff.read_once:
        parts.append("what scores depend on is the same: each text was read once and decided twice")
    return "; ".join(parts)


def _others(diff: Diff) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("new", diff.new), ("gone", diff.gone), ("edited", diff.edited))
