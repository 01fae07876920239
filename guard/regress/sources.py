"""What a command is given to compare: a policy by its name or folder, now or at a git revision, or a saved report."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from guard.errors import DatasetError
from guard.policy import PatternNames, Policy, load_policies
from guard.policy.calibration import CALIBRATION_FILE
from guard.policy.loader import POLICY_FILE
from guard.regress.cases import CASES, Case, load_cases
from guard.regress.diff import Reported
from guard.regress.revisions import Repository, renamed

__all__ = ["Given", "is_report", "policy_of", "read_report"]

PARTS = (POLICY_FILE, CALIBRATION_FILE, CASES)


class Given(NamedTuple):
    """A policy with its cases; `said` is how it was named."""

    said: str
    policy: Policy
    cases: tuple[Case, ...]


class _Report(msgspec.Struct, frozen=True):
    policies: tuple[Reported, ...]


def is_report(given: str) -> bool:
    """Whether a saved report is meant."""
    return given.endswith(".json")


def read_report(path: Path) -> dict[str, Reported]:
    """The policies of a report, by name.

    Raises:
        DatasetError: the file cannot be read, or is no report.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=_Report)
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read: {exc.strerror}") from exc
    except msgspec.DecodeError as exc:
        raise DatasetError(f"{path} is no report ({exc}): write one with `guard test --json > {path.name}`") from exc
    return {one.policy: one for one in report.policies}


def policy_of(given: str, folder: Path, patterns: PatternNames, *, cases: bool) -> Given:
    """The policy that is meant: `NAME` in `folder`, a policy's own folder, or either with `@REVISION`. Its cases are
    read where they are asked for.

    Raises:
        DatasetError: there is no such policy, repository or revision.
        InvalidPolicy: it is there, and something is wrong with it.
    """
    place = _place(given, folder)
    if place is not None:
        policy = load_policies(place, patterns)[place.resolve().name]
        return Given(given, policy, load_cases(place, policy) if cases else ())
    name, at, revision = given.partition("@")
    if not (name and at and revision):
        there = sorted(path.parent.name for path in folder.glob(f"*/{POLICY_FILE}"))
        raise DatasetError(
            f"`{given}` is no policy of {folder} ({', '.join(there) or 'it holds none'}), and no policy's folder: give "
            "one of these, with `@REVISION` if it is to be of then, or a report of `guard test --json`"
        )
    own = Path(name) if "/" in name or (Path(name) / POLICY_FILE).is_file() else folder / name
    repository = Repository.around(own.parent)
    commit = repository.commit(revision)
    wanted = PARTS if cases else PARTS[:2]
    files = repository.listed(commit, wanted)
    single = own.resolve().name
    if f"{single}/{POLICY_FILE}" not in files:
        there = sorted({path.partition("/")[0] for path in files})
        raise DatasetError(
            f"`{given}`: at {commit[:12]} there is no {repository.path}/{single}/{POLICY_FILE}; there is: "
            f"{', '.join(there) or 'none'}"
        )
    with repository.policies(files) as then, renamed(then, f"{revision}:{repository.path}"):
        policy = load_policies(then / single, patterns)[single]
        found = load_cases(then / single, policy) if cases else ()
        shown = [
            msgspec.structs.replace(case, file=case.file.replace(str(then), f"{revision}:{repository.path}", 1))
            for case in found
        ]
    return Given(given, policy, tuple(shown))


def _place(given: str, folder: Path) -> Path | None:
    """The policy's folder as it lies there now; None where there is none.

    Raises:
        DatasetError: it is a folder of policies.
    """
    for place in (folder / given, Path(given)):
        if (place / POLICY_FILE).is_file():
            return place
    if Path(given).is_dir() and list(Path(given).glob(f"*/{POLICY_FILE}")):
        raise DatasetError(f"{given} is a folder of policies: name one of them, such as NAME with --policies {given}")
    return None
