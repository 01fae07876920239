"""The book of loaded policies: hot reload, pins, and what a bad edit does not do."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from guard.errors import InvalidPolicy, PolicyNotFound, Problem
from guard.policy import BookStatus, PatternNames, Policy, PolicyBook

Write = Callable[[str, str], Path]


class Clock:
    """Wall time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Starts at 1000."""
    return Clock()


@pytest.fixture
def book(write: Write, folder: Path, patterns: PatternNames, forum: str, clock: Clock) -> PolicyBook:
    """A book with the one policy `forum`."""
    write("forum", forum)
    return PolicyBook(folder, patterns, wall_clock=clock)


def test_an_edit_is_picked_up_by_the_next_look(book: PolicyBook, write: Write, forum: str, clock: Clock):
    """The new policy answers under the old name, and the status says since when."""
    before = book["forum"]
    write("forum", forum.replace("0.9", "0.95"))
    clock.now = 2_000.0
    assert book["forum"] is before
    assert book.refresh() is True
    assert book["forum"].spec.categories["hate"].thresholds.block == 0.95
    assert book.status == BookStatus(loaded_at=2_000.0, reloads=1, rejected=0)
    assert book.refresh() is False


def test_an_unchanged_folder_is_not_read_again(book: PolicyBook, forum: str):
    """Looking is cheap: the same objects stay in use."""
    before = book["forum"]
    assert book.refresh() is False
    assert book["forum"] is before
    assert book.status == BookStatus(loaded_at=1_000.0, reloads=0, rejected=0)


def test_a_bad_edit_keeps_the_old_and_a_repair_clears_it(book: PolicyBook, write: Write, forum: str, clock: Clock):
    """A typing mistake in a running service changes nothing but the status."""
    before = book["forum"]
    file = write("forum", forum.replace("block: 0.9", "block: 0.1"))
    clock.now = 2_000.0
    assert book.refresh() is False
    assert book["forum"] is before
    message = "thresholds must climb: `block` (0.1) is below `review` (0.7)"
    problem = Problem(str(file), 9, "$.categories.hate.thresholds.block", message)
    assert book.status == BookStatus(loaded_at=1_000.0, reloads=0, rejected=1, problems=(problem,))

    assert book.refresh() is False
    assert book.status.rejected == 1

    write("forum", forum.replace("block: 0.9", "block: 0.99"))
    assert book.refresh() is True
    assert book.status == BookStatus(loaded_at=2_000.0, reloads=1, rejected=1)
    assert book["forum"].spec.categories["hate"].thresholds.block == 0.99


def test_one_bad_policy_keeps_all_old_ones(book: PolicyBook, write: Write, forum: str):
    """Policies extend one another, so they change together or not at all."""
    before = book["forum"]
    write("forum", forum.replace("0.9", "0.95"))
    write("other", "nonsense")
    assert book.refresh() is False
    assert book["forum"] is before
    assert len(book) == 1


def test_added_and_deleted_policies_are_noticed(book: PolicyBook, write: Write, folder: Path, forum: str):
    """A new folder is a new policy; a deleted one is gone, with a message that names the rest."""
    write("board", forum.replace("name: forum", "name: board"))
    assert book.refresh() is True
    assert [policy.name for policy in book] == ["board", "forum"]
    assert len(book) == 2
    shutil.rmtree(folder / "forum")
    assert book.refresh() is True
    with pytest.raises(PolicyNotFound, match="no policy `forum`; loaded: board"):
        book["forum"]


def test_a_vanished_folder_keeps_the_policies(book: PolicyBook, folder: Path):
    """An unmounted volume must not switch moderation off; when it comes back, so does its state."""
    hidden = folder.rename(folder.parent / "hidden")
    assert book.refresh() is False
    assert book["forum"].name == "forum"
    assert book.status.problems == (Problem(str(folder), 0, "$", "no such folder"),)
    hidden.rename(folder)
    assert book.refresh() is True
    assert book.status.problems == ()


def test_a_pin_insists_on_one_version(book: PolicyBook, write: Write, forum: str):
    """`name@fingerprint` answers for that version only, and says which one is loaded."""
    pinned = f"forum@{book['forum'].fingerprint}"
    assert book[pinned] is book["forum"]
    write("forum", forum.replace("0.9", "0.95"))
    book.refresh()
    loaded = book["forum"].fingerprint
    with pytest.raises(PolicyNotFound, match=f"is not at fingerprint `{pinned[6:]}`; loaded is `{loaded}`"):
        book[pinned]


@pytest.mark.parametrize("name", ["forum@", "@", "@abc", "forum@@", "forum@@abc", "forum@abc@"])
def test_half_a_name_is_not_taken_for_a_whole_one(book: PolicyBook, name: str):
    """Who writes an `@` means a version; the error says how to write one."""
    with pytest.raises(PolicyNotFound, match=f"`{name}` is not a policy's name, or its name, `@` and a finger.*forum"):
        book[name]


def test_an_error_does_not_repeat_a_name_without_end(book: PolicyBook):
    """However long what was sent is."""
    for name in ("x" * 100_000, "forum@" + "x" * 100_000, "x" * 100_000 + "@"):
        with pytest.raises(PolicyNotFound) as refused:
            book[name]
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["", "Forum", "forum ", "nope@abc"])
def test_an_unknown_name_is_told_what_is_loaded(book: PolicyBook, name: str):
    """Names are exact."""
    with pytest.raises(PolicyNotFound, match="loaded: forum"):
        book[name]


def test_a_bad_folder_refuses_to_start(write: Write, folder: Path, patterns: PatternNames):
    """At construction there is nothing older to keep."""
    write("forum", "nonsense")
    with pytest.raises(InvalidPolicy):
        PolicyBook(folder, patterns)


def test_policies_are_prepared_before_they_are_used(write: Write, folder: Path, patterns: PatternNames, forum: str):
    """`on_load` sees the new policies while the book still answers with the old ones."""
    write("forum", forum)
    seen: list[tuple[str, str | None]] = []
    books: list[PolicyBook] = []

    def on_load(policies: Mapping[str, Policy]) -> None:
        in_use = books[0]["forum"].fingerprint if books else None
        seen.append((policies["forum"].fingerprint, in_use))

    books.append(PolicyBook(folder, patterns, on_load=on_load))
    first = books[0]["forum"].fingerprint
    write("forum", forum.replace("0.9", "0.95"))
    assert books[0].refresh()
    assert seen == [(first, None), (books[0]["forum"].fingerprint, first)]


def test_policies_that_cannot_be_prepared_are_not_used(write: Write, folder: Path, patterns: PatternNames, forum: str):
    """`on_load` may refuse with problems, as a bad file would; a repair is tried like any other."""
    problem = Problem("forum/policy.yaml", 1, "$", "too many terms")

    def on_load(policies: Mapping[str, Policy]) -> None:
        if policies["forum"].spec.store_texts:
            raise InvalidPolicy([problem])

    write("forum", forum)
    book = PolicyBook(folder, patterns, on_load=on_load)
    before = book["forum"]
    write("forum", f"{forum}store_texts: true\n")
    assert book.refresh() is False
    assert book["forum"] is before
    assert book.status.problems == (problem,)
    write("forum", f"{forum}store_texts: false\n")
    assert book.refresh() is True


def test_a_crash_while_preparing_keeps_the_old_and_is_tried_again(
    write: Write, folder: Path, patterns: PatternNames, forum: str
):
    """An error that is no problem of the policy is shown, the watch goes on, and the edit is not forgotten."""
    faults: list[Exception] = []

    def on_load(policies: Mapping[str, Policy]) -> None:
        if faults:
            raise faults.pop()

    write("forum", forum)
    book = PolicyBook(folder, patterns, on_load=on_load)
    before = book["forum"]
    write("forum", forum.replace("0.9", "0.95"))
    faults.append(MemoryError("no room for the automaton"))
    assert book.refresh() is False
    assert "MemoryError: no room for the automaton" in book.status.problems[0].message
    assert book["forum"] is before
    assert book.refresh() is True
    assert book["forum"] is not before


def test_listeners_hear_of_every_change_and_of_nothing_else(
    write: Write, folder: Path, patterns: PatternNames, forum: str
):
    """One status per reload or rejection."""
    heard: list[BookStatus] = []
    write("forum", forum)
    book = PolicyBook(folder, patterns, on_status=heard.append)
    book.refresh()
    write("forum", "nonsense")
    book.refresh()
    book.refresh()
    write("forum", f"{forum}mode: questions\n")
    book.refresh()
    assert [(status.reloads, status.rejected, bool(status.problems)) for status in heard] == [
        (0, 1, True),
        (1, 1, False),
    ]


def test_a_text_is_validated_without_being_loaded(book: PolicyBook, forum: str):
    """It may extend what is loaded, and leaves the book as it was."""
    child = "version: 1\nname: child\nextends: forum\ndescription: X.\nstore_texts: true\n"
    assert book.validate(child).spec.store_texts
    assert [policy.name for policy in book] == ["forum"]
    with pytest.raises(InvalidPolicy):
        book.validate("version: 1\n")


async def test_watching_picks_up_an_edit(book: PolicyBook, write: Write, forum: str):
    """Within an interval or two, without a restart and without a bad file stopping it."""
    watcher = asyncio.create_task(book.watch(every=0.01))
    try:
        async with asyncio.timeout(10):
            write("forum", "nonsense")
            while not book.status.problems:
                await asyncio.sleep(0.005)
            write("forum", f"{forum}store_texts: true\n")
            while not book["forum"].spec.store_texts:
                await asyncio.sleep(0.005)
    finally:
        watcher.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watcher


def test_readers_never_see_a_mixture(write: Write, folder: Path, patterns: PatternNames, forum: str):
    """All policies of one look at the book are of one generation, however often it reloads meanwhile."""
    names = ("a", "b", "c")

    def write_generation(number: int) -> None:
        base = f"{forum}deadline_ms: {number}\n".replace("name: forum", "name: a")
        write("a", base)
        for name in names[1:]:
            write(name, f"version: 1\nname: {name}\nextends: a\ndescription: X.\n")

    write_generation(1)
    book = PolicyBook(folder, patterns)
    done = threading.Event()
    mixtures: list[list[int]] = []
    generations: set[int] = set()

    def read() -> None:
        while not done.is_set():
            deadlines = [policy.spec.deadline_ms for policy in book]
            generations.update(deadlines)
            if len(deadlines) != len(names) or len(set(deadlines)) != 1:
                mixtures.append(deadlines)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 40):
            write_generation(number * 1_000)
            assert book.refresh() is True
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert mixtures == []
    assert len(generations) > 1
