"""`guard policy changelog`: what changed in each policy over git's history."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from guard.cli import policies_option
from guard.errors import DatasetError

if TYPE_CHECKING:
    from rich.console import Console

    from guard.regress.changelog import Altered, Entry

__all__ = ["command"]


@click.command("changelog")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@policies_option
@click.option("--since", metavar="REV", help="Only commits that are not in this revision: a commit, a branch, a tag.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--show-words", is_flag=True, help="Show which words and examples came and went.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
def command(
    names: tuple[str, ...],
    policies: Path | None,
    since: str | None,
    as_json: bool,
    show_words: bool,
    output: Path | None,
) -> None:
    """Show what changed in the policies NAME (default: all) over git's history, newest first, in words.

    What a policy inherits counts as its own: a parent's change shows in its children, with the parent's name. Changes
    of comments and of layout are left out, and so are those that are not committed.
    """
    from rich.console import Console

    from guard.config import settings_from
    from guard.policy.changes import without_words
    from guard.regress.changelog import History
    from guard.regress.revisions import Repository
    from guard.service import pattern_names

    if output is not None and not output.absolute().parent.is_dir():
        raise DatasetError(f"{output}: there is no folder {output.parent}")
    folder = settings_from(policies=policies).policies
    entries = History(Repository.around(folder), pattern_names()).entries(names, since=since)
    if not show_words:
        replace = msgspec.structs.replace
        entries = [
            replace(
                entry,
                policies=tuple(
                    [replace(one, changes=tuple(map(without_words, one.changes))) for one in entry.policies]
                ),
            )
            for entry in entries
        ]
    if as_json:
        text = msgspec.json.format(msgspec.json.encode({"entries": entries}), indent=1).decode()
        if output is None:
            click.echo(text)
        else:
            output.write_text(text + "\n", encoding="utf-8")
    elif output is None:
        _show(entries, Console(soft_wrap=not sys.stdout.isatty(), highlight=False))
    else:
        with output.open("w", encoding="utf-8") as file:
            _show(entries, Console(file=file, soft_wrap=True, highlight=False, no_color=True))


def _show(entries: Sequence["Entry"], console: "Console") -> None:
    from rich.text import Text

    for entry in entries:
        head = Text(f"{entry.date[:10]} {entry.commit[:12]}", style="bold")
        console.print(head.append(f"  {entry.author}: {entry.subject}", style="not bold"))
        for one in entry.policies:
            _policy(one, entry, console)
        console.print()
    if not entries:
        console.print("no commit changed what a policy means")


def _policy(one: "Altered", entry: "Entry", console: "Console") -> None:
    from rich.text import Text

    from guard.regress.reports.changes import show_changes

    match one.kind:
        case "renamed":
            console.print(Text(f"  {one.policy}: renamed from `{one.before}`"))
        case "unreadable":
            for problem in one.problems:
                console.print(
                    Text(f"  {one.policy}: could not be read at {entry.commit[:12]}: {problem}", style="yellow")
                )
        case "changed":
            console.print(Text(f"  {one.policy}:"))
            show_changes(one.changes, console, indent="    ", through=one.through)
        case _:
            console.print(Text(f"  {one.policy}: {one.kind}"))
