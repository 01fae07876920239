"""`guard calibrate`: what a policy's scores are worth on labelled data, and thresholds for a false-positive rate."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from guard.cli import policies_option
from guard.cli.evaluate import data_files, label_pair
from guard.cli.rows import count_rows, read_rows
from guard.cli.scan import progress, scan
from guard.errors import DatasetError, PolicyNotFound
from guard.policy.schema import Maps

if TYPE_CHECKING:
    from guard.moderator import Moderator
    from guard.policy import Policy
    from guard.policy.calibration import Method
    from guard.regress.calibrate import Enough, Report, Scored
    from guard.regress.cases import Case
    from guard.verdict import Verdict

__all__ = ["command"]


@click.command("calibrate")
@click.argument("dataset", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--policy", "name", help="Policy whose scores are calibrated [GUARD_DEFAULT_POLICY; default].")
@policies_option
@click.option("--cases", is_flag=True, help="Calibrate on the policy's own cases instead of a DATASET.")
@click.option(
    "--label", "labels", metavar="NAME=CATEGORY", multiple=True, help="What a label of the data stands for; repeatable."
)
@click.option(
    "--taxonomy", type=click.Choice(Maps.__struct_fields__), help="Read labels by the policy's `maps` of this taxonomy."
)
@click.option("--field", default="text", show_default=True, help="Field that holds the text.")
@click.option(
    "--method",
    type=click.Choice(("auto", "temperature", "isotonic")),
    default="auto",
    show_default=True,
    help="The curve; auto: for each category the one that does best on held-out rows, if any does better than none.",
)
@click.option("--folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Parts, each held out once.")
@click.option(
    "--min-positives", type=click.IntRange(2), default=50, show_default=True, help="Positives that a curve needs."
)
@click.option(
    "--min-negatives", type=click.IntRange(2), default=50, show_default=True, help="Negatives that a curve needs."
)
@click.option(
    "--target-fpr",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    metavar="RATE",
    help="Also pick thresholds that flag at most this share of the negatives, such as 0.01.",
)
@click.option("--judge", is_flag=True, help="Calibrate the configured judge's scores too.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write calibration.yaml; it then takes effect.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    dataset: Path | None,
    name: str | None,
    policies: Path | None,
    cases: bool,
    labels: tuple[str, ...],
    taxonomy: str | None,
    field: str,
    method: "Method",
    folds: int,
    min_positives: int,
    min_negatives: int,
    target_fpr: float | None,
    judge: bool,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fit the scores of a policy's categories to labelled data, and say how much nearer to the truth they come.

    DATASET is a file of rows, or a folder of such files, as `guard evaluate` reads them: `text` and `labels`. Scores
    are fitted as the models give them, without the policy's rules and without a calibration that is there already.

    Exit codes: 0 all went well, 1 no category had the rows to be calibrated, 2 it could not be run.
    """
    from guard.config import settings_from
    from guard.policy import load_policies
    from guard.regress.calibrate import Enough, written
    from guard.regress.evaluate import label_names
    from guard.service import offline, pattern_names
    from guard.telemetry import configure_logging

    if (dataset is None) is not cases:
        raise click.UsageError("give either a DATASET or --cases")
    if cases and (labels or taxonomy):
        raise click.UsageError("--label and --taxonomy are of a DATASET's labels: leave them out with --cases")
    if output is not None and not output.absolute().parent.is_dir():
        raise DatasetError(f"{output}: there is no folder {output.parent}")
    if min(min_positives, min_negatives) < folds:
        raise click.UsageError(f"--folds {folds}: each needs a positive and a negative; ask for at least as many rows")
    configure_logging(level="error", form="text")
    # The static tier gives all texts that it settles the same scores.
    settings = msgspec.structs.replace(settings_from(policies=policies), static_tier=False)
    loaded = load_policies(settings.policies, pattern_names(), calibrated=False)
    wanted = name or settings.default_policy
    if wanted not in loaded:
        raise PolicyNotFound(f"no policy `{wanted}` in {settings.policies}; there is: {', '.join(loaded)}")
    policy = loaded[wanted]
    enough = Enough(positives=min_positives, negatives=min_negatives, folds=folds)
    if dataset is not None:
        names = label_names(policy, dict(map(label_pair, labels)), taxonomy)
        source: _Source = _Rows(data_files([dataset]), names, field)
    else:
        source = _own_cases(settings.policies, policy)
    moderator = offline(settings, [policy], judge=judge)
    found = _found(moderator, policy, source, method=method, enough=enough, target=target_fpr, quiet=quiet)
    _print(found, as_json=as_json)
    if output is not None and found.fits:
        _replace(output, written(found, today=datetime.now(UTC).date()))
        click.echo(f"{output}: {len(found.fits)} categories calibrated", err=True)
    elif output is not None:
        click.echo(f"{output} was not written: there is no curve to write", err=True)
    sys.exit(0 if any(row.ece is not None for row in found.categories) else 1)


def _found(
    moderator: "Moderator",
    policy: "Policy",
    source: "_Source",
    *,
    method: "Method",
    enough: "Enough",
    target: float | None,
    quiet: bool,
) -> "Report":
    """Reads all texts with the screen, and where there is a judge once more with both.

    Raises:
        DatasetError: the data say nothing of the policy's categories.
    """
    from guard.regress.calibrate import Scored, bare, calibrated, data_of, fits_of, report
    from guard.regress.cascade import ways
    from guard.service import judge_model

    def read(moderator: "Moderator", policy: "Policy", task: str) -> "Scored":
        scored = Scored()
        with progress(task, total=source.total(), quiet=quiet) as advance:
            asyncio.run(_add(scored, source.verdicts(moderator, policy), advance))
        return scored

    judge = moderator.judge
    screen, cascade = [way.moderator for way in ways(moderator, policy)[:2]] if judge is not None else (moderator, None)
    scored = final = read(screen, bare(policy), "reading")
    if scored.rows == scored.errors + scored.unlabelled:
        raise DatasetError(source.nothing(scored.rows))
    rows = left = calibrated(scored, policy, ("encoder", "examples"), method=method, enough=enough)
    if cascade is not None:
        # Which texts are in doubt is seen through the screen's new curves.
        final = read(cascade, bare(policy, fits_of(rows)), "asking the judge")
        left = calibrated(final, policy, ("judge",), method=method, enough=enough)
        rows = [*rows, *left]
    return report(
        policy,
        scored,
        rows,
        data=data_of(source.files),
        screen=moderator.screen.model,
        judge=judge_model(judge) if judge is not None else None,
        method=method,
        folds=enough.folds,
        final=final,
        left=left,
        target=target,
    )


def _print(found: "Report", *, as_json: bool) -> None:
    from guard.regress.reports.calibration import markdown

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        click.echo(markdown(found))


def _replace(path: Path, text: str) -> None:
    """All at once: a running service may be looking."""
    staged = path.with_name(f".{path.name}.staged")
    staged.write_text(text, encoding="utf-8")
    os.replace(staged, path)


Truths = Mapping[str, int | bool]


async def _add(
    scored: "Scored", items: "AsyncIterator[tuple[Truths, Verdict | None]]", advance: Callable[[], None]
) -> None:
    async for truths, verdict in items:
        scored.add(truths, verdict)
        advance()


class _Rows:
    """A data set's rows, and what their labels say."""

    def __init__(self, files: list[Path], names: Mapping[str, str], field: str) -> None:
        self.files = files
        self._names = names
        self._field = field

    def total(self) -> int | None:
        counts = [count_rows(path) for path in self.files]
        return None if None in counts else sum(count or 0 for count in counts)

    async def verdicts(
        self, moderator: "Moderator", policy: "Policy"
    ) -> "AsyncIterator[tuple[Truths, Verdict | None]]":
        from guard.regress.evaluate import labels_of

        rows: Iterable[Any] = (row for path in self.files for row in read_rows(path))
        async for row, verdict in scan(moderator, policy, rows, field=self._field):
            yield labels_of(row, self._names), verdict

    def nothing(self, rows: int) -> str:
        return (
            f"{', '.join(path.name for path in self.files)}: none of {rows} rows has a label that can be used; a row "
            f"needs `labels` with some of: {', '.join(self._names)}; other names are given with --label NAME=CATEGORY"
        )


class _Cases:
    """A policy's cases, and what they say is violated."""

    def __init__(self, files: list[Path], cases: "tuple[Case, ...]", policy: "Policy") -> None:
        self.files = files
        self._cases = cases
        self._policy = policy

    def total(self) -> int | None:
        return len(self._cases)

    async def verdicts(
        self, moderator: "Moderator", policy: "Policy"
    ) -> "AsyncIterator[tuple[Truths, Verdict | None]]":
        from guard.regress.run import run

        try:
            async for outcome in run(moderator, policy, self._cases):
                yield outcome.case.truths(self._policy), outcome.verdict
        finally:
            await moderator.close()

    def nothing(self, rows: int) -> str:
        return f"{self._policy.name}: none of {rows} cases says which category it violates, or that it violates none"


_Source = _Rows | _Cases


def _own_cases(folder: Path, policy: "Policy") -> _Cases:
    from guard.policy.loader import policy_files
    from guard.regress.cases import CASES, case_files, load_cases

    own = next(file.parent for file in policy_files(folder) if file.resolve().parent.name == policy.name)
    found = load_cases(own, policy)
    if not found:
        raise DatasetError(f"{own / CASES}: policy {policy.name} has no cases; write some, or give a DATASET")
    return _Cases(case_files(own), found, policy)
