"""The heads that the encoder learns, and the target of one row: known values, masks, and `any_of` sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "ADVICE", "ALL_HEADS", "CATEGORIES", "DECIDING", "HARMS", "SUB_CATEGORIES", "TONES",
    "Target", "clean", "harm", "negative", "toxic",
]  # fmt: skip

HARMS = (
    "criminal", "dangerous", "sexual_minors", "hate", "harassment", "violence", "self_harm", "sexual",
)  # fmt: skip
ADVICE = ("health_advice", "legal_advice", "financial_advice")
CATEGORIES = (*HARMS, *ADVICE, "pii", "jailbreak")
"""The thirteen categories of the default taxonomy."""
DECIDING = (*HARMS, "jailbreak")
"""The categories whose highest score is the answer to "harmful or not": all but advice and personal data."""

SUB_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "hate_threatening": ("hate",),
    "harassment_threatening": ("harassment",),
    "self_harm_intent": ("self_harm",),
    "self_harm_instructions": ("self_harm",),
    "violence_graphic": ("violence",),
    "illicit_violent": ("criminal", "dangerous", "violence"),
}
"""Each sub-category with its parents: where every parent is 0, the sub-category is 0."""

TONES = (
    "toxicity", "insult", "profanity", "severe_toxicity", "threat", "identity_attack", "sexually_explicit",
)  # fmt: skip
ALL_HEADS = (*CATEGORIES, *SUB_CATEGORIES, *TONES)

_NEIGHBOURS: Mapping[str, frozenset[str]] = {
    "criminal": frozenset({"dangerous", "violence", "harassment", "financial_advice", "legal_advice", "pii"}),
    "dangerous": frozenset({"criminal", "violence", "self_harm", "health_advice"}),
    "sexual_minors": frozenset({"sexual", "criminal", "violence", "harassment"}),
    "hate": frozenset({"harassment", "violence", "sexual"}),
    "harassment": frozenset({"hate", "violence", "criminal", "sexual", "pii"}),
    "violence": frozenset({"criminal", "dangerous", "hate", "harassment", "self_harm"}),
    "self_harm": frozenset({"dangerous", "violence", "health_advice"}),
    "sexual": frozenset({"sexual_minors", "harassment", "criminal", "hate"}),
    "health_advice": frozenset({"dangerous", "self_harm", "pii", "legal_advice"}),
    "legal_advice": frozenset({"criminal", "financial_advice", "pii"}),
    "financial_advice": frozenset({"criminal", "legal_advice", "pii"}),
    "pii": frozenset({"criminal", "harassment", *ADVICE}),
    "jailbreak": frozenset(CATEGORIES),
}
"""Heads that a row of one category may carry as well without its source saying so: masked, not 0."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one row says: `values` are known (0 or 1), an absent head is masked.

    `any_of` says that at least one of its heads is 1 without saying which; it is empty or disjoint
    from the keys of `values`.
    """

    values: Mapping[str, int] = field(default_factory=dict)
    any_of: frozenset[str] = frozenset()

    def but(self, **values: int) -> "Target":
        """This target with some heads set, which leave the `any_of` set when they are 0.

        A head of the set that becomes 1 fulfils it, and the set is dropped.
        """
        fulfilled = any(values.get(head) for head in self.any_of)
        rest = frozenset() if fulfilled else self.any_of - values.keys()
        return Target({**self.values, **values}, rest)

    def masking(self, *heads: str) -> "Target":
        """This target without what it says of `heads`."""
        kept = {head: value for head, value in self.values.items() if head not in heads}
        return Target(kept, self.any_of - set(heads))


def negative(*heads: str) -> Target:
    """Zero for `heads` and for the sub-categories that follow, all else masked."""
    return Target(_with_subs(dict.fromkeys(heads, 0)))


def clean(*, advice: bool = False, pii: bool = False, tones: bool = True) -> Target:
    """A harmless text: no harm, no jailbreak; `advice`, `pii` add zeros there, `tones` for every tone
    but profanity, which harmless texts may hold."""
    heads = [*HARMS, "jailbreak"]
    heads += ADVICE if advice else ()
    heads += ("pii",) if pii else ()
    values = _with_subs(dict.fromkeys(heads, 0))
    if tones:
        values |= dict.fromkeys((tone for tone in TONES if tone != "profanity"), 0)
    return Target(values)


def harm(*ones: str, any_of: Iterable[str] = ()) -> Target:
    """A text of the categories `ones`, or of at least one of `any_of`.

    Heads near to those are masked, the others are 0: a fraud request is no hate, but it may be dangerous.
    """
    parents = [parent for one in ones for parent in SUB_CATEGORIES.get(one, (one,))]
    named = set(ones) | set(any_of)
    near = {head for one in (*parents, *any_of) for head in _NEIGHBOURS.get(one, frozenset())}
    values = {head: 0 for head in CATEGORIES if head not in near | named | set(parents)}
    return Target(_with_subs(values) | dict.fromkeys(ones, 1), frozenset(any_of))


def toxic(*ones: str, any_of: Iterable[str] = ("hate", "harassment", "sexual", "violence")) -> Target:
    """A rude comment: of `ones` where its source says which, else of at least one of `any_of`."""
    values = {"toxicity": 1, "criminal": 0, "jailbreak": 0, **dict.fromkeys(ADVICE, 0)}
    values |= dict.fromkeys(ones, 1)
    return Target(values, frozenset() if ones else frozenset(any_of))


def _with_subs(values: dict[str, int]) -> dict[str, int]:
    for sub, parents in SUB_CATEGORIES.items():
        if all(values.get(parent) == 0 for parent in parents):
            values[sub] = 0
    return values
