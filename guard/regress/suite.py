"""The regression suite of a policy: its cases, gates and baseline in, a report out.

policies/<name>/ --load_suites--> PolicySuite --tested--> PolicyReport
                                              --baseline_of--> cases/../baseline.json
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from guard.errors import InvalidPolicy, Problem
from guard.moderator import Moderator
from guard.policy import PatternNames, Policy, load_policies
from guard.policy.loader import policy_files
from guard.regress.cases import Case, load_cases
from guard.regress.flips import Baseline, Flips, baseline_of, compared, read_baseline
from guard.regress.gates import Gate, Suite, checked, load_suite
from guard.regress.run import Outcome, Status, run
from guard.regress.scores import CategoryScores, TagScores, by_category, by_tag
from guard.verdict import ActionWord, CategoryVerdict

__all__ = ["CaseReport", "PolicyReport", "PolicySuite", "load_suites", "model_names", "reported", "tested"]


class PolicySuite(msgspec.Struct, frozen=True):
    """A policy with all that stands beside it."""

    folder: Path
    policy: Policy
    cases: tuple[Case, ...]
    suite: Suite

    def baseline(self, *, judge: bool) -> Path:
        """The file of its baseline; with a judge there is another one, for a judge gives other verdicts."""
        return self.folder / ("baseline.judge.json" if judge else "baseline.json")


class CaseReport(msgspec.Struct, frozen=True):
    """One case and what became of it. `missed` says what is not as expected; `file` and `line` where it stands."""

    id: str
    status: Status
    expected: str
    action: ActionWord
    missed: tuple[str, ...]
    truths: dict[str, bool]
    tags: tuple[str, ...]
    note: str
    origin: str
    known_failure: str
    rail: str
    turns: tuple[tuple[str, str], ...]
    file: str
    line: int
    categories: dict[str, CategoryVerdict]
    degraded: bool
    reasons: tuple[str, ...]


class PolicyReport(msgspec.Struct, frozen=True):
    """One policy's cases under the models of this run.

    `failed` counts cases that fail and are not known to; `known_failures` those that are, and `fixed` those that were.
    `degraded` counts verdicts that a stage failed on. `flips` is null where there is no baseline.
    """

    policy: str
    fingerprint: str
    models: dict[str, str | None]
    cases: int
    passed: int
    failed: int
    known_failures: int
    fixed: int
    degraded: int
    seconds: float
    categories: dict[str, CategoryScores]
    tags: dict[str, TagScores]
    gates: tuple[Gate, ...]
    flips: Flips | None
    results: tuple[CaseReport, ...]

    @property
    def reached(self) -> bool:
        """Whether every gate is."""
        return all(gate.reached for gate in self.gates)


def load_suites(folders: Sequence[Path], patterns: PatternNames) -> list[PolicySuite]:
    """The policies of some folders with their cases; a folder is of policies, or a policy's own.

    Raises:
        InvalidPolicy: with every mistake in every policy, case and gate.
    """
    found: dict[Path, PolicySuite] = {}
    problems: list[Problem] = []
    for folder in folders:
        try:
            policies = load_policies(folder, patterns)
        except InvalidPolicy as exc:
            problems += exc.problems
            continue
        for file in policy_files(folder):
            own = file.parent
            policy = policies.get(own.resolve().name)
            if policy is None:
                continue
            try:
                cases = load_cases(own, policy)
                found[own.resolve()] = PolicySuite(own, policy, cases, load_suite(own, policy, cases))
            except InvalidPolicy as exc:
                problems += exc.problems
    if problems:
        raise InvalidPolicy(sorted(set(problems)))
    return list(found.values())


async def tested(
    moderator: Moderator,
    suite: PolicySuite,
    cases: Sequence[Case],
    *,
    clock: Callable[[], float],
    advance: Callable[[], None],
) -> tuple[PolicyReport, Baseline]:
    """Asks `cases` (all of the suite's, or some) and reports; and the run as it is to be remembered.

    `advance` is called after each case. Where only some are asked, the baseline is looked at for those alone, and the
    gates of categories, tags and shares, which are of all cases, are left out.

    Raises:
        DatasetError: the baseline's file cannot be read.
    """
    started = clock()
    models = model_names(moderator)
    baseline = read_baseline(suite.baseline(judge=moderator.judge is not None))
    asked = suite.suite.gates
    if len(cases) < len(suite.cases):
        asked = msgspec.structs.replace(asked, known_failures=None, categories={}, tags={})
    outcomes: list[Outcome] = []
    async for outcome in run(moderator, suite.policy, cases):
        outcomes.append(outcome)
        advance()
    memory = baseline_of(suite.policy, models, outcomes)
    flips = compared(_part(baseline, suite, cases), memory) if baseline is not None else None
    categories, tags = by_category(suite.policy, outcomes), by_tag(outcomes)
    statuses = [outcome.status for outcome in outcomes]
    failed, known = statuses.count("failed"), statuses.count("known failure")
    gates = checked(
        asked,
        cases=len(outcomes),
        failed=failed,
        known=known,
        categories=categories,
        tags=tags,
        flips=flips,
        judge=moderator.judge is not None,
    )
    report = PolicyReport(
        policy=suite.policy.name,
        fingerprint=suite.policy.fingerprint,
        models=models,
        cases=len(outcomes),
        passed=statuses.count("passed"),
        failed=failed,
        known_failures=known,
        fixed=statuses.count("fixed"),
        degraded=sum(outcome.verdict.degraded for outcome in outcomes),
        seconds=clock() - started,
        categories=categories,
        tags=tags,
        gates=gates,
        flips=flips,
        results=tuple([reported(outcome, suite.policy) for outcome in outcomes]),
    )
    return report, memory


def model_names(moderator: Moderator) -> dict[str, str | None]:
    """The models' names, and the fingerprints that tell two builds of one name apart."""
    judge = moderator.judge
    return {
        "screen": f"{moderator.screen.name}@{moderator.screen.fingerprint[:12]}",
        "judge": f"{judge.name}@{judge.fingerprint[:12]}" if judge is not None else None,
    }


def _part(baseline: Baseline, suite: PolicySuite, asked: Sequence[Case]) -> Baseline:
    """The baseline without the cases that are there and were not asked."""
    left_out = {case.id for case in suite.cases} - {case.id for case in asked}
    kept = {name: one for name, one in baseline.cases.items() if name not in left_out}
    return msgspec.structs.replace(baseline, cases=kept)


def reported(outcome: Outcome, policy: Policy) -> CaseReport:
    """The outcome with all that a report shows of it."""
    case, verdict = outcome.case, outcome.verdict
    return CaseReport(
        id=case.id,
        status=outcome.status,
        expected=str(case.expected),
        action=verdict.action,
        missed=outcome.missed,
        truths=case.truths(policy),
        tags=case.tags,
        note=case.note,
        origin=case.origin,
        known_failure=case.known_failure,
        rail=case.rail.value,
        turns=tuple([(turn.role, turn.text) for turn in case.turns]),
        file=case.file,
        line=case.line,
        categories=verdict.categories,
        degraded=verdict.degraded,
        reasons=verdict.reasons,
    )
