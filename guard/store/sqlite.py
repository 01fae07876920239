"""Records in one SQLite file, which several processes of a machine may share.

One thread writes, all that waits in one transaction. The write-ahead log survives the process without being synced;
after a power cut the last records may be missing, and the file is whole. Times are microseconds since 1970.

Nothing of a deleted text stays in the file, its log or its index. SQLite's `secure_delete` alone does not see to that:
a row that was moved to another page, and is deleted there, leaves what it was in the page before. Rows are moved, but
their overflow pages are not. So texts come last in their row, behind more bytes than a row may have in its own page.
The one column behind them is for rows that have none.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from guard.breaker import Breaker
from guard.content import Turn
from guard.errors import ConfigError, InvalidContent, StoreError
from guard.store import EVERYTHING, Beside, Page, Query, Record, Sight
from guard.telemetry import Listener, StoreFailed, StoreOperation, StoreStateChanged

__all__ = ["SqliteStore", "file_of"]

T = TypeVar("T")

ROOM = 4_096
"""Records that may wait for the writer."""
ROOM_BYTES = 32 * 1_024 * 1_024
GROUP = 256
"""Calls whose records are written in one transaction."""
BATCH = 500
"""Expired records that are deleted in one transaction: others write between two."""
PAGE_BYTES = 4 * 1_024 * 1_024
"""Bytes from which on a page of records gets no longer."""
BUSY_SECONDS = 1.0
"""How long another process may hold the file."""
READ_SECONDS = 5.0
CHANGE_SECONDS = 10.0
DAY = 86_400 * 1_000_000

_APPLICATION = 0x47756172
_VERSION = 2
_FILE_PAGE = 1_024
"""Bytes of a page of the file; fewer of a row with overflow pages are in its own."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = f"""
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    policy TEXT NOT NULL,
    action TEXT NOT NULL,
    body BLOB NOT NULL,
    texts BLOB,
    beside TEXT
);
CREATE INDEX records_by_time ON records (created, id);
CREATE INDEX records_by_tenant ON records (tenant, created, id);
CREATE INDEX records_by_policy ON records (policy, created, id);
CREATE INDEX records_by_expiry ON records (expires);
CREATE INDEX records_by_shadow ON records (created, id) WHERE beside IS NOT NULL;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""
_FROM_1 = f"""
ALTER TABLE records ADD COLUMN beside TEXT;
CREATE INDEX records_by_shadow ON records (created, id) WHERE beside IS NOT NULL;
PRAGMA user_version = {_VERSION};
"""
"""What makes a file of form 1, which knew no shadows, one of this form. No row is written anew for it."""
_ADD = (
    "INSERT INTO records (id, created, expires, tenant, policy, action, body, texts, beside) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class _Texts(msgspec.Struct, frozen=True):
    """What of a record is anybody's words; beside the rest of it, so that nothing is left of them."""

    text: str
    context: tuple[Turn, ...]
    redacted: str | None


_RECORD = msgspec.json.Decoder(Record)
_TEXTS = msgspec.json.Decoder(_Texts)
_ENCODER = msgspec.json.Encoder()

_Row = tuple[str, int, int, str, str, str, bytes, bytes | None, str | None]


class _Condition(NamedTuple):
    """A part of a WHERE clause with its values."""

    sql: str
    values: list[Any]

    def __and__(self, other: "_Condition") -> "_Condition":
        return _Condition(f"{self.sql} AND {other.sql}", [*self.values, *other.values])


class _Job(NamedTuple):
    """Something to be done in a transaction of the writer's. `scrub`: where it gives anything but 0 or False, the log
    is emptied afterwards. `records`, `size`: what of the room it takes."""

    work: Callable[[sqlite3.Connection], Any]
    done: "Future[Any]"
    scrub: bool = False
    records: int = 0
    size: int = 0


def file_of(setting: str) -> Path:
    """The file that GUARD_STORE names: a path, or `sqlite:///path`, with a fourth slash where it begins at the root.

    Raises:
        ConfigError: it names no file that could be one.
    """
    kind, found, rest = setting.partition("://")
    if found and (kind != "sqlite" or not rest.startswith("/") or rest == "/"):
        raise ConfigError(f"GUARD_STORE: `{kind}://` names no store: give a file's path, or sqlite:///PATH")
    file = Path(rest[1:] if found else setting).expanduser()
    if file.is_dir():
        raise ConfigError(f"GUARD_STORE: {file} is a folder: name a file in it, such as {file / 'records.db'}")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"GUARD_STORE: there is no folder {file.absolute().parent}: make it, or mount it")
    return file


class SqliteStore:
    """Records in a file. Implements `Store`.

    The file is made, and opened, when it is first needed. `retention`: the days of each policy as it is now. `listener`
    is told in the loop's thread.
    """

    def __init__(
        self,
        file: Path,
        *,
        listener: Listener,
        retention: Callable[[], Mapping[str, int]] = dict,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._listener = listener
        self._retention = retention
        self._wall_clock = wall_clock
        self._clock = clock
        self._breaker = Breaker(clock)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._records = 0
        self._bytes = 0
        self._problem = ""
        self._unscrubbed = False
        self._writer: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")

    @property
    def waiting(self) -> int:
        """See `Store`."""
        return self._records

    @property
    def room(self) -> int:
        """See `Store`."""
        return ROOM

    @property
    def problem(self) -> str:
        """See `Store`."""
        return self._problem

    async def add(self, records: Sequence[Record], *, seconds: float) -> None:
        """See `Store`. After three failures in a row it is left alone for a while, and fails at once."""
        rows = [_row(record) for record in records]
        size = sum([len(row[6]) + len(row[7] or b"") for row in rows])
        if self._breaker.refuses():
            raise self._failed("add", f"left alone for a while: {self._problem}", writing=False)
        job = _Job(lambda db: db.executemany(_ADD, rows) and 0, Future(), records=len(rows), size=size)
        with self._lock:
            full = self._records > 0 and (self._records + len(rows) > ROOM or self._bytes + size > ROOM_BYTES)
            if not full:
                self._records += len(rows)
                self._bytes += size
        if full:
            raise self._failed("add", f"{self._records} records wait already", writing=False)
        self._breaker.started()
        try:
            await self._written("add", job, seconds)
        except StoreError:
            self._breaker.failed()
            raise
        except asyncio.CancelledError:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()

    async def find(self, query: Query, sight: Sight = EVERYTHING) -> Page:
        """See `Store`."""
        wanted = self._alive() & _seen(sight)
        if query.policy is not None:
            wanted &= _Condition("policy = ?", [query.policy])
        if query.action is not None:
            wanted &= _Condition("action = ?", [query.action])
        if query.since is not None:
            wanted &= _Condition("created >= ?", [_micros(query.since)])
        if query.after is not None:
            wanted &= _Condition("(created, id) < (?, ?)", list(_place(query.after)))
        wanted &= _Condition("beside IS NOT NULL" if query.shadow else "beside IS NULL", [])
        # SQLite does not know that shadows are few.
        table = "records INDEXED BY records_by_shadow" if query.shadow else "records"
        sql = f"SELECT created, id, body, texts FROM {table} WHERE {wanted.sql} ORDER BY created DESC, id DESC LIMIT ?"

        def read(db: sqlite3.Connection) -> Page:
            records: list[Record] = []
            size, last = 0, ""
            for created, id, body, texts in db.execute(sql, [*wanted.values, query.limit + 1]):
                if len(records) == query.limit or size >= PAGE_BYTES:
                    return Page(tuple(records), last)
                records.append(_record(body, texts))
                size += len(body) + len(texts or b"")
                last = f"{created}-{id}"
            return Page(tuple(records))

        return await self._read(read)

    async def get(self, id: str, sight: Sight = EVERYTHING) -> Record | None:
        """See `Store`."""
        wanted = self._alive() & _seen(sight) & _Condition("id = ?", [id])

        def read(db: sqlite3.Connection) -> Record | None:
            found = db.execute(f"SELECT body, texts FROM records WHERE {wanted.sql}", wanted.values).fetchone()
            return _record(*found) if found is not None else None

        return await self._read(read)

    async def delete(self, id: str, sight: Sight = EVERYTHING) -> bool:
        """See `Store`."""
        wanted = self._alive() & _seen(sight) & _Condition("id = ?", [id])

        def delete(db: sqlite3.Connection) -> bool:
            found = db.execute(f"DELETE FROM records WHERE {wanted.sql}", wanted.values).rowcount > 0
            if found:
                # The ids of the shadows beside it: the slash comes next after the point.
                db.execute("DELETE FROM records WHERE id > ? AND id < ? AND beside IS NOT NULL", (f"{id}.", f"{id}/"))
            return found

        return bool(await self._written("delete", _Job(delete, Future(), scrub=True), CHANGE_SECONDS))

    async def purge(self) -> int:
        """See `Store`. Also empties the log where that could not be done before, and finds out whether a store that
        failed can be written again."""
        now = _micros(self._wall_clock())
        over = [_Condition("expires <= ?", [now])]
        over += [
            _Condition(f"{column} = ? AND created <= ?", [policy, now - days * DAY])
            for policy, days in self._retention().items()
            for column in ("policy", "beside")
        ]
        purged = 0
        for condition in over:
            sql = (
                f"DELETE FROM records WHERE number IN (SELECT number FROM records WHERE {condition.sql} LIMIT {BATCH})"
            )

            def delete(db: sqlite3.Connection, sql: str = sql, values: list[Any] = condition.values) -> int:
                return db.execute(sql, values).rowcount

            deleted = BATCH
            while deleted == BATCH:
                deleted = await self._written("purge", _Job(delete, Future(), scrub=True), CHANGE_SECONDS)
                purged += deleted
        if self._unscrubbed:
            await self._written("purge", _Job(lambda db: True, Future(), scrub=True), CHANGE_SECONDS)
        if self._problem:
            await self._written("purge", _Job(_touch, Future()), CHANGE_SECONDS)
        return purged

    async def close(self) -> None:
        """See `Store`."""
        if self._writer is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._writer.join, CHANGE_SECONDS)
            self._writer = None
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _written(self, operation: StoreOperation, job: _Job, seconds: float) -> Any:
        """What a job of the writer's gives, once it is committed."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="store-write", daemon=True)
            self._writer.start()
        self._jobs.put(job)
        try:
            async with asyncio.timeout(seconds):
                given = await asyncio.wrap_future(job.done)
        except TimeoutError as exc:
            raise self._failed(operation, f"not within {seconds:g} s") from exc
        except (sqlite3.Error, OSError, StoreError) as exc:
            raise self._failed(operation, _said(exc)) from exc
        # A purge that finds nothing to do writes nothing, and shows nothing.
        if self._problem and (given or operation == "add"):
            self._problem = ""
            self._listener.on_event(StoreStateChanged())
        return given

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with closing(self._open()) as db:
                until = self._clock() + READ_SECONDS
                db.set_progress_handler(lambda: self._clock() > until, 10_000)
                return work(db)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except (sqlite3.Error, OSError, StoreError, msgspec.MsgspecError) as exc:
            raise self._failed("read", _said(exc), writing=False) from exc

    def _failed(self, operation: StoreOperation, error: str, *, writing: bool = True) -> StoreError:
        """The error to raise; listeners are told."""
        self._listener.on_event(StoreFailed(operation, error))
        if writing and error != self._problem:
            self._problem = error
            self._listener.on_event(StoreStateChanged(error))
        return StoreError(f"the store of records failed ({operation}): {error}")

    def _alive(self) -> _Condition:
        """Neither expired nor older than its policy has it now."""
        now = _micros(self._wall_clock())
        days = self._retention()
        if not days:
            return _Condition("expires > ?", [now])
        whens = " ".join(["WHEN ? THEN ?"] * len(days))
        ages = [value for policy, most in days.items() for value in (policy, now - most * DAY)]
        young = [f"created > CASE {column} {whens} ELSE created - 1 END" for column in ("policy", "beside")]
        return _Condition(" AND ".join(["expires > ?", *young]), [now, *ages, *ages])

    def _write(self) -> None:
        """The writer: until it is told to end, and everything before that is done."""
        db: sqlite3.Connection | None = None
        jobs, more = self._taken()
        while jobs or more:
            db = self._run(db, jobs)
            jobs, more = self._taken() if more else ([], False)
        if db is not None:
            db.close()

    def _taken(self) -> tuple[list[_Job], bool]:
        """What is to be done next, waited for; and whether more may come."""
        jobs: list[_Job] = []
        found = self._jobs.get()
        while found is not None:
            jobs.append(found)
            if len(jobs) == GROUP:
                return jobs, True
            try:
                found = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _run(self, db: sqlite3.Connection | None, jobs: list[_Job]) -> sqlite3.Connection | None:
        """Does jobs in one transaction, all of them or none; the connection to go on with."""
        live = [job for job in jobs if job.done.set_running_or_notify_cancel()]
        try:
            try:
                db = db if db is not None else self._open()
                with _transaction(db):
                    given = [job.work(db) for job in live]
            finally:
                # Before anybody is told: who adds again at once finds the room that this took.
                with self._lock:
                    self._records -= sum([job.records for job in jobs])
                    self._bytes -= sum([job.size for job in jobs])
            removed = [job.scrub and bool(value) for job, value in zip(live, given, strict=True)]
            for scrubbed in (False, True):
                # Whoever only adds need not wait for the log.
                if scrubbed and any(removed):
                    self._scrub(db)
                for job, value, later in zip(live, given, removed, strict=True):
                    if later is scrubbed:
                        job.done.set_result(value)
        except Exception as exc:  # noqa: BLE001 (whatever it is, those who wait are told, and the writer goes on)
            for job in live:
                if not job.done.done():
                    job.done.set_exception(exc)
            # What a new connection finds is right, or fails again.
            if db is not None:
                db.close()
            db = None
        return db

    def _scrub(self, db: sqlite3.Connection) -> None:
        """Moves the log into the file and empties it. While somebody else reads that cannot be: `purge` comes back."""
        self._unscrubbed = True
        self._unscrubbed = bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        """A connection to the file, which is made for its owner alone where there is none.

        Raises:
            StoreError: it is a file of somebody else's, or of a newer Guard's.
        """
        os.close(os.open(self._file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        # In the writer's thread, or in one of the readers'; closed where it was opened.
        db = sqlite3.connect(self._file, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA wal_autocheckpoint = 8192")
            form = _form(db)
            if form is None:
                db.execute(f"PRAGMA page_size = {_FILE_PAGE}")
                _use_wal(db)
            if form != _VERSION:
                with _transaction(db):
                    # Another process may have been first.
                    form = _form(db)
                    script = {None: _SCHEMA, 1: _FROM_1, _VERSION: ""}[form]
                    for statement in script.split(";"):
                        db.execute(statement)
        except BaseException:
            db.close()
            raise
        return db


def _touch(db: sqlite3.Connection) -> bool:
    """Writes a page and changes nothing."""
    db.execute(f"PRAGMA user_version = {_VERSION}")
    return True


def _use_wal(db: sqlite3.Connection) -> None:
    """Keeps a log beside the file from now on. For this SQLite waits for nobody, whatever its timeout says."""
    ends = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.005)


def _form(db: sqlite3.Connection) -> int | None:
    """The form of the tables; None where there are none. Raises StoreError where they are somebody else's, or of a form
    that this Guard does not know."""
    # In one statement, so of one moment: between two of them another process may have made the tables.
    application, version, tables = db.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "
        "(SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application == _APPLICATION and 1 <= version <= _VERSION:
        return int(version)
    if application == _APPLICATION:
        raise StoreError(f"the file is in the form {version} of another Guard; this one reads {_VERSION}")
    if application or version or tables:
        raise StoreError("the file is another program's database: name another in GUARD_STORE")
    return None


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # A full disk ends the transaction by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _row(record: Record) -> _Row:
    """A record as the table has it."""
    texts = None
    if record.text is not None:
        texts = _ENCODER.encode(_Texts(record.text, record.context, record.verdict.redacted))
    bare = msgspec.structs.replace(
        record, text=None, context=(), verdict=msgspec.structs.replace(record.verdict, redacted=None)
    )
    body = _ENCODER.encode(bare)
    if texts is not None:
        # JSON may end with spaces.
        body = body.ljust(_FILE_PAGE)
    created, expires = _micros(record.time), _micros(record.expires)
    beside = record.beside.policy if isinstance(record.beside, Beside) else None
    return record.id, created, expires, record.tenant, record.policy, record.action, body, texts, beside


def _record(body: bytes, texts: bytes | None) -> Record:
    record = _RECORD.decode(body)
    if texts is None:
        return record
    said = _TEXTS.decode(texts)
    verdict = msgspec.structs.replace(record.verdict, redacted=said.redacted)
    return msgspec.structs.replace(record, text=said.text, context=said.context, verdict=verdict)


def _seen(sight: Sight) -> _Condition:
    condition = _Condition("TRUE", [])
    if sight.tenant is not None:
        condition &= _Condition("tenant = ?", [sight.tenant])
    if sight.policies:
        marks = ", ".join("?" * len(sight.policies))
        condition &= _Condition(f"policy IN ({marks})", list(sight.policies))
        condition &= _Condition(f"(beside IS NULL OR beside IN ({marks}))", list(sight.policies))
    return condition


def _place(after: str) -> tuple[int, str]:
    """Where a page ended."""
    created, _, id = after.partition("-")
    if not (created.isascii() and created.isdigit() and len(created) <= 17 and id):
        raise InvalidContent("this is no place in the list: send the `next` of the page before", path="?after")
    return int(created), id


def _micros(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


def _said(exc: Exception) -> str:
    """An error in words that name no text and no path."""
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    if isinstance(exc, msgspec.MsgspecError):
        return "a record is damaged"
    if isinstance(exc, sqlite3.OperationalError) and str(exc) == "interrupted":
        return f"not within {READ_SECONDS:g} s: ask for less, by policy or since"
    return str(exc)
