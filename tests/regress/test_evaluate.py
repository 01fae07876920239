"""Labelled rows and verdicts in, figures out."""

import math
from typing import Any

import msgspec
import pytest

from guard.errors import DatasetError
from guard.policy import Policy
from guard.regress.evaluate import Evaluation, Report, deciding, label_names
from guard.regress.reports.evaluation import markdown
from guard.testing import a_policy
from guard.verdict import CategoryVerdict, Verdict

POLICY = a_policy(("hate", "violence"))


def a_verdict(*, supported: bool = True, **scores: float) -> Verdict:
    """Violated from 0.5 on."""
    categories = {
        name: CategoryVerdict(score, 0.5, score >= 0.5, "flag" if score >= 0.5 else "allow", "encoder")
        for name, score in scores.items()
    }
    worst = any(found.violated for found in categories.values())
    return Verdict("flag" if worst else "allow", worst, categories, language_supported=supported)


def evaluated(*rows: tuple[dict[str, Any], Verdict | None], policy: Policy = POLICY, **options: Any) -> Report:
    """The report on these rows."""
    evaluation = Evaluation("set", policy, screen="test", names=label_names(policy, {}), **options)
    for row, verdict in rows:
        evaluation.add(row, verdict)
    return evaluation.report(rounds=50)


def test_figures_of_a_category_and_of_the_decision_as_a_whole() -> None:
    """Worked by hand; the last row does not say that it is harmful, its label does."""
    report = evaluated(
        ({"labels": {"hate": 1}, "flagged": 1}, a_verdict(hate=0.9, violence=0.1)),
        ({"labels": {"hate": 0}, "flagged": 1}, a_verdict(hate=0.2, violence=0.4)),
        ({"labels": {"hate": 0}, "flagged": 0}, a_verdict(hate=0.1, violence=0.2)),
        ({"labels": {"hate": 1}, "flagged": None}, a_verdict(hate=0.15, violence=0.2)),
    )
    hate = report.categories["hate"]
    assert (hate.rows, hate.positives, hate.auc.value, hate.recall.value) == (4, 2, 0.75, 0.5)
    assert hate.auprc.value == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert (report.binary.rows, report.binary.positives, report.binary.auc.value) == (4, 3, 2.5 / 3)
    assert (report.binary.recall.value, report.binary.false_positive_rate.value) == (1 / 3, 0.0)
    assert "violence" not in report.categories


def test_the_decision_on_a_case_worked_by_hand() -> None:
    """Two of three positives and one of two negatives flagged."""
    rows = zip((1, 1, 1, 0, 0), (0.9, 0.9, 0.1, 0.9, 0.1), strict=True)
    report = evaluated(*[({"flagged": truth}, a_verdict(hate=score, violence=0.0)) for truth, score in rows])
    assert report.binary.recall.value == pytest.approx(2 / 3)
    assert report.binary.false_positive_rate.value == 0.5


def test_an_absent_label_is_unknown_not_zero() -> None:
    """Otherwise a set that annotates hate alone would count every threat against the violence head."""
    report = evaluated(({"labels": {"hate": 0}}, a_verdict(hate=0.1, violence=0.99)))
    assert report.categories.keys() == {"hate"}
    assert report.binary.rows == 0


@pytest.mark.parametrize(
    ("row", "truth"),
    [
        ({"flagged": 1}, 1),
        ({"flagged": 0.4}, 0),
        ({"flagged": True}, 1),
        ({"labels": {"hate": 0, "violence": 0.7}}, 1),
        ({"labels": {"hate": 0, "violence": 0}}, 0),
        ({"labels": {"hate": 1, "violence": 0}, "flagged": 0}, 0),
    ],
)
def test_the_truth_of_a_row(row: dict[str, Any], truth: int) -> None:
    """What the row says as a whole comes first; else its labels imply it."""
    assert evaluated((row, a_verdict(hate=0.1, violence=0.1))).binary.positives == truth


def test_labels_by_other_names() -> None:
    """By hand, or by a taxonomy of the policy where the label belongs to one category alone."""
    policy = a_policy(("hate", "violence"), category={"maps": {"openai": ["shared"]}})
    assert "shared" not in label_names(policy, {}, "openai")
    alone = a_policy(("hate",), category={"maps": {"openai": ["hate/threatening"]}})
    assert label_names(alone, {"toxic": "hate"}, "openai") == {
        "hate": "hate",
        "hate/threatening": "hate",
        "toxic": "hate",
    }
    with pytest.raises(DatasetError, match="label 'x': policy test has no category 'nope'; it has hate"):
        label_names(alone, {"x": "nope"})


def test_advice_and_personal_data_do_not_decide() -> None:
    """They are no harm by themselves."""
    policy = a_policy(("hate", "pii"))
    spec = policy.spec
    pii = msgspec.structs.replace(spec.categories["pii"], group="privacy")
    policy = Policy(msgspec.structs.replace(spec, categories={**spec.categories, "pii": pii}))
    assert deciding(policy) == ("hate",)
    found = evaluated(({"flagged": 0}, a_verdict(hate=0.1, pii=0.9)), policy=policy)
    assert found.binary.false_positive_rate.value == 0.0
    chosen = evaluated(({"flagged": 0}, a_verdict(hate=0.1, pii=0.9)), policy=policy, over=("pii",))
    assert chosen.binary.false_positive_rate.value == 1.0


def test_what_could_not_be_used_is_counted() -> None:
    """Rows without labels, rows that failed, rows in other languages, doubtful rows."""
    report = evaluated(
        ({"flagged": 0}, a_verdict(hate=0.1, violence=0.1)),
        ({"labels": {"spam": 1}}, a_verdict(hate=0.4, violence=0.1)),
        ({"flagged": 1}, None),
        ({"flagged": 1, "lang": "de"}, a_verdict(hate=0.1, violence=0.1, supported=False)),
    )
    assert (report.rows, report.unlabelled, report.errors, report.unsupported) == (4, 1, 1, 1)
    assert report.doubtful == pytest.approx(1 / 3)
    assert {name: found.rows for name, found in report.languages.items()} == {"de": 1, "en": 1}


def test_half_moderated_rows_are_errors_and_unscored_categories_have_no_figures() -> None:
    """A score that nobody gave is not a 0 that somebody gave."""
    unscored = a_verdict(hate=0.1, violence=0.1)
    categories = {**unscored.categories, "hate": CategoryVerdict(0.0, 0.5, False, "allow", "none")}
    report = evaluated(
        ({"flagged": 1}, msgspec.structs.replace(unscored, degraded=True)),
        ({"labels": {"hate": 1}, "flagged": 1}, msgspec.structs.replace(unscored, categories=categories)),
    )
    assert (report.errors, report.doubtful, report.categories) == (1, 1.0, {})


@pytest.mark.parametrize(("value", "truth"), [("1", 1), ("0.2", 0), ("TRUE", 1), ("no", 0), (1.0, 1)])
def test_words_for_numbers(value: object, truth: int) -> None:
    """A CSV file has nothing but words."""
    labels = f'{{"hate": {truth}}}'
    report = evaluated(({"flagged": value, "labels": labels}, a_verdict(hate=0.1, violence=0.1)))
    assert (report.binary.positives, report.categories["hate"].positives) == (truth, truth)


def test_rows_without_any_label_are_an_error_that_names_the_remedy() -> None:
    """Not a table of dashes."""
    with pytest.raises(DatasetError, match=r"set: none of 1 rows has a label .* --label NAME=CATEGORY"):
        evaluated(({"label": 1}, a_verdict(hate=0.1, violence=0.1)))


def test_one_sided_figures_are_dashes_and_null() -> None:
    """A set of harmless rows has a false-positive rate, and no AUPRC that would look like a success."""
    report = evaluated(({"flagged": 1}, a_verdict(hate=0.9, violence=0.1)))
    assert math.isnan(report.binary.auprc.value)
    assert report.binary.recall.value == 1.0
    row = next(line for line in markdown(report).splitlines() if line.startswith("| **harmful or not**"))
    assert row.startswith(
        "| **harmful or not** | 1 | 1 | – | – | – | – | – | 1.000 (0.207–1.000) | 1.000 (0.207–1.000) | – |"
    )
    assert msgspec.json.decode(msgspec.json.encode(report))["binary"]["auprc"] == [None, None, None]
