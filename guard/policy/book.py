"""The loaded policies, by name; a changed folder is picked up without a restart."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from guard.errors import InvalidPolicy, PolicyNotFound, Problem
from guard.policy.compiled import Policy
from guard.policy.loader import load_policies, load_text, policy_files
from guard.policy.validate import PatternNames

__all__ = ["BookStatus", "PolicyBook"]

_SHOWN = 200
"""Characters of a name that there is not, in the error that says so."""

Stamp = tuple[tuple[str, int, int, int], ...]


class BookStatus(msgspec.Struct, frozen=True):
    """What the last look at the folder gave.

    `loaded_at` is the Unix time of the policies in use; `problems` is what keeps the folder's
    present state from being used (empty when it is in use).
    """

    loaded_at: float
    reloads: int
    rejected: int
    problems: tuple[Problem, ...] = ()


class PolicyBook:
    """All policies of one folder. Reading is lock-free: a reload swaps one reference.

    `on_load` is called with the new policies after validation and before they are used, so that
    what is compiled from a policy (automata) is ready when its first request comes.

    Raises:
        InvalidPolicy: at construction; afterwards a bad folder is kept out, and `status` says why.
    """

    def __init__(
        self,
        folder: Path,
        patterns: PatternNames,
        *,
        on_load: Callable[[Mapping[str, Policy]], None] = lambda _: None,
        on_status: Callable[[BookStatus], None] = lambda _: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._patterns = patterns
        self._on_load = on_load
        self._on_status = on_status
        self._wall_clock = wall_clock
        self._stamp = _stamp(folder)
        self._policies = load_policies(folder, patterns)
        on_load(self._policies)
        self.status = BookStatus(loaded_at=wall_clock(), reloads=0, rejected=0)

    def __getitem__(self, name: str) -> Policy:
        """The policy `name`, or `name@fingerprint` to insist on one version of it.

        Raises:
            PolicyNotFound: naming what is loaded.
        """
        plain_name, at, pin = name.partition("@")
        if at and not (plain_name and pin and "@" not in pin):
            raise PolicyNotFound(
                f"`{name[:_SHOWN]}` is not a policy's name, or its name, `@` and a fingerprint; "
                f"loaded: {', '.join(self._policies)}"
            )
        policy = self._policies.get(plain_name)
        if policy is None:
            raise PolicyNotFound(f"no policy `{plain_name[:_SHOWN]}`; loaded: {', '.join(self._policies)}")
        if pin and pin != policy.fingerprint:
            raise PolicyNotFound(
                f"policy `{plain_name}` is not at fingerprint `{pin[:_SHOWN]}`; loaded is `{policy.fingerprint}`"
            )
        return policy

    def __iter__(self) -> Iterator[Policy]:
        return iter(self._policies.values())

    def __len__(self) -> int:
        return len(self._policies)

    def validate(self, text: str) -> Policy:
        """Compiles a policy given as text, without loading it; raises InvalidPolicy."""
        return load_text(text, self._policies, self._patterns)

    def refresh(self) -> bool:
        """Looks at the folder once and swaps the policies if it changed and is valid.

        Returns whether new policies are in use. A folder that is wrong keeps the old ones.
        """
        try:
            stamp = _stamp(self.folder)
            if stamp == self._stamp:
                return False
            policies = load_policies(self.folder, self._patterns)
            self._on_load(policies)
        except InvalidPolicy as exc:
            self._stamp = stamp
            self._reject(exc.problems)
            return False
        except Exception as exc:  # noqa: BLE001  whatever it is, the watch goes on, and the fault is seen
            self._reject([Problem(str(self.folder), 0, "$", f"could not be loaded: {type(exc).__name__}: {exc}")])
            return False
        self._stamp, self._policies = stamp, policies
        self._set(loaded_at=self._wall_clock(), reloads=self.status.reloads + 1, problems=())
        return True

    async def watch(self, *, every: float) -> None:
        """Refreshes every `every` seconds until cancelled. Files are read in a thread.

        Polling, because a mounted ConfigMap or a network file system sends no events.
        """
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.refresh)

    def _reject(self, problems: list[Problem]) -> None:
        """Keeps a folder out; told once for each state of it."""
        if tuple(problems) != self.status.problems:
            self._set(rejected=self.status.rejected + 1, problems=tuple(problems))

    def _set(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)
        self._on_status(self.status)


def _stamp(folder: Path) -> Stamp:
    """What tells one state of the folder from another: each policy file's name, inode, time and size."""
    stamps = []
    for file in policy_files(folder) if folder.is_dir() else []:
        try:
            stat = file.stat()
        except OSError:
            continue
        stamps.append((str(file), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)
