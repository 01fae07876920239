"""Calibrations beside policies: what is read, what a verdict makes of it, and what is refused."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.content import Rail
from guard.errors import InvalidPolicy
from guard.policy import PatternNames, Policy, PolicyBook, explain, load_policies
from guard.policy.calibration import Calibration, CategoryFits, Fit, Model, Temperature, curve, misfits
from guard.policy.loader import load_text
from guard.testing import a_policy
from guard.text import normalise
from guard.verdict import Assessment, Hit, Score, Span, Verdict

FIGURES: dict[str, Any] = {
    "rows": 10,
    "positives": 5,
    "ece": {"before": 0.2, "after": 0.1},
    "brier": {"before": [0.2, 0.1, 0.3], "after": [0.1, 0.1, 0.2]},
}
LIFTED = [[0.0, 0.1], [0.2, 0.6], [1.0, 0.9]]

FILE = """\
version: 1
made:
  policy: forum
  date: "2026-11-22"
  guard: "0.1.0"
  method: auto
  folds: 5
  rows: 10
  data:
    - {name: rows.jsonl, sha256: "%s"}
screen: {name: fixed, fingerprint: fixed-1}
categories:
  hate:
    encoder:
      rows: 10
      positives: 5
      ece: {before: 0.2, after: 0.1}
      brier: {before: [0.2, 0.1, 0.3], after: [0.1, 0.1, 0.2]}
      isotonic: [[0, 0.1], [0.2, 0.6], [1, 0.9]]
""" % ("0" * 64)


def a_fit(**curves: Any) -> Fit:
    return msgspec.convert(FIGURES | curves, Fit)


def calibrated(policy: Policy, **fits: dict[str, Fit]) -> Policy:
    """The policy with these curves, by category and source."""
    return Policy(policy.spec, Calibration({name: CategoryFits(**found) for name, found in fits.items()}, ()))


temperatures = st.builds(
    Temperature,
    scale=st.floats(0.001, 100.0),
    offset=st.floats(-100.0, 100.0),
    low=st.floats(0.0, 0.4),
    high=st.floats(0.5, 1.0),
)
isotonics = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=8, unique_by=lambda point: point[0]
).map(lambda points: list(zip(sorted(p[0] for p in points), sorted(p[1] for p in points), strict=True)))
fits_ = temperatures.map(lambda found: a_fit(temperature=found)) | isotonics.map(lambda found: a_fit(isotonic=found))


@given(fits_, st.lists(st.floats(0.0, 1.0), min_size=2))
def test_every_curve_climbs_and_stays_a_probability(fit: Fit, scores: list[float]) -> None:
    found = [curve(fit)(score) for score in sorted(scores)]
    assert found == sorted(found)
    assert all(0.0 <= value <= 1.0 for value in found)


def test_a_temperature_by_hand() -> None:
    """sigmoid(0.5 * logit(0.9) + 1), and its bounds."""
    fit = a_fit(temperature={"scale": 0.5, "offset": 1.0, "low": 0.02, "high": 0.95})
    expected = 1 / (1 + math.exp(-(0.5 * math.log(9) + 1)))
    assert curve(fit)(0.9) == round(expected, 6) == 0.890768
    assert (curve(fit)(0.0), curve(fit)(1.0)) == (0.02, 0.95)


def test_points_by_hand() -> None:
    """Straight between the points, level beyond them."""
    seen = curve(a_fit(isotonic=[[0.2, 0.1], [0.4, 0.5], [0.6, 0.5]]))
    assert [seen(score) for score in (0.0, 0.2, 0.3, 0.5, 0.9)] == [0.1, 0.1, 0.3, 0.5, 0.5]


def test_a_verdict_shows_and_decides_by_calibrated_scores(
    make_policy: Callable[..., Policy], verdict_on: Callable[..., Verdict]
):
    """0.2 becomes 0.6, which is flagged; spans go the same way."""
    policy = calibrated(make_policy(), hate={"encoder": a_fit(isotonic=LIFTED)})
    found = verdict_on(policy, {"hate": Score(0.2, "encoder", (Span(0, 4, 0.2),))}).categories["hate"]
    assert (found.score, found.threshold, found.action, found.source) == (0.6, 0.5, "flag", "encoder")
    assert found.spans == (Span(0, 4, 0.6),)
    assert verdict_on(make_policy(), {"hate": 0.2}).action == "allow"


def test_only_the_sources_that_it_was_fitted_on(make_policy: Callable[..., Policy], verdict_on: Callable[..., Verdict]):
    """The static tier's scores are the encoder's; a judge's and a rule's are others. Spans are always the encoder's."""
    policy = calibrated(make_policy(terms={"slurs": {"category": "hate", "action": "flag", "words": ["slur"]}}),
                        hate={"encoder": a_fit(isotonic=LIFTED)})  # fmt: skip

    def shown(score: Score, *hits: Hit) -> float:
        return verdict_on(policy, {"hate": score}, *hits).categories["hate"].score

    assert shown(Score(0.2, "static")) == 0.6
    assert shown(Score(0.2, "examples")) == shown(Score(0.2, "judge")) == 0.2
    assert shown(Score(0.2, "encoder"), Hit("terms", "slurs", 0, 2)) == 1.0
    judged = verdict_on(policy, {"hate": Score(0.55, "judge", (Span(0, 4, 0.2),))}).categories["hate"]
    assert (judged.score, judged.spans[0].score) == (0.55, 0.6)
    own = calibrated(make_policy(), hate={"judge": a_fit(isotonic=LIFTED)})
    assert verdict_on(own, {"hate": Score(0.2, "judge")}).categories["hate"].score == 0.6
    assert verdict_on(own, {"hate": Score(0.2, "encoder")}).categories["hate"].score == 0.2


def test_doubt_is_compared_with_calibrated_scores(
    make_policy: Callable[..., Policy], verdict_on: Callable[..., Verdict]
):
    """As thresholds are: all numbers of a policy are on one scale, in reasons and in an explanation too."""
    plain = make_policy(categories={"hate": {"doubt": [0.55, 0.65]}})
    policy = calibrated(plain, hate={"encoder": a_fit(isotonic=LIFTED)})
    assert verdict_on(policy, {"hate": 0.2}).reasons == ("no_judge: hate",)
    assert verdict_on(policy, {"hate": 0.6}).reasons == ()
    assert verdict_on(plain, {"hate": 0.6}).reasons == ("no_judge: hate",)
    assessment = Assessment({"hate": Score(0.2, "encoder")})
    assert explain(policy, assessment, normalise("a text")).doubtful == ("hate",)


def test_redaction_starts_at_the_calibrated_score(
    make_policy: Callable[..., Policy], verdict_on: Callable[..., Verdict]
):
    plain = make_policy(categories={"hate": {"thresholds": {"redact": 0.55}}})
    policy = calibrated(plain, hate={"encoder": a_fit(isotonic=LIFTED)})
    assert verdict_on(policy, {"hate": 0.2}).redacted == "[HATE_1]"


def test_fingerprints_cover_what_depends_on_a_curve(make_policy: Callable[..., Policy]):
    """All of it the policy's; the assessment's only where a band is seen through the encoder's curve."""
    plain = make_policy(categories={"hate": {"doubt": [0.3, 0.8]}, "spam": {}})
    fit, other = a_fit(isotonic=[[0.0, 0.0], [0.2, 0.25], [1.0, 0.9]]), a_fit(isotonic=[[0.0, 0.1], [1.0, 0.9]])
    policies = [plain, calibrated(plain, spam={"encoder": fit}), calibrated(plain, hate={"judge": fit}),
                calibrated(plain, hate={"examples": fit}), calibrated(plain, hate={"encoder": fit}),
                calibrated(plain, hate={"encoder": other})]  # fmt: skip
    assert len({policy.fingerprint for policy in policies}) == 6
    assert len({policy.assessment_fingerprint for policy in policies[:4]}) == 1
    assert len({policy.assessment_fingerprint for policy in policies[3:]}) == 3
    figures = msgspec.structs.replace(fit, rows=99)
    assert calibrated(plain, hate={"encoder": figures}).fingerprint == policies[4].fingerprint


@given(fits_)
def test_nothing_happens_below_silent_below(fit: Fit) -> None:
    """The screen's static tier relies on it, with the screen's own scores."""
    policy = calibrated(a_policy(("hate",)), hate={"encoder": fit})
    (category,) = policy.active(Rail.INPUT)
    below = policy.silent_below
    for score in (0.0, below / 2, below - 1e-6):
        if 0.0 <= score < below:
            seen = curve(fit)(score)
            assert seen < category.lowest
            assert not category.doubtful(seen)


def test_silent_below_is_the_screens_own_score():
    """A band from 0.3 begins where the curve gives 0.3; a category whose encoder's scores stay is not moved."""
    policy = a_policy(("hate",))
    lifted = calibrated(policy, hate={"encoder": a_fit(isotonic=LIFTED)})
    assert policy.silent_below == 0.3
    assert lifted.silent_below == pytest.approx(0.08, abs=1e-6)
    flat = calibrated(policy, hate={"encoder": a_fit(isotonic=[[0.0, 0.01], [1.0, 0.2]])})
    assert flat.silent_below == 1.0
    assert calibrated(policy, hate={"judge": a_fit(isotonic=LIFTED)}).silent_below == 0.3


@pytest.fixture
def forum_folder(write: Callable[[str, str], Path], forum: str) -> Path:
    """A policy with a calibration."""
    own = write("forum", forum).parent
    (own / "calibration.yaml").write_text(FILE)
    return own


def test_a_file_beside_the_policy_is_applied(forum_folder: Path, patterns: PatternNames):
    policy = load_policies(forum_folder.parent, patterns)["forum"]
    assert policy.seen({"hate": Score(0.2, "encoder")}) == {"hate": Score(0.6, "encoder")}
    assert load_policies(forum_folder, patterns)["forum"].fingerprint == policy.fingerprint
    raw = load_policies(forum_folder.parent, patterns, calibrated=False)["forum"]
    assert raw.calibration is None
    assert raw.fingerprint != policy.fingerprint


def test_a_child_inherits_curves_by_category(
    forum_folder: Path, write: Callable[[str, str], Path], patterns: PatternNames
):
    """Its own file's go first. New words for a judge end what was fitted on a judge that read the old ones."""
    judged = FILE.replace("screen:", "judge: {name: j, fingerprint: j-1}\nscreen:") + FILE[FILE.index("    encoder") :]
    judged = judged[: judged.rindex("    encoder")] + judged[judged.rindex("    encoder") :].replace("encoder", "judge")
    (forum_folder / "calibration.yaml").write_text(judged)
    child = "version: 1\nname: %s\nextends: forum\ndescription: A child.\n"
    write("child", child % "child")
    write("worded", child % "worded" + "categories:\n  hate: {definition: The text attacks people for anything.}\n")
    own = write("own", child % "own").parent
    (own / "calibration.yaml").write_text(FILE.replace("[0.2, 0.6]", "[0.2, 0.7]"))
    loaded = load_policies(forum_folder.parent, patterns)

    def shown(policy: Policy) -> list[float]:
        return [policy.seen({"hate": Score(0.2, source)})["hate"].value for source in ("encoder", "judge")]

    assert {name: shown(policy) for name, policy in loaded.items()} == {
        "child": [0.6, 0.6],
        "forum": [0.6, 0.6],
        "own": [0.7, 0.2],
        "worded": [0.6, 0.2],
    }
    text = load_text(child % "text", loaded, patterns)
    assert shown(text) == [0.6, 0.6]
    assert shown(load_policies(own, patterns)["own"]) == [0.7, 0.2]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  hate:\n", "  hat:\n", "13: $.categories.hat: policy `forum` has no category `hat`; did you mean `hate`?"),
        ("[0.2, 0.6]", "[0.2, 0.95]", "$.categories.hate.encoder.isotonic[2]: points must climb: [1, 0.9] comes after"),
        ("[0.2, 0.6]", "[0, 0.6]", "isotonic[1]: points must climb: [0, 0.6] comes after [0, 0.1]"),
        ("[0.2, 0.6]", "[0.2, 1.6]", "$.categories.hate.encoder.isotonic[1]: expected `float` <= 1.0"),
        ("[[0, 0.1], [0.2, 0.6], [1, 0.9]]", "[]", "isotonic: must not be empty"),
        (
            "isotonic: [[0, 0.1], [0.2, 0.6], [1, 0.9]]",
            "temperature: {scale: 0, offset: 0, low: 0.1, high: 0.9}",
            "temperature.scale: expected `float` > 0.0",
        ),
        (
            "isotonic: [[0, 0.1], [0.2, 0.6], [1, 0.9]]",
            "temperature: {scale: 1, offset: 0, low: 0.9, high: 0.1}",
            "temperature: `low` (0.9) must be below `high` (0.1)",
        ),
        ("      isotonic: [[0, 0.1], [0.2, 0.6], [1, 0.9]]\n", "", "give either `temperature` or `isotonic`"),
        (
            "      isotonic",
            "      temperature: {scale: 1, offset: 0, low: 0.1, high: 0.9}\n      isotonic",
            "give either `temperature` or `isotonic`, not both",
        ),
        ("    encoder:", "    judge:", "$.categories.hate.judge: `judge` at the top is missing"),
        ("    encoder:", "    encoders:", "unknown key `encoders`; did you mean `encoder`?"),
        ("version: 1", "version: 2", "$.version: expected one of `1`, got 2"),
        ('date: "2026-11-22"', "date: today", "$.made.date: expected `str` matching regex"),
        ("screen: {name: fixed, fingerprint: fixed-1}\n", "", "$: `screen` is missing"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    forum_folder: Path, patterns: PatternNames, old: str, new: str, problem: str
):
    assert old in FILE
    (forum_folder / "calibration.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(InvalidPolicy, match=r"calibration\.yaml") as caught:
        load_policies(forum_folder.parent, patterns)
    assert any(problem in str(found) for found in caught.value.problems), caught.value
    assert load_policies(forum_folder.parent, patterns, calibrated=False)


def test_a_file_that_is_no_yaml_is_named(forum_folder: Path, patterns: PatternNames):
    (forum_folder / "calibration.yaml").write_text("a: [")
    with pytest.raises(InvalidPolicy, match=r"calibration.yaml:2: \$: is not valid YAML"):
        load_policies(forum_folder.parent, patterns)


def test_a_wrong_policy_and_a_wrong_calibration_are_told_together(forum_folder: Path, patterns: PatternNames):
    file = forum_folder / "policy.yaml"
    file.write_text(file.read_text().replace("block: 0.9", "block: 0.1"))
    (forum_folder / "calibration.yaml").write_text(FILE.replace("version: 1", "version: 2"))
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(forum_folder.parent, patterns)
    assert len(caught.value.problems) == 2


def test_the_book_notices_an_edit_a_mistake_and_the_end(forum_folder: Path, patterns: PatternNames):
    book = PolicyBook(forum_folder.parent, patterns)
    path = forum_folder / "calibration.yaml"

    def seen() -> float:
        return book["forum"].seen({"hate": Score(0.2, "encoder")})["hate"].value

    def write(text: str) -> None:
        staged = path.with_suffix(".staged")
        staged.write_text(text)
        os.replace(staged, path)

    write(FILE.replace("[0.2, 0.6]", "[0.2, 0.7]"))
    assert book.refresh()
    assert seen() == 0.7
    write(FILE.replace("version: 1", "version: 7"))
    assert not book.refresh()
    assert seen() == 0.7
    assert "version" in str(book.status.problems[0])
    path.unlink()
    assert book.refresh()
    assert seen() == 0.2


def test_other_models_are_refused_with_the_remedy(forum_folder: Path, patterns: PatternNames):
    """The screen's always; the judge's where one is there."""
    text = FILE.replace("screen:", "judge: {name: j, fingerprint: j-1}\nscreen:")
    (forum_folder / "calibration.yaml").write_text(text)
    found = load_policies(forum_folder.parent, patterns)["forum"].calibration
    screen, judge = Model(name="fixed", fingerprint="fixed-1"), Model(name="j", fingerprint="j-1")
    assert misfits(found, screen=screen, judge=judge) == misfits(found, screen=screen, judge=None) == []
    (one,) = misfits(found, screen=Model(name="fixed", fingerprint="fixed-2"), judge=None)
    assert "was fitted on fixed (fixed-1), and the screen is fixed (fixed-2)" in one.message
    assert "guard calibrate DATASET --policy forum -o " in one.message
    (two,) = misfits(found, screen=screen, judge=Model(name="j", fingerprint="j-2"))
    assert two.path == "$.judge"
    assert misfits(None, screen=screen, judge=judge) == []
