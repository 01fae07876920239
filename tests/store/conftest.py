"""Stores in files of their own, and records to put into them."""

import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from guard.content import Rail
from guard.store import Beside, Record, Store
from guard.store.sqlite import SqliteStore
from guard.testing import Recorder
from guard.verdict import Assessment, CategoryVerdict, Score, Verdict

VERDICT = Verdict(
    action="flag",
    flagged=True,
    categories={"hate": CategoryVerdict(0.6, 0.5, violated=True, action="flag", source="encoder")},
)


class WallClock:
    """The time of day, which only the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def step(self, **passed: float) -> None:
        self.now += timedelta(**passed)


@pytest.fixture
def wall_clock() -> WallClock:
    return WallClock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def retention() -> dict[str, int]:
    """The days of the policies as they are now; the test may change them."""
    return {}


@pytest.fixture
def make_record(wall_clock: WallClock) -> Callable[..., Record]:
    """A record of now, for ten days; keywords are its fields."""

    def make(*, days: float = 10, **fields: Any) -> Record:
        given = {
            "id": f"mod_{secrets.token_hex(12)}-0", "time": wall_clock(),
            "expires": wall_clock() + timedelta(days=days),
            "request_id": "r1", "tenant": "shop", "key": "web", "route": "moderate", "policy": "forum",
            "fingerprint": "f" * 32, "screen": "fixed", "judge": None, "rail": Rail.INPUT, "role": "user",
            "action": "flag", "verdict": VERDICT, "assessment": Assessment({"hate": Score(0.6, "encoder")}),
        }  # fmt: skip
        return Record(**(given | fields))

    return make


def a_flip(make_record: Callable[..., Record], record: Record, *, candidate: str = "tried", **fields: Any) -> Record:
    """What a candidate would have said of the text of a record: it blocks."""
    beside = Beside(record.id, record.policy, record.fingerprint, record.action, ())
    more = {"id": f"{record.id}.{candidate}", "policy": candidate, "tenant": record.tenant}
    return make_record(route="shadow", action="block", beside=beside, **(more | fields))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
async def open_sqlite(
    file: Path, wall_clock: WallClock, recorder: Recorder, retention: dict[str, int]
) -> AsyncIterator[Callable[[], SqliteStore]]:
    """Opens the file's store, as often as one likes."""
    opened: list[Store] = []

    def open_one() -> SqliteStore:
        store = SqliteStore(file, listener=recorder, retention=lambda: retention, wall_clock=wall_clock)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, open_sqlite: Callable[[], SqliteStore]) -> Store:
    """Every implementation in turn: `open_NAME` makes one."""
    assert request.param == "sqlite"
    return open_sqlite()
