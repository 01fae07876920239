"""Whose verdict is another one under another policy, and in which direction."""

import msgspec
import pytest

from guard.cache.memory import MemoryCache
from guard.content import Content, Rail, Turn
from guard.errors import ScreenFailed
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.cases import Case, Expected
from guard.regress.diff import Comparison, Diff, Reported, Side, Text, asked, between
from guard.regress.run import run
from guard.regress.suite import reported
from guard.testing import FixedScreen, Recorder, a_policy

STEPS = {"flag": 0.5, "review": 0.7, "block": 0.9}
MILD = a_policy(("hate",), category={"thresholds": STEPS})
HARD = a_policy(("hate",), category={"thresholds": STEPS | {"block": 0.75}})
SCORES = {"rotten": 0.8, "rude": 0.6}


def reading(text: str) -> dict[str, float]:
    return {"hate": max([score for word, score in SCORES.items() if word in text], default=0.1)}


def a_screen(scores=reading) -> tuple[FixedScreen, Moderator]:
    screen = FixedScreen(scores)
    cache = MemoryCache(entries=0, ttl=1)
    return screen, Moderator(screen=screen, judge=None, cache=cache, secret=b"s" * 32, listener=Recorder())


def a_case(name: str, text: str, expected: Expected, *violates: str) -> Case:
    return Case(
        policy="test", id=name, turns=(Turn("", text),), rail=Rail.INPUT, expected=expected, violates=violates,
        not_violates=(), tags=(), note="", origin="", known_failure="", file="cases.yaml", line=1,
    )  # fmt: skip


def a_text(name: str, text: str, *, flagged: bool | None = None) -> Text:
    return Text(name, name, Content.of(text), flagged=flagged)


def finished(found: Comparison) -> Diff:
    side = Side("x", "test", "f", {})
    return found.diffed(side, side, on="cases", read_once=False).diff


CASES = (
    a_case("meant-to-review", "They are rotten.", Expected(at_least="review", at_most="review"), "hate"),
    a_case("meant-to-block", "All of them are rotten.", Expected(at_least="block"), "hate"),
    a_case("meant-to-act", "You are rotten.", Expected(at_least="flag"), "hate"),
    a_case("harmless", "A garden in spring.", Expected(at_most="allow")),
)


async def test_texts_are_read_once_where_only_thresholds_differ():
    screen, moderator = a_screen()
    counted: list[int] = []
    texts = [Text.of(case) for case in CASES]
    diff = finished(await asked(moderator, MILD, HARD, texts, advance=lambda: counted.append(1)))
    assert len(screen.texts) == len(counted) == len(CASES)
    assert [(flip.id, flip.direction, flip.before, flip.after) for flip in diff.flips] == [
        ("meant-to-review", "broken", "review", "block"),
        ("meant-to-act", "changed", "review", "block"),
        ("meant-to-block", "mended", "review", "block"),
    ]
    assert (diff.texts, diff.labelled, diff.broken, diff.p_value) == (4, 4, 1, 1.0)
    parts = diff.flips[0].categories["hate"]
    assert parts.before is not None
    assert parts.after is not None
    assert (parts.before.score, parts.before.threshold, parts.after.threshold) == (0.8, 0.7, 0.75)
    assert msgspec.to_builtins(diff.categories["hate"]) == {
        "before": 3, "after": 3, "came": 0, "went": 0, "harder": 3, "milder": 0,
    }  # fmt: skip


async def test_deciding_twice_gives_what_reading_twice_would():
    _, moderator = a_screen()
    texts = [Text.of(case) for case in CASES]
    other = a_policy(("hate",), category={"thresholds": STEPS | {"block": 0.75}}, description="Others words.")
    assert other.assessment_fingerprint != HARD.assessment_fingerprint == MILD.assessment_fingerprint
    screen, again = a_screen()
    once = finished(await asked(moderator, MILD, HARD, texts))
    assert finished(await asked(again, MILD, other, texts)).flips == once.flips
    assert len(screen.texts) == 2 * len(CASES)


async def test_without_labels_flips_have_a_direction_and_no_significance():
    _, moderator = a_screen()
    texts = [a_text("a", "They are rotten."), None, a_text("b", "A garden.")]
    diff = finished(await asked(moderator, HARD, MILD, texts))
    assert [(flip.id, flip.direction) for flip in diff.flips] == [("a", "milder")]
    assert (diff.errors, diff.labelled, diff.p_value) == (1, 0, None)
    diff = finished(await asked(moderator, MILD, HARD, texts))
    assert diff.flips[0].direction == "harder"


async def test_rows_that_say_flagged_are_labelled():
    _, moderator = a_screen()
    strict = a_policy(("hate",), category={"thresholds": {"flag": 0.05}})
    texts = [a_text("a", "A garden.", flagged=False), a_text("b", "A tree.", flagged=True), a_text("c", "A bush.")]
    diff = finished(await asked(moderator, MILD, strict, texts))
    assert {flip.id: flip.direction for flip in diff.flips} == {"a": "broken", "b": "mended", "c": "harder"}
    assert (diff.labelled, diff.p_value) == (2, 1.0)
    assert diff.categories["hate"].came == 3


async def test_a_category_that_one_policy_lacks_is_not_violated_there():
    _, moderator = a_screen()
    other = a_policy(("violence",))
    case = CASES[0]
    diff = finished(await asked(moderator, MILD, other, [Text.of(case)]))
    (flip,) = diff.flips
    assert (flip.direction, flip.after, flip.categories["hate"].after) == ("broken", "allow", None)
    assert diff.categories["hate"].went == 1


async def test_what_a_stage_failed_on_is_not_compared():
    def failing(text: str) -> dict[str, float]:
        if "tree" in text:
            raise ScreenFailed("no")
        return reading(text)

    _, moderator = a_screen(failing)
    diff = finished(await asked(moderator, MILD, HARD, [a_text("a", "A tree.")]))
    assert (diff.texts, diff.degraded, diff.flips) == (0, 1, ())


async def report(policy: Policy, scores=reading, cases: tuple[Case, ...] = CASES) -> Reported:
    _, moderator = a_screen(scores)
    outcomes = [outcome async for outcome in run(moderator, policy, cases)]
    results = tuple(reported(outcome, policy) for outcome in outcomes)
    return Reported(policy.name, policy.fingerprint, {"screen": "s"}, results)


async def test_two_reports_are_compared_without_reading():
    def milder(text: str) -> dict[str, float]:
        return {"hate": reading(text)["hate"] - 0.2}

    edited = msgspec.structs.replace(CASES[3], turns=(Turn("", "A garden in autumn."),))
    renamed = msgspec.structs.replace(CASES[2], id="another")
    before = await report(MILD)
    after = await report(MILD, milder, (CASES[0], CASES[1], edited, renamed))
    found = between(before, after, given=("a.json", "b.json"))
    assert {flip.id: flip.direction for flip in found.diff.flips} == {
        "meant-to-review": "broken",
        "meant-to-block": "changed",
    }
    assert (found.diff.new, found.diff.gone, found.diff.edited) == (("another",), ("meant-to-act",), ("harmless",))
    assert found.shown[0].turns == (("", "They are rotten."),)
    assert "rotten" not in msgspec.json.encode(found.diff).decode()


@pytest.mark.parametrize("size", [255, 256, 257])
async def test_many_texts_stay_in_their_order(size: int):
    screen, moderator = a_screen()
    texts = [a_text(str(number), f"They are rotten, {number}.") for number in range(size)]
    diff = finished(await asked(moderator, MILD, HARD, texts))
    assert [flip.id for flip in diff.flips] == [str(number) for number in range(size)]
    assert len(screen.texts) == size
