"""`guard scan`: a file of texts in, the same rows with verdicts out.

The work goes into `OUT.partial`, one JSON line per row, in the input's order; when it is complete it
becomes OUT. An interrupted scan that is started again goes on behind the last complete line.
"""

import asyncio
import fcntl
import itertools
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from guard.cli import policies_option, quiet_service
from guard.cli.rows import COMPRESSED, BadRow, batched, count_rows, kind_of, read_rows, write_rows
from guard.content import Content, Rail, Turn
from guard.errors import DatasetError, Overloaded
from guard.moderator import Moderation, Moderator
from guard.policy import Policy
from guard.verdict import Action, Verdict

__all__ = ["command", "content_of", "progress", "scan"]

BATCH = 128
"""Rows that are moderated in one call."""
AHEAD = 3
"""Calls in flight: enough that the encoder's threads never wait for reading or writing."""

_ENCODER = msgspec.json.Encoder()


class Job(msgspec.Struct, frozen=True):
    """What a partial result belongs to: going on with another policy or input would mix two scans."""

    input: str
    size: int
    modified: int
    policy: str
    fingerprint: str
    screen: str
    field: str
    rail: str | None


@click.command("scan")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--policy", "name", help="Policy to decide under [GUARD_DEFAULT_POLICY; default].")
@policies_option
@click.option("--field", default="text", show_default=True, help="Field that holds the text.")
@click.option(
    "--rail",
    type=click.Choice([rail.value for rail in Rail]),
    help="Rail of every row [a row's role `assistant` means output, else input].",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT, and forget an interrupted scan.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    source: Path,
    output: Path,
    name: str | None,
    policies: Path | None,
    field: str,
    rail: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Moderate every row of IN (.jsonl, .jsonl.gz or .xz, .csv, .parquet) and write it to OUT with `result` added.

    One row out for each row in, in order. A row that cannot be moderated is kept, with `result: null`
    and an `error`. A row's `role` and `context` (the turn before) are read where it has them. An
    interrupted scan goes on where it stopped when the same command is given again.
    """
    if kind_of(output) == "jsonl" and output.suffix.lower() in COMPRESSED:
        raise DatasetError(f"{output}: results are not compressed; name it .jsonl")
    if output.exists() and output.samefile(source):
        raise DatasetError(f"{output} is the input itself; give another file to write")
    service, policy = quiet_service(policies, name)
    partial = output.with_name(output.name + ".partial")
    job = _job(source, policy, service.moderator.fingerprint, field, rail)
    done = _prepare(output, partial, job, overwrite=overwrite)
    rows = itertools.islice(read_rows(source), done, None)
    with (
        progress("scanning", total=count_rows(source), done=done, quiet=quiet) as advance,
        partial.open("ab") as file,
        _sole_writer(file, partial),
    ):
        tally = _Tally(advance, done=done)
        asyncio.run(_write(file, scan(service.moderator, policy, rows, field=field, rail=rail), tally))
    _finish(output, partial)
    click.echo(f"{output}: {tally.summary()}", err=True)


@contextmanager
def progress(task: str, *, total: int | None, done: int = 0, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A progress bar on the error output; gives the function that counts one more row."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        number = bar.add_task(task, total=total, completed=done)
        yield lambda: bar.advance(number)


async def scan(
    moderator: Moderator, policy: Policy, rows: Iterable[Any], *, field: str = "text", rail: str | None = None
) -> AsyncIterator[tuple[dict[str, Any], Verdict | None]]:
    """Every row with `result` (or `error`) added, in order, and its verdict."""
    waiting: deque[asyncio.Task[list[tuple[dict[str, Any], Verdict | None]]]] = deque()
    try:
        for batch in batched(rows, BATCH):
            waiting.append(asyncio.create_task(_moderated(moderator, policy, batch, field, rail)))
            # A started call reaches the encoder's queue before the next batch is read.
            await asyncio.sleep(0)
            if len(waiting) == AHEAD:
                for item in await waiting.popleft():
                    yield item
        while waiting:
            for item in await waiting.popleft():
                yield item
    finally:
        if moderator.judge is not None:
            await moderator.judge.close()


async def _moderated(
    moderator: Moderator, policy: Policy, batch: list[Any], field: str, rail: str | None
) -> list[tuple[dict[str, Any], Verdict | None]]:
    contents: dict[int, Content] = {}
    errors: dict[int, str] = {}
    for index, row in enumerate(batch):
        found = row.message if isinstance(row, BadRow) else content_of(row, field, rail)
        if isinstance(found, str):
            errors[index] = found
        else:
            contents[index] = found
    moderation = await _moderation(moderator, list(contents.values()), policy)
    verdicts = dict(zip(contents, moderation.verdicts, strict=True))
    return [
        ({**row, "result": verdicts[index]}, verdicts[index])
        if index in verdicts
        else ({**(row.fields if isinstance(row, BadRow) else row), "result": None, "error": errors[index]}, None)
        for index, row in enumerate(batch)
    ]


async def _moderation(moderator: Moderator, contents: list[Content], policy: Policy) -> Moderation:
    """The batch's verdicts; a scan has time: no deadline, and a full queue is waited for."""
    while True:
        try:
            return await moderator.moderate(contents, policy, patient=True)
        except Overloaded:
            await asyncio.sleep(0.05)


def content_of(row: dict[str, Any], field: str, rail: str | None) -> Content | str:
    """What the row wants moderated, or what is wrong with it."""
    text = row.get(field)
    if not isinstance(text, str):
        return f"field `{field}` is missing" if text is None else f"field `{field}` holds no text"
    if not text:
        return f"field `{field}` is empty"
    role, context = row.get("role"), row.get("context")
    role = role if isinstance(role, str) else ""
    side = Rail(rail) if rail is not None else Rail.OUTPUT if role == "assistant" else Rail.INPUT
    before = (Turn("assistant" if role == "user" else "user", context),) if isinstance(context, str) and context else ()
    return Content(text, role or ("assistant" if side is Rail.OUTPUT else ""), side, before)


def _job(source: Path, policy: Policy, screen: str, field: str, rail: str | None) -> Job:
    stat = source.stat()
    return Job(
        str(source.resolve()), stat.st_size, stat.st_mtime_ns, policy.name, policy.fingerprint, screen, field, rail
    )


def _prepare(output: Path, partial: Path, job: Job, *, overwrite: bool) -> int:
    """Makes the partial file ready to append to; returns the rows that it holds already.

    Raises:
        DatasetError: OUT exists, or the partial file belongs to another scan.
    """
    mark = partial.with_name(partial.name + ".json")
    if overwrite:
        # OUT itself stays until the new scan is complete and takes its place.
        for path in (partial, mark):
            path.unlink(missing_ok=True)
    elif output.exists() and output.stat().st_size:
        raise DatasetError(f"{output} exists already; give --overwrite to replace it")
    done = 0
    if partial.exists() and mark.exists():
        if mark.read_bytes() != _ENCODER.encode(job):
            raise DatasetError(
                f"{partial} belongs to a scan with another input, policy or option; "
                "give --overwrite to start anew, or another OUT"
            )
        done = _keep_complete_lines(partial)
    else:
        partial.unlink(missing_ok=True)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(_ENCODER.encode(job))
    return done


@contextmanager
def _sole_writer(file: Any, partial: Path) -> Iterator[None]:
    """Two scans into one file would mix their rows."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise DatasetError(f"another scan is writing {partial}") from exc
    yield


def _keep_complete_lines(partial: Path) -> int:
    """Cuts off a last line that was not written to its end; returns the lines that remain."""
    lines = end = 0
    with partial.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            lines += 1
            end += len(line)
        file.truncate(end)
    return lines


async def _write(file: Any, items: AsyncIterator[tuple[dict[str, Any], Verdict | None]], tally: "_Tally") -> None:
    async for row, verdict in items:
        file.write(_ENCODER.encode(row) + b"\n")
        tally.add(verdict)


def _finish(output: Path, partial: Path) -> None:
    """The complete partial file becomes OUT, converted where OUT has another format."""
    if kind_of(output) == "jsonl":
        os.replace(partial, output)
    else:
        staged = output.with_name(f".{output.stem}.staged{output.suffix}")
        write_rows(lambda: read_partial(partial), staged)
        os.replace(staged, output)
        partial.unlink()
    partial.with_name(partial.name + ".json").unlink()


def read_partial(path: Path) -> Iterator[dict[str, Any]]:
    """The finished rows of a partial file."""
    with path.open("rb") as file:
        for line in file:
            yield msgspec.json.decode(line)


class _Tally:
    """Counts what came out."""

    def __init__(self, advance: Callable[[], None], *, done: int) -> None:
        self._advance = advance
        self._counts = {action.word: 0 for action in Action} | {"error": 0}
        self._skipped = done

    def add(self, verdict: Verdict | None) -> None:
        """One more row."""
        self._counts[verdict.action if verdict is not None else "error"] += 1
        self._advance()

    def summary(self) -> str:
        """What was done, in a line."""
        rows = sum(self._counts.values())
        parts = [f"{count} {name}" for name, count in self._counts.items() if count]
        resumed = f" (after {self._skipped} rows of an earlier run)" if self._skipped else ""
        return f"{rows} rows{resumed}: {', '.join(parts) or 'nothing to do'}"
