"""Flips: cases whose verdict is another than before, and whether that is more than chance.

A baseline is the committed memory of a run: one line for each case, no texts. `compared` puts a run beside it, or two
runs beside each other.
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guard.errors import DatasetError
from guard.policy import Policy
from guard.regress.cases import Case
from guard.regress.run import Outcome
from guard.verdict import ActionWord, Verdict

__all__ = [
    "Baseline",
    "Direction",
    "Flip",
    "Flips",
    "Remembered",
    "baseline_of",
    "compared",
    "mcnemar",
    "read_baseline",
]

Direction = Literal["broken", "mended", "changed"]


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a case's verdict was: its action, and the violated categories with their scores.

    `case` is a digest of what was asked, so that an edited case is no flip.
    """

    case: str
    action: ActionWord
    passed: bool
    violated: dict[str, float]


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run as it is remembered: under which version of the policy, by which models, what became of each case.

    `definitions` holds a digest of what a judge reads of each category: without a judge a changed definition flips
    nothing, and would pass unnoticed.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    policy: str
    fingerprint: str
    models: dict[str, str | None]
    definitions: dict[str, str]
    cases: dict[str, Remembered]

    def encoded(self) -> bytes:
        """JSON with one line for each case, so that a change shows in a review as what it is."""
        head = msgspec.json.encode(
            {name: getattr(self, name) for name in ("version", "policy", "fingerprint", "models", "definitions")}
        )
        rows = [
            b"  " + msgspec.json.encode(name) + b": " + msgspec.json.encode(self.cases[name])
            for name in sorted(self.cases)
        ]
        return head[:-1] + b', "cases": {\n' + b",\n".join(rows) + b"\n}}\n"


class Flip(msgspec.Struct, frozen=True):
    """One case whose action or violated categories are others than before.

    `broken`: it was as expected and is not any more; `mended`: the other way; `changed`: neither.
    """

    id: str
    direction: Direction
    before: ActionWord
    after: ActionWord
    violated_before: dict[str, float]
    violated_after: dict[str, float]


class Flips(msgspec.Struct, frozen=True):
    """Two runs side by side.

    `p_value` is McNemar's exact test over broken and mended cases: how often chance alone parts as many cases as
    unevenly. `new`, `gone` and `edited` are cases that only one run has, or that ask something else now; `definitions`
    are categories of both whose definition, title or examples changed.
    """

    policy_changed: bool
    models_changed: bool
    flips: tuple[Flip, ...]
    broken: int
    mended: int
    p_value: float
    new: tuple[str, ...]
    gone: tuple[str, ...]
    edited: tuple[str, ...]
    definitions: tuple[str, ...]


def remembered(case: Case, verdict: Verdict, *, passed: bool) -> Remembered:
    """What stays of a verdict."""
    violated = {name: round(found.score, 2) for name, found in verdict.categories.items() if found.violated}
    return Remembered(_digest((case.turns, case.rail)), verdict.action, passed, violated)


def baseline_of(policy: Policy, models: Mapping[str, str | None], outcomes: Sequence[Outcome]) -> Baseline:
    """A run to be remembered."""
    cases = {one.case.id: remembered(one.case, one.verdict, passed=one.passed) for one in outcomes}
    definitions = {
        name: _digest((category.title, category.definition, category.examples))
        for name, category in policy.categories.items()
    }
    return Baseline(1, policy.name, policy.fingerprint, dict(models), definitions, cases)


def read_baseline(path: Path) -> Baseline | None:
    """The baseline in a file; None where there is none yet.

    Raises:
        DatasetError: the file cannot be read, or is no baseline.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as exc:
        raise DatasetError(f"{path} is no baseline ({exc}): write it anew with `guard test --update-baseline`") from exc


def compared(before: Baseline, after: Baseline) -> Flips:
    """What changed from one run to the next, worst first."""
    shared = [name for name in after.cases if name in before.cases]
    edited = tuple(name for name in shared if before.cases[name].case != after.cases[name].case)
    flips = [
        _flip(name, before.cases[name], after.cases[name])
        for name in shared
        if name not in set(edited) and _differ(before.cases[name], after.cases[name])
    ]
    order: dict[Direction, int] = {"broken": 0, "changed": 1, "mended": 2}
    flips.sort(key=lambda flip: (order[flip.direction], flip.id))
    broken = sum(flip.direction == "broken" for flip in flips)
    mended = sum(flip.direction == "mended" for flip in flips)
    return Flips(
        policy_changed=before.fingerprint != after.fingerprint,
        models_changed=before.models != after.models,
        flips=tuple(flips),
        broken=broken,
        mended=mended,
        p_value=mcnemar(broken, mended),
        new=tuple(name for name in after.cases if name not in before.cases),
        gone=tuple(name for name in before.cases if name not in after.cases),
        edited=edited,
        definitions=tuple(
            name for name, digest in after.definitions.items() if before.definitions.get(name, digest) != digest
        ),
    )


def mcnemar(broken: int, mended: int) -> float:
    """The exact two-sided p-value: a fair coin for each case that parts the two runs (McNemar, 1947)."""
    thrown = broken + mended
    if not thrown:
        return 1.0
    tail = sum(math.comb(thrown, k) for k in range(min(broken, mended) + 1))
    return min(1.0, 2 * tail / (1 << thrown))


def _differ(before: Remembered, after: Remembered) -> bool:
    return before.action != after.action or before.violated.keys() != after.violated.keys()


def _flip(name: str, before: Remembered, after: Remembered) -> Flip:
    direction: Direction = "changed"
    if before.passed != after.passed:
        direction = "mended" if after.passed else "broken"
    return Flip(name, direction, before.action, after.action, before.violated, after.violated)


def _digest(value: object) -> str:
    return blake2b(msgspec.json.encode(value), digest_size=8).hexdigest()
