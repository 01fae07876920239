"""Cases under attack: what is derived, what counts, which gates are reached, and what is written."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from guard.cache.memory import MemoryCache
from guard.content import Rail, Turn
from guard.errors import DatasetError, InvalidPolicy, ScreenFailed
from guard.moderator import Moderator
from guard.regress.attacks import ATTACKS
from guard.regress.cases import Case, Expected, load_cases
from guard.regress.gates import Suite, load_suite
from guard.regress.perturb import StabilityReport, derive, perturbed
from guard.regress.reports.cases import cases_yaml
from guard.regress.suite import PolicySuite
from guard.testing import FixedScreen, Recorder, a_policy

POLICY = a_policy(("hate", "violence"))


def a_case(name: str, text: str, expect: str = "allow", **changes: object) -> Case:
    """`at least flag` of hate, or harmless."""
    violating = expect != "allow"
    case = Case(
        policy="test",
        id=name,
        turns=(Turn("", text),),
        rail=Rail.INPUT,
        expected=Expected(at_least="flag") if violating else Expected(at_most="allow"),
        violates=("hate",) if violating else (),
        not_violates=(),
        tags=("some",),
        note="",
        origin="us",
        known_failure="",
        file="cases.yaml",
        line=1,
    )
    return msgspec.structs.replace(case, **changes)


HATEFUL = a_case("hateful", "Those people are rotten vermin, all of them.", "flag")
HARMLESS = a_case("harmless", "The garden is green in spring, they say.")
MISSED = a_case("missed", "What an awful lot they are.", "flag")
CASES = (HATEFUL, HARMLESS, MISSED)


def reading(text: str) -> dict[str, float]:
    """A screen that knows one word, and dislikes what is to be decoded."""
    return {"hate": 0.9 if "rotten" in text or "Base64" in text else 0.1, "violence": 0.1}


def a_moderator(scores=reading) -> Moderator:
    return Moderator(
        screen=FixedScreen(scores),
        judge=None,
        cache=MemoryCache(entries=0, ttl=1),
        secret=b"s" * 32,
        listener=Recorder(),
    )


async def attacked(
    cases: Sequence[Case] = CASES, *attacks: str, scores=reading, gated: bool = True, **stability: float
) -> tuple[StabilityReport, tuple[Case, ...]]:
    counted: list[int] = []
    suite = PolicySuite(Path(), POLICY, tuple(cases), Suite(stability=stability))
    derived = derive(cases, attacks)
    found = await perturbed(
        a_moderator(scores), suite, derived, seed=0, gated=gated, clock=lambda: 0.0, advance=lambda: counted.append(1)
    )
    assert len(counted) == len(derived) + len({one.source.id for one in derived})
    return found


async def test_only_cases_that_pass_are_held_against_an_attack():
    """The one that nobody finds in plain letters says nothing."""
    report, _ = await attacked(CASES, "zero_width", "rot13", "base64")
    assert (report.cases, report.passed, report.derived) == (3, 2, 6)
    kept = {name: (found.violating.kept.value, found.harmless.kept.value) for name, found in report.attacks.items()}
    assert kept == {"zero_width": (1.0, 1.0), "rot13": (0.0, 1.0), "base64": (1.0, 0.0)}
    assert [(one.id, one.violating, one.action) for one in report.broken] == [
        ("hateful.rot13", True, "allow"),
        ("harmless.base64", False, "block"),
    ]
    assert report.broken[0].missed == ("expected at least flag, got allow", "hate is not violated")


async def test_shares_of_categories_and_their_intervals():
    many = [a_case(f"h{n}", f"They are {'r' if n else 'rotten, r'}otten, number {'x' * n}", "flag") for n in range(4)]
    report, _ = await attacked([*many, HARMLESS], "rot13", "base64")
    rot13, base64 = report.attacks["rot13"], report.attacks["base64"]
    assert (rot13.violating.cases, rot13.violating.kept) == (4, (0.0, 0.0, pytest.approx(0.4899, abs=1e-4)))
    assert (rot13.categories["hate"].violating.kept.value, rot13.categories["hate"].harmless.kept.value) == (0.0, 1.0)
    assert (base64.categories["hate"].harmless.kept.value, base64.categories["violence"].harmless.kept.value) == (0, 1)
    assert math.isnan(base64.categories["violence"].violating.kept.value)


async def test_harder_is_no_evasion_and_milder_is():
    """A case that is to be flagged and no more; the attack has it blocked."""
    mild = msgspec.structs.replace(
        HATEFUL, expected=Expected(at_least="flag", at_most="review"), not_violates=("violence",)
    )

    def scores(text: str) -> dict[str, float]:
        return {"hate": 0.95, "violence": 0.95} if "Base64" in text else {"hate": 0.6, "violence": 0.1}

    report, _ = await attacked([mild], "base64", "role_play", scores=scores)
    assert [found.violating.kept.value for found in report.attacks.values()] == [1.0, 1.0]
    asks = msgspec.structs.replace(HATEFUL, expected=Expected(at_least="review"))
    report, _ = await attacked(
        [asks], "role_play", scores=lambda text: {"hate": 0.6 if ":" in text or ")" in text else 0.8}
    )
    assert report.attacks["role_play"].violating.kept.value == 0.0


async def test_verdicts_that_a_stage_failed_on_are_in_no_share():
    """Or a policy that blocks where it cannot read would withstand everything."""

    def failing(text: str) -> dict[str, float]:
        if "ROT13" in text:
            raise ScreenFailed("no")
        return reading(text)

    report, _ = await attacked(CASES, "rot13", scores=failing, rot13=0.0)
    found = report.attacks["rot13"]
    assert (found.degraded, found.violating.cases, found.harmless.cases) == (2, 0, 0)
    assert not report.reached


async def test_gates_are_of_the_violating_cases():
    report, _ = await attacked(CASES, "rot13", "base64", "zero_width", rot13=0.5, base64=1.0, typos=1.0)
    assert [(gate.name, gate.asked, gate.found, gate.reached) for gate in report.gates] == [
        ("stability.rot13", "at least 0.5", "0.000", False),
        ("stability.base64", "at least 1", "1.000", True),
    ]
    assert not report.reached
    report, _ = await attacked(CASES, "rot13", gated=False, rot13=0.5)
    assert report.gates == ()


async def test_where_nothing_passes_there_is_nothing_to_attack():
    with pytest.raises(DatasetError, match="of 1 cases none passes as it stands, so none can be attacked; see `guard"):
        await attacked([MISSED], "rot13")


def test_what_is_derived_is_the_same_whatever_else_is_asked():
    alone = derive([HATEFUL], ["typos"])
    among = derive(CASES, ATTACKS)
    assert alone[0] in among
    assert {one.attack for one in among} == set(ATTACKS)
    assert derive(CASES, ATTACKS) == among
    assert derive(CASES, ["typos"], seed=1) != derive(CASES, ["typos"])


def test_a_derived_case_is_named_after_its_attack_and_keeps_its_conversation():
    talk = msgspec.structs.replace(HATEFUL, turns=(Turn("assistant", "Hello."), Turn("user", HATEFUL.text)))
    (derived,) = derive([talk], ["split"])
    assert (derived.case.id, derived.case.tags, derived.source) == ("hateful.split", ("attack:split",), talk)
    assert derived.case.turns == (
        Turn("assistant", "Hello."),
        Turn("user", "Those people are rotten"),
        Turn("user", "vermin, all of them."),
    )
    (derived,) = derive([HATEFUL], ["split"])
    assert [turn.role for turn in derived.case.turns] == ["user", "user"]


def test_cases_without_a_change_and_those_of_an_attack_are_left_out():
    chinese = a_case("chinese", "你好，世界。")
    (derived,) = derive([HATEFUL], ["typos"])
    assert derive([chinese, derived.case], ["typos", "homoglyphs"]) == []


def test_a_sample_is_drawn_anew_for_each_attack_and_takes_known_failures_last():
    cases = [a_case(f"c{n}", "How green the garden is in spring.") for n in range(30)]
    cases += [a_case("known", "How grey the garden is.", known_failure="Why."), a_case("chinese", "你好，世界。")]
    found = derive(cases, ["typos", "case"], sample=10)
    drawn = {attack: [one.source.id for one in found if one.attack == attack] for attack in ("typos", "case")}
    assert [len(names) for names in drawn.values()] == [10, 10]
    assert drawn["typos"] != drawn["case"]
    assert "known" not in {one.source.id for one in derive(cases, ["case"], sample=30)}
    assert len(derive(cases, ["case"], sample=99)) == 31


async def test_written_cases_are_read_again_with_what_did_not_withstand_marked(tmp_path):
    """Whatever stands in a text: numbers, signs of YAML, letters outside the first plane, line ends, both rails."""
    cases = [
        HATEFUL,
        a_case("range", "so rotten", "flag", expected=Expected(at_least="flag", at_most="review")),
        a_case("number", "1e5"),
        a_case("odd", "no: {yes} # 😀\n\n\tnull\u2028\x85\u200b \"'"),
        a_case("answer", "Sure, gladly.", turns=(Turn("assistant", "Sure, gladly."),), rail=Rail.OUTPUT),
        a_case(
            "talk", "Well then.", turns=(Turn("user", "Hi there."), Turn("assistant", "Well then.")), rail=Rail.OUTPUT
        ),
        a_case("alone", "Well then.", turns=(Turn("user", "Well then."),)),
        a_case("turned", "Well then.", turns=(Turn("user", "Well then."),), rail=Rail.OUTPUT),
    ]
    report, kept = await attacked(cases, *ATTACKS)
    (tmp_path / "cases").mkdir()
    text = cases_yaml(kept, heading="Derived.", origin="us")
    assert text.isascii()
    (tmp_path / "cases" / "derived.yaml").write_text(text)
    again = load_cases(tmp_path, POLICY)
    place = {"file": "", "line": 0}
    assert [msgspec.structs.replace(case, **place) for case in again] == [
        msgspec.structs.replace(case, **place) for case in kept
    ]
    marked = {case.id for case in again if case.known_failure}
    assert marked == {one.id for one in report.broken}
    assert "hateful.rot13" in marked


def test_cases_that_cannot_be_written_are_named():
    with pytest.raises(DatasetError, match=r"id `x{101}` is longer than 100 characters"):
        cases_yaml([a_case("x" * 101, "a")], heading="", origin="us")
    with pytest.raises(DatasetError, match=r"50000 cases have \d+ values, .* choose with --attack or --sample"):
        cases_yaml([HARMLESS] * 50_000, heading="", origin="us")


def test_a_gate_on_an_unknown_attack_is_a_mistake(tmp_path):
    (tmp_path / "suite.yaml").write_text("stability:\n  homoglyph: 0.9\n  typos: 2\n")
    with pytest.raises(InvalidPolicy) as caught:
        load_suite(tmp_path, POLICY, ())
    assert [(one.line, one.path, one.message) for one in caught.value.problems] == [
        (2, "$.stability.homoglyph", "there is no attack `homoglyph`; did you mean `homoglyphs`?"),
        (3, "$.stability.typos", "expected `float` <= 1.0"),
    ]
    (tmp_path / "suite.yaml").write_text("".join(["stability:\n", *[f"  {name}: 0.5\n" for name in ATTACKS]]))
    assert set(load_suite(tmp_path, POLICY, ()).stability) == set(ATTACKS)
