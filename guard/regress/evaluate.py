"""Figures of a labelled data set under a policy: what `guard evaluate` prints.

Rows are objects with `text`, and `flagged` (1, 0, or null where nobody said) or `labels` (name to 0, 1 or a
share; an absent name is not annotated) or both. A label counts for the category of its name, or for the one that
`names` gives it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from guard import metrics
from guard.content import Rail
from guard.errors import DatasetError
from guard.metrics import Interval
from guard.policy import Policy
from guard.verdict import Verdict

__all__ = ["Evaluation", "Figures", "Report", "deciding", "label_names", "labels_of"]

LEFT_OUT = frozenset({"unqualified_advice", "privacy"})
"""Groups whose categories are no harm by themselves: they take no part in the binary decision."""


class Figures(msgspec.Struct, frozen=True):
    """One question, yes or no, over the rows that answer it. An undefined figure is null in JSON.

    `auprc`, `auc`, `best_f1` and `recall_at_1_percent` (recall where 1 % of the negatives are flagged) judge the
    order of the scores; `f1`, `recall` and `false_positive_rate` the policy's thresholds and rules:
    `[value, low, high]`, 95 % intervals. `ece` is the expected calibration error, which no resampling gives an
    honest interval for.
    """

    rows: int
    positives: int
    auprc: Interval
    auc: Interval
    best_f1: Interval
    recall_at_1_percent: Interval
    f1: Interval
    recall: Interval
    false_positive_rate: Interval
    ece: float


class Report(msgspec.Struct, frozen=True):
    """The figures of one data set.

    Attributes:
        unlabelled: rows that say nothing that the policy asks.
        errors: rows that could not be moderated, or only in part (`degraded`).
        unsupported: rows in a language that the screen was not made for.
        doubtful: the share of rows that a judge would see: a score in a doubtful band, or a category that nobody
            scored. A rule's hit counts as the certain score that it reports.
        deciding: the categories whose highest score is the binary score.
        binary: harmful or not, by that score; flagged is what violates one of them.
    """

    dataset: str
    policy: str
    fingerprint: str
    screen: str
    rows: int
    unlabelled: int
    errors: int
    unsupported: int
    doubtful: float
    deciding: tuple[str, ...]
    binary: Figures
    categories: dict[str, Figures]
    languages: dict[str, Figures]


def deciding(policy: Policy) -> tuple[str, ...]:
    """The categories whose highest score answers "harmful or not": all but advice and personal data."""
    return tuple(name for name, category in policy.categories.items() if category.group not in LEFT_OUT)


def label_names(policy: Policy, given: Mapping[str, str], taxonomy: str | None = None) -> dict[str, str]:
    """Which label stands for which category: the categories' own names, a taxonomy of the policy's `maps`, `given`.

    A taxonomy's label that several categories map to stands for none of them.

    Raises:
        DatasetError: `given` names a category that the policy does not have.
    """
    categories = policy.categories
    for label, name in given.items():
        if name not in categories:
            raise DatasetError(
                f"label {label!r}: policy {policy.name} has no category {name!r}; it has {', '.join(categories)}"
            )
    found = {name: name for name in categories}
    if taxonomy is not None:
        owners: defaultdict[str, list[str]] = defaultdict(list)
        for name, category in categories.items():
            for label in getattr(category.maps, taxonomy):
                owners[label].append(name)
        found |= {label: names[0] for label, names in owners.items() if len(names) == 1}
    return {**found, **given}


def labels_of(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """The categories that a row's labels speak of, with 0 or 1; of several labels for one, any 1 makes it 1."""
    labels = row.get("labels")
    if isinstance(labels, str):
        # A CSV or Parquet file holds them as JSON.
        try:
            labels = msgspec.json.decode(labels)
        except msgspec.DecodeError:
            return {}
    known: dict[str, int] = {}
    for label, value in labels.items() if isinstance(labels, dict) else ():
        name, number = names.get(label), _number(value)
        if name is not None and number is not None:
            known[name] = max(known.get(name, 0), int(number >= 0.5))
    return known


class _Answers:
    """Truth, score and decision of the rows that answer one question."""

    def __init__(self) -> None:
        self.truth: list[int] = []
        self.scores: list[float] = []
        self.flagged: list[bool] = []

    def add(self, truth: int, score: float, flagged: bool) -> None:
        self.truth.append(truth)
        self.scores.append(score)
        self.flagged.append(flagged)

    def figures(self, rounds: int) -> Figures:
        truth = np.array(self.truth, dtype=np.int8)
        scores, flagged = np.array(self.scores), np.array(self.flagged, dtype=float)

        def of(statistic: metrics.Statistic, values: metrics.Floats) -> Interval:
            if not len(truth):
                return Interval(float("nan"), float("nan"), float("nan"))
            return metrics.bootstrap(statistic, truth, values, rounds=rounds)

        hits = [int(flagged[truth == side].sum()) for side in (0, 1)]
        return Figures(
            rows=len(truth),
            positives=int(truth.sum()),
            auprc=of(_two_sided(metrics.average_precision), scores),
            auc=of(metrics.roc_auc, scores),
            best_f1=of(_two_sided(metrics.best_f1), scores),
            recall_at_1_percent=of(metrics.recall_at(0.01), scores),
            f1=of(_two_sided(metrics.f1), flagged),
            recall=metrics.wilson(hits[1], int(truth.sum())),
            false_positive_rate=metrics.wilson(hits[0], len(truth) - int(truth.sum())),
            ece=metrics.calibration_error(truth, scores),
        )


def _two_sided(statistic: metrics.Statistic) -> metrics.Statistic:
    """The statistic, undefined where no row is negative: it would say 1 and mean nothing."""

    def guarded(truth: metrics.Truth, scores: metrics.Floats, weights: metrics.Weights) -> float:
        return statistic(truth, scores, weights) if not truth.all() else float("nan")

    return guarded


class Evaluation:
    """Takes rows with their verdicts, one by one; keeps numbers, no texts."""

    def __init__(
        self, dataset: str, policy: Policy, *, screen: str, names: Mapping[str, str], over: Sequence[str] | None = None
    ) -> None:
        self._dataset = dataset
        self._policy = policy
        self._screen = screen
        self._names = names
        self._over = tuple(over) if over is not None else deciding(policy)
        self._binary = _Answers()
        self._categories: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._languages: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._rows = self._unlabelled = self._errors = self._doubtful = self._unsupported = 0

    def add(self, row: Mapping[str, Any], verdict: Verdict | None) -> None:
        """One more row; without a verdict it counts as an error."""
        self._rows += 1
        if verdict is None or verdict.degraded:
            self._errors += 1
            return
        self._unsupported += verdict.language_supported is False
        self._doubtful += any(
            category.doubtful(verdict.categories[category.name].score)
            or verdict.categories[category.name].source == "none"
            for rail in Rail
            for category in self._policy.active(rail)
            if category.name in verdict.categories
        )
        known = labels_of(row, self._names)
        truth = self._truth(row.get("flagged"), known)
        for name, value in known.items():
            found = verdict.categories.get(name)
            if found is not None and found.source != "none":
                self._categories[name].add(value, found.score, found.violated)
        over = [verdict.categories[name] for name in self._over if name in verdict.categories]
        if truth is not None and over:
            score, flagged = max([one.score for one in over]), any(one.violated for one in over)
            self._binary.add(truth, score, flagged)
            language = row.get("lang")
            self._languages[language if isinstance(language, str) and language else "en"].add(truth, score, flagged)
        if truth is None and not known:
            self._unlabelled += 1

    def report(self, *, rounds: int = 500) -> Report:
        """The figures, with intervals from `rounds` resamples.

        Raises:
            DatasetError: no row said anything.
        """
        if self._rows == self._errors + self._unlabelled:
            labels = ", ".join(self._names)
            raise DatasetError(
                f"{self._dataset}: none of {self._rows} rows has a label that can be used; a row needs `flagged` "
                f"(0 or 1), or `labels` with some of: {labels}; other names are given with --label NAME=CATEGORY"
            )
        scored = self._rows - self._errors
        return Report(
            dataset=self._dataset,
            policy=self._policy.name,
            fingerprint=self._policy.fingerprint,
            screen=self._screen,
            rows=self._rows,
            unlabelled=self._unlabelled,
            errors=self._errors,
            unsupported=self._unsupported,
            doubtful=self._doubtful / scored if scored else 0.0,
            deciding=self._over,
            binary=self._binary.figures(rounds),
            categories={
                name: self._categories[name].figures(rounds)
                for name in self._policy.categories
                if name in self._categories
            },
            languages={name: found.figures(rounds) for name, found in sorted(self._languages.items())}
            if len(self._languages) > 1
            else {},
        )

    def _truth(self, flagged: object, known: Mapping[str, int]) -> int | None:
        """Whether a row is harmful: as it says, or as its labels imply."""
        number = _number(flagged)
        if number is not None:
            return int(number >= 0.5)
        if any(known.get(name) for name in self._over):
            return 1
        return 0 if self._over and all(name in known for name in self._over) else None


_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def _number(value: object) -> float | None:
    """A label's value; CSV files hold it as a word. None where it is none."""
    if isinstance(value, str):
        word = value.strip().lower()
        try:
            return _WORDS[word] if word in _WORDS else float(word)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) else None
