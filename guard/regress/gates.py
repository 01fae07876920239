"""Gates: what a policy's cases must reach, written in its `suite.yaml`; a gate that is not reached fails the run."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from guard.errors import InvalidPolicy, Problem
from guard.metrics import Interval
from guard.policy import Policy
from guard.policy.document import Node, parse, plain
from guard.policy.structure import structure, suggestion
from guard.regress.attacks import ATTACKS
from guard.regress.cases import Case, Name
from guard.regress.flips import Flips
from guard.regress.scores import CategoryScores, TagScores

__all__ = ["SUITE", "Gate", "Gates", "Suite", "checked", "load_suite", "withstood"]

SUITE = "suite.yaml"
"""The file of a policy's gates, beside its `policy.yaml`."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0)]


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the format: immutable, keywords only, unknown keys refused."""


class CategoryGate(_Spec, frozen=True):
    """Least precision, recall and F1 of a category, and its highest false-positive rate."""

    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    false_positive_rate: Share | None = None


class TagGate(_Spec, frozen=True):
    """The least share of the cases with a tag that are as expected."""

    passed: Share


class Gates(_Spec, frozen=True):
    """What must hold. Absent: not asked, but that no case fails that is not known to, which is asked by itself.

    `failed`: most cases that may fail and are not known to. `known_failures`: the largest share of cases that are
    known to fail. `broken`: most flips from right to wrong against the baseline. `significance`: with more broken than
    mended cases, the p-value of McNemar's test below which the run fails. `unread_definitions`: whether definitions may
    have changed since the baseline though no judge has read them in this run; without one they flip nothing.
    """

    failed: Count = 0
    known_failures: Share | None = None
    broken: Count | None = None
    significance: Share | None = 0.05
    unread_definitions: bool = False
    categories: dict[str, CategoryGate] = {}
    tags: dict[Name, TagGate] = {}


class Suite(_Spec, frozen=True):
    """One `suite.yaml`. `stability`: the least share of violating cases that withstand an attack of `guard perturb`."""

    gates: Gates = Gates()
    stability: dict[str, Share] = {}


class Gate(msgspec.Struct, frozen=True):
    """One gate and whether it was reached: `name` is its path in `suite.yaml`."""

    name: str
    asked: str
    found: str
    reached: bool


def load_suite(folder: Path, policy: Policy, cases: tuple[Case, ...]) -> Suite:
    """The gates of the policy in `folder`; those of `Gates()` where it has no `suite.yaml`.

    Raises:
        InvalidPolicy: with every mistake of the file.
    """
    path = folder / SUITE
    if not path.is_file():
        return Suite()
    tree, problems = parse(path, str(path))
    if tree is not None:
        tags = {tag for case in cases for tag in case.tags}
        problems += structure(tree, Suite, "$")
        problems += _unknown(tree, ("gates", "categories"), policy.categories, "the policy has no category")
        problems += _unknown(tree, ("gates", "tags"), tags, "no case has the tag")
        problems += _unknown(tree, ("stability",), ATTACKS, "there is no attack")
    if problems or tree is None:
        raise InvalidPolicy(sorted(set(problems)))
    return msgspec.convert(plain(tree), Suite)


def checked(
    gates: Gates,
    *,
    cases: int,
    failed: int,
    known: int,
    categories: Mapping[str, CategoryScores],
    tags: Mapping[str, TagScores],
    flips: Flips | None,
    judge: bool,
) -> tuple[Gate, ...]:
    """Every gate with what was found."""
    found = [Gate("failed", f"at most {gates.failed}", str(failed), failed <= gates.failed)]
    if gates.known_failures is not None:
        share = known / cases if cases else 0.0
        found.append(_most("known_failures", gates.known_failures, share))
    if flips is not None:
        found += _against_the_baseline(gates, flips, judge=judge)
    for name, gate in gates.categories.items():
        found += _category(name, gate, categories.get(name))
    for tag, asked in gates.tags.items():
        found.append(_least(f"tags.{tag}.passed", asked.passed, tags[tag].passed.value))
    return tuple(found)


def withstood(stability: Mapping[str, float], found: Mapping[str, Interval]) -> tuple[Gate, ...]:
    """The gates of the attacks in `found`, with the share of violating cases that withstood each."""
    return tuple(
        [_least(f"stability.{name}", asked, found[name].value) for name, asked in stability.items() if name in found]
    )


def _against_the_baseline(gates: Gates, flips: Flips, *, judge: bool) -> Iterator[Gate]:
    if not judge and not gates.unread_definitions:
        changed = f"changed and unread: {', '.join(flips.definitions)}" if flips.definitions else "none changed"
        yield Gate("unread_definitions", "read by a judge (--judge) or in the baseline", changed, not flips.definitions)
    if gates.broken is not None:
        yield Gate("broken", f"at most {gates.broken}", str(flips.broken), flips.broken <= gates.broken)
    if gates.significance is not None:
        worse = flips.broken > flips.mended and flips.p_value < gates.significance
        found = f"{flips.broken} broken, {flips.mended} mended, p = {flips.p_value:.3g}"
        yield Gate("significance", f"not worse at p < {gates.significance:g}", found, not worse)


def _category(name: str, gate: CategoryGate, scores: CategoryScores | None) -> Iterator[Gate]:
    for figure in ("precision", "recall", "f1"):
        asked: float | None = getattr(gate, figure)
        if asked is not None:
            yield _least(f"categories.{name}.{figure}", asked, _value(scores, figure))
    if gate.false_positive_rate is not None:
        found = _value(scores, "false_positive_rate")
        yield _most(f"categories.{name}.false_positive_rate", gate.false_positive_rate, found)


def _value(scores: CategoryScores | None, figure: str) -> float:
    """NaN where no case speaks of the category: such a gate is not reached."""
    if scores is None:
        return float("nan")
    interval: Interval = getattr(scores, figure)
    return interval.value


def _least(name: str, asked: float, found: float) -> Gate:
    return Gate(name, f"at least {asked:g}", f"{found:.3f}", found >= asked)


def _most(name: str, asked: float, found: float) -> Gate:
    return Gate(name, f"at most {asked:g}", f"{found:.3f}", found <= asked)


def _unknown(tree: Node, keys: tuple[str, ...], names: Collection[str], message: str) -> Iterator[Problem]:
    node = tree.get(*keys)
    for name, child in node.items() if node is not None else ():
        if name not in names:
            path = ".".join(("$", *keys, name))
            yield child.problem(path, f"{message} `{name}`{suggestion(name, names)}")
