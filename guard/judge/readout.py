"""From the log-probabilities that a server tells to an answer's probabilities."""

import math
from collections.abc import Sequence

from guard.errors import JudgeFailed
from guard.question import Answer

__all__ = ["exact", "of_the_top"]


def exact(logprobs: Sequence[float]) -> Answer:
    """The answer from every label's own log-probability (natural, over the whole vocabulary).

    Raises:
        JudgeFailed: one is no number, or none has any probability.
    """
    if any(math.isnan(value) or value > 1e-3 for value in logprobs):
        raise JudgeFailed("the judge's log-probabilities are no log-probabilities")
    # Scaled by the largest first, so that labels far down the vocabulary still compare; `mass` is the true one.
    best = max(logprobs)
    if best == -math.inf:
        raise JudgeFailed("the judge gives none of the labels any probability")
    weights = [math.exp(value - best) for value in logprobs]
    total = math.fsum(weights)
    return Answer(tuple([weight / total for weight in weights]), mass=min(1.0, math.exp(best) * total))


def of_the_top(logprobs: Sequence[float | None], others: Sequence[float]) -> Answer:
    """The answer where a server tells only its most likely tokens: None for a label that is not among them.

    A missing label is less likely than the least likely token told, and all missing ones together have no more than
    what the told ones leave. Each is taken at half of its bound; `error` says how far a probability may be off for it.
    `others` are the log-probabilities of the told tokens that are no labels.

    Raises:
        JudgeFailed: no label is among the told tokens.
    """
    told = [math.exp(value) for value in logprobs if value is not None]
    if not told:
        raise JudgeFailed(
            "none of the labels is among the judge's most likely tokens: is this the model's chat template "
            "(GUARD_JUDGE_TEMPLATE)?"
        )
    missing = sum(value is None for value in logprobs)
    if not missing:
        return exact([value for value in logprobs if value is not None])
    rest = [math.exp(value) for value in others]
    left = max(0.0, 1.0 - math.fsum(told) - math.fsum(rest))
    bound = min(*told, *rest, left)
    weights = [bound / 2 if value is None else math.exp(value) for value in logprobs]
    known = math.fsum(told)
    # The farthest that any label can move: all missing ones at 0, or at their bounds.
    most = min(missing * bound, left)
    error = most / (known + most)
    total = math.fsum(weights)
    return Answer(tuple([weight / total for weight in weights]), mass=min(1.0, total), error=error)
