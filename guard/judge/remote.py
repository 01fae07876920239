"""A judge behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, or a hosted one.

    completions   the prompt as text. Where the server tells its tokens (`/tokenize`) and takes `logprob_token_ids`
                  (vLLM), the labels' own log-probabilities come back and are exact; else those of its most likely
                  tokens, with a bound on what may be missing.
    chat          the same through `/v1/chat/completions`: the server applies its chat template itself
    decisions     `/v1/decisions`, for servers that have it

What fails, fails as JudgeFailed; the policy says what follows. Nothing of a text, of the server's address or of its
answers goes into an error.
"""

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from guard.breaker import Breaker
from guard.errors import ConfigError, JudgeFailed, Overloaded
from guard.judge import Answers, Inquiry
from guard.judge.readout import exact, of_the_top
from guard.judge.rendering import LETTERS, Format, Prompt, Wrapping, answers, prompts
from guard.policy.prompt import block, statement
from guard.question import Answer, Choice, Option, Predicate, Question, Scale
from guard.telemetry import traced

__all__ = ["Api", "RemoteJudge"]

Api = Literal["completions", "chat", "decisions"]

VERSION = 2
"""Raise it whenever the same settings may give other answers: cached assessments become misses."""
TOP = 20
"""Most likely tokens that are asked for where labels cannot be named; vLLM's and OpenAI's upper limit."""
_RETRIES = 2
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_BACK_OFF_SECONDS = 0.1
_PROMPTS_IN_A_CALL = 16
_NO_WRAPPING = Wrapping("", "")
_ENCODER = msgspec.json.Encoder()
_MOMENT = 0.01
"""Seconds by which a call gives up before its deadline: the call is late then, and not its caller gone."""

T = TypeVar("T")


class _Loose(msgspec.Struct, frozen=True):
    """Something a server answered; fields that are not listed are of no interest."""


class _Details(_Loose, frozen=True):
    cached_tokens: int | None = None


class _Usage(_Loose, frozen=True):
    prompt_tokens: int = 0
    input_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


class _TopLogprobs(_Loose, frozen=True):
    top_logprobs: list[dict[str, float] | None] | None = None


class _Completion(_Loose, frozen=True):
    index: int = 0
    logprobs: _TopLogprobs | None = None
    prompt_token_ids: list[int] | None = None


class _Completions(_Loose, frozen=True):
    choices: list[_Completion]
    usage: _Usage | None = None


class _ToldToken(_Loose, frozen=True):
    token: str
    logprob: float


class _ChatPosition(_Loose, frozen=True):
    top_logprobs: list[_ToldToken]


class _ChatLogprobs(_Loose, frozen=True):
    content: list[_ChatPosition] | None = None


class _ChatChoice(_Loose, frozen=True):
    logprobs: _ChatLogprobs | None = None


class _Chat(_Loose, frozen=True):
    choices: list[_ChatChoice]
    usage: _Usage | None = None


class _DecidedOption(_Loose, frozen=True):
    probability: float


class _Decided(_Loose, frozen=True):
    type: str
    probability: float | None = None
    probabilities: list[_DecidedOption] | None = None
    confidence: float | None = None


class _Decisions(_Loose, frozen=True):
    answers: list[_Decided]
    usage: _Usage | None = None


class _Tokens(_Loose, frozen=True):
    tokens: list[int]


class _Asking(NamedTuple):
    """A prompt on its way: whether its tokens are to be told, and whose text it is."""

    prompt: Prompt
    shown: bool
    tenant: str


class _Read(msgspec.Struct, frozen=True):
    """An answer with the tokens that its prompt had."""

    answer: Answer
    tokens: int
    cached: int


class RemoteJudge:
    """Asks a server. Connections are kept and reused, within one event loop; `close` ends them, and another loop may
    go on.

    At most `in_flight` calls run at a time and `waiting` inquiries wait. A call is tried again, after a moment, when
    the server was busy or could not be reached, never when it refused; three failures in a row open a breaker. A text
    that does not fit into `context` tokens with its policy is read in overlapping windows, unless the policy says
    `long_text: whole`.

    Raises:
        ConfigError: the address is none, or no model is named.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: str = "",
        api: Api = "completions",
        form: Format = "instruct",
        wrapping: Wrapping = _NO_WRAPPING,
        timeout: float = 30.0,
        in_flight: int = 16,
        waiting: int = 1_024,
        context: int = 8_192,
        salt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = _root(url)
        if not model:
            raise ConfigError(
                "GUARD_JUDGE_MODEL: name the model that the judge's server should use; it lists them under /v1/models"
            )
        if api != "completions" and form != "instruct":
            raise ConfigError(
                f"GUARD_JUDGE_FORMAT: `{form}` writes the whole prompt, which only GUARD_JUDGE_API=completions can send"
            )
        self.name = model
        self._api = api
        self._form = form
        # The chat API's server wraps the message itself.
        self._wrapping = wrapping if api == "completions" else _NO_WRAPPING
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._salt = salt
        self._in_flight = in_flight
        self._slots = asyncio.Semaphore(in_flight)
        self._most_waiting = waiting
        self._context = context
        self._waiting = 0
        self._breaker = Breaker(clock)
        self._session: aiohttp.ClientSession | None = None
        self._labels: dict[tuple[str, tuple[str, ...]], tuple[int, ...] | None] = {}
        self._by_id = True
        said = _ENCODER.encode([VERSION, model, api, form, self._wrapping, context])
        self.fingerprint = hashlib.blake2b(said, digest_size=8).hexdigest()

    @property
    def waiting(self) -> int:
        """Inquiries that are not answered yet."""
        return self._waiting

    @property
    def left_alone(self) -> bool:
        """Whether the server has failed repeatedly and has not answered since."""
        return self._breaker.open

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """See `Judge.answer`."""
        if self._waiting + len(inquiries) > self._most_waiting:
            raise Overloaded(f"{self._waiting} inquiries wait for the judge; at most {self._most_waiting} may")
        self._waiting += len(inquiries)
        ends = None if deadline is None else deadline - _MOMENT
        try:
            if self._api == "decisions":
                return await _together([self._decided(inquiry, ends) for inquiry in inquiries])
            return await self._prompted(inquiries, ends)
        finally:
            self._waiting -= len(inquiries)

    async def close(self) -> None:
        """Closes the connections; the next call opens new ones."""
        session, self._session = self._session, None
        self._slots = asyncio.Semaphore(self._in_flight)
        if session is not None:
            await session.close()

    async def _prompted(self, inquiries: Sequence[Inquiry], ends: float | None) -> list[Answers]:
        """Through prompts that we write. Those with the same labels go together."""
        rendered = [prompts(inquiry, self._form, self._wrapping, context=self._context) for inquiry in inquiries]
        flat = [
            _Asking(prompt, inquiry.show_prompt, inquiry.tenant)
            for inquiry, found in zip(inquiries, rendered, strict=True)
            for prompt in found
        ]
        ask = self._completed if self._api == "completions" else self._chatted
        groups = _grouped(flat) if self._api == "completions" else [[number] for number in range(len(flat))]
        reads: dict[int, _Read] = {}
        told = await _together([ask([flat[n] for n in numbers], ends) for numbers in groups])
        for numbers, found in zip(groups, told, strict=True):
            reads.update(zip(numbers, found, strict=True))
        done, start = [], 0
        for inquiry, own in zip(inquiries, rendered, strict=True):
            mine = [reads[number] for number in range(start, start + len(own))]
            start += len(own)
            done.append(
                Answers(
                    answers(inquiry, self._form, [read.answer for read in mine]),
                    sum(read.tokens for read in mine),
                    sum(read.cached for read in mine),
                )
            )
        return done

    def _salt_of(self, tenant: str) -> str:
        """A tenant's own: what a server keeps of one tenant's prompts, no other can feel."""
        if not tenant:
            return self._salt
        return hashlib.blake2b(tenant.encode(), key=self._salt.encode()[:64], digest_size=16).hexdigest()

    async def _completed(self, asked: Sequence[_Asking], ends: float | None) -> list[_Read]:
        first = asked[0].prompt
        labels = await self._label_ids(first, ends)
        body: dict[str, Any] = {
            "model": self.name,
            "prompt": [one.prompt.shared + one.prompt.text + one.prompt.ask for one in asked],
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": TOP if labels is None else 1,
        }
        if labels is not None:
            body |= {"logprob_token_ids": labels, "return_tokens_as_token_ids": True}
        if any(one.shown for one in asked):
            body["return_token_ids"] = True
        if self._salt:
            body["cache_salt"] = self._salt_of(asked[0].tenant)
        told = await self._call("/v1/completions", body, _Completions, ends)
        choices = sorted(told.choices, key=lambda choice: choice.index)
        if len(choices) != len(asked):
            raise JudgeFailed(f"the judge's server gave {len(choices)} answers to {len(asked)} prompts")
        tokens, cached = _tokens(told.usage)
        reads = []
        for number, (choice, (prompt, shown, _)) in enumerate(zip(choices, asked, strict=True)):
            tops = choice.logprobs.top_logprobs if choice.logprobs is not None else None
            if not tops or tops[0] is None:
                raise JudgeFailed("the judge's server tells no log-probabilities; it must support `logprobs`")
            answer = _read_off(prompt.labels, labels, tops[0])
            if answer is None:
                # An older server took `logprob_token_ids` for nothing: from now on by its most likely tokens.
                self._by_id = False
                return await self._completed(asked, ends)
            if shown and choice.prompt_token_ids and labels is not None:
                answer = msgspec.structs.replace(answer, prompt=tuple(choice.prompt_token_ids), labels=labels)
            reads.append(_Read(answer, _share(tokens, number, len(asked)), _share(cached, number, len(asked))))
        return reads

    async def _chatted(self, asked: Sequence[_Asking], ends: float | None) -> list[_Read]:
        ((prompt, _, _),) = asked
        if prompt.begun:
            raise JudgeFailed(f"more than {len(LETTERS)} options need GUARD_JUDGE_API=completions")
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": "user", "content": prompt.shared + prompt.text + prompt.ask}],
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": TOP,
        }
        if self._salt:
            body["cache_salt"] = self._salt_of(asked[0].tenant)
        told = await self._call("/v1/chat/completions", body, _Chat, ends)
        content = told.choices[0].logprobs.content if told.choices and told.choices[0].logprobs else None
        if not content:
            raise JudgeFailed("the judge's server tells no log-probabilities; it must support `top_logprobs`")
        answer = _by_text(prompt.labels, [(token.token, token.logprob) for token in content[0].top_logprobs])
        return [_Read(answer, *_tokens(told.usage))]

    async def _decided(self, inquiry: Inquiry, ends: float | None) -> Answers:
        """Through the server's own decisions; a policy's words then stand in the questions."""
        questions = [_asked(question, inquiry, number) for number, question in enumerate(inquiry.questions)]
        body = {"model": self.name, "input": block(inquiry.content), "questions": questions}
        told = await self._call("/v1/decisions", body, _Decisions, ends)
        if len(told.answers) != len(inquiry.questions):
            raise JudgeFailed("the judge's server did not answer every question")
        found = tuple([_decision(q, a) for q, a in zip(inquiry.questions, told.answers, strict=True)])
        return Answers(found, *_tokens(told.usage))

    async def _label_ids(self, prompt: Prompt, ends: float | None) -> tuple[int, ...] | None:
        """The token of each label after a prompt's end; None where the server does not tell its tokens.

        Raises:
            JudgeFailed: a label is more than one token, or two labels are the same.
        """
        if not self._by_id:
            return None
        # The last characters before the label decide how it is cut into tokens.
        stem = prompt.ask[-32:]
        known = self._labels.get((stem, prompt.labels))
        if known is not None:
            return known
        try:
            # One after another: a dead server is found out by one call.
            told = [await self._tokenized(stem + label, ends) for label in ("", *prompt.labels)]
        except _Refused as exc:
            # A server that has told tokens can: to go on with its most likely ones would give other scores than other
            # replicas give, and for as long as this process runs.
            if exc.status in (401, 403) or self._labels:
                raise
            self._by_id = False
            return None
        before, *after = told
        found = []
        for label, tokens in zip(prompt.labels, after, strict=True):
            if len(tokens) != len(before) + 1 or tokens[: len(before)] != before:
                raise JudgeFailed(
                    f"the label `{label}` is not one token of `{self.name}` after its chat template: choose the "
                    "template that the model was trained with (GUARD_JUDGE_TEMPLATE)"
                )
            found.append(tokens[-1])
        if len(set(found)) != len(found):
            raise JudgeFailed(f"two of the labels {', '.join(prompt.labels)} are the same token of `{self.name}`")
        self._labels[stem, prompt.labels] = tuple(found)
        return tuple(found)

    async def _tokenized(self, text: str, ends: float | None) -> list[int]:
        body = {"model": self.name, "prompt": text, "content": text}  # vLLM's word and llama.cpp's
        return (await self._call("/tokenize", body, _Tokens, ends)).tokens

    async def _call(self, path: str, body: object, kind: type[T], ends: float | None) -> T:
        """One call, tried again where that may help."""
        async with self._slots:
            if self._breaker.refuses():
                raise JudgeFailed("the judge's server has failed repeatedly and is left alone for a moment")
            self._breaker.started()
            try:
                async with asyncio.timeout(None if ends is None else ends - time.monotonic()):
                    answer = await self._tried(path, _ENCODER.encode(body))
            except _Refused:
                # It is alive, and this says nothing about other requests.
                self._breaker.succeeded()
                raise
            except JudgeFailed:
                self._breaker.failed()
                raise
            except TimeoutError as exc:
                self._breaker.failed()
                raise JudgeFailed("not within the policy's deadline") from exc
            except asyncio.CancelledError:
                self._breaker.abandoned()
                raise
            self._breaker.succeeded()
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.MsgspecError as exc:
            raise _Refused(200, path) from exc

    async def _tried(self, path: str, body: bytes) -> bytes:
        """The body of a good answer.

        Raises:
            _Refused: the server does not want this request, now or later.
            JudgeFailed: it could not be reached, or was busy, at every try.
        """
        said = ""
        for attempt in range(_RETRIES + 1):
            try:
                with traced(f"POST {path}", calls=True) as span:
                    span.put("http.request.method", "POST")
                    if attempt:
                        span.put("http.request.resend_count", attempt)
                    async with self._connected().post(
                        self._root + path, data=body, headers={"Content-Type": "application/json", **span.headers()}
                    ) as response:
                        span.put("http.response.status_code", response.status)
                        if response.status == 200:
                            return await response.read()
                        span.failed(str(response.status))
                        if response.status not in _RETRIED:
                            raise _Refused(response.status, path)
                        said = f"the judge's server answers {response.status}"
                        asked_for = response.headers.get("Retry-After", "")
            except TimeoutError as exc:
                # Not tried again: a server that is too slow for one request is not helped by a second.
                raise JudgeFailed(
                    f"the judge's server did not answer within {self._timeout:g} s (GUARD_JUDGE_TIMEOUT_SECONDS)"
                ) from exc
            except aiohttp.ClientError as exc:
                said, asked_for = f"the judge's server cannot be reached ({type(exc).__name__})", ""
            if attempt < _RETRIES:
                pause = _BACK_OFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5)
                await asyncio.sleep(max(pause, float(asked_for) if asked_for.isdecimal() else 0.0))
        raise JudgeFailed(said)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._session


_HINTS = {
    200: " in a shape that is not OpenAI's",
    400: ": it does not take such a request; is the text longer than its context?",
    401: ": is GUARD_JUDGE_KEY right?",
    403: ": is GUARD_JUDGE_KEY right?",
    404: ": does it have this route (GUARD_JUDGE_API), and is GUARD_JUDGE_MODEL one of its models?",
}


class _Refused(JudgeFailed):
    """The server refused a request; the same one would be refused again."""

    def __init__(self, status: int, path: str = "") -> None:
        super().__init__(f"the judge's server answers {path} with {status}{_HINTS.get(status, '')}")
        self.status = status


def _root(url: str) -> str:
    """The server's address without `/v1`, which people add or leave out."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("GUARD_JUDGE_URL: give the server's address, such as http://vllm:8000/v1")
    return url.rstrip("/").removesuffix("/v1")


async def _together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order; where one fails or the caller leaves, the others are given up."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _grouped(asked: Sequence[_Asking]) -> list[list[int]]:
    """The numbers of the prompts that go in one call: a tenant's, with the same labels after the same last words."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, (prompt, shown, tenant) in enumerate(asked):
        groups.setdefault((prompt.ask[-32:], prompt.labels, shown, tenant), []).append(number)
    return [
        numbers[start : start + _PROMPTS_IN_A_CALL]
        for numbers in groups.values()
        for start in range(0, len(numbers), _PROMPTS_IN_A_CALL)
    ]


def _read_off(labels: tuple[str, ...], ids: tuple[int, ...] | None, told: dict[str, float]) -> Answer | None:
    """The answer from one position's log-probabilities; None where the labels were asked for by id and are not all
    there."""
    if ids is None:
        return _by_text(labels, list(told.items()))
    found = [told.get(f"token_id:{number}") for number in ids]
    return None if None in found else exact([value for value in found if value is not None])


def _by_text(labels: tuple[str, ...], told: Sequence[tuple[str, float]]) -> Answer:
    """By how the tokens are written: with a space before it and without, a label is the same word."""
    by_word: dict[str, list[float]] = {}
    for token, value in told:
        by_word.setdefault(token.replace("▁", " ").replace("Ġ", " ").strip(), []).append(value)
    words = [label.strip() for label in labels]
    own = [by_word.pop(word, None) for word in words]
    others = [value for values in by_word.values() for value in values]
    return of_the_top([_log_sum(values) if values else None for values in own], others)


def _log_sum(values: Sequence[float]) -> float:
    return math.log(math.fsum(math.exp(value) for value in values))


def _tokens(usage: _Usage | None) -> tuple[int, int]:
    """Tokens read, and those of them that were cached."""
    if usage is None:
        return 0, 0
    details = usage.prompt_tokens_details or usage.input_tokens_details
    return usage.prompt_tokens or usage.input_tokens, (details.cached_tokens or 0) if details is not None else 0


def _share(total: int, number: int, count: int) -> int:
    """One prompt's part of what a call of `count` prompts cost together."""
    return total // count + (number < total % count)


def _asked(question: Question, inquiry: Inquiry, number: int) -> dict[str, Any]:
    """A question as `/v1/decisions` takes it."""
    words = question.instructions
    match question:
        case Predicate():
            if inquiry.policy is not None:
                words = statement(inquiry.policy, inquiry.categories[number])
            return {"type": "predicate", "instructions": words}
        case Choice(options=options):
            listed = [_described("value", option) for option in options]
            return {"type": "choice", "instructions": words, "choices": listed}
        case Scale(options=options):
            listed = [_described("label", option) for option in options]
            return {"type": "score", "instructions": words, "levels": listed}


def _described(key: str, option: Option) -> dict[str, str]:
    return {key: option.name} | ({"description": option.description} if option.description else {})


def _decision(question: Question, told: _Decided) -> Answer:
    """A server's decision as an answer; its confidence is the best option's probability times the label mass."""
    if isinstance(question, Predicate):
        if told.probability is None:
            raise JudgeFailed(f"the judge's server answered a predicate with `{told.type[:20]}`")
        return Answer((told.probability, 1.0 - told.probability))
    found = [option.probability for option in told.probabilities or ()]
    if len(found) != len(question.options) or not math.fsum(found) > 0:
        raise JudgeFailed(f"the judge's server answered a {told.type[:20]} without every option's probability")
    total = math.fsum(found)
    answer = Answer(tuple([value / total for value in found]))
    best = answer.probabilities[answer.best]
    return answer if told.confidence is None else Answer(answer.probabilities, min(1.0, told.confidence / best))
