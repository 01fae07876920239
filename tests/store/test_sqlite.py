"""The file: who shares it, what may happen to it, and what stays in it."""

import asyncio
import os
import random
import secrets
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from guard.content import Turn
from guard.errors import ConfigError, StoreError
from guard.store import Query, Record, sqlite
from guard.store.sqlite import SqliteStore, file_of
from guard.telemetry import Listeners, StoreFailed, StoreStateChanged
from guard.testing import Recorder
from tests.privacy.canaries import Canaries, found
from tests.store.conftest import WallClock, a_flip

Make = Callable[..., Record]
Open = Callable[[], SqliteStore]


def kept(file: Path) -> dict[str, bytes]:
    """The bytes of the file and of those beside it, by name."""
    return {path.name: path.read_bytes() for path in file.parent.glob(f"{file.name}*")}


def without_pause(store: SqliteStore) -> None:
    """Lets a store that failed be tried again at once."""
    store._breaker.succeeded()


async def test_the_file_is_its_owners_alone(open_sqlite: Open, make_record: Make, file: Path):
    """It holds texts; so do the log and the index beside it."""
    before = os.umask(0)
    try:
        await open_sqlite().add([make_record(text="a text")], seconds=5)
        assert len(kept(file)) == 3
        assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


async def test_several_write_to_one_file(open_sqlite: Open, make_record: Make):
    """As replicas do: every record is there, and none fails for another's sake."""
    stores = [open_sqlite() for _ in range(4)]
    await asyncio.gather(*[store.add([make_record()], seconds=10) for _ in range(40) for store in stores])
    page = await stores[0].find(Query(limit=200))
    assert len(page.records) == 160
    purged = await asyncio.gather(*[store.purge() for store in stores])
    assert purged == [0] * 4


async def test_what_waits_goes_in_together(open_sqlite: Open, make_record: Make, file: Path):
    """A hundred calls at once are far fewer transactions; else each would pay for its own."""
    store = open_sqlite()
    await store.add([make_record()], seconds=5)
    opened, hold = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def wait(db: sqlite3.Connection) -> int:
        loop.call_soon_threadsafe(opened.set)
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(5)
        db.set_trace_callback(lambda sql: seen.append(1) if sql == "COMMIT" else None)
        return 0

    first = asyncio.create_task(store._written("add", sqlite._Job(wait, sqlite.Future()), 10))
    await opened.wait()
    others = [asyncio.create_task(store.add([make_record()], seconds=10)) for _ in range(100)]
    await asyncio.sleep(0.05)
    assert store.waiting == 100
    hold.set()
    await asyncio.gather(first, *others)
    assert len(seen) == 2


async def test_a_call_that_leaves_while_it_waits_leaves_nothing(open_sqlite: Open, make_record: Make):
    """Its records are taken out of the queue, and its neighbours' stay."""
    store = open_sqlite()
    loop = asyncio.get_running_loop()
    opened, hold = asyncio.Event(), asyncio.Event()

    def wait(db: sqlite3.Connection) -> int:
        loop.call_soon_threadsafe(opened.set)
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(5)
        return 0

    first = asyncio.create_task(store._written("add", sqlite._Job(wait, sqlite.Future()), 10))
    await opened.wait()
    left, stays = make_record(), make_record()
    leaving = asyncio.create_task(store.add([left], seconds=10))
    staying = asyncio.create_task(store.add([stays], seconds=10))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    hold.set()
    await asyncio.gather(first, staying)
    assert [record.id for record in (await store.find(Query())).records] == [stays.id]
    assert store.waiting == 0


async def test_no_more_wait_than_there_is_room_for(
    open_sqlite: Open, make_record: Make, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
):
    """Counted in records and in bytes; what is too much is refused at once, and that is no fault of the file's."""
    store = open_sqlite()
    loop = asyncio.get_running_loop()
    opened, hold = asyncio.Event(), asyncio.Event()

    def wait(db: sqlite3.Connection) -> int:
        loop.call_soon_threadsafe(opened.set)
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(5)
        return 0

    monkeypatch.setattr(sqlite, "ROOM", 5)
    monkeypatch.setattr(sqlite, "ROOM_BYTES", 100_000)
    first = asyncio.create_task(store._written("add", sqlite._Job(wait, sqlite.Future()), 10))
    await opened.wait()
    waiting = [asyncio.create_task(store.add([make_record(), make_record()], seconds=10)) for _ in range(2)]
    await asyncio.sleep(0.01)
    for record in ([make_record(), make_record()], [make_record(text="x" * 100_000)]):
        with pytest.raises(StoreError, match="4 records wait already"):
            await store.add(record, seconds=10)
    hold.set()
    await asyncio.gather(first, *waiting)
    assert store.problem == ""
    # What is larger than all the room there is goes in where nothing else waits; who was told is no longer waiting.
    for _ in range(50):
        await store.add([make_record(text="x" * 200_000)], seconds=10)


async def test_a_full_file_is_a_failure_and_heals(
    open_sqlite: Open, make_record: Make, monkeypatch, recorder: Recorder
):
    """SQLite's own word for a full disk; nothing of the call is kept, what was there stays, reading goes on."""
    first = make_record()
    store = open_sqlite()
    await store.add([first], seconds=5)
    await store.close()
    opened = SqliteStore._open

    def full(self: SqliteStore) -> sqlite3.Connection:
        db = opened(self)
        db.execute("PRAGMA max_page_count = 20")
        return db

    monkeypatch.setattr(SqliteStore, "_open", full)
    store = open_sqlite()
    small, large = make_record(), make_record(text="x" * 100_000)
    with pytest.raises(StoreError, match="database or disk is full"):
        await store.add([small, large], seconds=5)
    assert store.problem == "database or disk is full"
    assert [record.id for record in (await store.find(Query())).records] == [first.id]
    without_pause(store)
    await store.add([small], seconds=5)
    assert store.problem == ""
    told = [event for event in recorder.events if isinstance(event, StoreFailed | StoreStateChanged)]
    assert told == [
        StoreFailed("add", "database or disk is full"),
        StoreStateChanged("database or disk is full"),
        StoreStateChanged(),
    ]


async def test_a_store_that_nobody_uses_finds_out_that_it_can_be_written_again(
    open_sqlite: Open, make_record: Make, monkeypatch: pytest.MonkeyPatch
):
    """With the next purge, which writes something for it; a purge with nothing to do is no sign of health."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    store = open_sqlite()
    await store.purge()
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_ADD", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        with pytest.raises(StoreError, match="no such table"):
            await store.add([make_record()], seconds=5)
        patch.setattr(sqlite, "_touch", lambda db: db.execute(sqlite._ADD))
        with pytest.raises(StoreError):
            await store.purge()
        assert store.problem
    assert await store.purge() == 0
    assert store.problem == ""


async def test_a_locked_file_is_waited_for_and_then_a_failure(
    open_sqlite: Open, make_record: Make, file: Path, monkeypatch: pytest.MonkeyPatch
):
    """Never longer than the call may wait; once it is free again all goes on."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.3)
    store = open_sqlite()
    await store.add([make_record()], seconds=5)
    await store.close()
    store = open_sqlite()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreError, match=r"not within 0\.1 s"):
            await store.add([make_record()], seconds=0.1)
        assert asyncio.get_running_loop().time() - began < 1
        with pytest.raises(StoreError, match="locked"):
            await store.add([make_record()], seconds=5)
        other.execute("COMMIT")
    without_pause(store)
    await store.add([make_record()], seconds=5)
    assert store.problem == ""


async def test_a_store_that_fails_is_left_alone_for_a_while(open_sqlite: Open, make_record: Make, file: Path):
    """After three failures calls fail at once, without another try; then one is tried."""
    file.write_bytes(b"no database, and long enough to be one" * 100)
    store = open_sqlite()
    for _ in range(3):
        with pytest.raises(StoreError, match="file is not a database"):
            await store.add([make_record()], seconds=5)
    with pytest.raises(StoreError, match="left alone for a while: file is not a database"):
        await store.add([make_record()], seconds=5)
    file.unlink()
    await asyncio.sleep(0.7)
    await store.add([make_record()], seconds=5)
    assert store.problem == ""


@pytest.mark.parametrize("operation", ["add", "find", "get", "delete", "purge"])
async def test_a_damaged_file_is_a_failure_of_every_operation(
    open_sqlite: Open, make_record: Make, file: Path, operation: str, recorder: Recorder
):
    """StoreError and nothing else; listeners hear of it, and neither of them quotes the file."""
    store = open_sqlite()
    record = make_record(text="canary")
    await store.add([record], seconds=5)
    await store.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + b"\xa5" * (len(whole) - 100))
    store = open_sqlite()
    calls = {
        "add": lambda: store.add([record], seconds=5), "find": lambda: store.find(Query()),
        "get": lambda: store.get("x"), "delete": lambda: store.delete("x"), "purge": store.purge,
    }  # fmt: skip
    with pytest.raises(StoreError) as caught:
        await calls[operation]()
    assert "canary" not in str(caught.value)
    assert str(file) not in str(caught.value)
    assert [event.operation for event in recorder.events if isinstance(event, StoreFailed)] == [
        {"find": "read", "get": "read"}.get(operation, operation)
    ]


@pytest.fixture
def readable_alone() -> Iterator[Path]:
    """A folder where a file may be that nobody may write: root, who may everything, is somebody else meanwhile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    mine = os.geteuid()
    try:
        yield folder
    finally:
        os.seteuid(mine)
        shutil.rmtree(folder)


async def test_a_file_that_cannot_be_written_can_be_read(make_record: Make, readable_alone: Path, recorder: Recorder):
    """What was kept is shown; nothing is added."""
    file = readable_alone / "records.db"
    store = SqliteStore(file, listener=recorder)
    record = make_record(days=36_500)
    await store.add([record], seconds=5)
    await store.close()
    file.chmod(0o444)
    if os.geteuid() == 0:
        os.seteuid(65_534)
    store = SqliteStore(file, listener=recorder)
    with pytest.raises(StoreError, match="attempt to write a readonly database"):
        await store.add([make_record()], seconds=5)
    assert store.problem
    assert await store.get(record.id) == record
    await store.close()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("CREATE TABLE theirs (x)", "another program's database"),
        ("PRAGMA application_id = 7", "another program's database"),
        (
            f"PRAGMA application_id = {sqlite._APPLICATION}; PRAGMA user_version = 3",
            "form 3 of another Guard; this one reads 2",
        ),
    ],
)
async def test_a_file_of_somebody_elses_is_left_as_it_is(
    open_sqlite: Open, make_record: Make, file: Path, made: str, message: str
):
    """Another program's, or a newer Guard's: nothing is written into it, not even its journal's mode."""
    with closing(sqlite3.connect(file)) as db:
        db.executescript(made)
    before = file.read_bytes()
    with pytest.raises(StoreError, match=message):
        await open_sqlite().add([make_record()], seconds=5)
    assert file.read_bytes() == before


async def test_a_search_without_end_ends(open_sqlite: Open, make_record: Make, monkeypatch: pytest.MonkeyPatch):
    """A reader's question has a time too."""
    store = open_sqlite()
    await store.add([make_record() for _ in range(3_000)], seconds=20)
    monkeypatch.setattr(sqlite, "READ_SECONDS", -1.0)
    with pytest.raises(StoreError, match="ask for less, by policy or since"):
        await store.find(Query(action="block"))


async def test_nothing_of_a_deleted_or_expired_text_stays(
    open_sqlite: Open, make_record: Make, file: Path, wall_clock: WallClock
):
    """Added and removed in any order, so that rows are moved about in the file; what is kept is there, to the byte."""
    store = open_sqlite()
    some = random.Random(7)
    there: dict[str, Record] = {}
    gone: set[str] = set()
    for _ in range(600):
        said = secrets.token_hex(12)
        text = f"{'before ' * some.choice([0, 3, 200])}{said}{' behind' * some.choice([0, 30, 2_000])}"
        record = make_record(text=text, context=(Turn("user", said),), days=some.choice([1, 20]))
        await store.add([record], seconds=10)
        there[said] = record
        if some.random() < 0.45:
            said = some.choice(list(there))
            assert await store.delete(there.pop(said).id)
            gone.add(said)

    def found(canaries: Iterable[str]) -> set[str]:
        everything = b"".join(kept(file).values())
        return {said for said in canaries if said.encode() in everything}

    assert found(gone) == set()
    wall_clock.step(days=2)
    gone |= {said for said, record in there.items() if record.expires < wall_clock()}
    held = there.keys() - gone
    assert len(gone) > 300
    assert len(held) > 80
    await store.purge()
    assert found(gone) == set()
    assert found(held) == held


async def test_a_log_that_could_not_be_emptied_is_emptied_later(
    open_sqlite: Open, make_record: Make, file: Path, monkeypatch: pytest.MonkeyPatch
):
    """While another process reads, the text of a deleted record stays in the log; with the next purge it goes."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    store = open_sqlite()
    canaries = Canaries()
    record = make_record(text=canaries["text"])
    await store.add([record], seconds=5)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM records").fetchone()
        assert await store.delete(record.id)
        assert found(canaries, kept(file))
    assert await store.purge() == 0
    assert found(canaries, kept(file)) == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("{}/records.db", "{}/records.db"),
        ("sqlite:///{}/records.db", "{}/records.db"),
        ("sqlite:///records.db", "records.db"),
        ("records.db", "records.db"),
    ],
)
def test_a_setting_names_a_file(tmp_path: Path, monkeypatch, setting: str, expected: str):
    """As a path, or as an address with three slashes before it."""
    monkeypatch.chdir(tmp_path)
    assert file_of(setting.format(tmp_path)) == Path(expected.format(tmp_path))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("postgresql://host/guard", "`postgresql://` names no store: give a file's path, or sqlite:///PATH"),
        ("sqlite://host/x", "`sqlite://` names no store"),
        ("sqlite:///", "names no store"),
        ("{}", "is a folder: name a file in it"),
        ("{}/none/records.db", "there is no folder"),
    ],
)
def test_a_setting_that_names_no_file_refuses_to_start(tmp_path: Path, setting: str, message: str):
    """With what to write instead."""
    with pytest.raises(ConfigError, match=message):
        file_of(setting.format(tmp_path))


FORM_1 = f"""
PRAGMA page_size = 1024;
PRAGMA journal_mode = WAL;
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    policy TEXT NOT NULL,
    action TEXT NOT NULL,
    body BLOB NOT NULL,
    texts BLOB
);
CREATE INDEX records_by_time ON records (created, id);
CREATE INDEX records_by_tenant ON records (tenant, created, id);
CREATE INDEX records_by_policy ON records (policy, created, id);
CREATE INDEX records_by_expiry ON records (expires);
PRAGMA application_id = {sqlite._APPLICATION};
PRAGMA user_version = 1;
"""
"""The file of a Guard that kept no records of shadows."""
ADD_1 = (
    "INSERT INTO records (id, created, expires, tenant, policy, action, body, texts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def of_form_1(file: Path, records: Iterable[Record]) -> None:
    """A file as that Guard left it."""
    with closing(sqlite3.connect(file)) as db:
        db.executescript(FORM_1)
        with db:
            db.executemany(ADD_1, [sqlite._row(record)[:8] for record in records])


async def test_a_file_of_an_older_guard_is_brought_up_to_date_in_place(
    open_sqlite: Open, make_record: Make, file: Path, wall_clock: WallClock
):
    """All that was in it is found, expires and is deleted without a trace; shadows go into it; it is done once."""
    long = secrets.token_hex(3_000)
    old = [make_record(text=long), make_record(days=1, tenant="forum"), make_record()]
    of_form_1(file, old)
    stores = [open_sqlite() for _ in range(4)]
    pages = await asyncio.gather(*[store.find(Query()) for store in stores])
    assert all({record.id for record in page.records} == {record.id for record in old} for page in pages)
    store = stores[0]
    assert await store.get(old[0].id) == old[0]
    assert (await store.find(Query(shadow=True))).records == ()
    flip = a_flip(make_record, old[0])
    await store.add([flip, make_record()], seconds=5)
    assert (await store.find(Query(shadow=True))).records == (flip,)
    assert await store.delete(old[0].id)
    assert await store.get(flip.id) is None
    assert not [name for name, bytes in kept(file).items() if long[:40].encode() in bytes]
    wall_clock.step(days=2)
    assert await store.purge() == 1
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        columns = [row[1] for row in db.execute("PRAGMA table_info(records)")]
        fresh = sqlite3.connect(":memory:")
        fresh.executescript(sqlite._SCHEMA)
        assert columns == [row[1] for row in fresh.execute("PRAGMA table_info(records)")]
        fresh.close()


async def test_shadows_are_found_by_their_own_index(open_sqlite: Open, make_record: Make, file: Path):
    """They are few among many: looking for them, or for those that are too old, reads no other row."""
    record = make_record()
    await open_sqlite().add([record, a_flip(make_record, record)], seconds=5)
    with closing(sqlite3.connect(file)) as db:
        for sql in (
            "SELECT id FROM records INDEXED BY records_by_shadow WHERE tenant = 'x' AND beside IS NOT NULL "
            "ORDER BY created DESC, id DESC",
            "SELECT number FROM records WHERE beside = 'forum' AND created <= 5 LIMIT 500",
        ):
            plan = str(db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())
            assert "records_by_shadow" in plan
            assert "TEMP" not in plan


def test_several_may_bring_a_file_up_to_date(tmp_path: Path):
    """Replicas start together after an update: one does it, and none fails."""
    failed: list[BaseException] = []

    def open_one(store: SqliteStore) -> None:
        try:
            store._open().close()
        except (sqlite3.Error, StoreError) as exc:
            failed.append(exc)

    for number in range(20):
        file = tmp_path / f"{number}.db"
        of_form_1(file, [])
        stores = [SqliteStore(file, listener=Listeners()) for _ in range(5)]
        threads = [threading.Thread(target=open_one, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_several_may_be_the_first_at_a_new_file(tmp_path: Path):
    """Replicas start together: each finds the tables, whoever made them."""
    failed: list[BaseException] = []

    def open_one(store: SqliteStore) -> None:
        try:
            store._open().close()
        except (sqlite3.Error, StoreError) as exc:
            failed.append(exc)

    for number in range(30):
        file = tmp_path / f"{number}.db"
        threads = [
            threading.Thread(target=open_one, args=(SqliteStore(file, listener=Listeners(), retention=dict),))
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
