"""`guard check`: one text at the terminal."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from guard.cli import policies_option, quiet_service
from guard.content import Content, Rail
from guard.verdict import Action, Verdict

if TYPE_CHECKING:
    from guard.moderator import Moderator
    from guard.policy import Policy

__all__ = ["command"]


@click.command("check")
@click.argument("text", required=False)
@click.option("--policy", "name", default=None, help="Policy to decide under [GUARD_DEFAULT_POLICY; default].")
@policies_option
@click.option("--rail", type=click.Choice([rail.value for rail in Rail]), default="input", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as the native API answers it.")
@click.option(
    "--fail-on",
    type=click.Choice([action.word for action in Action if action > Action.ALLOW]),
    help="Exit with 1 when the action is at least this.",
)
def command(
    text: str | None, name: str | None, policies: Path | None, rail: str, as_json: bool, fail_on: str | None
) -> None:
    """Check one TEXT (standard input when TEXT is absent or `-`).

    Exit codes: 0 a verdict was given, 1 it was as hard as --fail-on, 2 it could not be given.
    """
    if text is None or text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    # An argument that is not UTF-8 arrives with surrogates in it.
    text = os.fsencode(text).decode("utf-8", "replace")
    if not text.strip():
        raise click.UsageError("the text is empty: give one as an argument or on standard input")

    service, policy = quiet_service(policies, name)
    content = Content.of(text, rail=Rail(rail))
    verdict = asyncio.run(_verdict(service.moderator, content, policy))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(verdict), indent=2).decode())
    else:
        _show(verdict, policy.name)
    if fail_on is not None and Action.of(verdict.action) >= Action.of(fail_on):
        sys.exit(1)


async def _verdict(moderator: "Moderator", content: Content, policy: "Policy") -> Verdict:
    try:
        return (await moderator.moderate([content], policy)).verdicts[0]
    finally:
        await moderator.close()


_COLOURS = {"allow": "green", "flag": "yellow", "redact": "cyan", "review": "magenta", "block": "red"}


def _show(verdict: Verdict, policy: str) -> None:
    """The verdict as a table, violated categories first, then by score."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("category", "score", "threshold", "action", "source", box=None, pad_edge=False, header_style="bold")
    ranked = sorted(verdict.categories.items(), key=lambda item: (-Action.of(item[1].action), -item[1].score))
    for name, category in ranked:
        style = _COLOURS[category.action] if category.violated else "dim"
        table.add_row(
            name,
            f"{category.score:.3f}",
            f"{category.threshold:.2f}",
            category.action if category.violated else "",
            category.source,
            style=style,
        )
    headline = Text(verdict.action.upper(), style=f"bold {_COLOURS[verdict.action]}")
    console.print(headline.append(f" under policy {policy}", style="not bold default"))
    console.print(table)
    for label, value in (
        ("redacted", verdict.redacted),
        ("normalised", ", ".join(verdict.normalised)),
        ("windows", str(verdict.windows) if verdict.windows > 1 else ""),
        ("reasons", "; ".join(verdict.reasons)),
    ):
        if value:
            console.print(Text(f"{label}: ", style="bold").append(value, style="not bold"))
