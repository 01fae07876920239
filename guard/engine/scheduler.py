"""Who is read next. One thread owns the model; each of its steps packs what waits, up to a budget of tokens.

    scorings      wait in the order of their arrival; a long text is read in chunks, and others pass it in between
    generations   have a slot of the rolling buffers while they run; each gets one token a turn

Whoever has left, and whose deadline has passed, is taken out unread. More than may wait is refused at once, and so is
whoever would come too late even at the best pace of the last steps. Whatever fails fails for the one job it is about.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import torch

from guard.engine.jobs import Generation, Job, Scoring
from guard.engine.kv import NOTHING, SPARE, KeyValues, Prefixes, Rings, Sessions
from guard.engine.model import Mistral, Part, Ran
from guard.engine.sampling import choose
from guard.errors import Overloaded

__all__ = ["Scheduler", "Sizes"]


_REMEMBERED = 16
"""Steps whose pace is remembered."""


class Sizes(msgspec.Struct, frozen=True):
    """How much at once.

    Attributes:
        budget: tokens of a step, once nothing more fits; a single part may be longer.
        mixed: the same while texts are being written, so that their readers do not wait.
        chunk: tokens of a text that are read in one step.
        pause: seconds that a step waits for company while it is not full.
        waiting: jobs that may wait.
        prefix_tokens: tokens of all prefixes that are kept.
        session_tokens: tokens of all texts that are kept for their session, without their prefixes; 0 keeps none.
        begun_tokens: tokens of long texts that are half read at once; past that a long text waits for others to end.
        slots: generations that run at once.
        context: tokens of a generation, prompt included, in a model without a window.
    """

    budget: int = 4_096
    mixed: int = 1_024
    chunk: int = 1_024
    pause: float = 0.0
    waiting: int = 1_024
    prefix_tokens: int = 32_768
    session_tokens: int = 32_768
    begun_tokens: int = 32_768
    slots: int = 16
    context: int = 4_096


class _Taken(NamedTuple):
    """A job's part in a step; `last` where nothing is left after it."""

    job: Job
    part: Part
    last: bool


class Scheduler:
    """Jobs in, answers out. `start` runs it in a thread; without, the caller turns `step`."""

    def __init__(self, model: Mistral, sizes: Sizes = Sizes()) -> None:  # noqa: B008 (frozen)
        self._model = model
        self._sizes = sizes
        self._budget = sizes.budget
        self._prefixes = Prefixes(sizes.prefix_tokens)
        self._sessions = Sessions(sizes.session_tokens)
        self._rings: Rings | None = None
        self._fresh: deque[Job] = deque()
        self._begun: deque[Job] = deque()
        self._chats: deque[Generation] = deque()
        self._writing: list[Generation] = []
        self._paces: deque[float] = deque(maxlen=_REMEMBERED)
        self._changed = threading.Condition()

    def start(self) -> None:
        """Runs for as long as the process."""
        threading.Thread(target=self._work, name="engine", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Jobs that are not read to their end yet; what is being written is none of them."""
        return len(self._fresh) + len(self._begun) + len(self._chats)

    @property
    def most_waiting(self) -> int:
        """Jobs that may wait."""
        return self._sizes.waiting

    def submit(self, *jobs: Job) -> None:
        """Queues all of them or none.

        Raises:
            Overloaded: too much waits.
            TimeoutError: by what the last steps took, they would come too late.
            ValueError: a prompt is longer than the model reads.
        """
        for job in jobs:
            self._check(job)
        with self._changed:
            self._sweep()
            waiting = self.waiting
            if waiting + len(jobs) > self._sizes.waiting:
                raise Overloaded(f"{waiting} inquiries wait for the model; at most {self._sizes.waiting} may")
            for job in jobs:
                if job.session is not None:
                    job.known = self._sessions.common(job.session, job.prefix, job.text)
            self._refuse_late(jobs)
            for job in jobs:
                if isinstance(job, Generation):
                    self._chats.append(job)
                else:
                    self._fresh.append(job)
            self._changed.notify()

    def step(self) -> bool:
        """One token for each text that is being written, and a pass over what waits; False where there was nothing."""
        wrote = self._write()
        with self._changed:
            self._sweep()
            taken = self._take()
        if taken:
            begin = time.monotonic()
            read = sum(len(t.part.text) + sum(map(len, t.part.branches)) for t in taken)
            read += self._read(taken)
            self._paces.append(read / max(1e-6, time.monotonic() - begin))
        return wrote or bool(taken)

    def _check(self, job: Job) -> None:
        """Raises ValueError for a job that cannot be read."""
        context = self._sizes.context if isinstance(job, Generation) and self._model.shape.window is None else None
        most = min(self._model.shape.positions, context or self._model.shape.positions)
        if job.length > most:
            raise ValueError(f"a prompt of {job.length} tokens; the model reads at most {most}: ask about less at once")
        if not all(job.branches) or not (job.text or job.branches):
            raise ValueError("an empty prompt: there is nothing that a next token could follow")
        if isinstance(job, Scoring) and len(job.labels) != max(1, len(job.branches)):
            raise ValueError(f"{len(job.labels)} rows of labels for {max(1, len(job.branches))} prompts")

    def _refuse_late(self, jobs: Sequence[Job]) -> None:
        """Refuses what would wait for longer than it may, even at the best pace of the last steps. What nothing is
        ahead of is always tried: so one slow step cannot shut the door for good."""
        ahead = sum(job.left for job in self._fresh) + sum(job.left for job in self._begun)
        if not ahead or len(self._paces) < _REMEMBERED // 4:
            return
        soonest = time.monotonic() + ahead / max(self._paces)
        for job in jobs:
            if job.deadline is not None and soonest > job.deadline:
                raise TimeoutError(f"not within the deadline: {ahead} tokens are ahead of the model")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._busy)
                if not self._writing and not self._chats and self._sizes.pause:
                    since = min((job.arrived for job in (*self._begun, *self._fresh)), default=0.0)
                    left = since + self._sizes.pause - time.monotonic()
                    if left > 0:
                        self._changed.wait_for(self._full, left)
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 (a thread that ends would leave everybody waiting for ever)
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Something failed that is about no single job: everybody is told, and the next ones are tried."""
        with self._changed:
            jobs = [*self._fresh, *self._begun, *self._chats, *self._writing]
            for waiting in (self._fresh, self._begun, self._chats):
                waiting.clear()
            self._writing = []
            for job in jobs:
                self._drop(job, _told(error))

    def _busy(self) -> bool:
        return bool(self._fresh or self._begun or self._chats or self._writing)

    def _full(self) -> bool:
        return sum(job.left for job in self._fresh) >= self._budget

    def _sweep(self) -> None:
        """Takes out who has left or is late, wherever they wait."""
        for waiting in (self._fresh, self._begun, self._chats):
            over = [job for job in waiting if job.gone or self._late(job)]
            if over:
                kept = [job for job in waiting if job not in over]
                waiting.clear()
                waiting.extend(kept)  # type: ignore[arg-type]
            for job in over:
                self._drop(job, TimeoutError("not within the deadline"))

    def _take(self) -> list[_Taken]:
        """What is read in this step: long texts go on with half of it, oldest first; then new ones come; then again
        long ones."""
        self._admit()
        budget = min(self._budget, self._sizes.mixed) if self._writing else self._budget
        taken: list[_Taken] = []
        begun = sorted(self._begun, key=lambda job: job.arrived)
        self._begun.clear()
        later: list[Job] = []
        cost = 0
        for job in begun:
            if cost and cost + self._next(job) > budget // 2:
                later.append(job)
            else:
                cost += self._add(taken, job)
        half_read = sum(len(job.text) for job in begun)
        passed: list[Job] = []
        while self._fresh:
            self._resume(self._fresh[0])
            if cost and cost + self._next(self._fresh[0]) > budget:
                break
            job = self._fresh.popleft()
            left = len(job.text) - job.done
            long = left if left > self._sizes.chunk else 0
            if long and half_read and half_read + long > self._sizes.begun_tokens:
                passed.append(job)
                continue
            half_read += long
            cost += self._add(taken, job)
        self._fresh.extendleft(reversed(passed))
        for job in later:
            if cost + self._next(job) <= budget:
                cost += self._add(taken, job)
            else:
                self._begun.append(job)
        return taken

    @staticmethod
    def _late(job: Job) -> bool:
        return job.deadline is not None and time.monotonic() > job.deadline

    def _next(self, job: Job) -> int:
        return job.left if len(job.text) - job.done <= self._sizes.chunk else self._sizes.chunk

    def _add(self, taken: list[_Taken], job: Job) -> int:
        """Takes the job's next part; its tokens."""
        text = job.text[job.done : job.done + self._sizes.chunk]
        last = job.done + len(text) == len(job.text)
        more = not last or isinstance(job, Generation)
        # Where a session had all of the text already, there is nothing new to keep.
        mine = job.session is not None and bool(text)
        branches = job.branches if last else ()
        part = Part(NOTHING, text, branches, keep=more or mine, read=job.read, spare=SPARE if mine else 0)
        taken.append(_Taken(job, part, last))
        return len(text) + sum(map(len, part.branches))

    def _admit(self) -> None:
        """Gives free slots to generations that wait."""
        while self._chats:
            try:
                if self._rings is None:
                    self._rings = self._model.rings(slots=self._sizes.slots, context=self._sizes.context)
            except Exception as error:  # noqa: BLE001 (whoever waits gets it)
                self._drop(self._chats.popleft(), _told(error))
                continue
            if not self._rings.free:
                return
            chat = self._chats.popleft()
            chat.slot = self._rings.take()
            self._begun.append(chat)

    def _before(self, job: Job) -> KeyValues:
        if job.before is None:
            known = self._prefixes.get(job.prefix)
            job.cached = job.resumed + (len(job.prefix) if known is not None else 0)
            if known is None:
                known = self._model.extend(NOTHING, job.prefix, chunk=self._sizes.chunk)
                self._prefixes.put(job.prefix, known)
            job.before = known
        return job.before

    def _resume(self, job: Job) -> None:
        """Takes what its session has now of a text that is not begun yet."""
        if job.session is None:
            return
        # Without branches the answer is read off the text's own last token.
        most = len(job.text) - (not job.branches)
        window = self._model.shape.window
        job.read = self._sessions.begin(job.session, job.prefix, job.text, most=most, window=window)
        job.done = job.resumed = job.read.length
        job.known = 0

    def _read(self, taken: Sequence[_Taken]) -> int:
        """Runs a step; where it fails, each part by itself, so that one cannot spoil its neighbours.

        Returns the tokens of prefixes that were computed for it.
        """
        made = sum({t.job.prefix: len(t.job.prefix) for t in taken if self._missing(t.job)}.values())
        failed: Exception | None = None
        try:
            ran = self._model.run([t.part._replace(before=self._before(t.job)) for t in taken])
            found = self._label_logprobs(taken, ran)
        except Exception as error:  # noqa: BLE001 (whoever waits gets it)
            failed = _told(error)
        if failed is not None:
            # Out of the handler: there the pass that failed would still be in memory.
            if isinstance(failed, torch.OutOfMemoryError):
                self._budget = max(self._sizes.chunk, self._budget // 2)
                with self._changed:
                    # They only save time.
                    self._sessions.clear()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            if len(taken) > 1:
                for one in taken:
                    self._read([one])
            else:
                self._drop(taken[0].job, failed)
            return made
        self._budget = min(self._sizes.budget, self._budget + self._budget // 16)
        for scoring, logprobs in found:
            scoring.finish(logprobs)
        self._first_tokens([(t.job, r) for t, r in zip(taken, ran, strict=True) if t.last])
        with self._changed:
            for (job, part, last), result in zip(taken, ran, strict=True):
                done = job.done + len(part.text)
                if job.session is not None and part.keep:
                    self._sessions.put(job.session, job.prefix, job.text[:done], result.after)
                if not last:
                    job.read, job.done = result.after, done
                    self._begun.append(job)
        return made

    def _missing(self, job: Job) -> bool:
        return job.before is None and self._prefixes.get(job.prefix) is None

    def _label_logprobs(self, taken: Sequence[_Taken], ran: Sequence[Ran]) -> list[tuple[Scoring, list[list[float]]]]:
        scored = [(t.job, r) for t, r in zip(taken, ran, strict=True) if t.last and isinstance(t.job, Scoring)]
        if not scored:
            return []
        labels = [own for job, _ in scored for own in job.labels]
        found = iter(self._model.log_probabilities(torch.cat([r.hidden for _, r in scored]), labels))
        return [(job, [next(found) for _ in job.labels]) for job, _ in scored]

    def _first_tokens(self, done: Sequence[tuple[Job, Ran]]) -> None:
        """Prompts of texts that are complete: their keys go into their rings, and the first token is drawn."""
        assert self._rings is not None or not any(isinstance(job, Generation) for job, _ in done)
        begun = [(job, ran) for job, ran in done if isinstance(job, Generation)]
        if not begun or self._rings is None:
            return
        texts = [text for text, _ in begun]
        for text, ran in begun:
            before = self._before(text)
            self._rings.fill(text.slot, before, ran.after)
            text.written = before.length + ran.after.length
        self._writing += texts
        try:
            self._next_tokens(texts, torch.cat([ran.hidden for _, ran in begun]))
        except Exception as error:  # noqa: BLE001 (whoever waits gets it)
            for text in texts:
                self._drop(text, _told(error))

    def _write(self) -> bool:
        """A token for every text that is being written."""
        for job in self._writing:
            if job.gone or self._late(job):
                self._drop(job, TimeoutError("not within the deadline"))
        self._writing = [job for job in self._writing if not job.over]
        if not self._writing:
            return False
        assert self._rings is not None
        jobs = list(self._writing)
        try:
            hidden = self._model.decode(
                [job.last for job in jobs], self._rings, [job.slot for job in jobs], [job.written for job in jobs]
            )
            for job in jobs:
                job.written += 1
            self._next_tokens(jobs, hidden)
        except Exception as error:  # noqa: BLE001 (whoever waits gets it)
            for job in jobs:
                self._drop(job, _told(error))
        return True

    def _next_tokens(self, jobs: Sequence[Generation], hidden: torch.Tensor) -> None:
        assert self._rings is not None
        most = min(self._model.shape.positions, self._rings.most or self._model.shape.positions)
        tokens, logprobs = choose(self._model.logits(hidden), [job.sampler for job in jobs])
        for job, token, logprob in zip(jobs, tokens, logprobs, strict=True):
            if math.isnan(logprob):
                self._drop(job, RuntimeError("the model gave no numbers"))
                continue
            try:
                job.accept(token, logprob, full=job.written >= most)
            except Exception as error:  # noqa: BLE001 (it is about this text alone)
                self._drop(job, _told(error))
            if job.over:
                self._release(job)

    def _drop(self, job: Job, error: Exception) -> None:
        if isinstance(job, Generation):
            if job.over:
                return
            job.over = True
            self._release(job)
        if not job.gone:
            job.fail(error)

    def _release(self, job: Generation) -> None:
        if job.slot >= 0 and self._rings is not None:
            self._rings.give(job.slot)
            job.slot = -1


def _told(error: Exception) -> Exception:
    """What whoever waits is told: the kind of error. Its message could quote their text, and its frames hold memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return torch.OutOfMemoryError("the model's memory does not suffice")
    return RuntimeError(type(error).__name__)
