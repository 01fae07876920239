"""API keys: a file that holds their hashes, and who a request's key belongs to.

A key reads `guard_ID_SECRET`. The file has the SHA-256 of its secret, which is 256 random bits: nothing to guess, so
nothing that a slow hash would protect. Every lookup compares one hash in constant time, also where there is no such id.
"""

import asyncio
import base64
import fcntl
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import yaml
from msgspec import Meta

from guard.errors import ConfigError, Forbidden, Unauthenticated

__all__ = ["Caller", "Key", "KeyBook", "Rates", "Role", "changing", "hashed", "make", "read", "revoked", "written"]

Role = Literal["client", "reviewer", "admin"]

_RANK: dict[Role, int] = {"client": 0, "reviewer": 1, "admin": 2}
_SECRET_BYTES = 32
_NOBODY = "0" * 64
_HEAD = """\
# The API keys of Guard, written by `guard keys create|revoke`. A running service reads them again when they change.
# These are hashes: whoever reads them cannot use a key, whoever writes here can make one.
"""


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a key may use in a minute; None is no bound."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    characters_per_minute: Annotated[int, Meta(ge=1)] | None = None


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One key as the file has it.

    Attributes:
        id: the part of it that may be shown.
        sha256: of its secret, in hex.
        role: `client` uses Guard, `reviewer` also reads what was stored, `admin` also changes things.
        tenant: whose key it is: keys of one tenant share cached verdicts and rates; the key's own name where empty.
        policies: those that it may name; all where empty.
        default_policy: that of its requests which name none.
        block_style: how a blocked chat looks to it; the policy's where None.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9]{8}\Z")]
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: datetime
    role: Role = "client"
    tenant: str = ""
    policies: tuple[str, ...] = ()
    default_policy: str | None = None
    block_style: Literal["openai", "openai_error", "mistral", "azure"] | None = None
    rates: Rates = Rates()
    expires: datetime | None = None
    revoked: datetime | None = None

    def over(self, now: datetime) -> bool:
        """Whether it is revoked or has expired."""
        return self.revoked is not None or (self.expires is not None and self.expires <= now)


class Caller(NamedTuple):
    """Who sends a request; without keys everybody is the same caller, who may do all."""

    id: str = ""
    tenant: str = ""
    role: Role = "admin"
    policies: tuple[str, ...] = ()
    default_policy: str | None = None
    block_style: Literal["openai", "openai_error", "mistral", "azure"] | None = None
    rates: Rates = Rates()
    name: str = ""

    @property
    def limited(self) -> bool:
        """Whether there is a bound to what it may use."""
        return self.rates.requests_per_minute is not None or self.rates.characters_per_minute is not None

    def policy(self, named: str | None, default: str) -> str:
        """The name of the policy that a request is under; `default` is everybody's.

        Raises:
            Forbidden: it names one that is not the caller's.
        """
        name = named or self.default_policy or (self.policies[0] if self.policies else default)
        if not self.may_use(name):
            raise Forbidden(f"this key may not use the policy `{name}`; it may use: {', '.join(self.policies)}")
        return name

    def may_use(self, policy: str) -> bool:
        """Whether this policy, or a version of it, is among the caller's."""
        return not self.policies or policy.partition("@")[0] in self.policies

    def require(self, role: Role) -> None:
        """Raises Forbidden where the caller's role does not suffice."""
        if _RANK[self.role] < _RANK[role]:
            raise Forbidden(f"this needs a key with the role `{role}`; this one has `{self.role}`")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # No default: a file that was cut off at its beginning is a mistake, and not one that revokes every key.
    keys: tuple[Key, ...]


class KeyStatus(msgspec.Struct, frozen=True):
    """What the last look at the file gave: the keys that can be used, and what keeps its present state out."""

    usable: int
    problem: str = ""


class KeyBook:
    """The keys of a file, which is looked at again while a service runs.

    Raises:
        ConfigError: at construction; afterwards a bad file is kept out, and `status` says why.
    """

    def __init__(
        self,
        file: Path,
        *,
        on_status: Callable[[KeyStatus], None] = lambda _: None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.file = file
        self._on_status = on_status
        self._wall_clock = wall_clock
        self._stamp = _stamp(file)
        self._keys = _by_id(read(file))
        self.status = KeyStatus(self._usable())

    def caller(self, presented: str) -> Caller:
        """Whose key this is.

        Raises:
            Unauthenticated: nobody's, or one that is revoked or has expired: which of these is not told.
        """
        kind, _, rest = presented.partition("_")
        name, _, secret = rest.partition("_")
        key = self._keys.get(name) if kind == "guard" else None
        same = hmac.compare_digest(hashed(secret), key.sha256 if key is not None else _NOBODY)
        if key is None or not same or key.over(self._wall_clock()):
            raise Unauthenticated("the API key is not known here, or no longer valid")
        tenant = key.tenant or key.name
        return Caller(key.id, tenant, key.role, key.policies, key.default_policy, key.block_style, key.rates, key.name)

    def refresh(self) -> bool:
        """Looks at the file once; whether other keys are in use now. A file that is wrong keeps the old ones."""
        stamp = _stamp(self.file)
        if stamp == self._stamp:
            return False
        try:
            self._keys = _by_id(read(self.file))
        except ConfigError as exc:
            self._stamp = stamp
            self._tell(KeyStatus(self._usable(), str(exc)))
            return False
        self._stamp = stamp
        self._tell(KeyStatus(self._usable()))
        return True

    async def watch(self, *, every: float) -> None:
        """Refreshes every `every` seconds until cancelled. The file is read in a thread."""
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.refresh)

    def _usable(self) -> int:
        now = self._wall_clock()
        return sum(not key.over(now) for key in self._keys.values())

    def _tell(self, status: KeyStatus) -> None:
        self.status = status
        self._on_status(status)


def make(name: str, *, now: datetime, **rights: object) -> tuple[Key, str]:
    """A new key for the file, and what its owner sends: that is nowhere kept.

    Raises:
        ConfigError: the name or one of the rights (see `Key`) cannot be.
    """
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
    fields = {"id": secrets.token_hex(4), "name": name, "sha256": hashed(secret), "created": now} | rights
    try:
        key = msgspec.convert(fields, Key)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"this key cannot be made: {exc}") from exc
    _check([key], "the new key")
    return key, f"guard_{key.id}_{secret}"


def hashed(secret: str) -> str:
    """What the file holds of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def read(file: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        ConfigError: it is missing or not as it should be; the message names the place.
    """
    try:
        text = file.read_text(encoding="utf-8")
        keys = msgspec.convert(yaml.safe_load(text) or {}, _File).keys
    except (OSError, UnicodeError) as exc:
        said = getattr(exc, "strerror", None) or type(exc).__name__
        raise ConfigError(f"GUARD_KEYS: {file} cannot be read ({said}); `guard keys create NAME` makes it") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"GUARD_KEYS: {file} is no YAML: {' '.join(str(exc).split())}") from exc
    except msgspec.ValidationError as exc:
        raise ConfigError(f"GUARD_KEYS: {file}: {exc}; a file without keys holds `keys: []`") from exc
    _check(keys, str(file))
    return keys


def written(file: Path, keys: Sequence[Key]) -> None:
    """Replaces the file as a whole, readable by its owner alone: nobody ever sees half of it.

    Raises:
        ConfigError: it cannot be written.
    """
    body = yaml.safe_dump({"keys": [msgspec.to_builtins(key) for key in keys]}, sort_keys=False, allow_unicode=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Made for the owner alone.
        handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(_HEAD + body)
                out.flush()
                os.fsync(out.fileno())
            Path(temporary).replace(file)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"{file} cannot be written: {exc.strerror}") from exc


@contextmanager
def changing(file: Path) -> Iterator[None]:
    """Waits until nobody else changes the file, and keeps others waiting: of two new keys none is lost."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def revoked(keys: Iterable[Key], which: str, now: datetime) -> tuple[list[Key], list[Key]]:
    """All keys with those revoked whose id or name is `which`, and these."""
    after, ended = [], []
    for key in keys:
        if which in (key.id, key.name) and key.revoked is None:
            key = msgspec.structs.replace(key, revoked=now)  # noqa: PLW2901
            ended.append(key)
        after.append(key)
    return after, ended


def _check(keys: Sequence[Key], where: str) -> None:
    seen: set[str] = set()
    for key in keys:
        if key.id in seen:
            raise ConfigError(f"{where}: two keys have the id `{key.id}`")
        seen.add(key.id)
        if key.default_policy is not None and key.policies and key.default_policy not in key.policies:
            allowed = ", ".join(key.policies)
            raise ConfigError(
                f"{where}: `{key.name}` has the default policy `{key.default_policy}`, but may use: {allowed}"
            )
        for when in (key.created, key.expires, key.revoked):
            if when is not None and when.tzinfo is None:
                raise ConfigError(f"{where}: `{key.name}` has a time without its zone ({when}): end it with Z")


def _by_id(keys: Iterable[Key]) -> dict[str, Key]:
    return {key.id: key for key in keys}


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
