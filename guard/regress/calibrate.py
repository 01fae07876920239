"""Scores with labels in, a calibration out: what `guard calibrate` does.

Scored.add(truths, verdict)  ->  numbers by category and source; no texts
calibrated(scored, ...)      ->  a curve for each that has enough rows, with figures, or the reason why there is none
written(...)                 ->  `calibration.yaml`
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import cast, get_args

import msgspec
import numpy as np

from guard import __version__, metrics
from guard.metrics import Floats, Interval, Truth
from guard.policy import Policy
from guard.policy.calibration import (
    BrierChange,
    Calibration,
    CalibrationSpec,
    CategoryFits,
    Change,
    Data,
    Fit,
    Fitted,
    Made,
    Method,
    Model,
    Temperature,
    curve,
)
from guard.regress import fits
from guard.regress.thresholds import Chosen, threshold
from guard.verdict import Verdict

__all__ = ["Enough", "Report", "Row", "Scored", "bare", "calibrated", "data_of", "report", "written"]

ROUNDS = 500
"""Resamples for an interval."""
DEEPEST = 3
"""What lies this deep in the file stands on one line, its mappings and lists included."""


class Enough(msgspec.Struct, frozen=True):
    """How many positives and negatives a curve needs, and in how many folds it is measured."""

    positives: int
    negatives: int
    folds: int


class Row(msgspec.Struct, frozen=True):
    """One category's scores from one source, before and after.

    `way` is the curve that was fitted; where it is None the scores stay as they are, and `reason` says why. The figures
    after are of rows that their curve had not seen; the curve in `fit` is fitted on all. `gain` is how much lower the
    Brier score is, `[value, low, high]`. `out_of_reach` names actions whose threshold no calibrated score reaches.
    """

    category: str
    source: Fitted
    rows: int
    positives: int
    way: fits.Way | None = None
    reason: str = ""
    ece: Change | None = None
    brier: BrierChange | None = None
    gain: Interval | None = None
    out_of_reach: tuple[str, ...] = ()
    fit: Fit | None = None


class Report(msgspec.Struct, frozen=True):
    """What was read and found. `errors` are rows that could not be moderated, or only in part; `unlabelled` those that
    say nothing of the policy's categories; `thresholds` are for the false-positive rate `target`, by category."""

    policy: str
    data: tuple[Data, ...]
    rows: int
    unlabelled: int
    errors: int
    screen: Model
    judge: Model | None
    method: Method
    folds: int
    categories: tuple[Row, ...]
    target: float | None
    thresholds: dict[str, Chosen]

    @property
    def fits(self) -> dict[str, CategoryFits]:
        """The curves that were fitted."""
        return fits_of(self.categories)


class Scored:
    """Takes rows one by one, and keeps for each category and source the scores and what is true of them."""

    def __init__(self) -> None:
        self.rows = self.errors = self.unlabelled = 0
        self._found: defaultdict[tuple[str, Fitted], tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))

    def add(self, truths: Mapping[str, int | bool], verdict: Verdict | None) -> None:
        """One more row: what is true of its categories, and its verdict; without one it counts as an error."""
        self.rows += 1
        if verdict is None or verdict.degraded:
            self.errors += 1
            return
        self.unlabelled += not truths
        for name, truth in truths.items():
            found = verdict.categories.get(name)
            if found is not None and found.source in get_args(Fitted):
                kept = self._found[name, cast(Fitted, found.source)]
                kept[0].append(int(truth))
                kept[1].append(found.score)

    def of(self, category: str, source: Fitted) -> tuple[Truth, Floats]:
        """Truth and scores, both [rows]."""
        truth, scores = self._found.get((category, source), ([], []))
        return np.array(truth, dtype=np.int8), np.array(scores)

    def sources(self, category: str) -> list[Fitted]:
        """Who has scored it."""
        return [source for source in get_args(Fitted) if (category, source) in self._found]


def bare(policy: Policy, fitted: Mapping[str, CategoryFits] | None = None) -> Policy:
    """The policy without its rules, whose hits would hide scores, and with these curves for its own."""
    spec = msgspec.structs.replace(policy.spec, terms={}, patterns={})
    return Policy(spec, Calibration(fitted, ()) if fitted else None)


def calibrated(
    scored: Scored, policy: Policy, sources: Sequence[Fitted], *, method: Method, enough: Enough
) -> list[Row]:
    """A row for each category that the data speak of and each of these sources that has scored it."""
    return [
        _row(policy, name, source, *scored.of(name, source), method=method, enough=enough)
        for name in policy.categories
        for source in scored.sources(name)
        if source in sources
    ]


def _row(
    policy: Policy, name: str, source: Fitted, truth: Truth, scores: Floats, *, method: Method, enough: Enough
) -> Row:
    positives = int(truth.sum())
    row = Row(name, source, len(truth), positives)
    for count, least, side in (
        (positives, enough.positives, "positives"),
        (len(truth) - positives, enough.negatives, "negatives"),
    ):
        if count < least:
            return msgspec.structs.replace(row, reason=f"too few {side}: {count:,} of at least {least:,}")
    chosen = fits.choice(truth, scores, folds=enough.folds) if method == "auto" else method
    seen = fits.held_out(truth, scores, None if method == "auto" else method, folds=enough.folds)
    row = msgspec.structs.replace(
        row,
        ece=Change(
            before=_rounded(metrics.calibration_error(truth, scores)),
            after=_rounded(metrics.calibration_error(truth, seen)),
        ),
        brier=BrierChange(before=_brier(truth, scores), after=_brier(truth, seen)),
        gain=_gain(truth, scores, seen),
    )
    if chosen is None:
        return msgspec.structs.replace(
            row, reason="on held-out rows no curve comes nearer to the truth by more than chance"
        )
    shape = fits.fit(chosen, truth, scores)
    if shape is None or row.ece is None or row.brier is None:
        return msgspec.structs.replace(row, reason="the truth does not rise with the score")
    fit = Fit(
        rows=len(truth),
        positives=positives,
        ece=row.ece,
        brier=row.brier,
        temperature=shape if isinstance(shape, Temperature) else None,
        isotonic=None if isinstance(shape, Temperature) else shape,
    )
    highest = curve(fit)(1.0)
    steps = policy.categories[name].thresholds.steps()
    beyond = tuple([action.word for action, start in steps if start > highest])
    return msgspec.structs.replace(row, way=chosen, fit=fit, out_of_reach=beyond)


def _brier(truth: Truth, scores: Floats) -> tuple[float, float, float]:
    found = metrics.bootstrap(metrics.brier, truth, scores, rounds=ROUNDS)
    return _rounded(found.value), _rounded(found.low), _rounded(found.high)


def _gain(truth: Truth, before: Floats, after: Floats) -> Interval:
    """How much lower the Brier score is, over the same resamples of both."""
    differences = (before - truth) ** 2 - (after - truth) ** 2

    def mean(_: Truth, values: Floats, weights: metrics.Weights) -> float:
        return float((weights * values).sum() / weights.sum())

    return Interval(*map(_rounded, metrics.bootstrap(mean, truth, differences, rounds=ROUNDS)))


def _rounded(value: float) -> float:
    return round(value, 6)


def fits_of(rows: Sequence[Row]) -> dict[str, CategoryFits]:
    """The curves of these rows, by category."""
    found: defaultdict[str, dict[str, Fit]] = defaultdict(dict)
    for row in rows:
        if row.fit is not None:
            found[row.category][row.source] = row.fit
    return {name: CategoryFits(**by_source) for name, by_source in found.items()}


def report(
    policy: Policy,
    scored: Scored,
    rows: Sequence[Row],
    *,
    data: Sequence[Data],
    screen: Model,
    judge: Model | None,
    method: Method,
    folds: int,
    final: Scored,
    left: Sequence[Row],
    target: float | None,
) -> Report:
    """All that was found. Thresholds are picked on the scores that the policy would compare: the `final` ones, of the
    cascade where there is a judge and of the screen otherwise, through the curves that they have `left` to pass."""
    curves = {(row.category, row.source): curve(row.fit) for row in left if row.fit is not None}
    chosen: dict[str, Chosen] = {}
    for name in policy.categories if target is not None else ():
        truths, values = [], []
        for source in final.sources(name):
            truth, scores = final.of(name, source)
            found = curves.get((name, source))
            truths.append(truth)
            values.append(scores if found is None else np.array([found(float(score)) for score in scores]))
        if truths and target is not None:
            chosen[name] = threshold(np.concatenate(truths), np.concatenate(values), target)
    return Report(
        policy=policy.name,
        data=tuple(data),
        rows=scored.rows,
        unlabelled=scored.unlabelled,
        errors=scored.errors,
        screen=screen,
        judge=judge,
        method=method,
        folds=folds,
        categories=tuple(rows),
        target=target,
        thresholds=chosen,
    )


def data_of(files: Sequence[Path]) -> tuple[Data, ...]:
    """The files by name, each with its digest."""
    found = []
    for path in files:
        with path.open("rb") as file:
            found.append(Data(name=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest()))
    return tuple(found)


def written(found: Report, *, today: date) -> str:
    """The report's curves as `calibration.yaml`. Strings stand in quotes: a digest may look like a number."""
    spec = CalibrationSpec(
        version=1,
        made=Made(
            policy=found.policy,
            date=today.isoformat(),
            guard=__version__,
            method=found.method,
            folds=found.folds,
            rows=found.rows,
            data=found.data,
        ),
        screen=found.screen,
        judge=found.judge if any(row.source == "judge" and row.fit for row in found.categories) else None,
        categories=found.fits,
    )
    head = (
        "# Written by `guard calibrate`; it holds for these models alone. Scores pass through these curves before the\n"
    )
    head += "# policy's thresholds and doubtful bands. What it means: docs/policies-as-code.md.\n"
    return head + "\n".join(_lines(msgspec.to_builtins(spec), 0)) + "\n"


def _lines(tree: Mapping[str, object], depth: int) -> list[str]:
    """A mapping as YAML: what holds further mappings or lists as a block, everything else on a line."""
    lines = []
    for key, value in tree.items():
        within, place = value.values() if isinstance(value, dict) else (), f"{'  ' * depth}{key}:"
        if depth < DEEPEST and any(isinstance(inner, dict | list | tuple) for inner in within):
            lines += [place, *_lines(cast(dict[str, object], value), depth + 1)]
        elif isinstance(value, list | tuple) and any(isinstance(inner, dict) for inner in value):
            lines += [place, *[f"{'  ' * depth}  - {_flow(inner)}" for inner in value]]
        else:
            lines.append(f"{place} {_flow(value)}")
    return lines


def _flow(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join([f"{key}: {_flow(inner)}" for key, inner in value.items()]) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case float():
            return f"{value:.6f}".rstrip("0").rstrip(".")
    return msgspec.json.encode(value).decode()
