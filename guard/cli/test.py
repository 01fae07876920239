"""`guard test`: every case of every policy, against its gates and its baseline."""

import asyncio
import fnmatch
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from guard.cli.scan import progress
from guard.errors import DatasetError

if TYPE_CHECKING:
    from guard.moderator import Moderator
    from guard.regress.cases import Case
    from guard.regress.flips import Baseline
    from guard.regress.suite import PolicyReport, PolicySuite

__all__ = ["chosen_by", "command"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("test")
@click.argument("policies", nargs=-1, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--judge", is_flag=True, help="Ask the configured judge too; it has a baseline of its own.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="PATTERN",
    help="Only cases whose id matches (violence-*), or that have a tag (tag:look-alike). Several: any of them.",
)
@click.option("--update-baseline", is_flag=True, help="Remember this run's verdicts as the new baseline.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--junit", type=_FILE, help="Also write JUnit's XML.")
@click.option("--html", type=_FILE, help="Also write one HTML page with curves, flips and every case.")
@click.option("--known", is_flag=True, help="Also show the cases that are known to fail.")
@click.option(
    "--annotations/--no-annotations", default=None, help="Print GitHub's annotations [where GITHUB_ACTIONS is set]."
)
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    policies: tuple[Path, ...],
    judge: bool,
    filters: tuple[str, ...],
    update_baseline: bool,
    as_json: bool,
    junit: Path | None,
    html: Path | None,
    known: bool,
    annotations: bool | None,
    quiet: bool,
) -> None:
    """Run the cases of POLICIES (folders of policies, or policies' own; default: GUARD_POLICIES) against their gates.

    Exit codes: 0 every gate is reached, 1 one is not, 2 it could not be run.
    """
    from guard.config import settings_from
    from guard.regress.suite import load_suites
    from guard.service import offline, pattern_names
    from guard.telemetry import configure_logging

    if filters and update_baseline:
        raise click.UsageError("--update-baseline remembers all cases: leave --filter out")
    for path in filter(None, (junit, html)):
        if not path.absolute().parent.is_dir():
            raise DatasetError(f"{path}: there is no folder {path.parent}")
    configure_logging(level="error", form="text")
    settings = settings_from()
    suites = load_suites(policies or [settings.policies], pattern_names())
    chosen = {suite.folder: [case for case in suite.cases if chosen_by(case, filters)] for suite in suites}
    total = sum(map(len, chosen.values()))
    if not any(suite.cases for suite in suites):
        raise DatasetError(
            f"{_listed(policies or [settings.policies])}: no policy has cases; write <policy>/cases/*.yaml"
        )
    if not total:
        raise DatasetError(f"no case matches {', '.join(filters)}: a filter is a pattern of ids, or `tag:` with a tag")
    moderator = offline(settings, [suite.policy for suite in suites], judge=judge)
    asked = [suite for suite in suites if chosen[suite.folder]]
    with progress("testing", total=total, quiet=quiet) as advance:
        found = asyncio.run(_run(moderator, asked, chosen, advance))
    reports = [report for report, _ in found]
    if update_baseline:
        for suite, (_, memory) in zip(asked, found, strict=True):
            suite.baseline(judge=judge).write_bytes(memory.encoded())
    _write(reports, as_json=as_json, junit=junit, html=html, known=known, annotations=annotations)
    sys.exit(0 if all(report.reached for report in reports) else 1)


async def _run(
    moderator: "Moderator",
    suites: Sequence["PolicySuite"],
    chosen: Mapping[Path, Sequence["Case"]],
    advance: Callable[[], None],
) -> list[tuple["PolicyReport", "Baseline"]]:
    from guard.regress.suite import tested

    try:
        return [
            await tested(moderator, suite, chosen[suite.folder], clock=time.perf_counter, advance=advance)
            for suite in suites
        ]
    finally:
        await moderator.close()


def _write(
    reports: Sequence["PolicyReport"],
    *,
    as_json: bool,
    junit: Path | None,
    html: Path | None,
    known: bool,
    annotations: bool | None,
) -> None:
    from rich.console import Console

    from guard.regress.reports import annotations as github
    from guard.regress.reports.junit import junit as as_junit
    from guard.regress.reports.page import page
    from guard.regress.reports.terminal import show

    if junit is not None:
        junit.write_bytes(as_junit(reports))
    if html is not None:
        html.write_text(page(reports), encoding="utf-8")
    if as_json:
        answer = {"passed": all(report.reached for report in reports), "policies": reports}
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=1).decode())
    else:
        console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
        for report in reports:
            show(report, console, known=known)
    if annotations or (annotations is None and os.environ.get("GITHUB_ACTIONS") == "true"):
        # Beside JSON on the standard output they would be read as part of it; GitHub reads both.
        for line in github.annotations(reports):
            click.echo(line, err=as_json)
    if step := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(step).open("a", encoding="utf-8") as file:
            file.write(github.summary(reports))


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))


def chosen_by(case: "Case", filters: Sequence[str]) -> bool:
    """Whether one of the filters names the case; all cases are chosen where there is none."""
    if not filters:
        return True
    tags = {f"tag:{tag}" for tag in case.tags}
    return any(fnmatch.fnmatchcase(case.id, one) or one in tags for one in filters)
