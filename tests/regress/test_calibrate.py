"""A calibration from scores and labels to the file, and from the file to verdicts."""

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from guard.cache.memory import MemoryCache
from guard.content import Content
from guard.errors import InvalidPolicy
from guard.moderator import Moderator
from guard.policy import PatternNames, Policy, load_policies
from guard.policy.calibration import Calibration, CalibrationSpec, CategoryFits, Data, Fit, Model
from guard.policy.document import parse_text, plain
from guard.regress.calibrate import Enough, Report, Scored, bare, calibrated, data_of, fits_of, report, written
from guard.regress.cascade import ways
from guard.regress.reports.calibration import markdown
from guard.telemetry import Listeners
from guard.testing import FixedScreen, ScriptedJudge, a_policy
from guard.verdict import CategoryVerdict, Source, Verdict

POLICY = a_policy(("hate", "violence"))
MODEL = Model(name="fixed", fingerprint="fixed-1")
JUDGE = Model(name="scripted", fingerprint="1234567890123e45")
ENOUGH = Enough(positives=20, negatives=20, folds=5)


def a_verdict(source: Source = "encoder", **scores: float) -> Verdict:
    return Verdict("allow", False, {n: CategoryVerdict(s, 0.5, False, "allow", source) for n, s in scores.items()})


def a_sample(rows: int = 600, *, source: Source = "encoder", into: Scored | None = None) -> Scored:
    """Scores that exaggerate: where they say x, x / 2 is true."""
    rng = np.random.default_rng(5)
    scored = into or Scored()
    for score in np.round(rng.random(rows), 6):
        scored.add({"hate": int(rng.random() < score / 2)}, a_verdict(source, hate=float(score)))
    return scored


def a_report(scored: Scored, *, policy: Policy = POLICY, target: float | None = None, **options: Any) -> Report:
    given: dict[str, Any] = {"method": "auto", "enough": ENOUGH} | options
    rows = calibrated(scored, policy, ("encoder", "examples", "judge"), **given)
    return report(
        policy,
        scored,
        rows,
        data=(Data(name="rows.jsonl", sha256="1" * 64),),
        screen=MODEL,
        judge=JUDGE,
        method=given["method"],
        folds=given["enough"].folds,
        final=scored,
        left=rows,
        target=target,
    )


def test_exaggerated_scores_are_halved():
    """With figures of rows that their curve had not seen."""
    (row,) = a_report(a_sample()).categories
    assert (row.category, row.source, row.rows) == ("hate", "encoder", 600)
    assert row.way in ("temperature", "isotonic")
    assert row.ece is not None
    assert row.ece.before > 0.2
    assert row.ece.after < 0.08
    assert row.brier is not None
    assert row.brier.after[0] < row.brier.before[0]
    assert row.gain is not None
    assert row.gain.low > 0
    assert row.gain.value == pytest.approx(row.brier.before[0] - row.brier.after[0], abs=2e-6)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_method_that_was_asked_for_is_used(method):
    (row,) = a_report(a_sample(), method=method).categories
    assert row.way == method
    assert row.fit is not None
    assert getattr(row.fit, method) is not None


def test_an_action_that_no_score_reaches_any_more_is_named():
    """Even the highest scores are right only in some cases: no block from 0.9 on, and nobody would have noticed."""
    found = a_report(a_sample(), method="isotonic")
    assert found.categories[0].out_of_reach == ("block",)
    assert "no score reaches its threshold of " in markdown(found)
    assert a_report(a_sample(), method="temperature").categories[0].out_of_reach == ()


def test_too_few_rows_of_a_side_are_left_out_with_the_reason():
    scored = Scored()
    for n in range(100):
        scored.add({"hate": int(n < 19), "violence": int(n < 81)}, a_verdict(hate=0.5, violence=0.5))
    found = a_report(scored)
    assert [row.reason for row in found.categories] == [
        "too few positives: 19 of at least 20",
        "too few negatives: 19 of at least 20",
    ]
    assert found.fits == {}
    assert "- hate (encoder) stays as it is: too few positives: 19 of at least 20." in markdown(found)


def test_scores_that_say_nothing_are_left_out():
    scored = Scored()
    rng = np.random.default_rng(6)
    for score in rng.random(200):
        scored.add({"hate": int(score < 0.5)}, a_verdict(hate=float(score)))
    (row,) = a_report(scored, method="temperature").categories
    assert row.fit is None
    assert row.reason == "the truth does not rise with the score"


def test_what_is_counted():
    """A row without a verdict, one that a stage failed on, one without a label; static and unscored say nothing."""
    scored = Scored()
    scored.add({"hate": 1}, None)
    scored.add({"hate": 1}, msgspec.structs.replace(a_verdict(hate=0.1), degraded=True))
    scored.add({}, a_verdict(hate=0.1))
    scored.add({"hate": 1, "spam": 1}, a_verdict(hate=0.1))
    scored.add({"hate": 1}, a_verdict("static", hate=0.1))
    scored.add({"hate": 1}, a_verdict("none", hate=0.0))
    assert (scored.rows, scored.errors, scored.unlabelled) == (6, 2, 1)
    assert scored.sources("hate") == ["encoder"]
    assert scored.of("hate", "encoder")[0].tolist() == [1]


def test_the_file_is_read_as_it_was_meant(tmp_path: Path):
    """Every number, and strings that look like numbers; sources side by side."""
    scored = a_sample(source="judge", into=a_sample())
    found = a_report(scored)
    text = written(found, today=date(2026, 11, 22))
    tree, problems = parse_text(text, "calibration.yaml")
    assert tree is not None
    assert problems == []
    spec = msgspec.convert(plain(tree), CalibrationSpec)
    assert spec.made.rows == 1_200
    assert (spec.screen, spec.judge) == (MODEL, JUDGE)
    assert spec.categories == found.fits
    assert dict(spec.categories["hate"].items()).keys() == {"encoder", "judge"}
    folder = tmp_path / "test"
    folder.mkdir()
    (folder / "policy.yaml").write_text(msgspec.json.encode(POLICY.spec).decode())
    (folder / "calibration.yaml").write_text(text)
    loaded = load_policies(tmp_path, PatternNames(frozenset(), lambda _: None))["test"]
    assert loaded.calibration is not None
    assert loaded.calibration.categories == found.fits
    assert bare(POLICY, found.fits).fingerprint == loaded.fingerprint


def test_thresholds_are_on_calibrated_scores():
    """What the policy will compare; a category without a curve keeps its own."""
    scored = a_sample()
    for n in range(40):
        scored.add({"violence": 0}, a_verdict(violence=n / 100))
    found = a_report(scored, target=0.1)
    hate = found.thresholds["hate"]
    assert hate.threshold is not None
    assert hate.threshold < 0.6
    assert hate.false_positives / hate.negatives <= 0.1
    assert found.thresholds["violence"].threshold == 0.36
    shown = markdown(found)
    assert f"    thresholds: {{flag: {hate.threshold:g}}}" in shown
    few = a_report(scored, target=0.01)
    assert few.thresholds["violence"].threshold is None
    assert "- violence: none; 40 negatives cannot show 0.01" in markdown(few)
    assert "299 are needed" in markdown(few)


def test_digests_are_those_of_sha256sum(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("abc")
    (found,) = data_of([tmp_path / "a.jsonl"])
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def lifted(source: str = "encoder") -> dict[str, CategoryFits]:
    """0.2 becomes 0.6."""
    figures = {"rows": 1, "positives": 1, "ece": {"before": 0, "after": 0},
               "brier": {"before": [0, 0, 0], "after": [0, 0, 0]}}  # fmt: skip
    fit = msgspec.convert(figures | {"isotonic": [[0.0, 0.1], [0.2, 0.6], [1.0, 0.9]]}, Fit)
    return {"hate": CategoryFits(**{source: fit})}


def a_moderator(judge: ScriptedJudge | None = None, *, score: float = 0.2) -> tuple[Moderator, FixedScreen]:
    screen = FixedScreen({"hate": score})
    cache = MemoryCache(entries=10, ttl=60)
    return Moderator(screen=screen, judge=judge, cache=cache, secret=b"s", listener=Listeners()), screen


async def test_what_is_cached_is_raw_and_an_edit_takes_effect_at_once():
    """Without a band the cache stays warm; with one, the text is read anew, for others may be in doubt."""
    moderator, screen = a_moderator()
    plain_ = a_policy(("hate",), category={"doubt": None})
    edited = Policy(plain_.spec, Calibration(lifted(), ()))
    contents = [Content.of("a text")]
    before = (await moderator.moderate(contents, plain_)).verdicts[0]
    after = (await moderator.moderate(contents, edited)).verdicts[0]
    back = (await moderator.moderate(contents, plain_)).verdicts[0]
    assert [v.categories["hate"].score for v in (before, after, back)] == [0.2, 0.6, 0.2]
    assert (after.cached, after.action, back.cached) == (True, "flag", True)
    assert len(screen.texts) == 1
    banded = a_policy(("hate",))
    for policy in (banded, Policy(banded.spec, Calibration(lifted(), ()))):
        assert (await moderator.moderate(contents, policy)).verdicts[0].cached is False


@pytest.mark.parametrize(("score", "asked"), [(0.2, 1), (0.6, 0)])
async def test_the_judge_is_asked_where_the_calibrated_score_is_in_doubt(score: float, asked: int):
    """0.2 is seen as 0.6, and 0.6 as 0.75; the judge's own answer goes through its own curve, or none."""
    judge = ScriptedJudge({"hate": 0.2})
    moderator, _ = a_moderator(judge, score=score)
    policy = a_policy(("hate",), category={"doubt": [0.55, 0.65]})
    own = Policy(policy.spec, Calibration(lifted(), ()))
    verdict = (await moderator.moderate([Content.of("a text")], own)).verdicts[0]
    assert len(judge.asked) == asked
    assert verdict.categories["hate"].score == (0.2 if asked else 0.75)
    both = lifted()["hate"].encoder
    curves = {"hate": CategoryFits(encoder=both, judge=both)}
    verdict = (await moderator.moderate([Content.of("a text")], Policy(policy.spec, Calibration(curves, ())))).verdicts[
        0
    ]
    assert (verdict.categories["hate"].score, verdict.cached) == (0.6 if asked else 0.75, True)


def test_the_ways_of_a_comparison_keep_the_calibration():
    moderator, _ = a_moderator(ScriptedJudge({"hate": 0.2}))
    policy = Policy(a_policy(("hate",)).spec, Calibration(lifted(), ()))
    assert all(way.policy.calibration is policy.calibration for way in ways(moderator, policy))


def test_rows_of_a_judge_are_fits_of_a_judge():
    rows = calibrated(a_sample(source="judge"), POLICY, ("judge",), method="isotonic", enough=ENOUGH)
    assert [source for source, _ in fits_of(rows)["hate"].items()] == ["judge"]
    assert calibrated(a_sample(source="judge"), POLICY, ("encoder",), method="isotonic", enough=ENOUGH) == []


def test_a_calibration_of_another_screen_keeps_a_service_from_starting(tmp_path: Path):
    """With the file, the models and what to do."""
    from guard.config import settings_from
    from guard.service import build, offline, pattern_names

    folder = tmp_path / "test"
    folder.mkdir()
    (folder / "policy.yaml").write_text(msgspec.json.encode(POLICY.spec).decode())
    (folder / "calibration.yaml").write_text(written(a_report(a_sample()), today=date(2026, 11, 22)))
    settings = settings_from({}, policies=tmp_path, default_policy="test")
    with pytest.raises(InvalidPolicy, match=r"was fitted on fixed \(fixed-1\), and the screen is guard-encoder-1"):
        build(settings)
    policies = load_policies(tmp_path, pattern_names())
    with pytest.raises(InvalidPolicy, match="fit anew with `guard calibrate DATASET --policy test"):
        offline(settings, policies.values(), judge=False)
