"""`guard records` on the file of a store."""

import asyncio
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guard.content import Rail, Turn
from guard.store import Record
from guard.store.sqlite import SqliteStore
from guard.telemetry import Listeners
from guard.verdict import Assessment, Score, Verdict
from tests.cli.test_cli import guard, read_lines


def a_record(number: int, **fields: object) -> Record:
    """One of five minutes ago and `number` seconds."""
    time = datetime.now(UTC) - timedelta(minutes=5) + timedelta(seconds=number)
    given = {
        "id": f"mod_{number}-0", "time": time, "expires": time + timedelta(days=2), "request_id": "", "tenant": "shop",
        "key": "web", "route": "moderate", "policy": "default", "fingerprint": "f", "screen": "s", "judge": None,
        "rail": Rail.INPUT, "role": "user", "action": "block", "verdict": Verdict("block", flagged=True, categories={}),
        "assessment": Assessment({"hate": Score(0.95, "encoder")}), "text": f"Text {number}.",
        "context": (Turn("assistant", "Before."),),
    }  # fmt: skip
    return Record(**(given | fields))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A file with five records: one expired, one without a text."""
    file = tmp_path / "records.db"
    records = [
        a_record(1), a_record(2, action="flag"), a_record(3, text=None, context=()), a_record(4, policy="strict"),
        a_record(5, expires=datetime.now(UTC) - timedelta(seconds=1)),
    ]  # fmt: skip

    async def fill() -> None:
        kept = SqliteStore(file, listener=Listeners())
        await kept.add(records, seconds=5)
        await kept.close()

    asyncio.run(fill())
    return str(file)


def test_list_shows_records_newest_first(store: str):
    """As a table without texts, or whole as JSON; what has expired is not shown."""
    table = guard("records", "list", GUARD_STORE=store)
    assert table.returncode == 0, table.stderr
    assert [word for word in table.stdout.split() if word.startswith("mod_")] == [
        "mod_4-0", "mod_3-0", "mod_2-0", "mod_1-0",
    ]  # fmt: skip
    assert "Text" not in table.stdout
    lines = guard("records", "list", "--json", "--limit", 2, "--store", f"sqlite:///{store}").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["Text 4.", None]
    wanted = ("--policy", "default", "--action", "block", "--since", f"{datetime.now(UTC):%Y-%m-%d}")
    assert len(guard("records", "list", "--json", *wanted, GUARD_STORE=store).stdout.splitlines()) == 2


def test_show_prints_one_record(store: str):
    """With its text; an id that there is not is an error."""
    assert json.loads(guard("records", "show", "mod_1-0", GUARD_STORE=store).stdout)["text"] == "Text 1."
    for id in ("mod_9-0", "mod_5-0"):
        missing = guard("records", "show", id, GUARD_STORE=store)
        assert (missing.returncode, missing.stdout) == (2, "")
        assert id in missing.stderr


def test_what_is_exported_can_be_scanned_again(store: str, tmp_path: Path):
    """Each row has all that a replay needs; those without a text are counted."""
    out = tmp_path / "out.jsonl"
    done = guard("records", "export", "--policy", "default", "-o", out, GUARD_STORE=store)
    assert done.stderr.strip() == "2 records written, 1 left out that have no text"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first, _ = read_lines(out)
    assert (first["text"], first["action"], first["rail"], first["role"]) == ("Text 2.", "flag", "input", "user")
    assert first["context"] == [{"role": "assistant", "text": "Before."}]
    assert first["scores"] == {"hate": 0.95}
    assert guard("records", "export", "-o", out, GUARD_STORE=store).returncode == 2
    assert guard("records", "export", "-o", out, "--overwrite", GUARD_STORE=store).returncode == 0
    assert guard("records", "export", GUARD_STORE=store).stdout.encode() == out.read_bytes()
    again = tmp_path / "again.jsonl"
    assert guard("scan", out, "-o", again, "--quiet").returncode == 0
    assert all(row["result"]["action"] == "allow" for row in read_lines(again))


def test_delete_and_purge_leave_nothing_in_the_file(store: str, tmp_path: Path):
    """By id, and by time; what there is not is named."""
    before = Path(store).read_bytes()
    assert all(text in before for text in (b"Text 1.", b"Text 4.", b"Text 5."))
    done = guard("records", "delete", "mod_4-0", "mod_9-0", GUARD_STORE=store)
    assert done.returncode == 2
    assert "1 record deleted" in done.stderr
    assert "mod_9-0" in done.stderr
    assert guard("records", "purge", GUARD_STORE=store).stderr.strip() == "1 expired record deleted"
    left = Path(store).read_bytes()
    assert b"Text 1." in left
    assert not any(text in left for text in (b"Text 4.", b"Text 5."))


def test_records_go_by_the_policies_as_they_are(store: str, tmp_path: Path):
    """What a policy no longer keeps is neither shown nor kept."""
    old = a_record(7, time=datetime.now(UTC) - timedelta(days=40), expires=datetime.now(UTC) + timedelta(days=900))

    async def add() -> None:
        kept = SqliteStore(Path(store), listener=Listeners())
        await kept.add([old], seconds=5)
        await kept.close()

    asyncio.run(add())
    assert guard("records", "show", old.id, GUARD_STORE=store).returncode == 2
    assert guard("records", "purge", GUARD_STORE=store).stderr.strip() == "2 expired records deleted"


@pytest.mark.parametrize(
    ("setting", "words"),
    [("", "set GUARD_STORE"), ("{}/none.db", "there is no file"), ("postgresql://host/guard", "names no store")],
)
def test_a_store_that_is_not_there_is_an_error(tmp_path: Path, setting: str, words: str):
    """And no file is made for a slip of the pen."""
    done = guard("records", "list", GUARD_STORE=setting.format(tmp_path))
    assert done.returncode == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []
