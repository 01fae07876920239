"""How well a policy does on its cases: per category and per tag, with intervals."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np

from guard import metrics
from guard.metrics import Interval
from guard.policy import Policy
from guard.regress.run import Outcome

__all__ = ["CategoryScores", "TagScores", "by_category", "by_tag"]


class CategoryScores(msgspec.Struct, frozen=True):
    """One category over the cases that say whether it is violated: `[value, low, high]`, 95 % intervals.

    Precision, recall and false-positive rate have Wilson's interval, F1 that of a bootstrap. What is undefined, as a
    recall without a case that violates the category, is null in JSON.
    """

    positives: int
    negatives: int
    precision: Interval
    recall: Interval
    f1: Interval
    false_positive_rate: Interval


class TagScores(msgspec.Struct, frozen=True):
    """The cases with one tag, and the share of them that is as expected: `[value, low, high]`."""

    cases: int
    passed: Interval


def by_category(policy: Policy, outcomes: Sequence[Outcome]) -> dict[str, CategoryScores]:
    """The policy's categories in its order; those that no case speaks of are left out."""
    found: defaultdict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for outcome in outcomes:
        for name, violated in outcome.case.truths(policy).items():
            found[name].append((violated, outcome.verdict.categories[name].violated))
    return {name: _scores(found[name]) for name in policy.categories if name in found}


def by_tag(outcomes: Sequence[Outcome]) -> dict[str, TagScores]:
    """Every tag that a case has, in the order of their names."""
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        for tag in outcome.case.tags:
            found[tag].append(outcome.passed)
    return {tag: TagScores(len(rows), metrics.wilson(sum(rows), len(rows))) for tag, rows in sorted(found.items())}


def _scores(rows: list[tuple[bool, bool]]) -> CategoryScores:
    hits = sum(truth and flagged for truth, flagged in rows)
    flagged = sum(said for _, said in rows)
    positives = sum(truth for truth, _ in rows)
    negatives = len(rows) - positives
    truth = np.array([row[0] for row in rows], dtype=np.int8)
    said = np.array([row[1] for row in rows], dtype=float)
    return CategoryScores(
        positives=positives,
        negatives=negatives,
        precision=metrics.wilson(hits, flagged),
        recall=metrics.wilson(hits, positives),
        f1=metrics.bootstrap(metrics.f1, truth, said, rounds=200),
        false_positive_rate=metrics.wilson(flagged - hits, negatives),
    )
