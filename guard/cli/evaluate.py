"""`guard evaluate`: how well a policy and its models do on labelled data."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from guard.cli import policies_option, quiet_service
from guard.cli.rows import SUFFIXES, count_rows, read_rows
from guard.cli.scan import progress, scan
from guard.content import Rail
from guard.errors import DatasetError
from guard.policy.schema import Maps

if TYPE_CHECKING:
    from guard.policy import Policy
    from guard.regress.evaluate import Evaluation
    from guard.verdict import Verdict

__all__ = ["command", "data_files", "label_pair"]


@click.command("evaluate")
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--policy", "name", help="Policy to decide under [GUARD_DEFAULT_POLICY; default].")
@policies_option
@click.option(
    "--label", "labels", metavar="NAME=CATEGORY", multiple=True, help="What a label of the data stands for; repeatable."
)
@click.option(
    "--taxonomy", type=click.Choice(Maps.__struct_fields__), help="Read labels by the policy's `maps` of this taxonomy."
)
@click.option("--over", metavar="CATEGORY,...", help="Categories of the binary decision [all but advice and pii].")
@click.option("--field", default="text", show_default=True, help="Field that holds the text.")
@click.option("--rail", type=click.Choice([rail.value for rail in Rail]), help="Rail of every row [by the row's role].")
@click.option("--limit", type=click.IntRange(1), help="Read at most so many rows of each data set.")
@click.option("--rounds", type=click.IntRange(20), default=500, show_default=True, help="Resamples for the intervals.")
@click.option("--cascade", is_flag=True, help="Also by the screen alone and the judge alone: what is saved and lost.")
@click.option("--json", "as_json", type=click.Path(path_type=Path, dir_okay=False), help="Also write a JSON report.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the Markdown report.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    datasets: tuple[Path, ...],
    name: str | None,
    policies: Path | None,
    labels: tuple[str, ...],
    taxonomy: str | None,
    over: str | None,
    field: str,
    rail: str | None,
    limit: int | None,
    rounds: int,
    cascade: bool,
    as_json: Path | None,
    output: Path | None,
    quiet: bool,
) -> None:
    """Measure a policy on labelled data: figures with intervals, per category and for harmful or not.

    DATASET is a file of rows (.jsonl, .jsonl.gz, .csv, .parquet) or a folder of such files. A row has `text`, and
    `flagged` (1 or 0) or `labels` ({"hate": 1, "violence": 0}; an absent label was not annotated) or both; `role`
    and `context` are read where it has them. With --cascade every row is read three times, and the judge is asked
    about every category of every row once.
    """
    from guard.regress.cascade import CASCADE, CascadeReport, Tally, Way, compared, ways
    from guard.regress.evaluate import Evaluation, Report, label_names
    from guard.regress.reports.evaluation import cascade_markdown, markdown

    service, policy = quiet_service(policies, name)
    names = label_names(policy, dict(map(label_pair, labels)), taxonomy)
    chosen = None if over is None else tuple(part.strip() for part in over.split(",") if part.strip())
    _check(chosen, policy)
    for path in filter(None, (as_json, output)):
        if not path.parent.is_dir():
            raise DatasetError(f"{path}: there is no folder {path.parent}")

    def measured(path: Path, way: Way) -> Report:
        evaluation = Evaluation(_name(path), way.policy, screen=way.moderator.screen.name, names=names, over=chosen)
        rows = itertools.islice(read_rows(path), limit)
        task = f"measuring {path.name}" + (f", {way.name}" if cascade else "")
        with progress(task, total=limit or count_rows(path), quiet=quiet) as advance:
            asyncio.run(_add(evaluation, scan(way.moderator, way.policy, rows, field=field, rail=rail), advance))
        return evaluation.report(rounds=rounds)

    reports: list[Report] = []
    cascades: list[CascadeReport] = []
    texts: list[str] = []
    failed: list[DatasetError] = []
    for path in data_files(datasets):
        taken = ways(service.moderator, policy) if cascade else (Way(CASCADE, service.moderator, policy, Tally()),)
        try:
            found = {way.name: (measured(path, way), way.tally) for way in taken}
        except DatasetError as exc:
            # The other sets are measured all the same.
            failed.append(exc)
            continue
        reports.append(found[CASCADE][0])
        texts.append(markdown(reports[-1]))
        if cascade:
            cascades.append(compared(found))
            texts[-1] += "\n" + cascade_markdown(cascades[-1])
        click.echo(texts[-1])
    if output is not None:
        output.write_text("\n".join(texts), encoding="utf-8")
    if as_json is not None:
        value: object = {"reports": reports, "cascades": cascades} if cascade else reports
        as_json.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
    if failed:
        raise DatasetError("\n".join(map(str, failed)))


def _check(over: tuple[str, ...] | None, policy: "Policy") -> None:
    """Raises DatasetError where there would be no category to decide by."""
    from guard.regress.evaluate import deciding

    if over is None:
        if not deciding(policy):
            raise DatasetError(f"policy {policy.name} has no category but advice and privacy: choose some with --over")
        return
    unknown = [name for name in over if name not in policy.categories]
    if unknown or not over:
        known = ", ".join(policy.categories)
        raise DatasetError(
            f"--over: policy {policy.name} has no category {', '.join(unknown) or 'of no name'}; it has {known}"
        )


async def _add(
    evaluation: "Evaluation", items: "AsyncIterator[tuple[dict[str, Any], Verdict | None]]", advance: Callable[[], None]
) -> None:
    async for row, verdict in items:
        evaluation.add(row, verdict)
        advance()


def label_pair(given: str) -> tuple[str, str]:
    """A label of the data and the category that it stands for, as `--label` takes them."""
    label, separator, category = given.rpartition("=")
    if not separator or not label:
        raise click.UsageError(f"--label {given}: expected NAME=CATEGORY, such as --label toxic=harassment")
    return label, category


def data_files(datasets: Sequence[Path]) -> list[Path]:
    """The files given, folders replaced by the data sets in them.

    Raises:
        DatasetError: a folder holds none.
    """
    found: list[Path] = []
    for path in datasets:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES))
        if not inside:
            raise DatasetError(f"{path}: no file in it ends in {', '.join(SUFFIXES)}")
        found += inside
    return found


def _name(path: Path) -> str:
    """The data set's name: its file's, without the suffixes."""
    suffix = next((suffix for suffix in reversed(SUFFIXES) if path.name.lower().endswith(suffix)), path.suffix)
    return path.name[: -len(suffix)] if suffix else path.name
