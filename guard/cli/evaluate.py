"""`guard evaluate`: how well a policy and its models do on labelled data."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from guard.cli import policies_option, quiet_service
from guard.cli.rows import SUFFIXES, BadRow, count_rows, read_rows
from guard.cli.scan import progress, scan
from guard.content import Rail
from guard.errors import DatasetError
from guard.policy.schema import Maps

if TYPE_CHECKING:
    from guard.policy import Policy
    from guard.regress.evaluate import Cost, Evaluation
    from guard.regress.formats import Format
    from guard.verdict import Verdict

__all__ = ["command", "data_files", "label_pair"]

_FORMATS = (
    "own", "toxicchat", "openai-moderation", "wildguard", "xstest", "xstest-response", "hatecheck", "beavertails",
    "harmbench", "harmbench-responses", "self-reflection",
)  # fmt: skip
"""Those of guard.regress.formats, which `--help` need not load."""
_PEEKED = 100
"""Rows whose fields are a file's columns: a JSON line may lack some."""


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
@click.option(
    "--format", "form_name", type=click.Choice(_FORMATS), help="Published format of the rows [by their columns]."
)
@click.option("--field", default="text", show_default=True, help="Field that holds the text, in rows of your own.")
@click.option("--rail", type=click.Choice([rail.value for rail in Rail]), help="Rail of every row [by the row's role].")
@click.option("--limit", type=click.IntRange(1), help="Read at most so many rows of each data set.")
@click.option("--rounds", type=click.IntRange(20), default=500, show_default=True, help="Resamples for the intervals.")
@click.option("--cascade", is_flag=True, help="Also by the screen alone and the judge alone: what is saved and lost.")
@click.option("--json", "as_json", type=click.Path(path_type=Path, dir_okay=False), help="Also write a JSON report.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the Markdown report.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write one HTML page with curves.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    datasets: tuple[Path, ...],
    name: str | None,
    policies: Path | None,
    labels: tuple[str, ...],
    taxonomy: str | None,
    over: str | None,
    form_name: str | None,
    field: str,
    rail: str | None,
    limit: int | None,
    rounds: int,
    cascade: bool,
    as_json: Path | None,
    output: Path | None,
    html: Path | None,
    quiet: bool,
) -> None:
    """Measure a policy on labelled data: figures with intervals, per category and for harmful or not.

    DATASET is a file of rows (.jsonl, .jsonl.gz or .xz, .csv, .parquet; also .json with lists of rows) or a folder of
    such files, .json left out. A row has `text`, and
    `flagged` (1 or 0) or `labels` ({"hate": 1, "violence": 0}; an absent label was not annotated) or both; `role`
    and `context` are read where it has them. Published sets are read as they are; --format names what their columns
    do not tell. Nothing is cached. With --cascade every row is read three times, and the judge is asked about every
    category of every row once.
    """
    from guard.regress.cascade import CASCADE, CascadeReport, Way, as_it_is, compared, ways
    from guard.regress.curves import Curve
    from guard.regress.evaluate import Evaluation, Report, label_names
    from guard.regress.reports.evaluation import cascade_markdown, markdown
    from guard.regress.reports.page import evaluation_page

    _check_folders(as_json, output, html)
    service, policy = quiet_service(policies, name)
    given, chosen = dict(map(label_pair, labels)), _chosen(over, policy)
    # A mistake in them is told before anything is read.
    label_names(policy, given, taxonomy)

    def measured(path: Path, found: "Format | None", way: Way) -> tuple[Report, dict[str, Curve]]:
        known = {} if found is None else {label: to for label, to in found.labels.items() if to in policy.categories}
        evaluation = Evaluation(
            _name(path),
            way.policy,
            screen=way.moderator.screen.name,
            judge=way.moderator.judge.name if way.moderator.judge is not None else None,
            names=label_names(policy, known | given, taxonomy),
            over=chosen,
            rail=rail,
            grouped=found is not None and found.grouped,
        )
        task = f"measuring {path.name}" + (f", {way.name}" if cascade else "")
        # A published row may become two.
        with progress(task, total=None if found else limit or count_rows(path), quiet=quiet) as advance:
            rows = _rows(path, found, limit)
            items = scan(way.moderator, way.policy, rows, field="text" if found else field, rail=rail)
            meter = _Meter()
            asyncio.run(_add(evaluation, items, advance))
        cost = meter.cost(evaluation.rows, questions=way.tally.questions, tokens=way.tally.tokens)
        form, about = (found.name, found.about) if found else ("", "")
        return evaluation.report(rounds=rounds, cost=cost, form=form, about=about), evaluation.curves()

    reports: list[Report] = []
    cascades: list[CascadeReport] = []
    curves: list[dict[str, dict[str, Curve]]] = []
    texts: list[str] = []
    failed: list[DatasetError] = []
    for path in data_files(datasets):
        taken = ways(service.moderator, policy) if cascade else (as_it_is(service.moderator, policy),)
        try:
            of = _format(path, form_name, field, rail)
            found = {way.name: measured(path, of, way) for way in taken}
        except DatasetError as exc:
            # The other sets are measured all the same.
            failed.append(exc)
            continue
        reports.append(found[CASCADE][0])
        curves.append({way: drawn for way, (_, drawn) in found.items()})
        text = markdown(reports[-1])
        if cascade:
            cascades.append(compared({way: report for way, (report, _) in found.items()}))
            text += "\n" + cascade_markdown(cascades[-1])
        texts.append(text)
        click.echo(text)
    if output is not None:
        output.write_text("\n".join(texts), encoding="utf-8")
    if as_json is not None:
        _write_json(as_json, {"reports": reports, "cascades": cascades} if cascade else reports)
    if html is not None and reports:
        html.write_text(evaluation_page(reports, cascades, curves), encoding="utf-8")
    if failed:
        raise DatasetError("\n".join(map(str, failed)))


def _write_json(path: Path, value: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


class _Meter:
    """Time on the wall and of the CPU, from its making on."""

    def __init__(self) -> None:
        self._began, self._busy = time.perf_counter(), time.process_time()

    def cost(self, rows: int, *, questions: int, tokens: int) -> "Cost":
        """What so many rows took until now."""
        from guard.regress.evaluate import Cost

        seconds = time.perf_counter() - self._began
        rate = rows / seconds if seconds else 0.0
        return Cost(seconds, rate, time.process_time() - self._busy, questions, tokens)


def _format(path: Path, form: str | None, field: str, rail: str | None) -> "Format | None":
    """The published format of a file; None for rows of one's own.

    Raises:
        DatasetError: the file is not of the format named, several fit, or `rail` is given where rows say theirs.
    """
    from guard.regress.formats import chosen

    seen = itertools.islice(read_rows(path), _PEEKED)
    columns = {key for row in seen for key in (row.fields if isinstance(row, BadRow) else row)}
    found = chosen(path, columns, name=form, field=field)
    if found is not None and rail is not None:
        raise DatasetError(f"{path}: rows of `{found.name}` say their rail: leave --rail out, or give --format own")
    return found


def _rows(path: Path, found: "Format | None", limit: int | None) -> Iterator[dict[str, Any] | BadRow]:
    """The rows to measure, from at most `limit` rows of the file."""
    for row in itertools.islice(read_rows(path), limit):
        if found is None or isinstance(row, BadRow):
            yield row
        else:
            yield from found.read(row)


def _check_folders(*files: Path | None) -> None:
    """Raises DatasetError where a report could not be written: better before an hour's work than behind it."""
    for path in filter(None, files):
        if not path.absolute().parent.is_dir():
            raise DatasetError(f"{path}: there is no folder {path.parent}")


def _chosen(given: str | None, policy: "Policy") -> tuple[str, ...] | None:
    """The categories of `--over`; None where it was left out.

    Raises:
        DatasetError: there would be no category to decide by.
    """
    from guard.regress.evaluate import deciding

    if given is None:
        if not deciding(policy):
            raise DatasetError(f"policy {policy.name} has no category but advice and privacy: choose some with --over")
        return None
    over = tuple(part.strip() for part in given.split(",") if part.strip())
    unknown = [name for name in over if name not in policy.categories]
    if unknown or not over:
        known = ", ".join(policy.categories)
        raise DatasetError(
            f"--over: policy {policy.name} has no category {', '.join(unknown) or 'of no name'}; it has {known}"
        )
    return over


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
