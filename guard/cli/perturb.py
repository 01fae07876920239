"""`guard perturb`: every case under attacks, and the share of verdicts that stay as they should be."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from guard import __version__
from guard.cli.scan import progress
from guard.cli.test import chosen_by
from guard.errors import DatasetError
from guard.regress.attacks import ATTACKS

if TYPE_CHECKING:
    from guard.moderator import Moderator
    from guard.regress.cases import Case
    from guard.regress.perturb import Derived, StabilityReport
    from guard.regress.suite import PolicySuite

__all__ = ["command"]


@click.command("perturb")
@click.argument("policies", nargs=-1, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--attack", "attacks", multiple=True, type=click.Choice(list(ATTACKS)), help="Only this; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other places and letters.")
@click.option("--sample", type=click.IntRange(1), help="So many cases for each attack, drawn by the seed [all].")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="PATTERN",
    help="Only cases whose id matches (violence-*), or that have a tag (tag:threat). Several: any of them. No gates.",
)
@click.option("--judge", is_flag=True, help="Ask the configured judge too.")
@click.option("--by-category", is_flag=True, help="Also show each category under each attack.")
@click.option("--broken", is_flag=True, help="Also show the texts that did not withstand.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with all of these.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the derived cases, as YAML."
)
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    policies: tuple[Path, ...],
    attacks: tuple[str, ...],
    seed: int,
    sample: int | None,
    filters: tuple[str, ...],
    judge: bool,
    by_category: bool,
    broken: bool,
    as_json: bool,
    output: Path | None,
    quiet: bool,
) -> None:
    """Attack the cases of POLICIES (folders of policies, or policies' own; default: GUARD_POLICIES).

    Each case that passes as it stands is asked again in other letters, codes, words and frames. What a policy's
    suite.yaml asks under `stability` is a gate. With -o the derived cases become a file that `guard test` reads.

    Exit codes: 0 every gate is reached, 1 one is not, 2 it could not be run.
    """
    from guard.config import settings_from
    from guard.regress.perturb import derive
    from guard.regress.suite import load_suites
    from guard.service import offline, pattern_names
    from guard.telemetry import configure_logging

    if output is not None and not output.absolute().parent.is_dir():
        raise DatasetError(f"{output}: there is no folder {output.parent}")
    configure_logging(level="error", form="text")
    settings = settings_from()
    suites = load_suites(policies or [settings.policies], pattern_names())
    names = [name for name in ATTACKS if name in attacks or not attacks]
    derived = {
        suite.folder: derive(
            [case for case in suite.cases if chosen_by(case, filters)], names, seed=seed, sample=sample
        )
        for suite in suites
    }
    asked = [suite for suite in suites if derived[suite.folder]]
    if not asked:
        which = f"that matches {', '.join(filters)} " if filters else ""
        raise DatasetError(f"no case {which}is changed by {', '.join(names)}: choose another --attack or --filter")
    if output is not None and len(asked) > 1:
        found = ", ".join(suite.policy.name for suite in asked)
        raise DatasetError(f"-o {output}: the cases of one policy go into one file; give one of {found}")
    moderator = offline(settings, [suite.policy for suite in suites], judge=judge)
    total = sum(len(found) + len({one.source.id for one in found}) for found in derived.values())
    with progress("attacking", total=total, quiet=quiet) as advance:
        results = asyncio.run(_run(moderator, asked, derived, seed=seed, gated=not filters, advance=advance))
    reports = [report for report, _ in results]
    _show(reports, as_json=as_json, by_category=by_category, broken=broken)
    if output is not None:
        _write(output, results[0][1], seed)
    sys.exit(0 if all(report.reached for report in reports) else 1)


async def _run(
    moderator: "Moderator",
    suites: Sequence["PolicySuite"],
    derived: Mapping[Path, Sequence["Derived"]],
    *,
    seed: int,
    gated: bool,
    advance: Callable[[], None],
) -> list[tuple["StabilityReport", tuple["Case", ...]]]:
    from guard.regress.perturb import perturbed

    try:
        return [
            await perturbed(
                moderator,
                suite,
                derived[suite.folder],
                seed=seed,
                gated=gated,
                clock=time.perf_counter,
                advance=advance,
            )
            for suite in suites
        ]
    finally:
        await moderator.close()


def _show(reports: Sequence["StabilityReport"], *, as_json: bool, by_category: bool, broken: bool) -> None:
    from rich.console import Console

    from guard.regress.reports.stability import show_stability

    if as_json:
        answer = {"passed": all(report.reached for report in reports), "policies": reports}
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=1).decode())
        return
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    for report in reports:
        show_stability(report, console, by_category=by_category, broken=broken)


def _write(output: Path, cases: Sequence["Case"], seed: int) -> None:
    from guard.regress.reports.cases import cases_yaml

    heading = "Derived by `guard perturb`, not written by hand. What did not withstand is marked as a known failure."
    origin = f"guard perturb --seed {seed} ({__version__})"
    output.write_text(cases_yaml(cases, heading=heading, origin=origin), encoding="utf-8")
