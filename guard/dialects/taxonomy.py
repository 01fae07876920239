"""Our categories under the names of other taxonomies.

Which category goes by which name is the policy's to say (`maps`): a foreign category is the hardest of ours that carry
its name. A few foreign categories hold only where another one holds too (`TOGETHER`): no policy can say that, so it is
said here; and where a foreign category means less, or more, than what can be told, `NEAR` says so.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from guard.policy import Policy
from guard.verdict import Action, CategoryVerdict, Verdict

__all__ = ["NEAR", "TOGETHER", "Taxonomy", "exactly", "flagged", "hardest", "named", "parts_of", "under", "unfounded"]

Taxonomy = Literal["openai", "mistral", "llama_guard", "perspective", "azure"]
"""The fields of a category's `maps`."""

TOGETHER: Mapping[Taxonomy, Mapping[str, tuple[str, ...]]] = {
    "openai": {"hate/threatening": ("violence",), "harassment/threatening": ("violence",)},
}
"""Foreign categories that hold only together with others of their taxonomy: each is the mildest of them."""

NEAR: Mapping[Taxonomy, Mapping[str, str]] = {
    "openai": {
        "illicit/violent": "weapons, explosives, poisons and other dangers to life, with violence or without",
        "self-harm/intent": "all self-harm: whose intent it is, is not told",
        "self-harm/instructions": "all self-harm: instructions are not told from other forms",
        "violence/graphic": "all violence: how graphic it is, is not told",
    },
}
"""Foreign categories that ours only come near to, and what the difference is."""

_NONE = CategoryVerdict(score=0.0, threshold=1.0, violated=False, action="allow", source="none")


def hardest(verdicts: Iterable[Verdict]) -> dict[str, CategoryVerdict]:
    """Each category's hardest verdict of several texts; of equally hard ones that with the highest score."""
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
    renamed: dict[str, CategoryVerdict] = {}
    for own, category in found.items():
        for name in _names(policy, own, taxonomy):
            _harden(renamed, name, category)
    for name, others in TOGETHER.get(taxonomy, {}).items():
        if name in renamed:
            # What is missing cannot be said to hold too.
            all_of = [renamed[name], *(renamed.get(other, _NONE) for other in others)]
            renamed[name] = msgspec.structs.replace(
                min(all_of, key=_hardness), score=min(category.score for category in all_of), spans=renamed[name].spans
            )
    return renamed


def under(policy: Policy, taxonomy: Taxonomy, found: Mapping[str, CategoryVerdict]) -> dict[str, CategoryVerdict]:
    """The same, but what has no name there keeps its own."""
    own = {name: category for name, category in found.items() if not _names(policy, name, taxonomy)}
    return named(policy, taxonomy, found) | own


def exactly(policy: Policy, taxonomy: Taxonomy, names: Iterable[str], verdict: Verdict) -> dict[str, CategoryVerdict]:
    """These foreign categories of a verdict, in their order, for dialects that always have all of them. One that no
    category of the policy goes by has the score 0."""
    found = named(policy, taxonomy, verdict.categories)
    return {name: found.get(name, _NONE) for name in names}


def flagged(verdict: Verdict, found: Iterable[CategoryVerdict]) -> bool:
    """Whether a dialect with one word for everything says it: one of its own categories is violated, or the policy
    wants a person to look, or a stop, for whatever reason. What the policy only notes or redacts, in categories that
    the dialect does not have, is no reason to refuse a text."""
    return verdict.action in ("review", "block") or any(category.violated for category in found)


def unfounded(verdict: Verdict) -> bool:
    """Whether a stage failed and the policy holds the text back for that: a dialect that has nothing but scores would
    let it pass, and has to fail instead."""
    return verdict.degraded and verdict.action in ("review", "block")


def _names(policy: Policy, own: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(policy.spec.categories[own].maps, taxonomy)
    return names


def _harden(found: dict[str, CategoryVerdict], name: str, category: CategoryVerdict) -> None:
    if name not in found or _hardness(found[name]) < _hardness(category):
        found[name] = category


def _hardness(category: CategoryVerdict) -> tuple[Action, float]:
    return Action.of(category.action), category.score
