"""What makes one version of a policy another one, in words."""

from typing import Any

import msgspec
import pytest

from guard.policy import Policy, PolicySpec
from guard.policy.calibration import BrierChange, Calibration, CategoryFits, Change, Fit, Temperature
from guard.policy.changes import changes, without_words

DEFINITION = "The text attacks people for what they are, or asks others to do so, in any language and in any form."
HATE: dict[str, Any] = {
    "title": "Hate",
    "definition": DEFINITION,
    "group": "harm",
    "thresholds": {"flag": 0.5, "block": 0.85},
    "doubt": [0.2, 0.8],
    "examples": {"violates": ["one", "two"]},
}
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "test",
    "description": "A policy for tests.",
    "categories": {"hate": HATE, "pii": {**HATE, "title": "PII"}},
    "terms": {"slurs": {"category": "hate", "action": "flag", "words": ["a", "b"]}},
    "patterns": {"email": {"category": "pii", "action": "redact"}},
}


def a_policy(**changed: Any) -> Policy:
    return Policy(msgspec.convert(SPEC | changed, PolicySpec))


def hate(**changed: Any) -> dict[str, Any]:
    return {"categories": SPEC["categories"] | {"hate": HATE | changed}}


def terms(**changed: Any) -> dict[str, Any]:
    return {"terms": {"slurs": SPEC["terms"]["slurs"] | changed}}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (hate(thresholds={"flag": 0.5, "block": 0.8}), "`hate`: block from 0.85 to 0.8"),
        (hate(thresholds={"flag": 0.5}), "`hate`: block at no score any more, before from 0.85"),
        (
            hate(thresholds={"flag": 0.5, "review": 0.6, "block": 0.85}),
            "`hate`: review from 0.6, before at no score",
        ),
        (hate(doubt=None), "`hate`: doubtful band 0.2 to 0.8 -> none"),
        (hate(enabled=False), "category `hate` switched off"),
        (hate(rails=["input"]), "`hate`: rails input, output -> input"),
        (hate(title="Hatred"), "`hate`: title Hate -> Hatred"),
        (hate(maps={"openai": ["hate"]}), "`hate`: names in other taxonomies changed (openai)"),
        (hate(examples={"violates": ["two", "three"]}), "`hate`: examples of what violates: 1 added, 1 removed"),
        ({"categories": {"hate": HATE}, "patterns": {}}, "category `pii` removed"),
        (
            {"categories": SPEC["categories"] | {"x": {**HATE, "title": "X"}}},
            "category `x` added: flag from 0.5, block from 0.85",
        ),
        (
            {"categories": {name: SPEC["categories"][name] for name in ("pii", "hate")}},
            "categories stand in another order, in which a judge reads them",
        ),
        (terms(words=["b", "c", "d", "e"]), "terms `slurs`: 3 words added, 1 removed"),
        (terms(words=["b"]), "terms `slurs`: 1 word removed"),
        (terms(allow_in=["c"]), "terms `slurs`: allow_in: 1 word added"),
        (terms(match="substring"), "terms `slurs`: match word -> substring"),
        (terms(action="block"), "terms `slurs`: action flag -> block"),
        ({"terms": {}}, "terms `slurs` removed"),
        ({"patterns": {"email": {"category": "pii", "action": "block"}}}, "pattern `email`: action redact -> block"),
        (
            {"patterns": SPEC["patterns"] | {"own": {"category": "pii", "action": "flag", "regex": "x+"}}},
            "pattern `own` added: flag, for `pii`",
        ),
        ({"extends": "default"}, "extends `default`"),
        ({"chat": {"streaming": {"mode": "buffer"}}}, "chat.streaming.mode: hold -> buffer"),
        ({"store_texts": True}, "store_texts: false -> true"),
        ({"deadline_ms": 5000}, "deadline_ms: 10000 -> 5000"),
    ],
)
def test_each_difference_is_a_sentence(changed: dict[str, Any], expected: str):
    before, after = a_policy(), a_policy(**changed)
    assert expected in [one.text for one in changes(before, after)]
    assert changes(after, after) == ()
    assert changes(after, before)


def test_no_key_of_the_language_passes_unnoticed():
    """Every key of a policy, its categories and its rules: what differs in it is a change at its path."""
    before = a_policy().spec
    other: dict[type, Any] = {str: "something else", int: 77, bool: True}
    silent = {"version", "name"}
    for key in set(PolicySpec.__struct_fields__) - silent - {"categories", "terms", "patterns"}:
        value = getattr(before, key)
        changed = (
            msgspec.structs.replace(value, **{value.__struct_fields__[0]: "something else"})
            if isinstance(value, msgspec.Struct)
            else (not value if isinstance(value, bool) else other[str if value is None else type(value)])
        )
        after = msgspec.structs.replace(before, **{key: changed})
        assert [one.path.split(".")[1] for one in changes(Policy(before), Policy(after))] == [key], key
    for kind, name in (("categories", "hate"), ("terms", "slurs"), ("patterns", "email")):
        rule = getattr(before, kind)[name]
        for key in rule.__struct_fields__:
            if key in ("thresholds", "examples", "maps", "doubt", "category"):
                continue
            value = getattr(rule, key)
            changed = not value if isinstance(value, bool) else ("input",) if isinstance(value, tuple) else "else"
            rules = getattr(before, kind) | {name: msgspec.structs.replace(rule, **{key: changed})}
            found = list(changes(Policy(before), Policy(msgspec.structs.replace(before, **{kind: rules}))))
            assert [one.path for one in found] == [f"$.{kind}.{name}.{key}"], key


def test_a_definition_is_shown_by_its_changed_words():
    (found,) = changes(a_policy(), a_policy(**hate(definition=DEFINITION.replace("asks others", "calls on others"))))
    assert found.text == "`hate`: definition changed"
    assert found.prose == "… what they are, or [-asks-] {+calls on+} others to do so, …"


def test_words_can_be_left_out():
    (found,) = changes(a_policy(), a_policy(**terms(words=["a", "secret"])))
    assert (found.added, found.removed) == (("secret",), ("b",))
    assert "secret" not in str(without_words(found))


def test_calibrations_are_told_by_category_and_source():
    def calibrated(scale: float) -> Policy:
        fit = Fit(
            rows=10,
            positives=5,
            ece=Change(before=0.1, after=0.1),
            brier=BrierChange(before=(0.1, 0.1, 0.1), after=(0.1, 0.1, 0.1)),
            temperature=Temperature(scale=scale, offset=0.0, low=0.0, high=1.0),
        )
        return Policy(a_policy().spec, Calibration({"hate": CategoryFits(encoder=fit)}, ()))

    bare = a_policy()
    said = "`hate`: calibration of the encoder's scores"
    pairs = [(bare, calibrated(2.0)), (calibrated(2.0), calibrated(3.0)), (calibrated(2.0), bare)]
    assert [one.text for pair in pairs for one in changes(*pair)] == [
        f"{said} added",
        f"{said} fitted anew",
        f"{said} removed",
    ]
