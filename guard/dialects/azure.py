"""Azure AI Content Safety's answers: severities of four harms, matches of blocklists, attacks on a prompt.

Azure's models say how severe a text is; our scores say how likely it is a harm, and the policy says what that is worth.
So a severity here says what the policy does about the text: its even part is the word that an annotated chat has for
the same (safe, low, medium, high), and it is odd in the upper half of the scores that lead to the same word. What the
policy only notes is at least 2; what it redacts or wants a person to look at, 4; what it blocks, 6. So a client that
refuses from 4 refuses what is blocked and what a person should look at.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from guard.content import Rail
from guard.dialects.taxonomy import parts_of, scored
from guard.policy import Policy
from guard.text import normalise
from guard.verdict import Action, ActionWord, CategoryVerdict, Verdict

__all__ = [
    "ATTACK",
    "CATEGORIES",
    "SEVERITIES",
    "AzureCategory",
    "BlocklistMatch",
    "CategorySeverity",
    "OutputType",
    "attacked",
    "matches",
    "searched",
    "severities",
    "severity",
]

AzureCategory = Literal["Hate", "SelfHarm", "Sexual", "Violence"]
"""A harm, as Azure spells it in requests and answers."""

OutputType = Literal["FourSeverityLevels", "EightSeverityLevels"]
"""0, 2, 4 and 6, or 0 to 7."""

CATEGORIES: Mapping[AzureCategory, str] = {
    "Hate": "hate",
    "SelfHarm": "self_harm",
    "Sexual": "sexual",
    "Violence": "violence",
}
"""The harms in Azure's order, and their names in a policy's `maps.azure`, which are those of a chat's annotations."""

SEVERITIES: Mapping[ActionWord, int] = {"allow": 0, "flag": 2, "redact": 4, "review": 4, "block": 6}
"""The even severity that each action is; the one above it is for the upper half of its scores."""

ATTACK = "jailbreak"
"""The name in `maps.azure` of what a prompt shield looks for."""


class CategorySeverity(msgspec.Struct, frozen=True):
    """One harm: 0, 2, 4 or 6, or 0 to 7 where the request wants eight levels."""

    category: AzureCategory
    severity: int


class BlocklistMatch(msgspec.Struct, frozen=True, rename="camel"):
    """A listed term that was found. Its id is the same as long as the list's name and the term are."""

    blocklist_name: str
    blocklist_item_id: str
    blocklist_item_text: str


def severity(steps: Iterable[tuple[Action, float]], category: CategoryVerdict) -> int:
    """0 to 7 for a category whose actions start at `steps` (action, score).

    Under flag from 0.2, review from 0.6 and block from 0.9, the scores 0.05, 0.15, 0.2, 0.4, 0.6, 0.8, 0.9 and 0.97
    have the severities 0 to 7. A rule of the policy has the score 1, and so always the upper half.
    """
    level = SEVERITIES[category.action]
    starts = [(SEVERITIES[action.word], start) for action, start in steps]
    begin = min((start for other, start in starts if other == level), default=0.0)
    end = min((start for other, start in starts if other > level), default=1.0)
    return level + (category.score >= (begin + end) / 2)


def severities(
    policy: Policy, verdict: Verdict, wanted: Sequence[AzureCategory], output: OutputType
) -> tuple[CategorySeverity, ...]:
    """The harms that the policy can tell, of those that are wanted: of several categories that go by one name the
    severest counts. A harm that nobody looked for is left out; a 0 would say that somebody had."""
    parts = parts_of(policy, "azure")
    found = []
    for name in wanted:
        levels = [
            severity(policy.spec.categories[own].thresholds.steps(), category)
            for own in parts.get(CATEGORIES[name], ())
            if (category := scored(verdict, own)) is not None
        ]
        if levels:
            found.append(CategorySeverity(name, _shown(max(levels), output)))
    return tuple(found)


def attacked(policy: Policy, verdict: Verdict) -> bool | None:
    """Whether the text attacks the model that is to read it; None: nobody looked."""
    found = [
        category.violated
        for own in parts_of(policy, "azure").get(ATTACK, ())
        if (category := scored(verdict, own)) is not None
    ]
    return any(found) if found else None


def searched(policy: Policy) -> tuple[str, ...]:
    """The policy's term lists that are looked for in prompts: those that a request may name as blocklists."""
    return tuple([name for name, terms in policy.spec.terms.items() if Rail.INPUT in terms.rails])


def matches(policy: Policy, text: str, verdict: Verdict, lists: Iterable[str]) -> tuple[BlocklistMatch, ...]:
    """The terms of these lists that were found in `text`, each once. The verdict has to be explained.

    Takes longer for the first text of a policy and for long ones, up to tenths of a second.
    """
    if not isinstance(verdict.explanation, msgspec.Struct):
        raise ValueError("a verdict without an explanation does not tell which lists matched")
    read = (verdict.explanation.normalised_text, *[reading.text for reading in verdict.explanation.readings])
    named = frozenset(lists)
    # A word may be in a text thousands of times: it is told once.
    matched = dict.fromkeys(
        [
            (rule.name, text[rule.start : rule.end])
            for rule in verdict.explanation.rules
            if rule.kind == "terms" and rule.name in named
        ]
    )
    if not matched:
        return ()
    readings = [_plain(reading) for reading in read]
    hidden: dict[str, list[str]] = {}
    found: dict[tuple[str, str], BlocklistMatch] = {}
    for name, there in matched:
        words = _words(policy, name)
        terms = words.behind(there)
        if not terms:
            if name not in hidden:
                hidden[name] = words.within(readings)
            terms = hidden[name] or [there]
        for term in terms:
            if (name, term) not in found:
                found[name, term] = BlocklistMatch(name, _item_id(name, term), term)
    return tuple(found.values())


def _shown(level: int, output: OutputType) -> int:
    return level if output == "EightSeverityLevels" else level - level % 2


class _Words(NamedTuple):
    """A list's words with what they are compared by, and the first word of each such key."""

    keys: tuple[tuple[str, str], ...]
    exact: Mapping[str, str]

    def behind(self, matched: str) -> list[str]:
        """The word that a match is, else those in it (matches that overlap are one)."""
        there = _canonical(matched)
        word = self.exact.get(there)
        return [word] if word is not None else self.within([there])

    def within(self, readings: Sequence[str]) -> list[str]:
        """The words in what a text stands for, decoded or without its disguise."""
        return [word for word, key in self.keys if any(key in reading for reading in readings)]


_WORDS: WeakKeyDictionary[Policy, dict[str, _Words]] = WeakKeyDictionary()
"""By policy and list. Two threads may make the same: the later one stays."""


def _words(policy: Policy, name: str) -> _Words:
    known = _WORDS.setdefault(policy, {})
    if name not in known:
        keys = tuple([(word, _canonical(word)) for word in policy.spec.terms[name].words])
        # Of words with the same key the first one counts.
        known[name] = _Words(keys, {key: word for word, key in reversed(keys)})
    return known[name]


def _canonical(text: str) -> str:
    return _plain(normalise(text).text)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _item_id(name: str, term: str) -> str:
    return hashlib.blake2b(f"{name}\0{term}".encode(), digest_size=16).hexdigest()
