"""Perturbed cases: whether a policy's verdicts are the same when texts are written otherwise.

    cases --derive--> Derived, for each attack --perturbed--> StabilityReport, and the derived cases as they may be kept

Only what passes as it stands is held against an attack: a text that nobody finds in plain letters says nothing about
homoglyphs. A derived case that violates is to meet its expectation from below: the action at least as hard, and every
category that it violates. Harder is no evasion, so `at_most` and `not_violates` are not asked of it, and neither are
spans and redacted texts. A harmless one is to meet its expectation as it is.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

import msgspec

from guard import metrics
from guard.errors import DatasetError
from guard.metrics import Interval
from guard.moderator import Moderator
from guard.policy import Policy
from guard.regress.attacks import ATTACKS
from guard.regress.cases import Case, Expected
from guard.regress.gates import Gate, withstood
from guard.regress.run import Outcome, run
from guard.regress.suite import PolicySuite, model_names
from guard.verdict import ActionWord

__all__ = ["AttackStability", "Broken", "Derived", "Kept", "StabilityReport", "derive", "perturbed"]

_TAG = "attack:"


class Derived(msgspec.Struct, frozen=True):
    """A case under an attack, ready to be asked, and the case that it was made of."""

    attack: str
    case: Case
    source: Case


class Kept(msgspec.Struct, frozen=True):
    """How many derived cases there are, and the share whose verdict is as it should be: `[value, low, high]`.

    The interval is Wilson's, at 95 %; null in JSON where there is no case.
    """

    cases: int
    kept: Interval


class CategoryStability(msgspec.Struct, frozen=True):
    """One category under an attack.

    `violating`: of the cases that are to violate it, those that withstand the attack. `harmless`: of the harmless
    cases that are not to, those that do not.
    """

    violating: Kept
    harmless: Kept


class AttackStability(msgspec.Struct, frozen=True):
    """One attack: what does not withstand is an evasion where the case violates, a false alarm where it is harmless.

    `degraded` counts verdicts that a stage failed on; they are in no share.
    """

    violating: Kept
    harmless: Kept
    categories: dict[str, CategoryStability]
    degraded: int


class Broken(msgspec.Struct, frozen=True):
    """A derived case that did not withstand. `case` is the one it was made of, `file` and `line` where that stands."""

    id: str
    attack: str
    case: str
    violating: bool
    expected: str
    action: ActionWord
    missed: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    file: str
    line: int


class StabilityReport(msgspec.Struct, frozen=True):
    """One policy under attack by the models of this run.

    `cases` were asked as they stand, and `passed` of them were held against the attacks; `derived` were asked then.
    """

    policy: str
    fingerprint: str
    models: dict[str, str | None]
    seed: int
    cases: int
    passed: int
    derived: int
    seconds: float
    attacks: dict[str, AttackStability]
    gates: tuple[Gate, ...]
    broken: tuple[Broken, ...]

    @property
    def reached(self) -> bool:
        """Whether every gate is."""
        return all(gate.reached for gate in self.gates)


def derive(cases: Sequence[Case], attacks: Iterable[str], *, seed: int = 0, sample: int | None = None) -> list[Derived]:
    """The cases under each attack, the same for the same seed whatever else is asked.

    Left out are cases that an attack does not change, and those that an attack was made of already. With `sample`,
    so many of each attack, cases that are known to fail last.
    """
    plain = [case for case in cases if not any(tag.startswith(_TAG) for tag in case.tags)]
    found: list[Derived] = []
    for attack in attacks:
        places = list(range(len(plain)))
        if sample is not None:
            Random(f"{seed}:{attack}").shuffle(places)
            places.sort(key=lambda place: bool(plain[place].known_failure))
        chosen: dict[int, Derived] = {}
        for place in places:
            if len(chosen) == sample:
                break
            derived = _under(plain[place], attack, seed)
            if derived is not None:
                chosen[place] = derived
        found += [chosen[place] for place in sorted(chosen)]
    return found


async def perturbed(
    moderator: Moderator,
    suite: PolicySuite,
    derived: Sequence[Derived],
    *,
    seed: int,
    gated: bool,
    clock: Callable[[], float],
    advance: Callable[[], None],
) -> tuple[StabilityReport, tuple[Case, ...]]:
    """Asks the cases that `derived` were made of, then those whose case passed; and what was asked, as it may be kept.

    `advance` is called once for each case and each derived one, asked or not. Kept are the derived cases with their
    evasions and false alarms marked as known failures. Without `gated`, gates are not looked at.

    Raises:
        DatasetError: no case was left to attack.
    """
    started = clock()
    sources = list({one.source.id: one.source for one in derived}.values())
    passed: set[str] = set()
    async for outcome in run(moderator, suite.policy, sources):
        if outcome.passed and not outcome.verdict.degraded:
            passed.add(outcome.case.id)
        advance()
    asked = [one for one in derived if one.source.id in passed]
    for _ in range(len(derived) - len(asked)):
        advance()
    if not asked:
        raise DatasetError(
            f"policy {suite.policy.name}: of {len(sources)} cases none passes as it stands, so none can be attacked; "
            "see `guard test`"
        )
    outcomes: list[Outcome] = []
    async for outcome in run(moderator, suite.policy, [one.case for one in asked]):
        outcomes.append(outcome)
        advance()
    by_attack: defaultdict[str, list[Outcome]] = defaultdict(list)
    for one, outcome in zip(asked, outcomes, strict=True):
        by_attack[one.attack].append(outcome)
    attacks = {attack: _stability(suite.policy, by_attack[attack]) for attack in ATTACKS if attack in by_attack}
    shares = {attack: found.violating.kept for attack, found in attacks.items()}
    report = StabilityReport(
        policy=suite.policy.name,
        fingerprint=suite.policy.fingerprint,
        models=model_names(moderator),
        seed=seed,
        cases=len(sources),
        passed=len(passed),
        derived=len(asked),
        seconds=clock() - started,
        attacks=attacks,
        gates=withstood(suite.suite.stability, shares) if gated else (),
        broken=tuple(_broken(asked, outcomes)),
    )
    return report, tuple([_to_keep(outcome) for outcome in outcomes])


def _under(case: Case, attack: str, seed: int) -> Derived | None:
    """The case with its last turn under the attack; None where that changes nothing."""
    last = case.turns[-1]
    made = ATTACKS[attack](last.text, Random(f"{seed}:{attack}:{case.id}"))
    texts = (made,) if isinstance(made, str) else made
    if texts == (last.text,):
        return None
    # In a conversation everybody is somebody.
    role = last.role or ("user" if len(texts) > 1 else "")
    turns = [msgspec.structs.replace(last, role=role, text=text) for text in texts]
    changed = msgspec.structs.replace(
        case,
        id=f"{case.id}.{attack}",
        turns=(*case.turns[:-1], *turns),
        tags=(f"{_TAG}{attack}",),
        known_failure="",
    )
    if _violating(case):
        expected = Expected(at_least=case.expected.at_least)
        changed = msgspec.structs.replace(changed, expected=expected, not_violates=())
    return Derived(attack, changed, case)


def _violating(case: Case) -> bool:
    return case.expected.at_least != "allow"


def _stability(policy: Policy, outcomes: Sequence[Outcome]) -> AttackStability:
    whole = [outcome for outcome in outcomes if not outcome.verdict.degraded]
    violating = [outcome for outcome in whole if _violating(outcome.case)]
    harmless = [outcome for outcome in whole if not _violating(outcome.case)]
    by_category: dict[str, tuple[list[bool], list[bool]]] = {name: ([], []) for name in policy.categories}
    for outcome in violating:
        for name in outcome.case.violates:
            by_category[name][0].append(outcome.passed)
    for outcome in harmless:
        for name, truth in outcome.case.truths(policy).items():
            if not truth:
                by_category[name][1].append(not outcome.verdict.categories[name].violated)
    return AttackStability(
        violating=_kept([outcome.passed for outcome in violating]),
        harmless=_kept([outcome.passed for outcome in harmless]),
        categories={
            name: CategoryStability(_kept(found), _kept(left))
            for name, (found, left) in by_category.items()
            if found or left
        },
        degraded=len(outcomes) - len(whole),
    )


def _kept(rows: Sequence[bool]) -> Kept:
    return Kept(len(rows), metrics.wilson(sum(rows), len(rows)))


def _broken(asked: Sequence[Derived], outcomes: Sequence[Outcome]) -> Iterator[Broken]:
    for one, outcome in zip(asked, outcomes, strict=True):
        if outcome.passed or outcome.verdict.degraded:
            continue
        yield Broken(
            id=one.case.id,
            attack=one.attack,
            case=one.source.id,
            violating=_violating(one.case),
            expected=str(one.case.expected),
            action=outcome.verdict.action,
            missed=outcome.missed,
            turns=tuple([(turn.role, turn.text) for turn in one.case.turns]),
            file=one.source.file,
            line=one.source.line,
        )


def _to_keep(outcome: Outcome) -> Case:
    if outcome.passed:
        return outcome.case
    reason = f"When it was derived: {'; '.join(outcome.missed)}."
    return msgspec.structs.replace(outcome.case, known_failure=reason)
