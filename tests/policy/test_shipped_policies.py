"""The policies that come with Guard: complete, consistent with one another, and true to their reference."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from guard.content import Rail
from guard.policy import Policy, load_policies, schema
from guard.screen.lexicon import Lexicon
from guard.screen.patterns import CATALOGUE
from guard.service import pattern_names
from guard.text import normalise
from guard.verdict import Action

FOLDER = Path(__file__).parents[2] / "policies"
NAMES = ["children", "default", "strict", "support-bot"]
CATEGORIES = [
    *("criminal", "dangerous", "sexual_minors"),
    *("hate", "harassment", "violence", "self_harm", "sexual"),
    *("health_advice", "legal_advice", "financial_advice"),
    *("pii", "jailbreak"),
]

# A taxonomy without a counterpart has no name to map to.
WITHOUT_OPENAI = {"health_advice", "legal_advice", "financial_advice", "pii", "jailbreak"}
WITHOUT_PERSPECTIVE = WITHOUT_OPENAI | {"criminal", "dangerous", "self_harm"}
OPENAI = {
    *("hate", "hate/threatening", "harassment", "harassment/threatening", "self-harm", "self-harm/intent"),
    *("self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic", "illicit"),
    "illicit/violent",
}
MISTRAL = {
    *("sexual", "hate_and_discrimination", "violence_and_threats", "dangerous_and_criminal_content", "dangerous"),
    *("criminal", "selfharm", "health", "financial", "law", "pii", "jailbreaking"),
}
PERSPECTIVE = {
    *("TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT", "SEXUALLY_EXPLICIT"),
}
LLAMA_GUARD = {f"S{number}" for number in range(1, 15)}


@pytest.fixture(scope="module")
def policies() -> dict[str, Policy]:
    """All of `policies/`, with the real catalogue of patterns."""
    return load_policies(FOLDER, pattern_names())


def test_all_shipped_policies_load(policies: dict[str, Policy]):
    """Four folders, four policies, no problems."""
    assert list(policies) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_shipped_policy_loads_alone(policies: dict[str, Policy], name: str):
    """A single folder finds its parents beside it."""
    assert load_policies(FOLDER / name, pattern_names())[name].fingerprint == policies[name].fingerprint


def test_default_has_the_thirteen_categories(policies: dict[str, Policy]):
    """In the order of the taxonomy, enabled, and on both rails."""
    default = policies["default"]
    for rail in Rail:
        assert [category.name for category in default.active(rail)] == CATEGORIES


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_category_of_default_is_complete(policies: dict[str, Policy], name: str):
    """A definition with both sides, examples on both sides, a doubtful band around what acts."""
    category = policies["default"].spec.categories[name]
    assert category.definition.startswith("The text ")
    assert "It does not count to " in category.definition
    assert len(category.examples.violates) >= 3
    assert len(category.examples.allowed) >= 3
    assert not set(category.examples.violates) & set(category.examples.allowed)
    assert category.doubt is not None
    low, high = category.doubt
    lowest = category.thresholds.steps()[0][1]
    assert low < lowest <= high


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_category_of_default_has_its_names_elsewhere(policies: dict[str, Policy], name: str):
    """In every taxonomy that has a counterpart, and only names that exist there."""
    maps = policies["default"].spec.categories[name].maps
    assert bool(maps.openai) == (name not in WITHOUT_OPENAI)
    assert bool(maps.perspective) == (name not in WITHOUT_PERSPECTIVE)
    assert maps.mistral
    assert maps.llama_guard
    assert set(maps.openai) <= OPENAI
    assert set(maps.mistral) <= MISTRAL
    assert set(maps.llama_guard) <= LLAMA_GUARD
    assert set(maps.perspective) <= PERSPECTIVE


def test_every_name_of_the_other_taxonomies_is_answered(policies: dict[str, Policy]):
    """A dialect has a category behind each of its names."""
    every = [category.maps for category in policies["default"].spec.categories.values()]
    assert {name for maps in every for name in maps.openai} == OPENAI
    assert {name for maps in every for name in maps.mistral} == MISTRAL
    assert {name for maps in every for name in maps.perspective} == PERSPECTIVE


@pytest.mark.parametrize("name", NAMES)
def test_words_of_every_list_hit_and_allowed_contexts_do_not(policies: dict[str, Policy], name: str):
    """Each word alone is a hit over its whole length; each allowed phrase is none, of its own list."""
    lists = policies[name].spec.terms
    lexicon = Lexicon(lists)
    for list_name, terms in lists.items():
        for word in terms.words:
            text = normalise(word).text
            spans = [(hit.start, hit.end) for hit in lexicon.find(text) if hit.name == list_name]
            assert spans == [(0, len(text))], f"{list_name}: `{word}`"
        for context in terms.allow_in:
            hits = [hit for hit in lexicon.find(normalise(context).text) if hit.name == list_name]
            assert hits == [], f"{list_name}: allowed in `{context}`"


@pytest.mark.parametrize("name", NAMES)
def test_every_allowed_context_has_something_to_allow(policies: dict[str, Policy], name: str):
    """Without `allow_in` the phrase would be a hit; otherwise it is dead weight."""
    for list_name, terms in policies[name].spec.terms.items():
        bare = Lexicon({list_name: msgspec.structs.replace(terms, allow_in=())})
        dead = [context for context in terms.allow_in if not bare.find(normalise(context).text)]
        assert dead == [], list_name


@pytest.mark.parametrize("name", NAMES)
def test_the_allowed_examples_touch_no_term_list(policies: dict[str, Policy], name: str):
    """What the judge is told to allow may not be stopped by a word before it."""
    lexicon = Lexicon(policies[name].spec.terms)
    for category_name, category in policies[name].categories.items():
        for example in category.examples.allowed:
            hard = [
                hit.name
                for hit in lexicon.find(normalise(example).text)
                if policies[name].spec.terms[hit.name].category == category_name
            ]
            assert hard == [], f"{category_name}: {example}"


def test_every_pattern_of_the_catalogue_is_used_by_default(policies: dict[str, Policy]):
    """What can be found is looked for, unless a policy says otherwise."""
    assert set(policies["default"].spec.patterns) == set(CATALOGUE)


def _milder(policy: Policy, than: Policy) -> Iterator[str]:
    """Where a score, a hit or a failure gets a softer action from `policy`."""
    for rail in Rail:
        own = {category.name: category for category in policy.active(rail)}
        for category in than.active(rail):
            if category.name not in own:
                yield f"{category.name} is not active on {rail}"
                continue
            for action, start in category.steps:
                harder = [score for step, score in own[category.name].steps if step >= action]
                if not harder or min(harder) > start:
                    yield f"{category.name}.{action.word}"
    for section in ("terms", "patterns"):
        own_rules = getattr(policy.spec, section)
        for name, rule in getattr(than.spec, section).items():
            if name not in own_rules:
                yield f"{section}.{name} is missing"
            elif Action.of(own_rules[name].action) < Action.of(rule.action) or set(rule.rails) - set(
                own_rules[name].rails
            ):
                yield f"{section}.{name}"
    for key in ("when_judge_fails", "when_screen_fails"):
        if Action.of(getattr(policy.spec, key)) < Action.of(getattr(than.spec, key)):
            yield key


@pytest.mark.parametrize(("policy", "than"), [("strict", "default"), ("children", "strict")])
def test_a_stricter_policy_is_nowhere_milder(policies: dict[str, Policy], policy: str, than: str):
    """No score, rule or failure gets a softer action than from the policy below it."""
    assert list(_milder(policies[policy], policies[than])) == []


def _structs() -> list[type[msgspec.Struct]]:
    return [
        kind
        for _, kind in inspect.getmembers(schema, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__module__ == schema.__name__ and kind.__struct_fields__
    ]


def test_all_structs_of_the_schema_are_looked_at():
    """The next test is worth what this list holds."""
    assert {kind.__name__ for kind in _structs()} == set(schema.__all__) - {"ActionWord", "BlockStyle"}


@pytest.mark.parametrize("kind", _structs(), ids=lambda kind: kind.__name__)
def test_every_key_is_in_the_reference(kind: type[msgspec.Struct]):
    """Each key has a row of a table in policies/README.md that begins with it, in backticks."""
    reference = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", reference, flags=re.MULTILINE))
    assert [field for field in kind.__struct_fields__ if field not in rows] == []
