"""What the engine is asked for: label probabilities of a text's questions, or a text that goes on."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple

from guard.engine.kv import NOTHING, KeyValues
from guard.engine.sampling import Sampler, Sampling
from guard.engine.words import Words

__all__ = ["Event", "Finish", "Generation", "Job", "Scored", "Scoring"]

Finish = Literal["stop", "length"]


class Scored(NamedTuple):
    """The log-probabilities of each branch's labels, and how many tokens of prefix and text were there from before."""

    logprobs: list[list[float]]
    cached: int


class Event(NamedTuple):
    """One token of a text that goes on: the text that it made sure, its log-probability, and how the text ended."""

    token: int
    text: str
    logprob: float
    finish: Finish | None


class Job(ABC):
    """Tokens that are to be read: `prefix + text`, and each of `branches` after them.

    `before`, `read` and `done` say how far it is: its prefix (None until it is there), what is read of its text, and
    how many tokens that is. `resumed` of them a session had from before; `known` is what it was thought to have.
    """

    session: Hashable = None

    def __init__(
        self,
        prefix: tuple[int, ...],
        text: Sequence[int],
        branches: Sequence[Sequence[int]] = (),
        *,
        deadline: float | None = None,
    ) -> None:
        self.prefix = prefix
        self.text = text
        self.branches = branches
        self.deadline = deadline
        self.arrived = time.monotonic()
        self.before: KeyValues | None = None
        self.read = NOTHING
        self.done = 0
        self.resumed = 0
        self.known = 0
        self.cached = 0

    @property
    def length(self) -> int:
        """Tokens of the longest prompt."""
        return len(self.prefix) + len(self.text) + max(map(len, self.branches), default=0)

    @property
    def left(self) -> int:
        """Tokens that are still to be read, but for the prefix."""
        return len(self.text) - max(self.done, self.known) + sum(map(len, self.branches))

    @property
    @abstractmethod
    def gone(self) -> bool:
        """Whether nobody waits for it any more."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """It will not be finished."""


class Scoring(Job):
    """The log-probabilities of `labels[i]` after branch i; `found` gets them.

    Jobs of one `session` go on from each other's text as far as prefix and tokens are the same. Branches are not kept.
    """

    def __init__(
        self,
        prefix: tuple[int, ...],
        text: Sequence[int],
        branches: Sequence[Sequence[int]],
        labels: Sequence[Sequence[int]],
        *,
        deadline: float | None = None,
        session: Hashable = None,
    ) -> None:
        super().__init__(prefix, text, branches, deadline=deadline)
        self.session = session
        self.labels = labels
        self.found: Future[Scored] = Future()

    @property
    def gone(self) -> bool:
        """Whether the future was cancelled."""
        return self.found.cancelled()

    def finish(self, logprobs: list[list[float]]) -> None:
        """Gives the answer, unless nobody waits or it was given."""
        if not self.found.done() and self.found.set_running_or_notify_cancel():
            self.found.set_result(Scored(logprobs, self.cached))

    def fail(self, error: Exception) -> None:
        """Raises `error` where the answer is waited for."""
        if not self.found.done() and self.found.set_running_or_notify_cancel():
            self.found.set_exception(error)


class Generation(Job):
    """A text that goes on after `prefix + prompt`, token by token.

    `tell` is called in the engine's thread with each `Event`, or once with the error that ended it; it must not wait.
    `ends` are the tokens that end an answer.
    """

    def __init__(
        self,
        prefix: tuple[int, ...],
        prompt: Sequence[int],
        sampling: Sampling,
        words: Words,
        *,
        ends: frozenset[int],
        tell: Callable[[Event | Exception], None],
        deadline: float | None = None,
    ) -> None:
        super().__init__(prefix, prompt, deadline=deadline)
        self.sampler = Sampler(sampling)
        self.slot = -1
        self.written = 0
        self.last = -1
        self.tokens = 0
        self.over = False
        self._words = words
        self._ends = ends
        self._tell = tell
        self._cancelled = False

    def cancel(self) -> None:
        """Nobody wants more; may be called from any thread."""
        self._cancelled = True

    @property
    def gone(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def accept(self, token: int, logprob: float, *, full: bool) -> None:
        """The next token. `full`: there is no room for one after it."""
        self.last = token
        self.tokens += 1
        finish: Finish | None = None
        if token in self._ends:
            text, finish = self._words.end(), "stop"
        else:
            text = self._words.push(token)
            if self._words.stopped:
                finish = "stop"
            elif full or self.tokens >= self.sampler.sampling.most:
                text, finish = text + self._words.end(), "length"
        self.over = finish is not None
        self._say(Event(token, text, logprob, finish))

    def fail(self, error: Exception) -> None:
        """Tells the error."""
        self.over = True
        self._say(error)

    def _say(self, event: Event | Exception) -> None:
        try:
            self._tell(event)
        except Exception:  # noqa: BLE001 (who cannot be told has left; the engine's thread must live on)
            self._cancelled = True
