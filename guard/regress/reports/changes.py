"""What changed in policies, at a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from guard.policy.changes import Change

__all__ = ["WORDS", "show_changes"]

WORDS = 12
"""Words of a list that are shown; JSON has all."""


def show_changes(found: Sequence[Change], console: Console, *, indent: str = "  ", through: Sequence[str] = ()) -> None:
    """One line for each change, and below it what of its text changed. `through` says for each which parent's it is."""
    for number, change in enumerate(found):
        origin = through[number] if through else ""
        line = Text(f"{indent}{change.text}")
        console.print(line.append(f"  (through `{origin}`)", style="dim") if origin else line)
        # A parent's change is shown in full where it was made.
        if origin:
            continue
        if change.prose:
            console.print(_prose(f"{indent}  ", change.prose))
        for sign, words, style in (("+", change.added, "green"), ("-", change.removed, "red")):
            if words:
                more = f", … and {len(words) - WORDS} more" if len(words) > WORDS else ""
                console.print(Text(f"{indent}  {sign} {', '.join(map(repr, words[:WORDS]))}{more}", style=style))


def _prose(indent: str, prose: str) -> Text:
    line = Text(f"{indent}{prose}")
    line.highlight_regex(r"\[-.*?-\]", "red")
    line.highlight_regex(r"\{\+.*?\+\}", "green")
    return line
