"""Synthetic rows for the encoder: both sides of every line, in the same shapes.

All text is ours. `templates/*.txt` holds the seeds, `surface` wraps them, `personal` makes personal data
with Faker and `injection` makes prompt injections. A family is one template with everything that fills and
wraps it, so a validation split by `family` shows a model sentences whose content it has not met.
"""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

from training.synthetic import injection, personal, surface
from training.synthetic.template import CATEGORIES, HEADS, Section, fill, load, targets

__all__ = ["CATEGORIES", "HEADS", "SyntheticRow", "rows"]

Role = Literal["comment", "user", "assistant"]
_LONGEST = 4_000
BY_HAND = 12
"""Rows up to which a family counts as written by hand: a line with few variants, not a template with many fillings."""


@dataclass(frozen=True, slots=True)
class SyntheticRow:
    """One labelled text; a head that `targets` lacks is unknown for it. `by_hand`: of a family with few variants."""

    id: str
    text: str
    role: Role
    context: str | None
    targets: dict[str, int]
    family: str
    by_hand: bool = False


def rows(*, seed: int = 0, without: Collection[str] = ()) -> Iterator[SyntheticRow]:
    """Every row once, in the order of the families: the same seed gives the same rows. Template files named in
    `without` are left out; that changes no other family's rows."""
    seen: set[str] = set()
    for family, each, drafts in _families(seed, without):
        made = 0
        for draft in drafts:
            key = draft.text.casefold()
            if key in seen or not draft.text.strip() or len(draft.text) > _LONGEST:
                continue
            seen.add(key)
            made += 1
            yield replace(draft, id=f"synthetic-{family}-{made}", family=family, by_hand=each <= BY_HAND)
            if made == each:
                break


def _families(seed: int, without: Collection[str]) -> Iterator[tuple[str, int, Iterator[SyntheticRow]]]:
    slots, sections = load(without)
    for section in sections:
        for number, line in enumerate(section.lines):
            family = f"{section.name}-{number:02}"
            rng = random.Random(f"{seed}:{family}")
            yield family, section.each, _section_drafts(section, line, slots, rng)
    made = (*personal.families(seed), *injection.families(seed, slots, sections))
    for name, labels, role, each, texts in made:
        drafts = (_draft(text, cast(Role, role), targets(labels)) for text in texts)
        yield name, each, drafts


def _draft(text: str, role: Role, labels: dict[str, int], context: str | None = None) -> SyntheticRow:
    return SyntheticRow(id="", text=text, role=role, context=context, targets=labels, family="")


def _section_drafts(
    section: Section, line: str, slots: dict[str, tuple[str, ...]], rng: random.Random
) -> Iterator[SyntheticRow]:
    """Six drafts for each row that is wanted, since some of them are alike."""
    for _ in range(section.each * 6):
        seed_text = fill(line, slots, rng, section.language)
        match section.kind:
            case "say":
                yield _said(section, seed_text, rng)
            case "answer":
                yield _answered(section, seed_text, rng)
            case "aim" | "task":
                yield _wanted(section, seed_text, rng)


def _said(section: Section, text: str, rng: random.Random) -> SyntheticRow:
    text = surface.roughened(surface.surrounded(text, rng, section.language), rng)
    return _draft(text, cast(Role, rng.choice(section.roles)), section.targets)


def _answered(section: Section, line: str, rng: random.Random) -> SyntheticRow:
    question, _, answer = line.rpartition(" => ")
    if rng.random() < 0.3:
        answer = f"{answer} {rng.choice(_OFFERS)}"
    elif rng.random() < 0.3:
        answer = f"{rng.choice(_LEADS)} {answer}"
    context = surface.roughened(question, rng) if question and rng.random() < 0.8 else None
    return _draft(answer, "assistant", section.targets, context)


def _wanted(section: Section, phrase: str, rng: random.Random) -> SyntheticRow:
    """A request, or, more rarely, an answer that complies, a refusal, or a report about the aim."""
    carriers = surface.ASK if section.kind == "aim" else surface.ORDER
    request = surface.roughened(surface.carried(rng.choice(carriers), phrase), rng)
    context = request if rng.random() < 0.8 else None
    harmful = any(section.targets.get(head) for head in CATEGORIES)
    chance = rng.random()
    if chance < 0.1:
        given = surface.COMPLY if section.kind == "aim" else surface.DELIVER
        return _draft(surface.carried(rng.choice(given), phrase), "assistant", section.targets, context)
    if chance < (0.24 if harmful else 0.11):
        text = surface.carried(rng.choice(surface.REFUSE), phrase)
        return _draft(text, "assistant", targets(), context)
    if section.about and chance < 0.38:
        text = surface.surrounded(surface.carried(rng.choice(surface.ABOUT), phrase), rng)
        labels = targets("?violence ?legal_advice ?self_harm")
        return _draft(surface.roughened(text, rng), rng.choice(("comment", "user")), labels)
    if section.kind == "aim" and chance > 0.9:
        text = surface.surrounded(surface.carried(rng.choice(surface.WONDER), phrase), rng)
        return _draft(surface.roughened(text, rng), "comment", section.targets)
    text = surface.carried(rng.choice(carriers), phrase)
    return _draft(surface.roughened(surface.surrounded(text, rng), rng), "user", section.targets)


_OFFERS = (
    "Let me know if you want more detail.",
    "I hope that helps.",
    "Is there anything else?",
    "Tell me if something is unclear.",
    "Shall I go on?",
    "Feel free to ask a follow-up question.",
)
_LEADS = (
    "Sure.",
    "Of course!",
    "Good question.",
    "Thanks for asking.",
    "Certainly.",
    "Okay.",
    "Let me explain.",
)
