"""Assessment and policy in, verdict out: pure, total, and monotone in every score."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

import msgspec

from guard.content import Rail
from guard.policy.calibration import Calibration
from guard.policy.compiled import ActiveCategory, Policy
from guard.policy.redaction import Redactor, disjoint
from guard.text import Normalised
from guard.verdict import (
    Action,
    Assessment,
    CategoryVerdict,
    Cut,
    Explanation,
    Hit,
    Reading,
    RuleMatch,
    Score,
    Span,
    Verdict,
)

__all__ = ["decide", "explain"]

UNREAD = 0.3
"""Share of words unknown to the encoder from which a verdict says that the text was not read."""

_UNSCORED = Score(0.0, "none")
_FAILURE_ACTIONS = {"allow": Action.ALLOW, "review": Action.REVIEW, "block": Action.BLOCK}


def decide(
    policy: Policy,
    assessment: Assessment,
    normalised: Normalised,
    *,
    rail: Rail = Rail.INPUT,
    only: frozenset[str] | None = None,
    uninspected: tuple[str, ...] = (),
    cached: bool = False,
    judge: bool = False,
    cuts: bool = False,
) -> Verdict:
    """What `policy` does about a text with these scores.

    Spans of the assessment point into `normalised.text`; those of the verdict into
    `normalised.original`. Raising a score, or adding a hit or a failure, never softens the action.
    `judge` says whether a judge is configured: without one, `reasons` names the categories whose
    doubtful score stayed with the screen. `cuts` asks for the places that `redacted` leaves out.

    `reasons` holds, each as ``code: names``: ``no_judge`` (doubtful, and nobody to ask),
    ``no_score`` (nobody here can score the category), ``screen_failed`` and ``judge_failed``
    (with the policy's action for that).

    Raises:
        InvalidContent: `only` names a category that the policy does not have.
    """
    if policy.calibration is not None:
        assessment = _seen(policy.calibration, assessment)
    active = policy.active(rail, only)
    hits = _hits_by_category(policy, assessment.hits, rail) if assessment.hits else {}
    categories = {
        category.name: _rule(
            category, assessment.scores.get(category.name, _UNSCORED), hits.get(category.name), normalised
        )
        for category in active
    }
    violated = [Action.of(found.action) for found in categories.values() if found.violated]
    failed = [_failure_action(policy, stage) for stage in assessment.failures]
    action = max([Action.ALLOW, *violated, *failed])
    cut = _cuts(policy, assessment, hits, categories, normalised) if violated else None
    redactor = Redactor(policy.spec.redaction.style)
    return Verdict(
        action=action.word,
        flagged=action > Action.ALLOW,
        categories=categories,
        redacted=redactor.apply(normalised.original, cut) if cut is not None else None,
        normalised=normalised.steps,
        uninspected=uninspected + _unread(assessment, normalised),
        windows=assessment.windows,
        language_supported=assessment.language_supported,
        cached=cached,
        degraded=bool(failed),
        reasons=_reasons(policy, assessment, active, categories, judge),
        cuts=tuple(cut or ()) if cuts else msgspec.UNSET,
    )


def _seen(calibration: Calibration, assessment: Assessment) -> Assessment:
    """The assessment with calibrated scores."""
    return msgspec.structs.replace(assessment, scores=calibration.seen(assessment.scores))


def _hits_by_category(policy: Policy, hits: Iterable[Hit], rail: Rail) -> dict[str, list[tuple[Action, Hit]]]:
    """The hits that count on this rail, each with its rule's action."""
    grouped: dict[str, list[tuple[Action, Hit]]] = {}
    for hit in hits:
        rule = policy.spec.terms[hit.name] if hit.kind == "terms" else policy.spec.patterns[hit.name]
        if rail in rule.rails:
            grouped.setdefault(rule.category, []).append((Action.of(rule.action), hit))
    return grouped


def _rule(
    category: ActiveCategory, score: Score, hits: list[tuple[Action, Hit]] | None, normalised: Normalised
) -> CategoryVerdict:
    """A rule's hit acts on its own and reports the score 1.0; a score acts through the thresholds."""
    value, source, spans = score.value, score.source, score.spans
    if hits is None and value < category.lowest:
        # What nearly every category of nearly every text is.
        return CategoryVerdict(
            value, category.lowest, False, "allow", source, _original(spans, normalised) if spans else ()
        )
    action, threshold = Action.ALLOW, category.lowest
    for step, start in category.steps:
        if value >= start:
            action, threshold = step, start
    if hits:
        hardest, hit = max(hits, key=itemgetter(0))
        if hardest >= action:
            action, threshold, source = hardest, category.lowest, hit.kind
        value = 1.0
        spans += tuple([Span(hit.start, hit.end, 1.0) for _, hit in hits])
    return CategoryVerdict(value, threshold, action > Action.ALLOW, action.word, source, _original(spans, normalised))


def _original(spans: Sequence[Span], normalised: Normalised) -> tuple[Span, ...]:
    """The spans, with the characters of the original that they stand for."""
    return tuple([Span(*normalised.to_original(span.start, span.end), span.score) for span in spans])


def _unread(assessment: Assessment, normalised: Normalised) -> tuple[str, ...]:
    """What of the text itself nobody could read, as `uninspected` says it."""
    parts: list[str] = []
    if assessment.unread >= UNREAD:
        parts.append(f"text: {assessment.unread:.0%} of its words are unknown to the encoder")
    if "views_left_out" in normalised.steps:
        parts.append("text: it holds more encoded or disguised readings than are read")
    return tuple(parts)


def _failure_action(policy: Policy, stage: str) -> Action:
    word = policy.spec.when_judge_fails if stage == "judge" else policy.spec.when_screen_fails
    return _FAILURE_ACTIONS[word]


def _reasons(
    policy: Policy,
    assessment: Assessment,
    active: tuple[ActiveCategory, ...],
    categories: dict[str, CategoryVerdict],
    judge: bool,
) -> tuple[str, ...]:
    reasons = [f"{stage}_failed: {_failure_action(policy, stage).word}" for stage in assessment.failures]
    unscored, doubtful = [], []
    for category in active:
        score = assessment.scores.get(category.name)
        if score is None:
            if categories[category.name].source == "none":
                unscored.append(category.name)
        elif (
            not judge
            and score.source != "judge"
            and category.doubtful(score.value)
            and categories[category.name].source == score.source
        ):
            doubtful.append(category.name)
    if unscored and "screen" not in assessment.failures:
        reasons.append(f"no_score: {', '.join(unscored)}")
    if doubtful:
        reasons.append(f"no_judge: {', '.join(doubtful)}")
    return tuple(reasons)


def explain(policy: Policy, assessment: Assessment, normalised: Normalised, *, rail: Rail = Rail.INPUT) -> Explanation:
    """What the verdict on this assessment rests on, spans in the original's coordinates."""
    if policy.calibration is not None:
        assessment = _seen(policy.calibration, assessment)
    rules = [
        RuleMatch(hit.kind, hit.name, category, action.word, *normalised.to_original(hit.start, hit.end))
        for category, found in _hits_by_category(policy, assessment.hits, rail).items()
        for action, hit in found
    ]
    return Explanation(
        normalised_text=normalised.text,
        readings=tuple([Reading(view.kind, view.text) for view in normalised.views]),
        rules=tuple(rules),
        doubtful=tuple(
            [
                category.name
                for category in policy.active(rail)
                if (score := assessment.scores.get(category.name)) and category.doubtful(score.value)
            ]
        ),
    )


def _cuts(
    policy: Policy,
    assessment: Assessment,
    hits: dict[str, list[tuple[Action, Hit]]],
    categories: dict[str, CategoryVerdict],
    normalised: Normalised,
) -> list[Cut] | None:
    """The characters of the original that are redacted; None where no category asks for redaction."""
    redacting = {name for name, found in categories.items() if found.action == Action.REDACT.word}
    if not redacting:
        return None
    cuts = []
    for name, matches in hits.items():
        if name in redacting:
            cuts += [Cut(*normalised.to_original(h.start, h.end), h.name.upper()) for _, h in matches]
    exact = list(cuts)
    for name in redacting:
        score = assessment.scores.get(name)
        start = policy.spec.categories[name].thresholds.redact
        if score is None or start is None or score.value < start:
            continue
        # A judge names no span: what cannot be cut out exactly is cut out whole. A sentence in which a
        # rule has cut already owes its score to that; one without such a cut goes as it is.
        spans = _original(score.spans, normalised) or (Span(0, len(normalised.original), 1.0),)
        cuts += [
            Cut(span.start, span.end, name.upper())
            for span in spans
            if not any(span.start <= cut.start and cut.end <= span.end for cut in exact)
        ]
    return disjoint(cuts)
