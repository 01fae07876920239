"""A judge on this machine: a Mistral in our own engine.

One thread owns the model. Inquiries wait in a queue; those whose caller has left or whose deadline has passed are taken
out unread.
"""

import asyncio
import hashlib
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path

import torch

from guard.engine.checkpoint import load
from guard.engine.hub import folder_of
from guard.engine.model import Mistral
from guard.engine.scorer import Scorer
from guard.engine.tokens import ModelTokens
from guard.errors import JudgeFailed, ModelError, Overloaded
from guard.judge import Answers, Inquiry
from guard.judge.readout import exact
from guard.judge.rendering import WRAPPINGS, Format, Prompt, Wrapping, answers, prompts
from guard.question import Answer

__all__ = ["LocalJudge"]

VERSION = 1
"""Raise it whenever the same model may give other answers: cached assessments become misses."""
_SAMPLE = 1 << 20


class _Job:
    """An inquiry that waits, and the future of its answers."""

    def __init__(self, inquiry: Inquiry, deadline: float | None) -> None:
        self.inquiry = inquiry
        self.deadline = deadline
        self.answers: Future[Answers] = Future()


class LocalJudge:
    """Loads a model (`guard.engine.hub.folder_of` says what names it) and answers with it; safe to call from any loop.

    On a CUDA device it computes in bfloat16, on a CPU in float32. At most `waiting` inquiries wait.

    Raises:
        ModelError: the folder is not complete, is of another architecture, or its template has no one-token labels.
    """

    def __init__(self, model: str, *, form: Format = "instruct", context: int = 4_096, waiting: int = 1_024) -> None:
        folder = folder_of(model)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._tokens = ModelTokens(folder)
        self._form = form
        self._wrapping = _wrapping(self._tokens, form)
        # Labels that the first request would stumble over are found out now.
        self._tokens.labels(*_first_labels(form, self._wrapping))
        network = Mistral(load(folder, device=device, dtype=dtype))
        window = network.shape.window or network.shape.positions
        self._context = min(context, window, network.shape.positions)
        self._scorer = Scorer(network)
        # The same few policies and questions stand in every prompt: their tokens are found once.
        self._prefix = lru_cache(64)(lambda shared: (*self._tokens.begin, *self._tokens.control(shared)))
        self._labels = lru_cache(256)(self._tokens.labels)
        self.name = model.partition("@")[0] if not Path(model).expanduser().is_dir() else folder.resolve().name
        self.fingerprint = _fingerprint(folder, f"{VERSION} {dtype} {form} {self._context}")
        self._most_waiting = waiting
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name="judge", daemon=True).start()

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """See `Judge.answer`."""
        with self._lock:
            if self._waiting + len(inquiries) > self._most_waiting:
                raise Overloaded(f"{self._waiting} inquiries wait for the judge; at most {self._most_waiting} may")
            self._waiting += len(inquiries)
        jobs = [_Job(inquiry, deadline) for inquiry in inquiries]
        for job in jobs:
            self._jobs.put(job)
        try:
            return await asyncio.gather(*[asyncio.wrap_future(job.answers) for job in jobs])
        finally:
            for job in jobs:
                job.answers.cancel()

    async def close(self) -> None:
        """Nothing to give back: the model stays for the next event loop."""

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                self._waiting -= 1
            # False where the caller has left.
            if not job.answers.set_running_or_notify_cancel():
                continue
            try:
                if job.deadline is not None and time.monotonic() > job.deadline:
                    raise JudgeFailed("not within the policy's deadline")
                job.answers.set_result(self._answered(job.inquiry))
            except (JudgeFailed, ModelError) as exc:
                job.answers.set_exception(exc if isinstance(exc, JudgeFailed) else JudgeFailed(str(exc)))
            except torch.OutOfMemoryError:
                job.answers.set_exception(JudgeFailed("the GPU's memory does not suffice for this text"))
            except Exception as exc:  # noqa: BLE001 (the thread must live on; the message could quote the text)
                job.answers.set_exception(JudgeFailed(f"the engine failed ({type(exc).__name__})"))

    def _answered(self, inquiry: Inquiry) -> Answers:
        rendered = prompts(inquiry, self._form, self._wrapping, context=self._context)
        found: list[Answer] = []
        tokens = cached = 0
        while rendered:
            # The prompts about one window of the text are branches of one pass.
            first = rendered[0]
            together = [p for p in rendered if (p.shared, p.text) == (first.shared, first.text)]
            rendered = rendered[len(together) :]
            made, read, known = self._scored(together, show=inquiry.show_prompt)
            found += made
            tokens += read
            cached += known
        return Answers(answers(inquiry, self._form, found), tokens, cached)

    def _scored(self, together: list[Prompt], *, show: bool) -> tuple[list[Answer], int, int]:
        prefix = self._prefix(together[0].shared)
        text = self._tokens.plain(together[0].text)
        asks = [self._tokens.control(prompt.ask) for prompt in together]
        labels = [self._labels(prompt.ask[-32:], prompt.labels) for prompt in together]
        scored = self._scorer.score(prefix, text, asks, labels)
        made = []
        for logprobs, ask, own in zip(scored.logprobs, asks, labels, strict=True):
            answer = exact(logprobs)
            if show:
                answer = Answer(answer.probabilities, answer.mass, prompt=(*prefix, *text, *ask), labels=own)
            made.append(answer)
        return made, len(prefix) + len(text) + sum(map(len, asks)), scored.cached


def _wrapping(tokens: ModelTokens, form: Format) -> Wrapping:
    template = tokens.template() if form == "instruct" else None
    return WRAPPINGS["plain"] if template is None else Wrapping(template.before, template.after, template.lead)


def _first_labels(form: Format, wrapping: Wrapping) -> tuple[str, tuple[str, ...]]:
    """The end of a prompt, and labels of its answer."""
    match form:
        case "instruct":
            return wrapping.after, tuple([f"{wrapping.lead}{word}" for word in ("Yes", "No", "A", "B")])
        case "wildguard":
            return "Harmful request:", (" yes", " no")
        case "llama_guard":
            return "\n\n", ("unsafe", "safe")


def _fingerprint(folder: Path, said: str) -> str:
    """Of everything in the folder: small files whole, of large ones their size and both ends."""
    digest = hashlib.blake2b(said.encode(), digest_size=8)
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors", ".model", ".jinja"):
            continue
        with path.open("rb") as file:
            size = path.stat().st_size
            digest.update(f"{path.name} {size}".encode())
            digest.update(file.read(_SAMPLE))
            if size > 2 * _SAMPLE:
                file.seek(-_SAMPLE, 2)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
