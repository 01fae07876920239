"""Floors and goals, sets and probes: tables that must not flatter."""

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from guard.cache.memory import MemoryCache
from guard.metrics import Interval
from guard.moderator import Moderator
from guard.regress.evaluate import Figures, Report
from guard.testing import FixedScreen, Recorder
from training.evaluate import GOALS, default_policy, goals_table, measure, sets_table
from training.probes import PROBES, failures
from training.run import SHIPPED

NONE = Interval(float("nan"), float("nan"), float("nan"))


def a_report(name: str, **figures: float) -> Report:
    """A report whose binary figures are these."""
    binary = Figures(
        10, 5, **dict.fromkeys(Figures.__struct_fields__[2:], NONE) | {
            field: Interval(value, value - 0.1, value + 0.1) for field, value in figures.items()
        },
    )  # fmt: skip
    return Report(name, "default", "f" * 32, "screen", 10, 0, 0, 0, 0.0, ("hate",), binary, {}, {})


def moderator(score: float) -> Moderator:
    """Every text is crime with this score."""
    return Moderator(
        screen=FixedScreen({"criminal": score}),
        judge=None,
        cache=MemoryCache(entries=0, ttl=1),
        secret=b"x" * 16,
        listener=Recorder(),
    )


@pytest.mark.parametrize(
    ("name", "figure", "value", "standing"),
    [
        ("toxicchat_dev", "auprc", 0.64, "**below**"),
        ("toxicchat_dev", "auprc", 0.65, "floor"),
        ("toxicchat_dev", "auprc", 0.80, "goal"),
        ("donotanswer_fp", "false_positive_rate", 0.16, "**below**"),
        ("donotanswer_fp", "false_positive_rate", 0.15, "floor"),
        ("donotanswer_fp", "false_positive_rate", 0.02, "goal"),
    ],
)
def test_a_figure_stands_where_it_stands(name: str, figure: str, value: float, standing: str) -> None:
    """Lower is better for what is flagged wrongly; a set that is missing has no line."""
    lines = goals_table([a_report(name, **{figure: value})]).splitlines()
    assert len(lines) == 3
    assert lines[2].endswith(f"| {standing} |")
    assert f"{value:.3f} (" in lines[2]


def test_a_goal_for_one_language_reads_that_language() -> None:
    """The French half of a set does not help or hurt the English floor."""
    goal = next(goal for goal in GOALS if goal.language)
    report = a_report(goal.dataset, recall=0.1)
    english = a_report("", recall=0.9).binary
    both = msgspec.structs.replace(report, languages={"en": english, "fr": report.binary})
    assert goals_table([both]).endswith("| goal |")
    assert sets_table([both]).count("\n") == 4


def test_probes_on_the_wrong_side_are_failures() -> None:
    """A screen that flags all fails on the harmless ones, one that flags none on the harmful ones."""
    policy = default_policy()
    flags_all, flags_none = (failures(moderator(score), policy) for score in (0.99, 0.0))
    assert {one.harmful for one in flags_all} == {False}
    assert {one.harmful for one in flags_none} == {True}
    assert 25 <= len(flags_all) < PROBES
    assert flags_all[0].category == "criminal"


def test_the_shipped_model_is_measured_under_the_default_policy(tmp_path: Path) -> None:
    """Rules, encoder and thresholds together, as `guard evaluate` does it."""
    rows = [
        {"text": "You are a worthless idiot and nobody likes you.", "role": "comment", "flagged": 1, "labels": {}},
        {"text": "The library opens at nine.", "role": "comment", "flagged": 0, "labels": {}},
    ]
    with gzip.open(tmp_path / "own.jsonl.gz", "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    (report,) = measure(SHIPPED, tmp_path, rounds=20)
    assert (report.dataset, report.binary.auc.value, report.binary.recall.value) == ("own", 1.0, 1.0)
