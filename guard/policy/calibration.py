"""Calibrations: what scores of certain models turned out to be worth on labelled texts.

    calibration.yaml --document, structure, sentences--> CalibrationSpec --> Calibration
    Calibration.seen(scores) -> the scores that a policy compares with its numbers

The file stands beside `policy.yaml`; `guard calibrate` writes it, and `docs/policies-as-code.md` is its reference.
Every curve climbs: of two scores of one source the higher one stays the higher one, or they become equal.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guard.errors import Problem
from guard.policy.document import Node, parse, plain
from guard.policy.schema import Category, PolicySpec
from guard.policy.structure import structure, suggestion
from guard.verdict import Score, Source, Span

__all__ = [
    "CALIBRATION_FILE", "BrierChange", "Calibration", "CalibrationSpec", "CategoryFits", "Change", "Curve", "Data",
    "Fit", "Fitted", "Made", "Method", "Model", "Origin", "Temperature", "curve", "extended", "misfits",
    "problems_in", "read_calibration",
]  # fmt: skip

CALIBRATION_FILE = "calibration.yaml"
EDGE = 1e-6
"""Scores have six decimals: what is nearer to 0 or 1 counts as this far from it."""

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Method = Literal["auto", "temperature", "isotonic"]
Fitted = Literal["encoder", "examples", "judge"]
"""The sources whose scores can be calibrated. A rule's hit is a fact; the static tier's scores are the encoder's."""
Curve = Callable[[float], float]


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A mapping of the format: immutable, keywords only, unknown keys refused."""


class Temperature(_Spec, frozen=True):
    """`sigmoid(scale * logit(score) + offset)`, held between `low` and `high`: a temperature of `1 / scale` and a bias,
    also known as Platt scaling."""

    scale: Annotated[float, Meta(gt=0.0, le=100.0)]
    offset: Annotated[float, Meta(ge=-100.0, le=100.0)]
    low: Probability
    high: Probability


class Change(_Spec, frozen=True):
    """A calibration error before and after, the latter on rows that the fit had not seen."""

    before: Probability
    after: Probability


class BrierChange(_Spec, frozen=True):
    """A Brier score before and after, each `[value, low, high]` with a 95 % interval; see `Change`."""

    before: tuple[Probability, Probability, Probability]
    after: tuple[Probability, Probability, Probability]


class Fit(_Spec, frozen=True):
    """One source's curve: a `temperature`, or the points of an `isotonic` one, between which it is straight.

    `rows` and `positives` it was fitted on.
    """

    rows: Count
    positives: Count
    ece: Change
    brier: BrierChange
    temperature: Temperature | None = None
    isotonic: Annotated[tuple[tuple[Probability, Probability], ...], Meta(min_length=1)] | None = None

    @property
    def shape(self) -> object:
        """What the curve depends on."""
        return self.temperature or self.isotonic


class CategoryFits(_Spec, frozen=True):
    """A category's curves, by the source of a score."""

    encoder: Fit | None = None
    examples: Fit | None = None
    judge: Fit | None = None

    def items(self) -> Iterator[tuple[Fitted, Fit]]:
        """The curves that there are."""
        sources: tuple[Fitted, ...] = ("encoder", "examples", "judge")
        for source in sources:
            fit = getattr(self, source)
            if fit is not None:
                yield source, fit


class Data(_Spec, frozen=True):
    """A file that was read."""

    name: Text
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class Made(_Spec, frozen=True):
    """Where the figures come from."""

    policy: Text
    date: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)")]
    guard: Text
    method: Method
    folds: Annotated[int, Meta(ge=2)]
    rows: Count
    data: Annotated[tuple[Data, ...], Meta(min_length=1)]


class Model(_Spec, frozen=True):
    """A model, and what tells it from any other of its name."""

    name: Text
    fingerprint: Text


class CalibrationSpec(_Spec, frozen=True):
    """One `calibration.yaml`."""

    version: Literal[1]
    made: Made
    screen: Model
    categories: Annotated[dict[str, CategoryFits], Meta(min_length=1)]
    judge: Model | None = None


class Origin(msgspec.Struct, frozen=True):
    """A file that curves come from, and the models that they were fitted on."""

    file: str
    policy: str
    screen: Model
    judge: Model | None


class Calibration:
    """What is in effect for one policy; immutable. `categories` are its curves, `origins` the files that they stand in:
    the policy's own, and those of its ancestors."""

    def __init__(self, categories: Mapping[str, CategoryFits], origins: Sequence[Origin]) -> None:
        self.categories = dict(categories)
        self.origins = tuple(origins)
        self._curves: dict[str, dict[Source, Curve]] = {}
        for name, fits in categories.items():
            own: dict[Source, Curve] = {source: curve(fit) for source, fit in fits.items()}
            if "encoder" in own:
                own["static"] = own["encoder"]
            self._curves[name] = own

    @property
    def shapes(self) -> dict[str, dict[Fitted, object]]:
        """All that verdicts depend on, without the figures."""
        return {name: {source: fit.shape for source, fit in fits.items()} for name, fits in self.categories.items()}

    def seen(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """The scores through their curves. Spans are the encoder's, whoever gave the score."""
        found = dict(scores)
        for name, curves in self._curves.items():
            score = scores.get(name)
            if score is None:
                continue
            of_score, of_spans = curves.get(score.source), curves.get("encoder")
            spans = score.spans
            if spans and of_spans is not None:
                spans = tuple([Span(span.start, span.end, of_spans(span.score)) for span in spans])
            found[name] = Score(of_score(score.value) if of_score is not None else score.value, score.source, spans)
        return found

    def starts(self, category: str, at: float) -> float:
        """The lowest score of a screen that may be seen as `at` or more, a little too low rather than too high; 1.0
        where none is."""
        curves = self._curves.get(category, {})
        found = [_starts(seen, at) for source, seen in curves.items() if source != "judge"]
        # Without a curve of its own the encoder's score is compared as it is.
        return min(found if "encoder" in curves else [*found, at])


def _starts(found: Curve, at: float) -> float:
    if found(0.0) >= at:
        return 0.0
    if found(1.0) < at:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= at else (middle, high)
    return low


def curve(fit: Fit) -> Curve:
    """The fit as a function from a score to a probability, both in [0, 1]; it never falls."""
    if fit.temperature is not None:
        return _scaled(fit.temperature)
    return _stepped(fit.isotonic or ())


def _scaled(fit: Temperature) -> Curve:
    scale, offset, low, high = fit.scale, fit.offset, fit.low, fit.high

    def seen(score: float) -> float:
        inside = min(max(score, EDGE), 1.0 - EDGE)
        logit = scale * math.log(inside / (1.0 - inside)) + offset
        value = 1.0 / (1.0 + math.exp(-logit)) if logit >= 0.0 else 1.0 - 1.0 / (1.0 + math.exp(logit))
        return round(min(max(value, low), high), 6)

    return seen


def _stepped(points: Sequence[tuple[float, float]]) -> Curve:
    places, values = [place for place, _ in points], [round(value, 6) for _, value in points]

    def seen(score: float) -> float:
        after = bisect_right(places, score)
        if after == 0:
            return values[0]
        if after == len(places):
            return values[-1]
        left, right = places[after - 1], places[after]
        share = (score - left) / (right - left)
        return round(values[after - 1] * (1.0 - share) + values[after] * share, 6)

    return seen


def read_calibration(folder: Path) -> tuple[Node | None, list[Problem]]:
    """The file beside the policy in `folder` as a tree, where there is one, and what is wrong with it as YAML."""
    path = folder / CALIBRATION_FILE
    return parse(path, str(path)) if path.exists() else (None, [])


def problems_in(tree: Node, policy: PolicySpec | None) -> list[Problem]:
    """Every mistake of a calibration; the categories are looked up in `policy`, where that could be read."""
    problems = [*structure(tree, CalibrationSpec, "$"), *_sentences(tree)]
    for name, node in (tree.get("categories") or tree).items() if policy is not None else ():
        if policy is not None and name not in policy.categories:
            hint = suggestion(name, policy.categories)
            message = f"policy `{policy.name}` has no category `{name}`{hint}"
            problems.append(node.problem(f"$.categories.{name}", message))
    return problems


def extended(
    base: Calibration | None, parent: PolicySpec | None, spec: PolicySpec, own: Node | None
) -> Calibration | None:
    """What is in effect for a policy: the curves of `own`, its file, and its parent's for the other categories.

    Examples and a judge answer by a category's words: a category that the child has worded anew takes no such curve.
    """
    fits: dict[str, CategoryFits] = {}
    for name, inherited in base.categories.items() if base is not None else ():
        category, before = spec.categories[name], parent.categories[name] if parent is not None else None
        if before is None or _words(category) != _words(before):
            inherited = CategoryFits(encoder=inherited.encoder)  # noqa: PLW2901
        if any(inherited.items()):
            fits[name] = inherited
    origins = base.origins if base is not None and fits else ()
    if own is not None:
        written = msgspec.convert(plain(own), CalibrationSpec)
        fits |= written.categories
        origins = (*origins, Origin(own.file, spec.name, written.screen, written.judge))
    return Calibration(fits, origins) if fits else None


def _words(category: Category) -> object:
    return category.title, category.definition, category.examples


def misfits(calibration: Calibration | None, *, screen: Model, judge: Model | None) -> list[Problem]:
    """Curves that were fitted on other models than these. Without a judge, those of a judge's scores rest."""
    found = []
    for origin in calibration.origins if calibration is not None else ():
        for key, fitted, here in (("screen", origin.screen, screen), ("judge", origin.judge, judge)):
            if fitted is not None and here is not None and fitted.fingerprint != here.fingerprint:
                found.append(
                    Problem(
                        origin.file,
                        0,
                        f"$.{key}",
                        f"was fitted on {fitted.name} ({fitted.fingerprint}), and the {key} is {here.name} "
                        f"({here.fingerprint}): fit anew with `guard calibrate DATASET --policy {origin.policy} "
                        f"-o {origin.file}`, or remove the file",
                    )
                )
    return found


def _sentences(tree: Node) -> Iterator[Problem]:
    """What the structure alone does not say. Passes over what the structure check has named."""
    for name, category in (tree.get("categories") or tree).items():
        path = f"$.categories.{name}"
        if isinstance(category.value, dict) and not category.value:
            yield category.problem(path, "has no curve: give `encoder`, `examples` or `judge`")
        for source, fit in category.items():
            yield from _a_fit_is_one_curve(fit, f"{path}.{source}")
        if category.get("judge") is not None and tree.get("judge") is None:
            yield category.problem(f"{path}.judge", "`judge` at the top is missing: say which judge gave the scores")


def _a_fit_is_one_curve(fit: Node, path: str) -> Iterator[Problem]:
    said = [name for name in ("temperature", "isotonic") if fit.get(name) is not None]
    if isinstance(fit.value, dict) and len(said) != 1:
        yield fit.problem(path, f"give either `temperature` or `isotonic`{', not both' if said else ''}")
    bounds = [_number(fit.get("temperature", end)) for end in ("low", "high")]
    if bounds[0] is not None and bounds[1] is not None and bounds[0] >= bounds[1]:
        yield fit.problem(f"{path}.temperature", f"`low` ({bounds[0]:g}) must be below `high` ({bounds[1]:g})")
    before: tuple[float, float] | None = None
    for index, node in enumerate((fit.get("isotonic") or fit).elements()):
        numbers = [number for end in node.elements() if (number := _number(end)) is not None]
        if len(numbers) != 2 or len(node.elements()) != 2:
            continue
        point = (numbers[0], numbers[1])
        if before is not None and (point[0] <= before[0] or point[1] < before[1]):
            yield node.problem(
                f"{path}.isotonic[{index}]",
                f"points must climb: [{point[0]:g}, {point[1]:g}] comes after [{before[0]:g}, {before[1]:g}]",
            )
        before = point


def _number(node: Node | None) -> float | None:
    if node is None or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        return None
    return float(node.value)
