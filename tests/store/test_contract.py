"""What every store of records promises, asked of each implementation."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.content import Turn
from guard.errors import InvalidContent
from guard.store import Query, Record, Sight, Store
from guard.verdict import Action, Assessment, CategoryVerdict, Hit, Score, Source, Span, Verdict
from tests.store.conftest import WallClock, a_flip

Make = Callable[..., Record]

words = st.text(st.characters(exclude_categories=["Cs"]))
shares = st.floats(0, 1)
actions = st.sampled_from([action.word for action in Action])
sources = st.sampled_from(get_args(Source))
places = st.integers(0, 2**31)
spans = st.lists(st.builds(Span, places, places, shares), max_size=2).map(tuple)
categories = st.dictionaries(
    words, st.builds(CategoryVerdict, shares, shares, st.booleans(), actions, sources, spans), max_size=3
)
verdicts = st.builds(Verdict, action=actions, flagged=st.booleans(), categories=categories)
assessments = st.builds(
    Assessment,
    scores=st.dictionaries(words, st.builds(Score, shares, sources, spans), max_size=3),
    hits=st.lists(st.builds(Hit, st.sampled_from(["terms", "patterns"]), words, places, places), max_size=2).map(tuple),
)
turns = st.lists(st.builds(Turn, words, words), max_size=3).map(tuple)


async def all_of(store: Store, sight: Sight = Sight(), **query: object) -> list[Record]:  # noqa: B008 (frozen)
    """All records of a query, page by page."""
    found: list[Record] = []
    after = None
    while True:
        page = await store.find(Query(after=after, **query), sight)  # type: ignore[arg-type]
        found += page.records
        if page.next is None:
            return found
        after = page.next


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.none() | words, context=turns, verdict=verdicts, redacted=words, assessment=assessments, role=words)
async def test_any_record_comes_back_as_it_went_in(
    store: Store, make_record: Make, text, context, verdict, redacted, assessment, role
):
    """Equal in every field, with and without a text, whatever the text is."""
    more = {"text": text, "context": context} if text is not None else {}
    if text is not None:
        verdict = msgspec.structs.replace(verdict, redacted=redacted)
    record = make_record(verdict=verdict, action=verdict.action, assessment=assessment, role=role, **more)
    await store.add([record], seconds=5)
    assert await store.get(record.id) == record
    assert record in (await store.find(Query())).records
    await store.delete(record.id)


async def test_nothing_is_found_in_an_empty_store(store: Store):
    """No error: nobody has added anything yet."""
    assert (await store.find(Query())).records == ()
    assert await store.get("mod_0-0") is None
    assert await store.delete("mod_0-0") is False
    assert await store.purge() == 0
    assert store.problem == ""


async def test_pages_hold_every_record_once_newest_first(store: Store, make_record: Make, wall_clock: WallClock):
    """Whatever the page's size; also those of one moment, and while others are added."""
    made = []
    for number in range(23):
        made.append(make_record())
        if number % 3 == 0:
            wall_clock.step(seconds=1)
    await store.add(made, seconds=5)
    ordered = sorted(made, key=lambda record: (record.time, record.id), reverse=True)
    for limit in (1, 5, 22, 23, 24):
        assert await all_of(store, limit=limit) == ordered
    page = await store.find(Query(limit=10))
    await store.add([make_record()], seconds=5)
    assert list((await store.find(Query(limit=200, after=page.next))).records) == ordered[10:]


async def test_large_records_make_short_pages(store: Store, make_record: Make):
    """And nothing is left out."""
    made = [make_record(text="x" * 1_000_000) for _ in range(10)]
    await store.add(made, seconds=10)
    page = await store.find(Query())
    assert 1 < len(page.records) < 10
    assert {record.id for record in await all_of(store)} == {record.id for record in made}


async def test_a_query_names_policy_action_and_time(store: Store, make_record: Make, wall_clock: WallClock):
    """Each by itself and all together; the time is included."""
    made = []
    for policy in ("forum", "shop"):
        for action in ("allow", "flag", "block"):
            for _ in range(2):
                made.append(make_record(policy=policy, action=action))
                wall_clock.step(hours=1)
    await store.add(made, seconds=5)
    made.reverse()
    assert await all_of(store, policy="shop") == [record for record in made if record.policy == "shop"]
    assert await all_of(store, action="flag") == [record for record in made if record.action == "flag"]
    assert await all_of(store, since=made[4].time) == made[:5]
    assert await all_of(store, policy="shop", action="block", since=made[0].time, limit=1) == made[:1]
    assert await all_of(store, policy="nobody's") == []


async def test_nobody_sees_or_deletes_beyond_their_sight(store: Store, make_record: Make):
    """A tenant's records are its own; a key's policies bound it further."""
    mine, theirs, other = make_record(), make_record(tenant="forum"), make_record(policy="secret")
    await store.add([mine, theirs, other], seconds=5)
    sight = Sight("shop", ("forum",))
    assert await all_of(store, sight) == [mine]
    assert {record.id for record in await all_of(store, Sight("shop"))} == {mine.id, other.id}
    for hidden in (theirs, other):
        assert await store.get(hidden.id, sight) is None
        assert not await store.delete(hidden.id, sight)
        assert await store.get(hidden.id) == hidden
    assert await store.delete(mine.id, sight)
    assert await store.get(mine.id) is None
    assert not await store.delete(mine.id)


async def test_what_has_expired_is_not_seen_even_before_it_is_removed(
    store: Store, make_record: Make, wall_clock: WallClock
):
    """To the moment; then `purge` removes it, and says how many."""
    short, long = make_record(days=1), make_record(days=2)
    await store.add([short, long], seconds=5)
    wall_clock.step(days=1, microseconds=-1)
    assert len(await all_of(store)) == 2
    wall_clock.step(microseconds=1)
    assert await all_of(store) == [long]
    assert await store.get(short.id) is None
    assert not await store.delete(short.id)
    assert await store.purge() == 1
    assert await store.purge() == 0
    assert await store.get(long.id) == long


async def test_a_shorter_retention_holds_for_what_is_there(
    store: Store, make_record: Make, wall_clock: WallClock, retention: dict[str, int]
):
    """Of its policy alone; a longer one lengthens nothing."""
    old, other = make_record(days=10), make_record(days=10, policy="shop")
    await store.add([old, other], seconds=5)
    wall_clock.step(days=3)
    retention |= {"forum": 4, "shop": 3_650}
    assert len(await all_of(store)) == 2
    retention["forum"] = 3
    assert await all_of(store) == [other]
    assert await store.get(old.id) is None
    assert await store.purge() == 1
    retention["forum"] = 100
    assert await all_of(store) == [other]
    wall_clock.step(days=7)
    assert await all_of(store) == []
    assert await store.purge() == 1


async def test_thousands_expire_at_once(store: Store, make_record: Make, wall_clock: WallClock):
    """In batches, all of them, while others are added."""
    for _ in range(3):
        await store.add([make_record(days=1) for _ in range(700)], seconds=10)
    wall_clock.step(days=2)
    fresh = [make_record() for _ in range(20)]
    purged, *_ = await asyncio.gather(store.purge(), *[store.add([record], seconds=10) for record in fresh])
    assert purged == 2_100
    assert {record.id for record in await all_of(store)} == {record.id for record in fresh}


async def test_many_may_add_at_the_same_time(store: Store, make_record: Make):
    """Each call's records are there when it returns, and nothing waits any more."""

    async def add() -> None:
        records = [make_record() for _ in range(3)]
        await store.add(records, seconds=10)
        for record in records:
            assert await store.get(record.id) == record

    await asyncio.gather(*[add() for _ in range(60)])
    assert len(await all_of(store)) == 180
    assert store.waiting == 0


async def test_adding_nothing_is_nothing(store: Store):
    """No error, no record."""
    await store.add([], seconds=1)
    assert (await store.find(Query())).records == ()


@pytest.mark.parametrize("after", ["", "x", "12", "-", "-1-x", "9" * 30 + "-x", "²-x"])
async def test_a_place_that_is_none_is_refused(store: Store, after: str):
    """By name of the field, and with what to send."""
    with pytest.raises(InvalidContent, match="`next` of the page before") as caught:
        await store.find(Query(after=after))
    assert caught.value.path == "?after"


async def test_what_was_added_is_there_for_who_opens_it_next(
    store: Store, open_sqlite: Callable[[], Store], make_record: Make
):
    """Other processes see it at once, and later ones too."""
    record = make_record(text="a text", expires=make_record().time + timedelta(days=1))
    await store.add([record], seconds=5)
    assert await open_sqlite().get(record.id) == record
    await store.close()
    assert await open_sqlite().get(record.id) == record


async def test_shadows_are_shown_where_they_are_asked_for_and_nowhere_else(store: Store, make_record: Make):
    """Nobody was told what they say. They go by the candidate's name, and say beside which verdict they stand."""
    records = [make_record(), make_record()]
    flips = [a_flip(make_record, record, candidate=name) for record in records for name in ("tried", "other")]
    await store.add([*records, *flips], seconds=5)
    assert {record.id for record in await all_of(store)} == {record.id for record in records}
    assert {record.id for record in await all_of(store, shadow=True, limit=1)} == {record.id for record in flips}
    assert {record.id for record in await all_of(store, shadow=True, policy="tried")} == {flips[0].id, flips[2].id}
    assert await all_of(store, action="block") == []
    assert await all_of(store, shadow=True, action="flag") == []
    assert await store.get(flips[0].id) == flips[0]


async def test_a_shadow_is_seen_by_who_may_see_both_its_policies(store: Store, make_record: Make):
    """Its tenant's, and of the policy that decided as well as of the candidate."""
    record = make_record()
    await store.add([record, a_flip(make_record, record)], seconds=5)
    for sight, seen in (
        (Sight("shop"), True),
        (Sight("forum"), False),
        (Sight("shop", ("tried", "forum")), True),
        (Sight("shop", ("tried",)), False),
        (Sight("shop", ("forum",)), False),
    ):
        assert bool(await all_of(store, sight, shadow=True)) is seen
        assert bool(await store.get(f"{record.id}.tried", sight)) is seen


async def test_a_record_takes_the_shadows_beside_it_along(store: Store, make_record: Make):
    """Whoever deletes one deletes what was found out about its text; not that of a text with a longer number."""
    record = make_record(id="mod_1-1")
    other = make_record(id="mod_1-10")
    flips = [a_flip(make_record, one, candidate=name) for one in (record, other) for name in ("a-1", "b_2")]
    await store.add([record, other, *flips], seconds=5)
    assert await store.delete(record.id, Sight("shop", ("forum",)))
    assert {one.id for one in await all_of(store, shadow=True)} == {"mod_1-10.a-1", "mod_1-10.b_2"}
    assert await store.delete("mod_1-10.a-1")
    assert {one.id for one in await all_of(store)} == {other.id}
    assert [one.id for one in await all_of(store, shadow=True)] == ["mod_1-10.b_2"]


async def test_the_shorter_retention_of_its_two_policies_holds_for_a_shadow(
    store: Store, make_record: Make, wall_clock: WallClock, retention: dict[str, int]
):
    """As it is now, of either."""
    record = make_record()
    await store.add([record, a_flip(make_record, record)], seconds=5)
    wall_clock.step(days=2)
    for policy in ("forum", "tried"):
        retention[policy] = 1
        assert await all_of(store, shadow=True) == []
        assert await store.get(f"{record.id}.tried") is None
        retention[policy] = 5
    assert len(await all_of(store, shadow=True)) == 1
    retention["forum"] = 1
    assert await store.purge() == 2
