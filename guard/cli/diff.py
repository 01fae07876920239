"""`guard policy diff`: verdict flips between two policies, or between two reports."""

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from guard.cli import policies_option
from guard.cli.rows import BadRow, count_rows, read_rows
from guard.cli.scan import content_of, progress
from guard.content import Rail, Turn
from guard.errors import DatasetError

if TYPE_CHECKING:
    from guard.moderator import Moderator
    from guard.regress.diff import Comparison, Diffed, Text
    from guard.regress.sources import Given

__all__ = ["command"]


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--on",
    default="cases",
    show_default=True,
    metavar="cases|FILE",
    help="Texts: the policies' cases, or a file's rows.",
)
@click.option("--field", default="text", show_default=True, help="Field of a row that holds the text.")
@policies_option
@click.option("--judge", is_flag=True, help="Ask the configured judge too.")
@click.option("--fail-on", type=click.Choice(["broken", "any"]), help="Exit with 1 where a flip is broken, or at any.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON, without texts.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write one HTML page, with texts.")
@click.option("--show-words", is_flag=True, help="Show which words and examples came and went.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    before: str,
    after: str,
    on: str,
    field: str,
    policies: Path | None,
    judge: bool,
    fail_on: str | None,
    as_json: bool,
    html: Path | None,
    show_words: bool,
    quiet: bool,
) -> None:
    """Show whose verdict is another one under B than under A, and why.

    A and B are policies: a name in --policies or a policy's folder, either with @REVISION for how it was in git
    (default@main). Or both are reports of `guard test --json`: nothing is read then, and two models, two
    quantisations, two machines are compared. Texts are the cases of B, and those of A that B has none of; or rows of a
    file, which may say `flagged` (1 or 0). Exit codes: 0, or 1 by --fail-on; 2 it could not be run.
    """
    from guard.regress.sources import is_report

    if html is not None and not html.absolute().parent.is_dir():
        raise DatasetError(f"{html}: there is no folder {html.parent}")
    if is_report(before) != is_report(after):
        raise DatasetError(f"{before} and {after}: a report is compared with a report, and a policy with a policy")
    if is_report(before):
        if on != "cases" or judge:
            raise click.UsageError("reports hold their verdicts: leave --on and --judge out")
        found = _reports(Path(before), Path(after))
    else:
        found = [_policies(before, after, on, field, policies, judge=judge, words=show_words, quiet=quiet)]
    if fail_on == "broken" and not any(diff.labelled for diff, _ in found):
        raise DatasetError("--fail-on broken: no text says what is expected; give `flagged`, or --fail-on any")
    _write(found, as_json=as_json, html=html)
    failed = any(diff.broken if fail_on == "broken" else diff.flips for diff, _ in found)
    sys.exit(1 if fail_on and failed else 0)


def _reports(before: Path, after: Path) -> list["Diffed"]:
    """The policies of two reports side by side; two that hold one policy each are compared whatever their names."""
    from guard.regress.diff import between
    from guard.regress.sources import read_report

    old, new = read_report(before), read_report(after)
    if len(old) == len(new) == 1:
        pairs = list(zip(old.values(), new.values(), strict=True))
    else:
        pairs = [(old[name], new[name]) for name in new if name in old]
        for name in [name for name in (*old, *new) if (name in old) != (name in new)]:
            click.echo(f"policy {name} is in {before if name in old else after} alone, and is left out", err=True)
    if not pairs:
        raise DatasetError(
            f"{before} has {', '.join(old) or 'no policy'} and {after} has {', '.join(new) or 'no policy'}: "
            "they share no policy"
        )
    return [between(*pair, given=(str(before), str(after))) for pair in pairs]


def _policies(
    before: str, after: str, on: str, field: str, policies: Path | None, *, judge: bool, words: bool, quiet: bool
) -> "Diffed":
    from guard.config import settings_from
    from guard.policy.changes import changes, without_words
    from guard.regress.diff import Side
    from guard.regress.sources import policy_of
    from guard.regress.suite import model_names
    from guard.service import offline, pattern_names
    from guard.telemetry import configure_logging

    configure_logging(level="error", form="text")
    settings, patterns = settings_from(policies=policies), pattern_names()
    old, new = [policy_of(one, settings.policies, patterns, cases=on == "cases") for one in (before, after)]
    texts: Iterator[Text | None]
    total: int | None
    if on == "cases":
        cases = _cases(old, new)
        texts, total = iter(cases), len(cases)
    else:
        if not Path(on).is_file():
            raise DatasetError(f"--on {on}: there is no such file; give `cases`, or a file of rows")
        texts, total = _rows(Path(on), field), count_rows(Path(on))
    moderator = offline(settings, [old.policy, new.policy], judge=judge)
    with progress("comparing", total=total, quiet=quiet) as advance:
        found = asyncio.run(_asked(moderator, old, new, texts, advance))
    if not found.texts:
        raise DatasetError(f"--on {on}: of {found.errors + found.degraded} texts none could be read; is --field right?")
    models = model_names(moderator)
    differences = changes(old.policy, new.policy)
    return found.diffed(
        Side(before, old.policy.name, old.policy.fingerprint, models),
        Side(after, new.policy.name, new.policy.fingerprint, models),
        on=on,
        read_once=old.policy.assessment_fingerprint == new.policy.assessment_fingerprint,
        changes=differences if words else tuple(map(without_words, differences)),
    )


async def _asked(
    moderator: "Moderator",
    old: "Given",
    new: "Given",
    texts: Iterator["Text | None"],
    advance: Callable[[], None],
) -> "Comparison":
    from guard.regress.diff import asked

    try:
        return await asked(moderator, old.policy, new.policy, texts, advance=advance)
    finally:
        await moderator.close()


def _cases(old: "Given", new: "Given") -> list["Text"]:
    """B's cases, and those of A whose id B has none of."""
    from guard.regress.diff import Text

    ids = {case.id for case in new.cases}
    cases = [*new.cases, *[case for case in old.cases if case.id not in ids]]
    if not cases:
        raise DatasetError(
            f"neither {old.said} nor {new.said} has cases: write <policy>/cases/*.yaml, or give --on FILE"
        )
    return [Text.of(case) for case in cases]


def _rows(path: Path, field: str) -> Iterator["Text | None"]:
    """The rows of a file; None for one that holds no text."""
    for number, row in zip(itertools.count(1), read_rows(path), strict=False):
        yield None if isinstance(row, BadRow) else _text(row, number, path, field)


def _text(row: dict[str, Any], number: int, path: Path, field: str) -> "Text | None":
    """A row as `guard scan` reads it; or a record of `guard records export`, whose rail and turns are told."""
    from guard.regress.diff import Text
    from guard.regress.evaluate import number_of

    said = row.get("rail")
    content = content_of(row, field, said if isinstance(said, str) and said in set(Rail) else None)
    if isinstance(content, str):
        return None
    if isinstance(row.get("context"), list):
        try:
            content = msgspec.structs.replace(content, context=msgspec.convert(tuple(row["context"]), tuple[Turn, ...]))
        except msgspec.ValidationError:
            return None
    flagged = number_of(row.get("flagged"))
    name = row.get("id")
    id = str(name) if isinstance(name, str | int) and name != "" else f"row {number}"
    return Text(id, f"{path}, row {number}", content, flagged=None if flagged is None else flagged >= 0.5)


def _write(found: Sequence["Diffed"], *, as_json: bool, html: Path | None) -> None:
    from rich.console import Console

    from guard.regress.reports.diff import show_diff
    from guard.regress.reports.page import diff_page

    if html is not None:
        html.write_text(diff_page(found), encoding="utf-8")
    if as_json:
        answer = {"diffs": [diff for diff, _ in found]}
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=1).decode())
        return
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    for diff, _ in found:
        show_diff(diff, console)
        console.print()
