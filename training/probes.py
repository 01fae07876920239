"""Hard sentences of our own, and which of them the shipped screen gets wrong: the card's known failures."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from guard.content import Content, Rail
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.evaluate import deciding

__all__ = ["PROBES", "Failure", "failures"]

FILE = Path(__file__).with_name("probes.txt")


class Probe(NamedTuple):
    """A sentence and the side of the line it is on."""

    harmful: bool
    role: str
    text: str


class Failure(NamedTuple):
    """A probe that came out on the other side: the action, and the category with the highest score."""

    text: str
    harmful: bool
    action: str
    category: str
    score: float


def _read(path: Path) -> tuple[Probe, ...]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    parts = [line.split(" | ", 2) for line in lines]
    return tuple(Probe(side == "harmful", role, text) for side, role, text in parts)


_PROBES = _read(FILE)
PROBES = len(_PROBES)


def failures(moderator: Moderator, policy: Policy) -> list[Failure]:
    """The probes that `moderator` puts on the wrong side under `policy`; advice and personal data do not count."""
    contents = [
        Content(probe.text, probe.role, Rail.OUTPUT if probe.role == "assistant" else Rail.INPUT) for probe in _PROBES
    ]
    verdicts = asyncio.run(moderator.moderate(contents, policy, patient=True)).verdicts
    found = []
    for probe, verdict in zip(_PROBES, verdicts, strict=True):
        categories = {name: verdict.categories[name] for name in deciding(policy)}
        violated = any(one.violated for one in categories.values())
        if violated != probe.harmful:
            name = max(categories, key=lambda name: categories[name].score)
            action = "allowed" if not violated else "flagged"
            found.append(Failure(probe.text, probe.harmful, action, name, categories[name].score))
    return found
