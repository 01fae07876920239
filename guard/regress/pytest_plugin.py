"""`pytest --guard-policies policies/`: each case of a policy as a test.

pytest finds the plugin by the package's entry point. Where the option is not given nothing of Guard is loaded. All
chosen cases are asked together, when the first of them runs.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from guard.moderator import Moderator
    from guard.regress.cases import Case
    from guard.regress.run import Outcome
    from guard.regress.suite import PolicySuite

_SUITES = pytest.StashKey["list[PolicySuite]"]()
_OUTCOMES = pytest.StashKey["dict[tuple[str, str], Outcome]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--guard-policies` and `--guard-judge`."""
    group = parser.getgroup("guard", "Guard's policies")
    group.addoption(
        "--guard-policies",
        action="append",
        default=[],
        metavar="FOLDER",
        type=Path,
        help="Collect the cases of the policies in FOLDER (or of one policy's own) as tests. May be given again.",
    )
    group.addoption("--guard-judge", action="store_true", help="Ask the configured judge about the cases too.")


def pytest_configure(config: pytest.Config) -> None:
    """Reads the policies, so that a mistake in one ends the run before it begins."""
    folders: list[Path] = config.getoption("guard_policies")
    if not folders:
        return
    from guard.errors import GuardError  # noqa: PLC0415
    from guard.regress.suite import load_suites  # noqa: PLC0415
    from guard.service import pattern_names  # noqa: PLC0415

    try:
        config.stash[_SUITES] = load_suites(folders, pattern_names())
    except GuardError as exc:
        raise pytest.UsageError(f"--guard-policies: {exc}") from exc


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the cases before the run's own filters (-k, -m) look at the tests."""
    for suite in config.stash.get(_SUITES, []):
        place = suite.folder.as_posix()
        items.extend(
            CasesOfPolicy.from_parent(session, name=place, nodeid=place, path=suite.folder, suite=suite).collect()
        )


class CasesOfPolicy(pytest.Collector):
    """One policy's cases."""

    def __init__(self, *, suite: "PolicySuite", **options: Any) -> None:
        super().__init__(**options)
        self.suite = suite

    def collect(self) -> Iterable["CaseItem"]:
        """A test for each case, with its tags as marks."""
        return [CaseItem.from_parent(self, name=case.id, case=case) for case in self.suite.cases]


class CaseItem(pytest.Item):
    """One case: passes where the verdict is as expected. One that is known to fail is expected to."""

    def __init__(self, *, case: "Case", **options: Any) -> None:
        super().__init__(**options)
        self.case = case
        self.extra_keyword_matches.update(case.tags)
        if case.known_failure:
            self.add_marker(pytest.mark.xfail(reason=case.known_failure, strict=False))

    def runtest(self) -> None:
        """Raises CaseFailed where the verdict is another."""
        outcome = _outcomes(self.session)[self.case.policy, self.case.id]
        if not outcome.passed:
            raise CaseFailed(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was missed, with the scores behind it, and not a traceback of ours."""
        if not isinstance(excinfo.value, CaseFailed):
            return super().repr_failure(excinfo, style)
        from guard.regress.reports.terminal import details  # noqa: PLC0415
        from guard.regress.suite import reported  # noqa: PLC0415

        suite = next(one for one in self.config.stash[_SUITES] if one.policy.name == self.case.policy)
        result = reported(excinfo.value.outcome, suite.policy)
        return "\n".join([f"{self.case.file}:{self.case.line}: {self.case.id}", *details(result)])

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case stands."""
        return Path(self.case.file), self.case.line - 1, f"{self.case.policy}: {self.case.id}"


class CaseFailed(Exception):
    """A verdict that is not as expected."""

    def __init__(self, outcome: "Outcome") -> None:
        super().__init__("; ".join(outcome.missed))
        self.outcome = outcome


def _outcomes(session: pytest.Session) -> "dict[tuple[str, str], Outcome]":
    """All chosen cases' outcomes, asked for once."""
    if _OUTCOMES not in session.config.stash:
        from guard.config import settings_from  # noqa: PLC0415
        from guard.service import offline  # noqa: PLC0415

        suites = session.config.stash[_SUITES]
        chosen = [item.case for item in session.items if isinstance(item, CaseItem)]
        judge = session.config.getoption("guard_judge")
        moderator = offline(settings_from(), [suite.policy for suite in suites], judge=judge)
        session.config.stash[_OUTCOMES] = asyncio.run(_asked(moderator, suites, chosen))
    return session.config.stash[_OUTCOMES]


async def _asked(
    moderator: "Moderator", suites: list["PolicySuite"], chosen: list["Case"]
) -> "dict[tuple[str, str], Outcome]":
    from guard.regress.run import run  # noqa: PLC0415

    found = {}
    try:
        for suite in suites:
            cases = [case for case in chosen if case.policy == suite.policy.name]
            async for outcome in run(moderator, suite.policy, cases):
                found[suite.policy.name, outcome.case.id] = outcome
    finally:
        await moderator.close()
    return found
