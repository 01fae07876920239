"""Scores, hits and failures in, a verdict out: pure, total, monotone."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.content import Rail
from guard.errors import InvalidContent
from guard.policy import Policy, PolicySpec, decide, explain
from guard.text import normalise
from guard.verdict import Action, Assessment, Hit, Score, Span, Verdict

MakePolicy = Callable[..., Policy]
VerdictOn = Callable[..., Verdict]

ACTIONS = ("flag", "redact", "review", "block")
NAMES = ("hate", "spam", "pii", "own")
TEXT = "an ordinary text of some length"
PROBABILITIES = st.floats(0, 1)


def order(word: str) -> Action:
    return Action.of(word)


@st.composite
def thresholds(draw: st.DrawFn) -> dict[str, float]:
    chosen = draw(st.sets(st.sampled_from(ACTIONS)))
    starts = sorted(draw(st.lists(PROBABILITIES, min_size=len(chosen), max_size=len(chosen))))
    return dict(zip([action for action in ACTIONS if action in chosen], starts, strict=True))


RAILS = st.sampled_from([["input"], ["output"], ["input", "output"]])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any right policy over four categories, three lists and three patterns."""
    categories = {
        name: {
            "title": "A harm",
            "definition": "The text does harm to somebody.",
            "group": "harm",
            "thresholds": draw(thresholds()),
            "doubt": draw(st.none() | st.just((0.2, 0.8))),
            "rails": draw(RAILS),
            "enabled": draw(st.booleans()),
        }
        for name in draw(st.permutations(NAMES))
    }
    rule = {"category": st.sampled_from(NAMES), "action": st.sampled_from(ACTIONS), "rails": RAILS}
    lists = st.fixed_dictionaries(rule | {"words": st.just(["x"])})
    failing = st.sampled_from(["allow", "review", "block"])
    tree = {
        "version": 1,
        "name": "any",
        "description": "Any policy.",
        "categories": categories,
        "terms": {f"list{i}": draw(lists) for i in range(3)},
        "patterns": {f"pattern{i}": draw(st.fixed_dictionaries(rule)) for i in range(3)},
        "redaction": {"style": draw(st.sampled_from(["placeholder", "mask"]))},
        "when_judge_fails": draw(failing),
        "when_screen_fails": draw(failing),
    }
    return Policy(msgspec.convert(tree, PolicySpec))


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, len(TEXT) - 1))
    return start, draw(st.integers(start + 1, len(TEXT)))


@st.composite
def hits(draw: st.DrawFn) -> Hit:
    kind = draw(st.sampled_from(["terms", "patterns"]))
    name = draw(
        st.sampled_from(["list0", "list1", "list2"] if kind == "terms" else ["pattern0", "pattern1", "pattern2"])
    )
    return Hit(kind, name, *draw(places()))


@st.composite
def scores(draw: st.DrawFn) -> Score:
    spans = tuple(Span(*place, draw(PROBABILITIES)) for place in draw(st.lists(places(), max_size=2)))
    return Score(draw(PROBABILITIES), draw(st.sampled_from(["encoder", "judge"])), spans)


ASSESSMENTS = st.builds(
    Assessment,
    st.dictionaries(st.sampled_from(NAMES), scores()),
    st.lists(hits(), max_size=5).map(tuple),
    failures=st.sampled_from([(), ("judge",), ("screen",), ("screen", "judge")]),
)


def ruled(policy: Policy, assessment: Assessment, rail: Rail = Rail.INPUT, **options: object) -> Verdict:
    return decide(policy, assessment, normalise(TEXT), rail=rail, **options)


@given(policies(), ASSESSMENTS, st.sampled_from(Rail), st.booleans())
def test_deciding_is_pure_and_total(policy: Policy, assessment: Assessment, rail: Rail, judge: bool):
    """Any assessment under any policy has a verdict, the same one each time."""
    before = msgspec.json.encode(assessment)
    verdict = ruled(policy, assessment, rail, judge=judge)
    assert ruled(policy, assessment, rail, judge=judge) == verdict
    assert msgspec.json.encode(assessment) == before
    assert verdict.flagged == (verdict.action != "allow")
    assert verdict.degraded == bool(assessment.failures)
    for category in verdict.categories.values():
        assert category.violated == (category.action != "allow")
        assert order(category.action) <= order(verdict.action)
    explain(policy, assessment, normalise(TEXT), rail=rail)


@given(policies(), ASSESSMENTS, st.sampled_from(Rail))
def test_every_active_category_is_in_the_verdict_in_policy_order(policy: Policy, assessment: Assessment, rail: Rail):
    """Scored or not, hit or not; and no other."""
    verdict = ruled(policy, assessment, rail)
    assert list(verdict.categories) == [category.name for category in policy.active(rail)]


def softer(before: Verdict, after: Verdict) -> list[str]:
    """The categories, and the whole, whose action is milder than it was."""
    found = [n for n, c in before.categories.items() if order(after.categories[n].action) < order(c.action)]
    return found + (["verdict"] if order(after.action) < order(before.action) else [])


@given(policies(), ASSESSMENTS, st.sampled_from(Rail), st.sampled_from(NAMES), PROBABILITIES)
def test_raising_a_score_never_softens(policy: Policy, assessment: Assessment, rail: Rail, name: str, value: float):
    """Worse text, never a milder action; and what was flagged stays flagged."""
    old = assessment.scores.get(name, Score(0.0, "encoder"))
    raised = msgspec.structs.replace(old, value=max(old.value, value))
    after = msgspec.structs.replace(assessment, scores=assessment.scores | {name: raised})
    first, second = ruled(policy, assessment, rail), ruled(policy, after, rail)
    assert softer(first, second) == []
    assert second.flagged >= first.flagged


@given(policies(), ASSESSMENTS, st.sampled_from(Rail), hits(), st.integers(0, 5))
def test_adding_a_hit_never_softens(policy: Policy, assessment: Assessment, rail: Rail, hit: Hit, at: int):
    """Wherever it is added: the order of the hits decides nothing."""
    more = (*assessment.hits[:at], hit, *assessment.hits[at:])
    after = msgspec.structs.replace(assessment, hits=more)
    assert softer(ruled(policy, assessment, rail), ruled(policy, after, rail)) == []


@given(policies(), ASSESSMENTS, st.sampled_from(["screen", "judge"]))
def test_adding_a_failure_never_softens(policy: Policy, assessment: Assessment, stage: str):
    """A stage that did not answer can only make the verdict harder."""
    after = msgspec.structs.replace(assessment, failures=(*assessment.failures, stage))
    assert softer(ruled(policy, assessment), ruled(policy, after)) == []


@given(policies(), ASSESSMENTS, st.permutations(range(5)))
def test_the_order_of_hits_decides_no_action(policy: Policy, assessment: Assessment, places: list[int]):
    """Several rules of one action hit together: no comparison of the hits themselves."""
    shuffled = tuple(assessment.hits[i] for i in places if i < len(assessment.hits))
    after = msgspec.structs.replace(assessment, hits=shuffled)
    first, second = ruled(policy, assessment), ruled(policy, after)
    assert [c.action for c in first.categories.values()] == [c.action for c in second.categories.values()]


@pytest.mark.parametrize(
    ("score", "action", "threshold"),
    [
        (0.0, "allow", 0.25),
        (0.2499, "allow", 0.25),
        (0.25, "flag", 0.25),
        (0.5, "redact", 0.5),
        (0.7499, "redact", 0.5),
        (0.75, "review", 0.75),
        (1.0, "block", 1.0),
    ],
)
def test_an_action_starts_at_its_threshold(
    make_policy: MakePolicy, verdict_on: VerdictOn, score: float, action: str, threshold: float
):
    """Equality acts; the reported threshold is the action's own, or the lowest where nothing started."""
    steps = {"flag": 0.25, "redact": 0.5, "review": 0.75, "block": 1.0}
    verdict = verdict_on(make_policy(categories={"hate": {"thresholds": steps}}), {"hate": score})
    category = verdict.categories["hate"]
    assert (category.action, category.threshold, category.score) == (action, threshold, score)
    assert (verdict.action, category.source) == (action, "encoder")


def test_of_equal_thresholds_the_harder_action_wins(make_policy: MakePolicy, verdict_on: VerdictOn):
    """As the reference of the language says."""
    policy = make_policy(categories={"hate": {"thresholds": {"flag": 0.5, "block": 0.5}}})
    assert verdict_on(policy, {"hate": 0.5}).action == "block"


def test_a_threshold_of_zero_always_acts(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Even where nobody scored."""
    assert verdict_on(make_policy(categories={"hate": {"thresholds": {"flag": 0.0}}})).action == "flag"


def test_the_hardest_category_gives_the_verdict(make_policy: MakePolicy, verdict_on: VerdictOn):
    """The others keep their own actions."""
    verdict = verdict_on(make_policy(categories={"a": {}, "b": {}, "c": {}}), {"a": 0.6, "b": 0.95, "c": 0.1})
    assert verdict.action == "block"
    assert [category.action for category in verdict.categories.values()] == ["flag", "block", "allow"]


RULES = {
    "terms": {
        "mild": {"category": "hate", "action": "flag", "words": ["x"]},
        "hard": {"category": "hate", "action": "block", "words": ["y"], "rails": ["output"]},
        "milder": {"category": "hate", "action": "flag", "words": ["z"]},
    },
    "patterns": {"email": {"category": "hate", "action": "review"}},
}


@pytest.mark.parametrize(
    ("score", "rules", "action", "threshold", "source"),
    [
        (0.3, ["mild"], "flag", 0.5, "terms"),
        (0.3, ["email"], "review", 0.5, "patterns"),
        (0.3, ["mild", "email"], "review", 0.5, "patterns"),
        (0.3, ["mild", "milder"], "flag", 0.5, "terms"),
        (0.5, ["mild"], "flag", 0.5, "terms"),
        (0.72, ["mild"], "review", 0.7, "encoder"),
        (0.9, ["email"], "block", 0.9, "encoder"),
    ],
)
def test_a_rule_acts_on_its_own_and_reports_one(
    make_policy: MakePolicy,
    verdict_on: VerdictOn,
    score: float,
    rules: list[str],
    action: str,
    threshold: float,
    source: str,
):
    """The thresholds see only the score underneath; the source is whoever chose the action."""
    found = [Hit("patterns" if rule == "email" else "terms", rule, 3, 11) for rule in rules]
    category = verdict_on(make_policy(**RULES), {"hate": score}, *found).categories["hate"]
    assert (category.action, category.threshold, category.source) == (action, threshold, source)
    assert category.score == 1.0
    assert category.spans == (Span(3, 11, 1.0),) * len(rules)


def test_a_rule_counts_only_on_its_rails(make_policy: MakePolicy, verdict_on: VerdictOn):
    """On the other side its hits are as if they were not there."""
    policy = make_policy(**RULES)
    hit = Hit("terms", "hard", 0, 2)
    on_input = verdict_on(policy, {"hate": 0.1}, hit, rail=Rail.INPUT)
    assert (on_input.action, on_input.categories["hate"].score, on_input.categories["hate"].spans) == ("allow", 0.1, ())
    assert verdict_on(policy, {"hate": 0.1}, hit, rail=Rail.OUTPUT).action == "block"


@pytest.mark.parametrize("category", [{"enabled": False}, {"rails": ["output"]}])
def test_a_rule_of_an_inactive_category_does_nothing(
    make_policy: MakePolicy, verdict_on: VerdictOn, category: dict[str, object]
):
    """Switched off, or of the other rail: neither in the verdict nor in its action."""
    policy = make_policy(categories={"hate": category, "spam": {}}, **RULES)
    verdict = verdict_on(policy, {"hate": 1.0}, Hit("patterns", "email", 0, 2))
    assert verdict.action == "allow"
    assert list(verdict.categories) == ["spam"]


def test_only_the_asked_categories_decide(make_policy: MakePolicy, verdict_on: VerdictOn):
    """`only` narrows the verdict, and a name that the policy lacks is refused."""
    policy = make_policy(categories={"hate": {}, "spam": {}}, **RULES)
    given_scores = {"hate": 0.95, "spam": 0.6}
    verdict = verdict_on(policy, given_scores, only=frozenset({"spam"}))
    assert (verdict.action, list(verdict.categories)) == ("flag", ["spam"])
    with pytest.raises(InvalidContent, match="no category `scam`"):
        verdict_on(policy, given_scores, only=frozenset({"scam"}))


@pytest.mark.parametrize("stage", ["screen", "judge"])
@pytest.mark.parametrize("word", ["allow", "review", "block"])
@pytest.mark.parametrize(("score", "own"), [(0.1, "allow"), (0.6, "flag"), (0.95, "block")])
def test_a_failed_stage_acts_as_the_policy_says(
    make_policy: MakePolicy, verdict_on: VerdictOn, stage: str, word: str, score: float, own: str
):
    """It is the least action, beside what the scores ask for; no category is blamed for it."""
    other = {"screen": "judge", "judge": "screen"}[stage]
    policy = make_policy(**{f"when_{stage}_fails": word, f"when_{other}_fails": "allow"})
    verdict = verdict_on(policy, {"hate": score}, failures=(stage,), judge=True)
    assert verdict.action == max(word, own, key=order)
    assert verdict.degraded
    assert verdict.flagged == (verdict.action != "allow")
    assert verdict.categories["hate"].action == own
    assert verdict.reasons == (f"{stage}_failed: {word}",)


def test_without_an_answer_from_the_screen_every_category_is_still_there(
    make_policy: MakePolicy, verdict_on: VerdictOn
):
    """With the score 0 from nobody; the failure is the reason, not each missing score."""
    verdict = verdict_on(make_policy(categories={"a": {}, "b": {}}), failures=("screen",))
    assert [(c.score, c.source) for c in verdict.categories.values()] == [(0.0, "none")] * 2
    assert (verdict.action, verdict.flagged) == ("block", True)
    assert verdict.reasons == ("screen_failed: block",)


def test_both_stages_may_fail_and_the_harder_counts(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Each is named with its own action."""
    policy = make_policy(when_screen_fails="review", when_judge_fails="block")
    verdict = verdict_on(policy, {}, failures=("screen", "judge"))
    assert verdict.action == "block"
    assert verdict.reasons == ("screen_failed: review", "judge_failed: block")


DOUBTFUL = {"a": {"doubt": (0.3, 0.8)}, "b": {"doubt": (0.3, 0.8)}, "c": {}, "own": {"doubt": (0.1, 0.9)}}


def test_reasons_name_what_was_not_asked_and_not_scored(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Without a judge the doubtful ones stay with the screen, and the reader is told which."""
    policy = make_policy(categories=DOUBTFUL)
    verdict = verdict_on(policy, {"a": 0.3, "b": 0.8, "c": 0.5})
    assert verdict.reasons == ("no_score: own", "no_judge: a, b")


@pytest.mark.parametrize(
    ("scores_given", "judge", "reasons"),
    [
        ({"a": 0.29, "b": 0.81, "c": 0.5, "own": 0.0}, False, ()),
        ({"a": 0.5, "b": 0.5, "c": 0.5, "own": 0.0}, True, ()),
        ({"a": Score(0.5, "judge"), "b": 0.1, "c": 0.5, "own": 0.0}, False, ()),
        ({"a": 0.5, "b": 0.1, "c": 0.5}, False, ("no_score: own", "no_judge: a")),
        ({"a": 0.1, "b": 0.1, "c": 0.5}, True, ("no_score: own",)),
    ],
)
def test_reasons_are_given_only_where_they_hold(
    make_policy: MakePolicy,
    verdict_on: VerdictOn,
    scores_given: dict[str, float | Score],
    judge: bool,
    reasons: tuple[str, ...],
):
    """Outside the band, judged already, or with a judge that was asked: no `no_judge`."""
    assert verdict_on(make_policy(categories=DOUBTFUL), scores_given, judge=judge).reasons == reasons


def test_a_hit_answers_for_a_category_that_nobody_scored(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Then neither `no_score` nor `no_judge` is true."""
    policy = make_policy(categories={"hate": {"doubt": (0.2, 0.8)}}, **RULES)
    assert verdict_on(policy, {}, Hit("terms", "mild", 0, 2)).reasons == ()
    assert verdict_on(policy, {"hate": 0.4}, Hit("terms", "mild", 0, 2)).reasons == ()


def test_what_is_passed_along_arrives(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Uninspected parts, the cache's mark and the steps of the normalisation."""
    verdict = verdict_on(make_policy(), {"hate": 0.1}, text="a\u200bb", uninspected=("$.input[0]: image",), cached=True)
    assert verdict.uninspected == ("$.input[0]: image",)
    assert verdict.cached
    assert verdict.normalised == ("zero_width",)


def test_spans_point_into_the_original(make_policy: MakePolicy, verdict_on: VerdictOn):
    """Zero-width characters inside a span belong to it; those before it only shift it."""
    original = "\u200b\u200bhello i\u200bd\u200bi\u200bo\u200bt there"
    normalised = normalise(original)
    assert normalised.text == "hello idiot there"
    policy = make_policy(**RULES)
    score = Score(0.8, "encoder", (Span(0, 5, 0.7),))
    spans = verdict_on(policy, {"hate": score}, Hit("terms", "mild", 6, 11), text=normalised).categories["hate"].spans
    assert spans == (Span(2, 7, 0.7), Span(8, 17, 1.0))
    assert original[8:17] == "i\u200bd\u200bi\u200bo\u200bt"


@given(st.lists(st.sampled_from(["a", "b", " ", "\u200b", "\u2060", "\ufeff", "Ａ"]), max_size=40), st.data())
def test_spans_never_leave_the_original(pieces: list[str], data: st.DataObject):
    """Through any normalisation a span stays inside, keeps its order and covers what it came from."""
    normalised = normalise("".join(pieces))
    start = data.draw(st.integers(0, len(normalised.text)))
    end = data.draw(st.integers(start, len(normalised.text)))
    score = Score(0.9, "encoder", (Span(start, end, 0.5),))
    spec = {"version": 1, "name": "a", "description": "A."}
    hate = {"title": "H", "definition": "The text does harm to somebody.", "group": "g", "thresholds": {"flag": 0.5}}
    policy = Policy(msgspec.convert(spec | {"categories": {"hate": hate}}, PolicySpec))
    span = decide(policy, Assessment({"hate": score}), normalised).categories["hate"].spans[0]
    assert 0 <= span.start <= span.end <= len(normalised.original)
    assert normalise(normalised.original[span.start : span.end]).text == normalised.text[start:end]


def test_an_explanation_quotes_the_rules_in_the_original(make_policy: MakePolicy):
    """With their names, categories and actions, on the asked rail, and the doubtful categories."""
    policy = make_policy(categories={"hate": {"doubt": (0.2, 0.8)}, "spam": {"doubt": (0.2, 0.8)}}, **RULES)
    assessment = Assessment(
        {"hate": Score(0.5, "encoder"), "spam": Score(0.9, "encoder")},
        (Hit("terms", "mild", 1, 3), Hit("terms", "hard", 0, 1), Hit("patterns", "email", 0, 3)),
    )
    explanation = explain(policy, assessment, normalise("a\u200bbc"))
    assert explanation.normalised_text == "abc"
    assert [(r.kind, r.name, r.category, r.action, r.start, r.end) for r in explanation.rules] == [
        ("terms", "mild", "hate", "flag", 2, 4),
        ("patterns", "email", "hate", "review", 0, 4),
    ]
    assert explanation.doubtful == ("hate",)
