"""A policy ready for use: its specification, its two fingerprints and what `decide` looks up often."""

import functools
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from guard.content import Rail
from guard.errors import InvalidContent
from guard.policy.calibration import Calibration
from guard.policy.schema import Category, PolicySpec
from guard.verdict import Action, Score

__all__ = ["ActiveCategory", "Policy"]

_ENCODER = msgspec.json.Encoder(order="deterministic")
FAINT = 0.1
"""Where all lower scores are the same to a policy, a screen may say no more of a score than that it is below this."""


class ActiveCategory(msgspec.Struct, frozen=True):
    """An enabled category on one rail.

    `steps` are its thresholds, mildest action first; `lowest` is the score at which anything starts
    (1.0 where only rules decide).
    """

    name: str
    steps: tuple[tuple[Action, float], ...]
    lowest: float
    doubt: tuple[float, float] | None

    def doubtful(self, score: float) -> bool:
        """Whether a screen's score, as `Policy.seen` gives it, lies in the band that a judge should settle."""
        return self.doubt is not None and self.doubt[0] <= score <= self.doubt[1]


class Policy:
    """A loaded policy; immutable, shared by all requests.

    `fingerprint` covers all of it and stands in every verdict and log line. `assessment_fingerprint`
    covers only what scores depend on (what a judge reads: description, categories in their order,
    definitions, examples; doubtful bands, rules without their actions, and whether faint scores matter): it
    is part of the cache key, so that editing a threshold or an action takes effect at once and keeps the
    cache. Of a `calibration` the first covers every curve, the second those that a doubtful band is seen through.
    `silent_below` is the screen's own score below which nothing happens in any category: no action, no doubt.
    """

    def __init__(self, spec: PolicySpec, calibration: Calibration | None = None) -> None:
        self.spec = spec
        self.name = spec.name
        self.calibration = calibration
        # The order of the categories too, which a judge reads and the canonical form forgets.
        whole = (spec, list(spec.categories))
        self.fingerprint = _fingerprint(whole if calibration is None else (whole, calibration.shapes))
        self.assessment_fingerprint = _fingerprint(_what_scores_depend_on(spec, calibration))
        self._active = {rail: tuple(_active(spec, rail)) for rail in Rail}
        self.silent_below = _silent_below(spec, calibration)

    def seen(self, scores: Mapping[str, Score]) -> Mapping[str, Score]:
        """The scores that thresholds and doubtful bands are compared with, and verdicts show: calibrated, where the
        policy has a calibration for them."""
        return scores if self.calibration is None else self.calibration.seen(scores)

    def active(self, rail: Rail, only: frozenset[str] | None = None) -> tuple[ActiveCategory, ...]:
        """The categories that decide on `rail`, in the policy's order; `only` keeps those named.

        Raises:
            InvalidContent: `only` names a category that the policy does not have, or not on this
                rail; or it is empty, and nothing would be checked.
        """
        if only is None:
            return self._active[rail]
        if not only:
            raise InvalidContent("`categories` is empty: name at least one, or leave it out", path="$.categories")
        unknown = only - self.spec.categories.keys()
        if unknown:
            known = ", ".join(self.spec.categories)
            raise InvalidContent(
                f"policy `{self.name}` has no category `{min(unknown)}`; it has: {known}", path="$.categories"
            )
        inactive = only - {category.name for category in self._active[rail]}
        if inactive:
            raise InvalidContent(
                f"policy `{self.name}` does not check `{min(inactive)}` on the {rail} rail", path="$.categories"
            )
        return tuple([category for category in self._active[rail] if category.name in only])

    @functools.cached_property
    def categories(self) -> dict[str, Category]:
        """The enabled categories by name."""
        return {name: category for name, category in self.spec.categories.items() if category.enabled}

    @functools.cached_property
    def redacts(self) -> bool:
        """Whether there is anything in it that replaces characters."""
        return any(self.redacting(rail) for rail in Rail)

    def redacting(self, rail: Rail) -> frozenset[str]:
        """The categories that may replace characters on `rail`, by a score or by a rule."""
        return self._redacting[rail]

    @functools.cached_property
    def _redacting(self) -> dict[Rail, frozenset[str]]:
        rules = [(rule.action, rule.category, rule.rails) for rule in self.spec.terms.values()]
        rules += [(rule.action, rule.category, rule.rails) for rule in self.spec.patterns.values()]
        found = {}
        for rail in Rail:
            by_rule = {category for action, category, rails in rules if action == "redact" and rail in rails}
            by_score = {
                category.name
                for category in self.active(rail)
                if any(action is Action.REDACT for action, _ in category.steps)
            }
            found[rail] = frozenset({category.name for category in self.active(rail)} & (by_rule | by_score))
        return found


def _active(spec: PolicySpec, rail: Rail) -> list[ActiveCategory]:
    found = []
    for name, category in spec.categories.items():
        if category.enabled and rail in category.rails:
            steps = category.thresholds.steps()
            found.append(ActiveCategory(name, steps, steps[0][1] if steps else 1.0, category.doubt))
    return found


def _silent_below(spec: PolicySpec, calibration: Calibration | None) -> float:
    starts = [
        start if calibration is None else calibration.starts(category.name, start)
        for rail in Rail
        for category in _active(spec, rail)
        for start in (category.lowest, *(category.doubt or ())[:1])
    ]
    return min(starts, default=1.0)


def _what_scores_depend_on(spec: PolicySpec, calibration: Calibration | None) -> object:
    # Which texts a judge is asked about. Scores by examples always are, so the encoder's curves are all.
    bands = {
        name: fits.encoder.shape
        for name, fits in (calibration.categories.items() if calibration is not None else ())
        if fits.encoder is not None and spec.categories[name].enabled and spec.categories[name].doubt is not None
    }
    return ({"bands are seen through": bands} if bands else {}) | {
        "faint scores matter": _silent_below(spec, calibration) < FAINT,
        "description": spec.description,
        "mode": spec.mode,
        "long_text": spec.long_text,
        # A judge reads them in their order.
        "categories": [
            (name, c.title, c.definition, c.examples, c.doubt, c.rails)
            for name, c in spec.categories.items()
            if c.enabled
        ],
        "terms": {name: (rule.category, rule.words, rule.allow_in, rule.match) for name, rule in spec.terms.items()},
        "patterns": {name: (rule.category, rule.regex) for name, rule in spec.patterns.items()},
    }


def _fingerprint(value: object) -> str:
    """128 bits over the canonical JSON form, as hex."""
    return blake2b(_ENCODER.encode(value), digest_size=16).hexdigest()
