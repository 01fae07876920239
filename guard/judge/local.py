"""A judge on this machine: a Mistral in our own engine.

An inquiry is rendered and cut into tokens in a thread of its own; the engine's scheduler packs the prompts of many.
What a session's inquiries begin with alike is computed once. Nobody ends a session: the engine forgets those that were
read longest ago, and the memory that they have is theirs alone, so that one that is over takes it from nobody.
"""

import asyncio
import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

from guard.engine.engine import Engine
from guard.engine.jobs import Scored, Scoring
from guard.engine.tokens import ModelTokens
from guard.errors import JudgeFailed, ModelError, Overloaded
from guard.judge import Answers, Inquiry
from guard.judge.readout import exact
from guard.judge.rendering import DIGITS, LETTERS, WRAPPINGS, Format, Prompt, Wrapping, answers, prompts
from guard.question import Answer

__all__ = ["LocalJudge"]

VERSION = 3
"""Raise it whenever the same model may give other answers: cached assessments become misses."""
_SAMPLE = 1 << 20


class _Asked(NamedTuple):
    """The prompts about one window of a text: branches of one job. `own` are their tokens after prefix and text."""

    job: Scoring
    own: list[list[int]]


class LocalJudge:
    """Answers with a model on this machine; safe to call from any loop. At most `waiting` inquiries wait.

    Raises:
        ModelError: the folder is not complete, is of another architecture, or its template has no one-token labels.
    """

    def __init__(
        self, model: str | Engine, *, form: Format = "instruct", context: int = 8_192, waiting: int = 1_024
    ) -> None:
        engine = model if isinstance(model, Engine) else Engine(model)
        self._tokens = engine.tokens
        self._form = form
        self._wrapping = _wrapping(self._tokens, form)
        # Labels that a request would stumble over are found out now, before the weights are loaded.
        for stem, labels in _all_labels(form, self._wrapping):
            self._tokens.labels(stem, labels)
        engine.load()
        self._scheduler = engine.scheduler
        self._context = min(context, engine.longest)
        self._render = ThreadPoolExecutor(2, thread_name_prefix="judge-prompts")
        # The same few policies and questions stand in every prompt: their tokens are found once.
        self._prefix = lru_cache(64)(lambda shared: tuple(self._tokens.start(shared)))
        self._labels = lru_cache(256)(self._tokens.labels)
        self._prose = lru_cache(256)(lambda text: len(self._tokens.start(text)))
        self.name = engine.name
        self.fingerprint = _fingerprint(engine.folders, f"{VERSION} {engine.numbers} {form} {self._context}")
        self._most_open = waiting
        self._open = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Inquiries that are not answered yet."""
        return self._open

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """See `Judge.answer`."""
        with self._lock:
            if self._open + len(inquiries) > self._most_open:
                raise Overloaded(f"{self._open} inquiries wait for the judge; at most {self._most_open} may")
            self._open += len(inquiries)
        try:
            async with asyncio.TaskGroup() as group:
                found = [group.create_task(self._answer(inquiry, deadline)) for inquiry in inquiries]
        except* (JudgeFailed, Overloaded) as errors:
            first = errors.exceptions[0]
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None
        finally:
            with self._lock:
                self._open -= len(inquiries)
        return [task.result() for task in found]

    async def close(self) -> None:
        """Nothing to give back: the model stays for the next event loop."""

    async def _answer(self, inquiry: Inquiry, deadline: float | None) -> Answers:
        loop = asyncio.get_running_loop()
        try:
            asked = await loop.run_in_executor(self._render, self._asked, inquiry, deadline)
        except ModelError as exc:
            raise JudgeFailed(str(exc)) from exc
        except JudgeFailed:
            raise
        except Exception as exc:  # noqa: BLE001 (its message could quote the text)
            raise JudgeFailed(f"the prompt could not be written ({type(exc).__name__})") from None
        try:
            self._scheduler.submit(*[one.job for one in asked])
            scored = await asyncio.gather(*[asyncio.wrap_future(one.job.found) for one in asked])
        except (ValueError, TimeoutError) as exc:
            raise JudgeFailed(str(exc)) from exc
        except torch.OutOfMemoryError:
            raise JudgeFailed(
                "the GPU's memory does not suffice: lower GUARD_JUDGE_CONTEXT_TOKENS, or use a larger GPU"
            ) from None
        except Overloaded:
            raise
        except Exception as exc:  # noqa: BLE001 (its message could quote the text)
            raise JudgeFailed(f"the engine failed ({type(exc).__name__})") from None
        finally:
            for one in asked:
                one.job.found.cancel()
        made = [answer for one, result in zip(asked, scored, strict=True) for answer in _read(one, result, inquiry)]
        return Answers(
            answers(inquiry, self._form, made),
            sum(len(one.job.prefix) + len(one.job.text) + sum(map(len, one.own)) for one in asked),
            sum(result.cached for result in scored),
        )

    def _asked(self, inquiry: Inquiry, deadline: float | None) -> list[_Asked]:
        rendered = prompts(
            inquiry, self._form, self._wrapping, context=self._context, prose=self._prose, cut=self._tokens.pieces
        )
        # The prompts about one window stand together; two windows may read alike.
        windows = itertools.groupby(rendered, key=lambda prompt: (prompt.shared, prompt.text))
        made = []
        numbers: Counter[str] = Counter()
        for (shared, _), together in windows:
            # Windows are cut from the text's beginning: the same number is the same place, once the text has grown.
            session = None if inquiry.session is None else (inquiry.session, numbers[shared])
            numbers[shared] += 1
            made.append(self._job(list(together), deadline, session))
        return made

    def _job(self, together: list[Prompt], deadline: float | None, session: Hashable) -> _Asked:
        own = [self._tokens.control(prompt.ask) for prompt in together]
        labels = [self._labels(prompt.ask[-32:], prompt.labels) for prompt in together]
        text = self._tokens.plain(together[0].text)
        prefix = self._prefix(together[0].shared)
        return _Asked(Scoring(prefix, text, own, labels, deadline=deadline, session=session), own)


def _read(asked: _Asked, scored: Scored, inquiry: Inquiry) -> list[Answer]:
    made = []
    for logprobs, own, labels in zip(scored.logprobs, asked.own, asked.job.labels, strict=True):
        answer = exact(logprobs)
        if inquiry.show_prompt:
            prompt = (*asked.job.prefix, *asked.job.text, *own)
            answer = Answer(answer.probabilities, answer.mass, prompt=prompt, labels=tuple(labels))
        made.append(answer)
    return made


def _wrapping(tokens: ModelTokens, form: Format) -> Wrapping:
    template = tokens.template() if form == "instruct" else None
    return WRAPPINGS["plain"] if template is None else Wrapping(template.before, template.after, template.lead)


def _all_labels(form: Format, wrapping: Wrapping) -> list[tuple[str, tuple[str, ...]]]:
    """Every label that an answer may have, with the end of the prompt before it."""
    match form:
        case "instruct":
            words = tuple([f"{wrapping.lead}{word}" for word in ("Yes", "No", *LETTERS)])
            return [(wrapping.after, words), (f"{wrapping.after}{wrapping.lead}A", DIGITS)]
        case "wildguard":
            return [("Harmful request:", (" yes", " no"))]
        case "llama_guard":
            return [("\n\n", ("unsafe", "safe"))]


def _fingerprint(folders: Sequence[Path], said: str) -> str:
    """Of everything in the folders: small files whole, of large ones their size and
    both ends."""
    digest = hashlib.blake2b(said.encode(), digest_size=8)
    for path in sorted(path for folder in folders for path in folder.iterdir()):
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
