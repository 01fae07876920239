"""Every error that Guard raises on purpose.

    GuardError
    ├── ConfigError          a setting is unknown or has a bad value; the process refuses to start
    ├── InvalidPolicy        a policy folder is wrong; carries every problem with file, line and path
    ├── PolicyNotFound       a request or command names a policy that is not loaded
    ├── InvalidContent       what was sent cannot be moderated (a bad conversation, an unknown category)
    │   └── LimitExceeded    it is larger than a limit; names the limit, its value and what was sent
    ├── ModelError           the shipped encoder is missing, damaged or does not fit this version
    ├── ScreenFailed         the screen could not score a text
    ├── JudgeFailed          the judge could not answer, or not within the deadline
    │   └── NoJudge          there is none, and only a judge can do what was asked
    ├── ModerationFailed     a stage failed, and the answer that was asked for has no word for that
    ├── NoUpstream           a chat was asked for, and nobody is configured to answer
    ├── UpstreamFailed       a chat's upstream cannot be reached, is too slow, or says what is no answer
    ├── UpstreamRefused      a chat's upstream does not want the request; carries its own answer
    ├── Overloaded           a queue is full; the client should come back later
    ├── Unauthenticated      no API key, or one that is not valid
    ├── Forbidden            the API key's rights do not reach that far
    ├── RateLimited          the API key has used what it may use; says when there is more
    ├── StoreError           the store of records cannot be written or read, or not in time
    ├── RecordNotFound       no such record, or none that the API key may see
    └── DatasetError         a file given to a command cannot be read or written

Messages name the thing, the place and the remedy, and never the moderated text.
"""

from typing import NamedTuple

__all__ = [
    "ConfigError",
    "DatasetError",
    "Forbidden",
    "GuardError",
    "InvalidContent",
    "InvalidPolicy",
    "JudgeFailed",
    "LimitExceeded",
    "ModelError",
    "ModerationFailed",
    "NoJudge",
    "NoUpstream",
    "Overloaded",
    "PolicyNotFound",
    "Problem",
    "RateLimited",
    "RecordNotFound",
    "ScreenFailed",
    "StoreError",
    "Unauthenticated",
    "UpstreamFailed",
    "UpstreamRefused",
]


class GuardError(Exception):
    """The root of the tree: catch this to catch everything that Guard raises on purpose."""


class ConfigError(GuardError):
    """A setting is unknown or has a bad value."""


class Problem(NamedTuple):
    """One mistake in a policy: where it stands and what to do about it.

    `line` is 1-based; 0 where the mistake is about the file as a whole. `path` is a
    JSONPath such as ``$.categories.hate.thresholds``.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}"


class InvalidPolicy(GuardError):
    """One or more policies are wrong; `problems` lists every mistake, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{count} in the policies:", *(f"  {p}" for p in problems)]))


class PolicyNotFound(GuardError):
    """A policy name (or a pinned fingerprint) that is not loaded."""


class InvalidContent(GuardError):
    """What was sent cannot be moderated; `path` is the JSONPath of the offending part."""

    def __init__(self, message: str, *, path: str = "$.input") -> None:
        super().__init__(message)
        self.path = path


class LimitExceeded(InvalidContent):
    """Larger than a limit allows; `limit` is the setting's name, `allowed` its value."""

    def __init__(self, message: str, *, limit: str, allowed: int, path: str = "$.input") -> None:
        super().__init__(message, path=path)
        self.limit = limit
        self.allowed = allowed


class ModelError(GuardError):
    """The shipped encoder is missing, damaged or does not fit this version."""


class ScreenFailed(GuardError):
    """The screen could not score a text."""


class JudgeFailed(GuardError):
    """The judge could not answer, or not within the deadline."""


class NoJudge(JudgeFailed):
    """Only a judge can do what was asked, and none is configured."""


class ModerationFailed(GuardError):
    """A stage failed and the policy holds the text back for that, which the answer's form cannot say; `retry_after` is
    in seconds."""

    def __init__(self) -> None:
        super().__init__("a stage of the moderation failed, and the policy lets nothing pass then")
        self.retry_after = 1


class Unauthenticated(GuardError):
    """A request without an API key, or with one that is not valid."""


class Forbidden(GuardError):
    """An API key whose rights do not reach as far as its request."""


class RateLimited(GuardError):
    """An API key has used what it may use in a minute.

    `unit` is `requests` or `characters`, `limit` what the key has of it. `retry_after` is in seconds; None where
    waiting does not help, since one request asks for more than all.
    """

    def __init__(self, message: str, *, unit: str, limit: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.unit = unit
        self.limit = limit
        self.retry_after = retry_after


class Overloaded(GuardError):
    """A bounded queue is full; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreError(GuardError):
    """The store of records cannot be written or read, or not in time; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RecordNotFound(GuardError):
    """No such record, or none that the caller may see."""


class DatasetError(GuardError):
    """A file given to a command cannot be read or written."""


class NoUpstream(GuardError):
    """Nobody is configured to answer chats."""


class UpstreamFailed(GuardError):
    """No answer, or none that can be understood. `status` is what the client is told, `code` names the kind."""

    def __init__(self, message: str, *, code: str = "upstream_failed", status: int = 502) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class UpstreamRefused(GuardError):
    """The upstream's own error, to be passed on: its status, its body, and its `Retry-After`."""

    def __init__(self, status: int, body: bytes, retry_after: str = "") -> None:
        super().__init__(f"the upstream answers {status}")
        self.status = status
        self.body = body
        self.retry_after = retry_after
