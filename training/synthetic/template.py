"""The seed files of `templates/`: sections of template lines, and slots that fill them.

A file is read line by line::

    @pet: cat; dog; rabbit                          a slot, used as {pet}
    == benign.pets | aim | | each=20                a section: name | kind | labels | options
    train my {pet} to sit                           one template, which is one family

Kinds: `aim` (a verb phrase after "how do I"), `task` (an imperative), `say` (a finished message),
`answer` (`question => answer`). Labels: `head` is 1, `?head` is masked, every other category is 0.
"""

import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

CATEGORIES = (
    "criminal",
    "dangerous",
    "sexual_minors",
    "hate",
    "harassment",
    "violence",
    "self_harm",
    "sexual",
    "health_advice",
    "legal_advice",
    "financial_advice",
    "pii",
    "jailbreak",
)
PARENTS = {
    "hate_threatening": ("hate",),
    "harassment_threatening": ("harassment",),
    "self_harm_intent": ("self_harm",),
    "self_harm_instructions": ("self_harm",),
    "violence_graphic": ("violence",),
    "illicit_violent": ("criminal", "dangerous", "violence"),
}
TONES = ("toxicity", "profanity", "insult")
HEADS = (*CATEGORIES, *PARENTS, *TONES)

Kind = Literal["aim", "task", "say", "answer"]

_SLOT = re.compile(r"\{([a-z_0-9]+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?!(?i:uk|uni|us|one\b|once|eu))[aeiouAEIOU])")


@dataclass(frozen=True, slots=True)
class Section:
    """Templates with one meaning: each of `lines` is a family of its own."""

    name: str
    kind: Kind
    targets: dict[str, int]
    lines: tuple[str, ...]
    roles: tuple[str, ...]
    language: str
    each: int
    about: bool
    """Whether reports about the aim ("who was arrested for ...") may be made, as negatives."""


def targets(labels: str = "") -> dict[str, int]:
    """Thirteen categories, and the sub-heads and tones that follow from them.

    `targets("hate insult ?violence")` sets `hate`, `insult` and `toxicity` to 1, leaves `violence` and
    `violence_graphic` out, and sets every other category and sub-head to 0.
    """
    words = labels.split()
    ones = {word for word in words if not word.startswith("?")}
    masked = {word[1:] for word in words if word.startswith("?")}
    if unknown := (ones | masked) - set(HEADS):
        raise ValueError(f"unknown heads in a template's labels: {sorted(unknown)}")
    ones |= {"toxicity"} if ones & {"hate", "harassment", "insult"} else set()
    found = {head: int(head in ones) for head in CATEGORIES if head not in masked}
    for head, parents in PARENTS.items():
        if head in ones:
            found[head] = 1
        elif head not in masked and all(parent in found for parent in parents):
            found[head] = 0
    clean = not ones and not masked
    for head in TONES:
        if head in ones:
            found[head] = 1
        elif head not in masked and (clean or head == "profanity" or ones == {"profanity"}):
            found[head] = 0
    return found


def fill(template: str, slots: dict[str, tuple[str, ...]], rng: random.Random, language: str = "en") -> str:
    """The template with every slot replaced by one of its values, nested slots too."""
    text = template
    while found := _SLOT.search(text):
        text = text[: found.start()] + rng.choice(slots[found[1]]) + text[found.end() :]
    return _ARTICLE.sub(r"\1n ", text) if language == "en" else text


def _section(header: str, lines: list[str]) -> Section:
    name, kind, labels, options = ([*(part.strip() for part in header.split("|")), "", ""])[:4]
    chosen = dict(option.split("=") for option in options.split())
    roles = {"answer": "assistant", "say": "comment,user"}.get(kind, "user")
    return Section(
        name=name,
        kind=cast(Kind, kind),
        targets=targets(labels),
        lines=tuple(lines),
        roles=tuple(chosen.get("role", roles).split(",")),
        language=chosen.get("lang", "en"),
        each=int(chosen.get("each", "24")),
        about="about" in chosen,
    )


def parse(text: str) -> tuple[dict[str, tuple[str, ...]], list[Section]]:
    """The slots and the sections of one seed file."""
    slots: dict[str, tuple[str, ...]] = {}
    headers: list[tuple[str, list[str]]] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.startswith("@"):
            name, _, values = line[1:].partition(":")
            slots[name] = slots.get(name, ()) + tuple(value.strip() for value in values.split(";"))
        elif line.startswith("== "):
            headers.append((line[3:], []))
        elif not line.startswith("#"):
            headers[-1][1].append(line)
    return slots, [_section(header, lines) for header, lines in headers]


def load(without: Collection[str] = ()) -> tuple[dict[str, tuple[str, ...]], list[Section]]:
    """All seed files but those named in `without`, in the order of their names; slots are shared between them."""
    slots: dict[str, tuple[str, ...]] = {}
    sections: list[Section] = []
    for path in _files(without):
        found, more = parse(path.read_text(encoding="utf-8"))
        slots |= found
        sections += more
    return slots, sections


def _files(without: Collection[str]) -> list[Path]:
    """Raises ValueError where `without` names a file that is not there."""
    files = sorted((Path(__file__).parent / "templates").glob("*.txt"))
    if unknown := sorted(set(without) - {path.stem for path in files}):
        raise ValueError(f"no template file {', '.join(unknown)}")
    return [path for path in files if path.stem not in without]
