"""The loaded policies, by name, and what is tried beside them; a changed folder is picked up without a restart."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from guard.errors import InvalidPolicy, PolicyNotFound, Problem
from guard.policy.calibration import CALIBRATION_FILE
from guard.policy.compiled import Policy
from guard.policy.loader import load_text, policy_files
from guard.policy.rollout import ROLLOUT_FILE, Rollout, drawn, load_folder
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
    """All policies of one folder and its rollouts. Reading is lock-free: a reload swaps one reference.

    `on_load` is called with the new policies after validation and before they are used, so that
    what is compiled from a policy (automata) is ready when its first request comes. `secret` is what
    canaries draw by; `keyed` says whether callers have keys that they could go by.

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
        secret: bytes = b"",
        keyed: bool = True,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._patterns = patterns
        self._on_load = on_load
        self._on_status = on_status
        self._secret = secret
        self._keyed = keyed
        self._wall_clock = wall_clock
        self._stamp = _stamp(folder)
        self._loaded = load_folder(folder, patterns, keyed=keyed)
        on_load(self._loaded.policies)
        self.status = BookStatus(loaded_at=wall_clock(), reloads=0, rejected=0)

    def __getitem__(self, name: str) -> Policy:
        """The policy `name`, or `name@fingerprint` to insist on one version of it.

        Raises:
            PolicyNotFound: naming what is loaded.
        """
        return _named(name, self._loaded.policies)

    def __iter__(self) -> Iterator[Policy]:
        return iter(self._loaded.policies.values())

    def __len__(self) -> int:
        return len(self._loaded.policies)

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """What is tried beside policies, by their names."""
        return self._loaded.rollouts

    def chosen(
        self, name: str, *, tenant: str, beginning: Callable[[], str], suits: Callable[[Policy], bool] = lambda _: True
    ) -> Policy:
        """The policy that answers a request for `name`: that one or, for its share of the requests, the canary's.

        `beginning` gives the request's first text. A pin is never answered by another, nor is a request that the
        canary's policy does not suit.

        Raises:
            PolicyNotFound: see `book[name]`.
        """
        policies, rollouts = self._loaded
        policy = _named(name, policies)
        # A name with a pin is no key here.
        rollout = rollouts.get(name)
        canary = rollout.canary if rollout is not None else None
        if canary is None:
            return policy
        candidate = policies[canary.policy]
        who = tenant if canary.by == "key" else beginning()
        return candidate if drawn(self._secret, name, canary, who) and suits(candidate) else policy

    def shadows(self, name: str) -> Sequence[Policy]:
        """The policies that what is decided under `name` is also decided under."""
        policies, rollouts = self._loaded
        rollout = rollouts.get(name)
        return [policies[shadow] for shadow in rollout.shadow] if rollout is not None else ()

    def validate(self, text: str) -> Policy:
        """Compiles a policy given as text, without loading it; raises InvalidPolicy."""
        return load_text(text, self._loaded.policies, self._patterns)

    def refresh(self) -> bool:
        """Looks at the folder once and swaps the policies if it changed and is valid.

        Returns whether new policies are in use. A folder that is wrong keeps the old ones.
        """
        try:
            stamp = _stamp(self.folder)
            if stamp == self._stamp:
                return False
            loaded = load_folder(self.folder, self._patterns, keyed=self._keyed)
            self._on_load(loaded.policies)
        except InvalidPolicy as exc:
            self._stamp = stamp
            self._reject(exc.problems)
            return False
        except Exception as exc:  # noqa: BLE001  whatever it is, the watch goes on, and the fault is seen
            self._reject([Problem(str(self.folder), 0, "$", f"could not be loaded: {type(exc).__name__}: {exc}")])
            return False
        self._stamp, self._loaded = stamp, loaded
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


def _named(name: str, policies: Mapping[str, Policy]) -> Policy:
    plain_name, at, pin = name.partition("@")
    if at and not (plain_name and pin and "@" not in pin):
        raise PolicyNotFound(
            f"`{name[:_SHOWN]}` is not a policy's name, or its name, `@` and a fingerprint; "
            f"loaded: {', '.join(policies)}"
        )
    policy = policies.get(plain_name)
    if policy is None:
        raise PolicyNotFound(f"no policy `{plain_name[:_SHOWN]}`; loaded: {', '.join(policies)}")
    if pin and pin != policy.fingerprint:
        raise PolicyNotFound(
            f"policy `{plain_name}` is not at fingerprint `{pin[:_SHOWN]}`; loaded is `{policy.fingerprint}`"
        )
    return policy


def _stamp(folder: Path) -> Stamp:
    """What tells one state of the folder from another: each file's name, inode, time and size."""
    stamps = []
    policies = policy_files(folder) if folder.is_dir() else []
    for file in [*policies, *[policy.with_name(CALIBRATION_FILE) for policy in policies], folder / ROLLOUT_FILE]:
        try:
            stat = file.stat()
        except OSError:
            continue
        stamps.append((str(file), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)
