"""Who is read next. One thread owns the model; each of its steps packs what waits, up to a budget of tokens.

    scorings      wait in the order of their arrival; a long text is read in chunks, and others pass it in between
    generations   have a slot of the rolling buffers while they run; each gets one token a turn

Whoever has left, and whose deadline has passed, is taken out unread. More than may wait is refused at once, and so is
whoever cannot be served before its deadline at the pace of the last steps.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import torch

from guard.engine.jobs import Generation, Job, Scoring
from guard.engine.kv import NOTHING, KeyValues, Prefixes, Rings
from guard.engine.model import Mistral, Part, Ran
from guard.engine.sampling import choose
from guard.errors import Overloaded

__all__ = ["Scheduler", "Sizes"]


class Sizes(msgspec.Struct, frozen=True):
    """How much at once.

    Attributes:
        budget: tokens of a step, once nothing more fits; a single part may be longer.
        mixed: the same while texts are being written, so that their readers do not wait.
        chunk: tokens of a text that are read in one step.
        pause: seconds that a step waits for company while it is not full.
        waiting: jobs that may wait.
        prefix_tokens: tokens of all prefixes that are kept.
        slots: generations that run at once.
        context: tokens of a generation, prompt included, in a model without a window.
    """

    budget: int = 4_096
    mixed: int = 1_024
    chunk: int = 1_024
    pause: float = 0.0
    waiting: int = 1_024
    prefix_tokens: int = 32_768
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
        self._rings: Rings | None = None
        self._fresh: deque[Job] = deque()
        self._begun: deque[Job] = deque()
        self._chats: deque[Generation] = deque()
        self._writing: list[Generation] = []
        self._rate = 0.0
        self._changed = threading.Condition()

    def start(self) -> None:
        """Runs for as long as the process."""
        threading.Thread(target=self._work, name="engine", daemon=True).start()

    def submit(self, *jobs: Job) -> None:
        """Queues all of them or none.

        Raises:
            Overloaded: too much waits.
            TimeoutError: by what the last steps took, they would come too late.
            ValueError: a prompt is longer than the model reads.
        """
        for job in jobs:
            most = self._most(job)
            if job.length > most:
                raise ValueError(f"a prompt of {job.length} tokens; the model reads at most {most}")
        with self._changed:
            waiting = len(self._fresh) + len(self._begun) + len(self._chats)
            if waiting + len(jobs) > self._sizes.waiting:
                raise Overloaded(f"{waiting} inquiries wait for the model; at most {self._sizes.waiting} may")
            self._refuse_late(jobs)
            for job in jobs:
                (self._chats if isinstance(job, Generation) else self._fresh).append(job)  # type: ignore[arg-type]
            self._changed.notify()

    def step(self) -> bool:
        """One token for each text that is being written, and a pass over what waits; False where there was nothing."""
        wrote = self._write()
        taken = self._take()
        if taken:
            begin = time.monotonic()
            read = sum(len(t.part.text) + sum(map(len, t.part.branches)) for t in taken)
            self._read(taken)
            rate = read / max(1e-6, time.monotonic() - begin)
            self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate
        return wrote or bool(taken)

    def _most(self, job: Job) -> int:
        context = self._sizes.context if isinstance(job, Generation) and self._model.shape.window is None else None
        return min(self._model.shape.positions, context or self._model.shape.positions)

    def _refuse_late(self, jobs: Sequence[Job]) -> None:
        if not self._rate:
            return
        ahead = sum(job.left for job in self._fresh) + sum(job.left for job in self._begun)
        for job in jobs:
            ahead += job.left
            if job.deadline is not None and time.monotonic() + ahead / self._rate > job.deadline:
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
            self.step()

    def _busy(self) -> bool:
        return bool(self._fresh or self._begun or self._chats or self._writing)

    def _full(self) -> bool:
        return sum(job.left for job in self._fresh) >= self._budget

    def _take(self) -> list[_Taken]:
        """What is read in this step: long texts go on with half of it, then new ones come, then again long ones."""
        budget = min(self._budget, self._sizes.mixed) if self._writing else self._budget
        taken: list[_Taken] = []
        with self._changed:
            self._admit()
            jobs = [self._begun.popleft() for _ in range(len(self._begun))]
            later: list[Job] = []
            cost = 0
            for job in jobs:
                if cost and cost + self._next(job) > budget // 2:
                    later.append(job)
                else:
                    cost += self._add(taken, job)
            while self._fresh and (not cost or cost + self._next(self._fresh[0]) <= budget):
                cost += self._add(taken, self._fresh.popleft())
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
        """Takes the job's next part; 0 where nobody waits for it or it is too late."""
        if job.gone or self._late(job):
            self._drop(job, TimeoutError("not within the deadline"))
            return 0
        text = job.text[job.done : job.done + self._sizes.chunk]
        last = job.done + len(text) == len(job.text)
        part = Part(NOTHING, text, job.branches if last else (), keep=not last or isinstance(job, Generation))
        taken.append(_Taken(job, part, last))
        return self._next(job)

    def _admit(self) -> None:
        """Gives free slots to generations that wait."""
        while self._chats:
            if self._rings is None:
                self._rings = self._model.rings(slots=self._sizes.slots, context=self._sizes.context)
            if self._chats[0].gone:
                self._chats.popleft()
            elif self._rings.free:
                chat = self._chats.popleft()
                chat.slot = self._rings.take()
                self._begun.append(chat)
            else:
                return

    def _before(self, job: Job) -> KeyValues:
        if job.before is None:
            known = self._prefixes.get(job.prefix)
            job.cached = len(job.prefix) if known is not None else 0
            if known is None:
                known = self._model.extend(NOTHING, job.prefix, chunk=self._sizes.chunk)
                self._prefixes.put(job.prefix, known)
            job.before = known
        return job.before

    def _read(self, taken: Sequence[_Taken]) -> None:
        """Runs a step; where it fails, each part by itself, so that one cannot spoil its neighbours."""
        try:
            ran = self._model.run([t.part._replace(before=self._before(t.job)) for t in taken])
            self._finish([(t.job, r) for t, r in zip(taken, ran, strict=True) if t.last])
        except Exception as error:  # noqa: BLE001 (whoever waits gets it)
            if isinstance(error, torch.OutOfMemoryError):
                self._budget = max(self._sizes.chunk, self._budget // 2)
            if len(taken) > 1:
                for one in taken:
                    self._read([one])
            else:
                self._drop(taken[0].job, error)
            return
        with self._changed:
            for one, result in zip(taken, ran, strict=True):
                if not one.last:
                    one.job.before = result.after
                    one.job.done += len(one.part.text)
                    self._begun.append(one.job)

    def _finish(self, done: Sequence[tuple[Job, Ran]]) -> None:
        scored = [(job, ran) for job, ran in done if isinstance(job, Scoring)]
        if scored:
            labels = [own for job, _ in scored for own in job.labels]
            found = iter(self._model.log_probabilities(torch.cat([ran.hidden for _, ran in scored]), labels))
            for job, _ in scored:
                job.finish([next(found) for _ in job.labels])
        begun = [(job, ran) for job, ran in done if isinstance(job, Generation)]
        if begun:
            assert self._rings is not None
            texts = [text for text, _ in begun]
            for text, ran in begun:
                self._rings.fill(text.slot, ran.after)
                text.written = ran.after.length
            self._next_tokens(texts, torch.cat([ran.hidden for _, ran in begun]))
            self._writing += [text for text in texts if not text.over]

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
                self._drop(job, error)
        return True

    def _next_tokens(self, jobs: Sequence[Generation], hidden: torch.Tensor) -> None:
        assert self._rings is not None
        most = min(self._model.shape.positions, self._rings.most or self._model.shape.positions)
        tokens, logprobs = choose(self._model.logits(hidden), [job.sampler for job in jobs])
        for job, token, logprob in zip(jobs, tokens, logprobs, strict=True):
            job.accept(token, logprob, full=job.written >= most)
            if job.over:
                self._release(job)

    def _drop(self, job: Job, error: Exception) -> None:
        if not job.gone:
            job.fail(error)
        if isinstance(job, Generation):
            job.over = True
            self._release(job)

    def _release(self, job: Generation) -> None:
        if job.slot >= 0 and self._rings is not None:
            self._rings.give(job.slot)
            job.slot = -1
