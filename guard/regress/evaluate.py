"""Figures of a labelled data set under a policy: what `guard evaluate` prints.

Rows are objects with `text`, and `flagged` (1, 0, or null where nobody said) or `labels` (name to 0, 1 or a
share; an absent name is not annotated) or both. A label counts for the category of its name, or for the one that
`names` gives it.
"""

import math
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
from guard.regress.curves import Curve, curve
from guard.verdict import Verdict

__all__ = [
    "HARMFUL", "Acceptable", "Cost", "Evaluation", "Figures", "Report", "deciding", "label_names", "labels_of",
    "number_of",
]  # fmt: skip

HARMFUL = "harmful or not"
"""The decision as a whole, among the names of categories."""

LEFT_OUT = frozenset({"unqualified_advice", "privacy"})
"""Groups whose categories are no harm by themselves: they take no part in the binary decision."""


class Figures(msgspec.Struct, frozen=True):
    """One question, yes or no, over the rows that answer it. An undefined figure is null in JSON.

    `auprc`, `auc`, `best_f1` and `recall_at_1_percent` (recall where 1 % of the negatives are flagged) judge the
    order of the scores; `f1`, `precision`, `recall` and `false_positive_rate` the policy's thresholds and rules:
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
    precision: Interval
    recall: Interval
    false_positive_rate: Interval
    ece: float


class Acceptable(msgspec.Struct, frozen=True):
    """Which rows should be let through, at the policy's thresholds: what is not harmful is the positive. A row is
    taken for acceptable where it violates none of the deciding categories."""

    rows: int
    positives: int
    precision: Interval
    recall: Interval


class Cost(msgspec.Struct, frozen=True):
    """What reading the rows took, once and without a cache.

    Seconds on the wall; seconds of CPU of this process, all threads, which a judge on another machine or a GPU does
    not show in; what the judge was asked: questions, and tokens read for them.
    """

    seconds: float
    texts_per_second: float
    cpu_seconds: float
    questions: int
    tokens: int


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
        languages, rails, groups: the same for the rows of one language, rail or group of the data set; empty where
            all rows are of one.
        acceptable: the same decision with the harmless rows as the positives.
        format: the published format that the rows were read as; empty for Guard's own.
        about: what a label means in that format.
        cost: null where nobody measured.
        judge: the judge's model; null where none was there to be asked.
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
    rails: dict[str, Figures] = {}
    groups: dict[str, Figures] = {}
    acceptable: Acceptable | None = None
    format: str = ""
    about: str = ""
    cost: Cost | None = None
    judge: str | None = None


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
        name, number = names.get(label), number_of(value)
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
            precision=metrics.wilson(hits[1], sum(hits)),
            recall=metrics.wilson(hits[1], int(truth.sum())),
            false_positive_rate=metrics.wilson(hits[0], len(truth) - int(truth.sum())),
            ece=metrics.calibration_error(truth, scores),
        )

    def acceptable(self) -> Acceptable:
        let = [not flagged for flagged in self.flagged]
        right = sum(passed and not truth for passed, truth in zip(let, self.truth, strict=True))
        positives = len(self.truth) - sum(self.truth)
        return Acceptable(
            rows=len(self.truth),
            positives=positives,
            precision=metrics.wilson(right, sum(let)),
            recall=metrics.wilson(right, positives),
        )

    def curve(self) -> Curve:
        return curve(np.array(self.truth, dtype=np.int8), np.array(self.scores), np.array(self.flagged, dtype=bool))


def _two_sided(statistic: metrics.Statistic) -> metrics.Statistic:
    """The statistic, undefined where no row is negative: it would say 1 and mean nothing."""

    def guarded(truth: metrics.Truth, scores: metrics.Floats, weights: metrics.Weights) -> float:
        return statistic(truth, scores, weights) if not truth.all() else float("nan")

    return guarded


class Evaluation:
    """Takes rows with their verdicts, one by one; keeps numbers, no texts."""

    def __init__(
        self,
        dataset: str,
        policy: Policy,
        *,
        screen: str,
        judge: str | None = None,
        names: Mapping[str, str],
        over: Sequence[str] | None = None,
        rail: str | None = None,
        grouped: bool = False,
    ) -> None:
        """`rail`: that of every row, where it is not the row's role that says it; `grouped`: rows have a `group`."""
        self._dataset = dataset
        self._policy = policy
        self._screen = screen
        self._judge = judge
        self._names = names
        self._over = tuple(over) if over is not None else deciding(policy)
        self._rail = rail
        self._grouped = grouped
        self._binary = _Answers()
        self._categories: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._languages: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._rails: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._groups: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._rows = self._unlabelled = self._errors = self._doubtful = self._unsupported = 0

    @property
    def rows(self) -> int:
        """How many have been added."""
        return self._rows

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
            rail = self._rail or (Rail.OUTPUT if row.get("role") == "assistant" else Rail.INPUT).value
            self._rails[rail].add(truth, score, flagged)
            group = row.get("group")
            if self._grouped and isinstance(group, str) and group:
                self._groups[group].add(truth, score, flagged)
        if truth is None and not known:
            self._unlabelled += 1

    def curves(self) -> dict[str, Curve]:
        """The curves of harmful or not and of each category with rows on both sides, for a page."""
        found = {HARMFUL: self._binary} | {
            name: self._categories[name] for name in self._policy.categories if name in self._categories
        }
        return {name: one.curve() for name, one in found.items() if 0 < sum(one.truth) < len(one.truth)}

    def report(self, *, rounds: int = 500, cost: Cost | None = None, form: str = "", about: str = "") -> Report:
        """The figures, with intervals from `rounds` resamples; `cost`, `form` and `about` are told as they are.

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
            languages=_apart(self._languages, rounds),
            rails=_apart(self._rails, rounds),
            groups=_apart(self._groups, rounds),
            acceptable=self._binary.acceptable() if self._binary.truth else None,
            format=form,
            about=about,
            cost=cost,
            judge=self._judge,
        )

    def _truth(self, flagged: object, known: Mapping[str, int]) -> int | None:
        """Whether a row is harmful: as it says, or as its labels imply."""
        number = number_of(flagged)
        if number is not None:
            return int(number >= 0.5)
        if any(known.get(name) for name in self._over):
            return 1
        return 0 if self._over and all(name in known for name in self._over) else None


def _apart(parts: Mapping[str, _Answers], rounds: int) -> dict[str, Figures]:
    return {name: found.figures(rounds) for name, found in sorted(parts.items())} if len(parts) > 1 else {}


_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def number_of(value: object) -> float | None:
    """A label's value; CSV files hold it as a word. None where it is none, NaN among them: a gap in a table."""
    if isinstance(value, str):
        word = value.strip().lower()
        try:
            value = _WORDS[word] if word in _WORDS else float(word)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None
