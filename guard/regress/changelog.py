"""What changed in each policy over git's history, newest first: `guard policy changelog`.

    Repository.log -> commits -> each one's policies, and its parent's, resolved --changes--> Entry

A policy that could not be read at a commit is said to be so; what follows is compared with its last state that could.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from guard.errors import DatasetError, InvalidPolicy
from guard.policy import PatternNames, Policy, load_policies
from guard.policy.calibration import CALIBRATION_FILE
from guard.policy.changes import Change, changes
from guard.policy.loader import POLICY_FILE, policy_files
from guard.regress.revisions import Commit, Repository, renamed

__all__ = ["Altered", "Entry", "History"]

PARTS = (POLICY_FILE, CALIBRATION_FILE)
STATES = 64
"""States of the folder that are kept: a commit's parent is most often the next commit of the log."""


class Altered(msgspec.Struct, frozen=True):
    """What a commit did to one policy.

    `kind` is `added`, `removed`, `renamed` (from `before`), `changed` or `unreadable` (`problems` says why). `through`
    says for each change which ancestor it was made in; empty where it was made in the policy itself.
    """

    policy: str
    kind: str
    changes: tuple[Change, ...] = ()
    through: tuple[str, ...] = ()
    before: str = ""
    problems: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One commit, and the policies that it altered."""

    commit: str
    date: str
    author: str
    subject: str
    policies: tuple[Altered, ...]


class _State(NamedTuple):
    """The policies at a commit, and what keeps the others from being read."""

    policies: Mapping[str, Policy]
    problems: Mapping[str, tuple[str, ...]]


class History:
    """The history of a folder of policies. Commits that change no policy's meaning, as of comments, are left out."""

    def __init__(self, repository: Repository, patterns: PatternNames) -> None:
        self._repository = repository
        self._patterns = patterns
        self._states: dict[tuple[tuple[str, str], ...], _State] = {}

    def entries(
        self, names: Iterable[str] = (), *, since: str | None = None, advance: Callable[[], None] = lambda: None
    ) -> list[Entry]:
        """Newest first; of the policies `names`, or of all. A renamed policy is followed under its older name.

        Raises:
            DatasetError: no such revision, or a policy that there never was.
        """
        wanted = set(names)
        asked, known = set(wanted), set[str]()
        found = []
        for commit in self._repository.log(since=since):
            altered = self._altered(commit, known)
            chosen = []
            for one in altered:
                if not wanted or one.policy in wanted:
                    chosen.append(one)
                    if wanted and one.before:
                        wanted.add(one.before)
            if chosen:
                found.append(Entry(commit.id, commit.date, commit.author, commit.subject, tuple(chosen)))
            advance()
        here = self._state("HEAD")
        known |= {*here.policies, *here.problems}
        if missing := sorted(asked - known):
            raise DatasetError(f"no policy `{missing[0]}` here; there is or was: {', '.join(sorted(known)) or 'none'}")
        return found

    def _altered(self, commit: Commit, known: set[str]) -> list[Altered]:
        after = self._state(commit.id)
        before = self._state(commit.parent) if commit.parent else _State({}, {})
        for state in (before, after):
            known.update(state.policies, state.problems)
        if before is after:
            return []
        found = []
        gone = {name: policy for name, policy in before.policies.items() if not _has(after, name)}
        for name, problems in after.problems.items():
            if before.problems.get(name) != problems:
                found.append(Altered(name, "unreadable", problems=problems))
        old: dict[str, Policy] = {}
        for name, policy in after.policies.items():
            if name in before.policies:
                old[name] = before.policies[name]
            elif name in before.problems and (last := self._last_readable(commit.parent, name)) is not None:
                old[name] = last
            elif name not in before.problems and (was := _renamed_from(policy, gone)) is not None:
                found.append(Altered(name, "renamed", before=was))
                del gone[was]
            else:
                found.append(Altered(name, "added"))
        made = {
            name: changes(policy, after.policies[name])
            for name, policy in old.items()
            if policy.fingerprint != after.policies[name].fingerprint
        }
        for name, those in made.items():
            if those:
                found.append(Altered(name, "changed", those, tuple(_through(name, those, after.policies, made))))
        found += [Altered(name, "removed") for name in gone]
        found += [Altered(name, "removed") for name in before.problems if not _has(after, name)]
        return found

    def _state(self, revision: str) -> _State:
        files = self._repository.listed(revision, PARTS)
        key = tuple(sorted(files.items()))
        if key not in self._states:
            if len(self._states) == STATES:
                del self._states[next(iter(self._states))]
            self._states[key] = self._read(files)
        return self._states[key]

    def _read(self, files: Mapping[str, str]) -> _State:
        if not any(path.endswith(f"/{POLICY_FILE}") for path in files):
            return _State({}, {})
        with self._repository.policies(files) as folder:
            try:
                return _State(load_policies(folder, self._patterns), {})
            except InvalidPolicy:
                pass
            policies: dict[str, Policy] = {}
            problems: dict[str, tuple[str, ...]] = {}
            # One by one: what is wrong with one of them says nothing of those that it is no part of.
            for file in policy_files(folder):
                name = file.parent.name
                try:
                    with renamed(folder, self._repository.path):
                        policies |= load_policies(file.parent, self._patterns)
                except InvalidPolicy as exc:
                    problems[name] = tuple(map(str, exc.problems))
            return _State(policies, problems)

    def _last_readable(self, commit: str, name: str) -> Policy | None:
        """The policy as it was before it could not be read any more."""
        for older in self._repository.first_parents(commit):
            state = self._state(older)
            if name in state.policies:
                return state.policies[name]
            if name not in state.problems:
                return None
        return None


def _has(state: _State, name: str) -> bool:
    return name in state.policies or name in state.problems


def _renamed_from(policy: Policy, gone: Mapping[str, Policy]) -> str | None:
    """The policy that went and was the same but for its name."""
    for name, old in gone.items():
        if not changes(old, policy):
            return name
    return None


def _through(
    name: str, those: Sequence[Change], policies: Mapping[str, Policy], made: Mapping[str, Sequence[Change]]
) -> Iterator[str]:
    """For each change the farthest ancestor that has it too."""
    for change in those:
        origin, parent = "", policies[name].spec.extends
        while parent is not None and change in made.get(parent, ()):
            origin, parent = parent, policies[parent].spec.extends
        yield origin
