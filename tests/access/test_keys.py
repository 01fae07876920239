"""The file of keys, and whose a key is."""

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from guard.access.keys import Caller, KeyBook, changing, make, read, written
from guard.cli import cli
from guard.errors import ConfigError, Forbidden, Unauthenticated
from tests.access.conftest import NOW


def test_a_key_is_its_owners(key_file):
    """With its rights; its tenant is itself unless the file says otherwise."""
    file, shown = key_file(shop={"policies": ["strict"]}, forum={"tenant": "press", "role": "reviewer"})
    book = KeyBook(file, wall_clock=lambda: NOW)
    assert book.caller(shown["shop"])[1:4] == ("shop", "client", ("strict",))
    assert book.caller(shown["forum"])[1:4] == ("press", "reviewer", ())
    assert book.status.usable == 2


def test_the_file_holds_no_key(key_file):
    """Only hashes; and nobody but its owner may read even those."""
    file, shown = key_file(shop={})
    secret = shown["shop"].rsplit("_", maxsplit=1)[1]
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("wrong", ["", "guard", "guard_", "guard__", "x", "guard_00000000_x", "sk-1234", "guard_é_ü"])
def test_what_is_no_key_is_nobodys(key_file, wrong):
    """Whatever it looks like."""
    file, _ = key_file(shop={})
    with pytest.raises(Unauthenticated):
        KeyBook(file).caller(wrong)


def test_half_a_key_is_none(key_file):
    """The id of one and the secret of another, a shorter and a longer one."""
    file, shown = key_file(shop={}, forum={})
    book = KeyBook(file)
    _, shop, secret = shown["shop"].split("_", maxsplit=2)
    _, forum, _ = shown["forum"].split("_", maxsplit=2)
    for wrong in (
        f"guard_{forum}_{secret}",
        f"guard_{shop}_{secret[:-1]}",
        f"guard_{shop}_{secret}a",
        f"guard_{shop}_",
    ):
        with pytest.raises(Unauthenticated):
            book.caller(wrong)


def test_a_key_ends(key_file):
    """When it expires, and when it is revoked."""
    file, shown = key_file(shop={"expires": NOW + timedelta(days=1)})
    now = [NOW]
    book = KeyBook(file, wall_clock=lambda: now[0])
    assert book.caller(shown["shop"]).id
    now[0] += timedelta(days=1)
    with pytest.raises(Unauthenticated):
        book.caller(shown["shop"])


def test_a_changed_file_is_used_and_a_bad_one_is_kept_out(key_file):
    """The keys before it stay; what is wrong is told once for each state of the file."""
    file, shown = key_file(shop={})
    told: list[object] = []
    book = KeyBook(file, on_status=told.append)
    assert book.refresh() is False
    file.write_text("keys: [{name: 7}]", encoding="utf-8")
    assert book.refresh() is False
    assert "$.keys[0]" in book.status.problem
    assert book.caller(shown["shop"]).id
    assert book.refresh() is False
    file.write_bytes(b"keys: []\n")
    assert book.refresh() is True
    assert (book.status.usable, book.status.problem) == (0, "")
    with pytest.raises(Unauthenticated):
        book.caller(shown["shop"])
    file.unlink()
    assert book.refresh() is False
    assert "cannot be read" in book.status.problem
    assert len(told) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys: {", "no YAML"),
        ("keys: [{id: x}]", "$.keys[0].id"),
        ("nokeys: []", "nokeys"),
        ("", "missing required field `keys`"),
        ("# keys will come", "a file without keys holds `keys: []`"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_refuses_to_start(tmp_path, text, said):
    """With its place."""
    file = tmp_path / "keys.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as refused:
        KeyBook(file)
    assert said in str(refused.value)
    with pytest.raises(ConfigError, match="guard keys create"):
        KeyBook(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "rights",
    [
        {"role": "king"},
        {"policies": ["a"], "default_policy": "b"},
        {"expires": datetime(2027, 1, 1)},  # no zone
        {"rates": {"requests_per_minute": 0}},
    ],
)
def test_rights_that_cannot_be_are_refused(rights):
    """When the key is made."""
    with pytest.raises(ConfigError):
        make("shop", now=NOW, **rights)
    with pytest.raises(ConfigError):
        make("no name", now=NOW)


def test_two_keys_with_one_id_are_a_mistake(key_file):
    """Nobody could say whose request it is."""
    file, _ = key_file(shop={})
    (key,) = read(file)
    written(file, [key, msgspec.structs.replace(key, name="forum")])
    with pytest.raises(ConfigError, match="two keys"):
        read(file)


def test_a_policy_is_the_callers_or_refused():
    """Named, its own default, its first, everybody's; a pin is no way round."""
    assert Caller().policy(None, "default") == "default"
    assert Caller().policy("strict", "default") == "strict"
    assert Caller(default_policy="mild").policy(None, "default") == "mild"
    bound = Caller(policies=("strict", "children"))
    assert bound.policy(None, "default") == "strict"
    assert bound.policy("children@0123", "default") == "children@0123"
    for wrong in ("default", "default@strict", "stricter"):
        with pytest.raises(Forbidden, match="strict, children"):
            bound.policy(wrong, "default")


def test_roles_are_one_above_the_other():
    """An admin may do what a client may."""
    Caller(role="admin").require("reviewer")
    Caller(role="client").require("client")
    with pytest.raises(Forbidden, match="`admin`"):
        Caller(role="reviewer").require("admin")


class TestCommands:
    """`guard keys`."""

    def run(self, *args: str):
        """The result of a command."""
        return CliRunner().invoke(cli, ["keys", *args])

    def test_a_key_is_made_listed_and_revoked(self, tmp_path):
        """It is shown once; the list shows no hash; what is revoked stays in the list."""
        file = str(tmp_path / "folder" / "keys.yaml")
        made = self.run("create", "shop", "--file", file, "--policy", "strict", "--requests-per-minute", "60")
        shown = made.stdout.strip()
        assert made.exit_code == 0, made.output
        book = KeyBook(tmp_path / "folder" / "keys.yaml")
        assert book.caller(shown).rates.requests_per_minute == 60
        (listed,) = self.run("list", "--file", file, "--json").stdout.splitlines()
        told = msgspec.json.decode(listed)
        assert (told["name"], told["policies"], told["valid"]) == ("shop", ["strict"], True)
        assert "sha256" not in told
        assert "shop" in self.run("list", "--file", file).stdout
        assert self.run("revoke", "shop", "--file", file).exit_code == 0
        assert book.refresh()
        with pytest.raises(Unauthenticated):
            book.caller(shown)
        assert '"valid":false' in self.run("list", "--file", file, "--json").stdout
        again = self.run("revoke", "shop", "--file", file)
        assert (again.exit_code, "no valid key" in again.output) == (1, True)

    def test_keys_made_at_the_same_time_are_all_there(self, tmp_path):
        """Nobody overwrites another's."""
        file = str(tmp_path / "keys.yaml")
        threads = [threading.Thread(target=_create, args=(f"shop-{n}", file)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {key.name for key in read(tmp_path / "keys.yaml")} == {f"shop-{n}" for n in range(8)}
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith("tmp")] == []

    def test_days_are_counted_from_now(self, tmp_path):
        """And end."""
        file = str(tmp_path / "keys.yaml")
        self.run("create", "shop", "--file", file, "--days", "30")
        (key,) = read(tmp_path / "keys.yaml")
        assert key.expires is not None
        assert timedelta(days=29) < key.expires - datetime.now(UTC) <= timedelta(days=30)


def _create(name: str, file: str) -> None:
    key, _ = make(name, now=NOW)
    path = Path(file)
    with changing(path):
        written(path, [*(read(path) if path.exists() else ()), key])
