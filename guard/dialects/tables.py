"""How foreign categories are computed under a policy, as Markdown: docs/dialects.md has these tables for `default`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from guard.content import Rail
from guard.dialects import azure, llm_guard, mistral, openai, perspective
from guard.dialects.taxonomy import NEAR, TOGETHER, Taxonomy, parts_of
from guard.policy import Policy

__all__ = ["tables"]


class _Dialect(NamedTuple):
    """A vendor's taxonomy as one of its routes has it."""

    title: str
    taxonomy: Taxonomy
    names: tuple[str, ...]


_DIALECTS = (
    _Dialect("OpenAI: `POST /v1/moderations`", "openai", openai.CATEGORIES),
    _Dialect("Mistral, `mistral-moderation-2411`", "mistral", mistral.FIRST_CATEGORIES),
    _Dialect("Mistral, any other model", "mistral", mistral.SECOND_CATEGORIES),
)


def tables(policy: Policy) -> str:
    """One table for each dialect."""
    parts = []
    for dialect in _DIALECTS:
        rows = [_row(policy, dialect.taxonomy, name) for name in dialect.names]
        parts.append(f"### {dialect.title}\n\n" + _table(("category", "from ours", "note"), rows))
    parts += [_perspective(policy), _azure(policy), _llm_guard(policy)]
    return "\n\n".join(parts) + "\n"


def _perspective(policy: Policy) -> str:
    parts, near = parts_of(policy, "perspective"), NEAR["perspective"]
    rows = []
    for name in perspective.ATTRIBUTES:
        ours = parts.get(name) or parts.get(perspective.STANDS_FOR.get(name, ""), ())
        rows.append((f"`{name}`", _listed(ours) or "none: an error", near.get(name, "")))
    severe = ", ".join(f"{score:g} is {perspective.severe(score):.2f}" for score in (0.2, 0.5, 0.8, 0.9, 0.97, 1))
    return "\n\n".join(
        [
            "### Perspective: `comments:analyze`",
            _table(("attribute", "from ours: the highest of", "note"), rows),
            f"In `SEVERE_TOXICITY` the score of what is toxic too is bent down: {severe}.",
        ]
    )


def _azure(policy: Policy) -> str:
    parts = parts_of(policy, "azure")
    harms = [
        (f"`{theirs}`", _listed(parts.get(name, ())) or "none: left out") for theirs, name in azure.CATEGORIES.items()
    ]
    shield = _listed(parts.get(azure.ATTACK, ())) or "none: an error"
    levels = [(f"`{action}`", str(even), f"{even}, {even + 1}") for action, even in azure.SEVERITIES.items()]
    return "\n\n".join(
        [
            "### Azure AI Content Safety: `text:analyze`, `text:shieldPrompt`",
            _table(("category", "from ours: the severest of"), [*harms, ("`attackDetected`", shield)]),
            "What the policy does decides the severity; the odd one of eight levels is the upper half of the scores\n"
            "that lead to the same action:",
            _table(("action", "four levels", "eight levels"), levels),
        ]
    )


def _llm_guard(policy: Policy) -> str:
    rows = [
        (rail.value, f"`{scanner}`", _listed(ours))
        for rail in Rail
        for scanner, ours in llm_guard.parts_by_scanner(policy, rail).items()
    ]
    return (
        "### LLM Guard: `/analyze/*`, `/scan/*`\n\n"
        + _table(("side", "scanner", "from ours: the highest risk of"), rows)
        + f"\n\n`{llm_guard.REST}` has what no other scanner speaks for, custom categories among it. Of `pii`, "
        "`Secrets` tells the\nrules that are secrets, `Anonymize` the rest."
    )


def _row(policy: Policy, taxonomy: Taxonomy, name: str) -> tuple[str, str, str]:
    ours = parts_of(policy, taxonomy).get(name, ())
    found = _listed(ours) if ours else "none: always 0"
    together = TOGETHER.get(taxonomy, {}).get(name, ())
    notes = []
    if together:
        notes.append(f"composite: never higher than {_listed(together)}")
    if len(ours) > 1:
        notes.append("the highest of them")
    if near := NEAR.get(taxonomy, {}).get(name):
        notes.append(near)
    return f"`{name}`", found, "; ".join(notes)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
