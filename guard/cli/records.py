"""`guard records`: the file of the records that GUARD_STORE keeps."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import msgspec
import rich_click as click

from guard.cli import policies_option
from guard.errors import ConfigError, DatasetError, RecordNotFound
from guard.store import MOST, Beside, Query, Record
from guard.verdict import Action

if TYPE_CHECKING:
    from guard.store.sqlite import SqliteStore

__all__ = ["command"]

T = TypeVar("T")


@click.group("records")
def command() -> None:
    """List, show, export and delete the records of verdicts.

    Works on the store's file, beside a service that runs or without one; whoever can read the file needs no key.
    """


def _store_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option("--store", metavar="FILE", help="File of the records [GUARD_STORE].")(function)


def _filters(function: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option(
            "--since",
            type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
            help="Only those from this time (UTC) on.",
        ),
        click.option("--action", type=click.Choice([action.word for action in Action]), help="Only those with it."),
        click.option("--policy", help="Only those of this policy; with --shadow, of this candidate."),
        click.option("--shadow", is_flag=True, help="Those of shadows: what a candidate would have said otherwise."),
        policies_option,
        _store_option,
    ):
        function = option(function)
    return function


@command.command("list")
@_filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record, whole.")
def list_records(
    store: str | None,
    policies: Path | None,
    policy: str | None,
    action: Any,
    since: datetime | None,
    limit: int,
    *,
    shadow: bool,
    as_json: bool,
) -> None:
    """List records, newest first."""
    from rich.console import Console
    from rich.table import Table

    async def found(kept: "SqliteStore") -> list[Record]:
        records = []
        async for record in _each(kept, _query(policy, action, since, shadow=shadow)):
            records.append(record)
            if len(records) == limit:
                break
        return records

    records = _with_store(store, policies, found)
    if as_json:
        for record in records:
            click.echo(msgspec.json.encode(record))
        return
    last = "beside" if shadow else "text"
    table = Table("id", "time", "tenant", "policy", "rail", "action", "violated", last)
    for record in records:
        violated = ", ".join([name for name, c in record.verdict.categories.items() if c.violated])
        when = f"{record.time:%Y-%m-%d %H:%M:%S}"
        held = "kept" if record.text is not None else ""
        if isinstance(record.beside, Beside):
            held = f"{record.beside.policy}: {record.beside.action}"
        table.add_row(record.id, when, record.tenant, record.policy, record.rail.value, record.action, violated, held)
    Console().print(table)


@command.command("show")
@click.argument("id")
@_store_option
@policies_option
def show(id: str, store: str | None, policies: Path | None) -> None:
    """Show the record ID as JSON, with its text where that is kept."""
    record = _with_store(store, policies, lambda kept: kept.get(id))
    if record is None:
        raise _missing(id)
    click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2).decode())


@command.command("export")
@_filters
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write [standard output]."
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def export(
    store: str | None,
    policies: Path | None,
    policy: str | None,
    action: Any,
    since: datetime | None,
    output: Path | None,
    *,
    shadow: bool,
    overwrite: bool,
) -> None:
    """Write the records with a text as JSON lines, newest first: to scan again, or to make cases of.

    Each line has text, policy, rail, role, context, action and scores; `guard scan` and `guard policy diff --on` read
    it. A shadow's has the text of the record beside it, as long as that is there.
    """

    async def write(kept: "SqliteStore", out: BinaryIO) -> tuple[int, int]:
        written = bare = 0
        async for record in _each(kept, _query(policy, action, since, shadow=shadow)):
            beside = await kept.get(record.beside.record) if isinstance(record.beside, Beside) else record
            if beside is None or beside.text is None:
                bare += 1
                continue
            whole = msgspec.structs.replace(record, text=beside.text, context=beside.context)
            out.write(msgspec.json.encode(_exported(whole)) + b"\n")
            written += 1
        return written, bare

    if output is None:
        written, bare = _with_store(store, policies, lambda kept: write(kept, sys.stdout.buffer))
    else:
        with _private(output, overwrite=overwrite) as out:
            written, bare = _with_store(store, policies, lambda kept: write(kept, out))
    click.echo(f"{_count(written)} written, {bare} left out that have no text", err=True)


@command.command("delete")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_store_option
@policies_option
def delete(ids: tuple[str, ...], store: str | None, policies: Path | None) -> None:
    """Delete records by their ids, with those of shadows beside them; nothing of their texts stays in the file."""

    async def remove(kept: "SqliteStore") -> list[str]:
        return [id for id in ids if not await kept.delete(id)]

    missing = _with_store(store, policies, remove)
    click.echo(f"{_count(len(ids) - len(missing))} deleted", err=True)
    if missing:
        raise _missing(", ".join(missing))


@command.command("purge")
@_store_option
@policies_option
def purge(store: str | None, policies: Path | None) -> None:
    """Delete what has expired, by the policies as they are now. A running service does the same every minute."""
    purged = _with_store(store, policies, lambda kept: kept.purge())
    click.echo(f"{_count(purged, 'expired ')} deleted", err=True)


def _with_store(setting: str | None, policies: Path | None, work: "Callable[[SqliteStore], Awaitable[T]]") -> T:
    """What `work` gives on an open store."""
    from guard.config import settings_from
    from guard.policy.loader import load_policies
    from guard.service import pattern_names
    from guard.store.sqlite import SqliteStore, file_of
    from guard.telemetry import Listeners

    settings = settings_from(store=setting, policies=policies)
    if not settings.store:
        raise ConfigError("which file? Give --store FILE, or set GUARD_STORE")
    file = file_of(settings.store)
    if not file.exists():
        raise ConfigError(f"there is no file {file}: a service with GUARD_STORE makes it with its first record")
    loaded = load_policies(settings.policies, pattern_names())
    days = {name: policy.spec.retention_days for name, policy in loaded.items()}

    async def run() -> T:
        store = SqliteStore(file, listener=Listeners(), retention=lambda: days)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def _each(store: "SqliteStore", query: Query) -> AsyncIterator[Record]:
    """All records of a query, page by page."""
    while True:
        page = await store.find(query)
        for record in page.records:
            yield record
        if page.next is None:
            return
        query = msgspec.structs.replace(query, after=page.next)


def _query(policy: str | None, action: Any, since: datetime | None, *, shadow: bool) -> Query:
    return Query(policy, action, since.replace(tzinfo=UTC) if since is not None else None, MOST, shadow=shadow)


def _exported(record: Record) -> dict[str, Any]:
    scores = {name: score.value for name, score in record.assessment.scores.items()}
    return {
        "id": record.id,
        "time": record.time,
        "text": record.text,
        "policy": record.policy,
        "fingerprint": record.fingerprint,
        "rail": record.rail,
        "role": record.role,
        "context": record.context,
        "action": record.action,
        "scores": scores,
    } | ({"beside": record.beside} if isinstance(record.beside, Beside) else {})


def _private(file: Path, *, overwrite: bool) -> BinaryIO:
    """A file for texts: its owner's alone."""
    try:
        if overwrite:
            file.unlink(missing_ok=True)
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError as exc:
        raise DatasetError(f"{file} exists already; give --overwrite to replace it") from exc
    except OSError as exc:
        raise DatasetError(f"{file} cannot be written: {exc.strerror}") from exc


def _missing(ids: str) -> RecordNotFound:
    return RecordNotFound(f"no record {ids}, or it has expired; `guard records list` shows them")


def _count(records: int, kind: str = "") -> str:
    return f"{records} {kind}record{'s' * (records != 1)}"
