"""Our categories under the names of other taxonomies.

Which category goes by which name is the policy's to say (`maps`): a foreign category is the hardest of ours that carry
its name, with their highest score. A few foreign categories hold only where another one holds too (`TOGETHER`): no
policy can say that, so it is said here; and where a foreign category means less, or more, than what can be told, `NEAR`
says so.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from guard.policy import Policy
from guard.verdict import Action, CategoryVerdict, Verdict

__all__ = [
    "NEAR",
    "TOGETHER",
    "Taxonomy",
    "exactly",
    "flagged",
    "hardest",
    "named",
    "parts_of",
    "scored",
    "under",
    "unfounded",
]

Taxonomy = Literal["openai", "mistral", "llama_guard", "perspective", "azure"]
"""The fields of a category's `maps`."""

TOGETHER: Mapping[Taxonomy, Mapping[str, tuple[str, ...]]] = {
    "openai": {"hate/threatening": ("violence",), "harassment/threatening": ("violence",)},
}
"""Foreign categories that hold only together with others of their taxonomy: each is the mildest of them. A category of
ours that goes by such a name, but not by the one before its slash, was made for it and stands for itself."""

NEAR: Mapping[Taxonomy, Mapping[str, str]] = {
    "openai": {
        "illicit/violent": "weapons, explosives, poisons and other dangers to life, with violence or without",
        "self-harm/intent": "all self-harm: whose intent it is, is not told",
        "self-harm/instructions": "all self-harm: instructions are not told from other forms",
        "violence/graphic": "all violence: how graphic it is, is not told",
    },
    "perspective": {
        "FLIRTATION": "all sexual content: pick-up lines and compliments without any score little",
        "PROFANITY": "all harassment: swearing that is aimed at nobody scores little",
        "SEVERE_TOXICITY": "toxicity by a curve (`severe`): how severe a text is, is not told otherwise",
    },
}
"""Foreign categories that ours only come near to, and what the difference is."""

_NONE = CategoryVerdict(score=0.0, threshold=1.0, violated=False, action="allow", source="none")


def hardest(verdicts: Iterable[Verdict]) -> dict[str, CategoryVerdict]:
    """Each category's hardest verdict of several texts, with the highest score of all."""
    found: dict[str, CategoryVerdict] = {}
    for verdict in verdicts:
        for name, category in verdict.categories.items():
            _harden(found, name, category)
    return found


def parts_of(policy: Policy, taxonomy: Taxonomy) -> dict[str, tuple[str, ...]]:
    """The policy's own categories that go by each name of another taxonomy."""
    parts: dict[str, tuple[str, ...]] = {}
    for own in policy.categories:
        for name in _names(policy, own, taxonomy):
            parts[name] = (*parts.get(name, ()), own)
    return parts


def named(policy: Policy, taxonomy: Taxonomy, found: Mapping[str, CategoryVerdict]) -> dict[str, CategoryVerdict]:
    """Categories under the names of another taxonomy; what has no name there is left out."""
    together = TOGETHER.get(taxonomy, {})
    renamed: dict[str, CategoryVerdict] = {}
    broad: dict[str, CategoryVerdict] = {}
    for own, category in found.items():
        names = _names(policy, own, taxonomy)
        for name in names:
            wide = name in together and name.partition("/")[0] in names
            _harden(broad if wide else renamed, name, category)
    for name, category in broad.items():
        # What is missing cannot be said to hold too.
        all_of = [category, *(renamed.get(other, _NONE) for other in together[name])]
        mildest = msgspec.structs.replace(
            min(all_of, key=_hardness), score=min(one.score for one in all_of), spans=category.spans
        )
        _harden(renamed, name, mildest)
    return renamed


def under(policy: Policy, taxonomy: Taxonomy, found: Mapping[str, CategoryVerdict]) -> dict[str, CategoryVerdict]:
    """The same, but what has no name there keeps its own."""
    renamed = named(policy, taxonomy, found)
    for name, category in found.items():
        # Where that is a name of the taxonomy too, the harder counts.
        if not _names(policy, name, taxonomy):
            _harden(renamed, name, category)
    return renamed


def exactly(
    policy: Policy, taxonomy: Taxonomy, names: Iterable[str], verdict: Verdict, *, own: bool = False
) -> dict[str, CategoryVerdict]:
    """These foreign categories of a verdict, in their order, for dialects that always have all of them. One that no
    category of the policy goes by has the score 0. `own`: what none of them speaks for follows under its own name, for
    dialects whose clients take any."""
    found = named(policy, taxonomy, verdict.categories)
    asked = {name: found.get(name, _NONE) for name in names}
    said = frozenset(asked)
    for name, category in verdict.categories.items() if own else ():
        # Also one whose name there is another model's, or none at all.
        if said.isdisjoint(_names(policy, name, taxonomy)):
            _harden(asked, name, category)
    return asked


def flagged(verdict: Verdict, found: Iterable[CategoryVerdict]) -> bool:
    """Whether a dialect with one word for everything says it: one of its own categories is violated, or the policy
    wants a person to look, or a stop, for whatever reason. What the policy only notes or redacts, in categories that
    the dialect does not have, is no reason to refuse a text."""
    return verdict.action in ("review", "block") or any(category.violated for category in found)


def scored(verdict: Verdict, own: str) -> CategoryVerdict | None:
    """A category that somebody scored. Where a stage failed and the policy lets the text pass, it counts as such."""
    category = verdict.categories.get(own)
    return None if category is None or (category.source == "none" and not verdict.degraded) else category


def unfounded(verdict: Verdict) -> bool:
    """Whether a stage failed and the policy holds the text back for that: a dialect that has nothing but scores would
    let it pass, and has to fail instead."""
    return verdict.degraded and verdict.action in ("review", "block")


def _names(policy: Policy, own: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(policy.spec.categories[own].maps, taxonomy)
    return names


def _harden(found: dict[str, CategoryVerdict], name: str, category: CategoryVerdict) -> None:
    """The harder of what is found under a name and this one, with the higher score of both: thresholds differ, and
    clients have their own, so more harm must never mean a lower score."""
    known = found.get(name, category)
    harder = max(known, category, key=_hardness)
    score = max(known.score, category.score)
    found[name] = harder if harder.score == score else msgspec.structs.replace(harder, score=score)


def _hardness(category: CategoryVerdict) -> tuple[Action, float]:
    return Action.of(category.action), category.score
