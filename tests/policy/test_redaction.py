"""What stands in the place of redacted characters, and that nothing else changes."""

import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.content import Rail
from guard.policy import Policy, PolicySpec, decide
from guard.policy.redaction import Redactor
from guard.testing import a_policy
from guard.text import normalise
from guard.verdict import Assessment, Cut, Hit, Score, Span, Verdict

MakePolicy = Callable[..., Policy]
VerdictOn = Callable[..., Verdict]

PII = {
    "categories": {"pii": {"thresholds": {"flag": 0.3, "redact": 0.6, "block": 0.95}}, "hate": {}},
    "patterns": {
        "email": {"category": "pii", "action": "redact"},
        "phone": {"category": "pii", "action": "redact"},
        "iban": {"category": "pii", "action": "flag"},
        "token": {"category": "pii", "action": "block"},
        "inner": {"category": "pii", "action": "redact", "rails": ["output"]},
    },
    "terms": {"names": {"category": "pii", "action": "redact", "words": ["x"]}},
}


def found(name: str, text: str, part: str, nth: int = 0) -> Hit:
    """The hit of a rule on the n-th occurrence of `part`."""
    start = [match.start() for match in re.finditer(re.escape(part), text)][nth]
    return Hit("terms" if name == "names" else "patterns", name, start, start + len(part))


def test_equal_characters_get_equal_placeholders(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Numbers count the distinct values of each rule from 1, in order of appearance."""
    text = "a@x.org wrote to b@x.org, then a@x.org called 555-1234."
    hits = [
        found("phone", text, "555-1234"),
        found("email", text, "b@x.org"),
        found("email", text, "a@x.org", 1),
        found("email", text, "a@x.org", 0),
    ]
    verdict = verdict_on(make_policy(**PII), {"pii": 0.1}, *hits, text=text)
    assert verdict.action == "redact"
    assert verdict.redacted == "[EMAIL_1] wrote to [EMAIL_2], then [EMAIL_1] called [PHONE_1]."


def test_a_mask_keeps_the_length(make_policy: MakePolicy, verdict_on: VerdictOn):
    """A dot per character of the original."""
    text = "write to ab@x.org now"
    verdict = verdict_on(
        make_policy(redaction={"style": "mask"}, **PII), {}, found("email", text, "ab@x.org"), text=text
    )
    assert verdict.redacted == "write to •••••••• now"
    assert len(verdict.redacted) == len(text)


def test_without_a_redacting_category_nothing_is_redacted(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Allowed, flagged or blocked: `redacted` is then absent, not a copy of the text."""
    policy, text = make_policy(**PII), "ab@x.org"
    assert verdict_on(policy, {"pii": 0.1}, text=text).redacted is None
    assert verdict_on(policy, {"pii": 0.4}, text=text).redacted is None
    assert verdict_on(policy, {"pii": 0.1}, found("iban", text, text), text=text).redacted is None
    assert verdict_on(policy, {"pii": 0.99}, found("email", text, text), text=text).redacted is None
    assert verdict_on(policy, {"hate": 0.99}, text=text).redacted is None


def test_a_category_that_is_blocked_keeps_its_characters(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Redaction is for actions that are exactly `redact`; another category's block does not stop it."""
    policy, text = make_policy(**PII), "ab@x.org"
    hits = found("email", text, text), found("token", text, text)
    assert verdict_on(policy, {}, *hits, text=text).redacted is None
    blocked_otherwise = verdict_on(policy, {"hate": 0.99}, hits[0], text=text)
    assert (blocked_otherwise.action, blocked_otherwise.redacted) == ("block", "[EMAIL_1]")


def test_a_score_alone_redacts_the_spans_that_carry_it(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Under the category's name, as no rule has given one."""
    text = "I live at 12 Elm Street in Springfield"
    score = Score(0.7, "encoder", (Span(10, 23, 0.9), Span(27, 38, 0.8)))
    verdict = verdict_on(make_policy(**PII), {"pii": score}, text=text)
    assert verdict.redacted == "I live at [PII_1] in [PII_2]"


def test_a_certain_span_is_redacted_like_any_other(make_policy: MakePolicy, verdict_on: VerdictOn):
    """A model's span may carry exactly 1.0: that does not make it a rule's."""
    score = Score(0.7, "encoder", (Span(0, 3, 1.0), Span(8, 10, 0.6)))
    assert verdict_on(make_policy(**PII), {"pii": score}, text="abc and de").redacted == "[PII_1] and [PII_2]"


def test_a_milder_rule_does_not_shield_what_the_score_redacts(make_policy: MakePolicy, verdict_on: VerdictOn):
    """A rule that only flags matched too: the score asked for redaction, so its spans go as well."""
    text = "abc and de"
    score = Score(0.7, "encoder", (Span(0, 3, 0.9),))
    verdict = verdict_on(make_policy(**PII), {"pii": score}, found("iban", text, "de"), text=text)
    assert verdict.action == "redact"
    assert verdict.redacted == "[PII_1] and [IBAN_1]"


def test_a_rule_replaces_only_what_it_matched(make_policy: MakePolicy, verdict_on: VerdictOn):
    """A rule is exact; the sentence that scored beside it is left to be read."""
    text = "please write to ab@x.org"
    score = Score(0.4, "encoder", (Span(0, 24, 0.4),))
    verdict = verdict_on(make_policy(**PII), {"pii": score}, found("email", text, "ab@x.org"), text=text)
    assert verdict.redacted == "please write to [EMAIL_1]"


@pytest.mark.parametrize(
    ("hits", "redacted"),
    [
        ([("email", 0, 4), ("phone", 4, 8)], "[EMAIL_1][PHONE_1]89"),
        ([("email", 0, 4), ("phone", 2, 8)], "[PHONE_1]89"),
        ([("email", 0, 6), ("phone", 4, 8)], "[EMAIL_1]89"),
        ([("email", 1, 9), ("phone", 3, 5)], "0[EMAIL_1]9"),
        ([("phone", 3, 5), ("email", 1, 9)], "0[EMAIL_1]9"),
        ([("email", 0, 3), ("email", 2, 5), ("email", 4, 7)], "[EMAIL_1]789"),
        ([("email", 0, 10)], "[EMAIL_1]"),
        ([("email", 2, 4), ("email", 2, 4)], "01[EMAIL_1]456789"),
        ([("inner", 0, 10), ("names", 1, 2)], "0[NAMES_1]23456789"),
    ],
)
def test_overlapping_spans_become_one_and_adjacent_ones_stay_two(
    make_policy: MakePolicy, verdict_on: VerdictOn, hits: list[tuple[str, int, int]], redacted: str
):
    """One placeholder, named after the longest; a rule of the other rail replaces nothing."""
    given_hits = [Hit("terms" if name == "names" else "patterns", name, start, end) for name, start, end in hits]
    assert verdict_on(make_policy(**PII), {}, *given_hits, text="0123456789").redacted == redacted


def test_spans_are_cut_from_the_original(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Hidden characters inside a hit go with it, those around it stay; the rest keeps its own letters."""
    original = "Ｍail\u200b a\u200b@\u200bx.org!\u200b"
    text = normalise(original).text
    assert text == "Mail a@x.org!"
    policy = make_policy(**PII)
    verdict = verdict_on(policy, {}, found("email", text, "a@x.org"), text=original)
    assert verdict.redacted == "Ｍail\u200b [EMAIL_1]!\u200b"


def test_a_disguised_value_is_another_value(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Placeholders can be put back, so they stand for the very characters of the original."""
    original = "a@x.org and a@\u200bx.org"
    text = normalise(original).text
    hits = found("email", text, "a@x.org", 0), found("email", text, "a@x.org", 1)
    assert verdict_on(make_policy(**PII), {}, *hits, text=original).redacted == "[EMAIL_1] and [EMAIL_2]"


def test_only_the_asked_categories_redact(make_policy: MakePolicy, verdict_on: VerdictOn):
    """What a request leaves out is not replaced either."""
    text = "ab@x.org"
    verdict = verdict_on(make_policy(**PII), {}, found("email", text, text), text=text, only=frozenset({"hate"}))
    assert verdict.redacted is None


def _policy(style: str) -> Policy:
    category = {
        "title": "P",
        "definition": "The text holds personal data.",
        "group": "g",
        "thresholds": {"redact": 0.5},
    }
    rules = {name: {"category": "pii", "action": "redact"} for name in ("email", "phone")}
    tree = {"version": 1, "name": "a", "description": "A.", "categories": {"pii": category}, "patterns": rules}
    return Policy(msgspec.convert(tree | {"redaction": {"style": style}}, PolicySpec))


POLICIES = {style: _policy(style) for style in ("placeholder", "mask")}
PIECES = st.lists(
    st.sampled_from(["a", "Z", "7", "@", " ", ".", "é", "\u200b", "\u2060", "Ａ", "ﬁ", "🙂"]), max_size=40
)


@given(PIECES, st.sampled_from(["placeholder", "mask"]), st.booleans(), st.data())
def test_nothing_outside_the_spans_changes(pieces: list[str], style: str, rules: bool, data: st.DataObject):
    """The original without the verdict's spans is the redacted text without what replaced them."""
    original = "".join(pieces)
    normalised = normalise(original)
    length = len(normalised.text)
    places = st.tuples(st.integers(0, max(length - 1, 0)), st.integers(1, 6)).map(lambda p: (p[0], min(sum(p), length)))
    spans = data.draw(st.lists(places, max_size=5)) if length else []
    if rules:
        names = data.draw(st.lists(st.sampled_from(["email", "phone"]), min_size=len(spans), max_size=len(spans)))
        hits = tuple(Hit("patterns", name, *span) for name, span in zip(names, spans, strict=True))
        assessment = Assessment({}, hits)
    else:
        assessment = Assessment({"pii": Score(0.9, "encoder", tuple(Span(*span, 0.9) for span in spans))})
    verdict = decide(POLICIES[style], assessment, normalised, rail=Rail.INPUT)
    if not spans:
        # A score without spans takes the whole text with it; a rule that hit nothing redacts nothing.
        assert verdict.redacted == (None if rules else "[PII_1]" if style == "placeholder" else "•" * len(original))
        return
    gone = {i for span in verdict.categories["pii"].spans for i in range(span.start, span.end)}
    rest = "".join(character for i, character in enumerate(original) if i not in gone)
    assert verdict.redacted is not None
    assert re.sub(r"\[(EMAIL|PHONE|PII)_[0-9]+\]|•", "", verdict.redacted) == rest
    if style == "mask":
        assert len(verdict.redacted) == len(original)


def test_a_redaction_without_spans_takes_the_whole_text():
    """A judge names no characters: what cannot be cut out exactly must not stay readable."""
    policy = a_policy(["secrets"], category={"thresholds": {"redact": 0.5}})
    assessment = Assessment({"secrets": Score(0.9, "judge")})
    verdict = decide(policy, assessment, normalise("the plan is this"), judge=True)
    assert (verdict.action, verdict.redacted) == ("redact", "[SECRETS_1]")


def test_a_placeholder_is_never_the_users_own_word():
    """Who writes `[EMAIL_1]` gets it back unchanged; the numbers go on over all texts of one redactor."""
    redactor = Redactor("placeholder", ["I wrote [EMAIL_1] myself", "to a@x.org"])
    assert redactor.apply("to a@x.org", [Cut(3, 10, "EMAIL")]) == "to [EMAIL_2]"
    assert redactor.apply("b@x.org a@x.org", [Cut(0, 7, "EMAIL"), Cut(8, 15, "EMAIL")]) == "[EMAIL_3] [EMAIL_2]"
    assert redactor.given == ["[EMAIL_2]", "[EMAIL_3]"]
    assert redactor.restored("[EMAIL_1] [EMAIL_3][EMAIL_2]") == "[EMAIL_1] b@x.orga@x.org"


def test_no_placeholder_is_the_beginning_of_another():
    """Ten addresses: the tenth is not the first and a nought."""
    redactor = Redactor("placeholder")
    texts = [redactor.replacement(f"{n}@x.org", "EMAIL") for n in range(1, 12)]
    assert redactor.restored(" ".join(texts)) == " ".join(f"{n}@x.org" for n in range(1, 12))


def test_nothing_is_put_back_where_nothing_was_replaced():
    """A mask has no way back."""
    redactor = Redactor("mask")
    assert redactor.apply("a@x.org", [Cut(0, 7, "EMAIL")]) == "•••••••"
    assert redactor.restored("•••••••") == "•••••••"
