"""Answers of the soak, computed again: in this process, without a cache, Redis or HTTP, by a fresh moderator.

The same policy version, the same judge's numbers. A verdict that was given without a stage is held against a moderator
whose stage fails: the policy says what follows from that, and nothing else may.
"""

import itertools
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.soaking.client import Done, Streamed, streamed
from benchmarks.soaking.doubles import answer_tokens, harmful_place, weights
from benchmarks.soaking.stage import CONTEXT_TOKENS
from benchmarks.soaking.traffic import CHAT, DECISIONS, QUESTIONS, TENANTS
from guard.api.schemas import ModerateRequest, contents_of
from guard.cache.memory import MemoryCache
from guard.chat.conversation import messages_of
from guard.chat.rails import Begun, GuardedChat, Refused
from guard.chat.report import shown
from guard.chat.upstream import SystemRole, Upstreams
from guard.config import Limits
from guard.content import Content, Rail, Turn
from guard.errors import JudgeFailed
from guard.judge import Answers, Inquiry
from guard.judge.readout import exact
from guard.judge.rendering import WRAPPINGS, Prompt, answers, prompts
from guard.moderator import Moderator
from guard.policy import Policy
from guard.question import Answer, Choice, Option, Predicate, Question
from guard.screen import Material
from guard.screen.encoder import Encoder
from guard.screen.standard import StandardScreen
from guard.telemetry import Listeners
from guard.verdict import Assessment

__all__ = ["Again", "difference"]

CLOSE = 1e-6
_REQUEST = msgspec.json.Decoder(ModerateRequest)
_PERHAPS = (False, True)


def difference(found: Any, expected: Any, path: str = "$") -> str:
    """The first place where two JSON values differ, by more than 1e-6 where they are numbers; empty where none does."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        if found.keys() != expected.keys():
            return f"{path}: {', '.join(sorted(found.keys() ^ expected.keys()))}"
        inner = (difference(found[name], expected[name], f"{path}.{name}") for name in expected)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        inner = (difference(ours, theirs, f"{path}[{number}]") for number, (ours, theirs) in pairs)
    elif isinstance(found, float | int) and isinstance(expected, float | int):
        return "" if abs(found - expected) <= CLOSE else path
    else:
        return "" if found == expected else path
    return next(filter(None, inner), "")


class _Judge:
    """The double's numbers without its server. Implements `Judge`."""

    name = "double"
    fingerprint = "again"

    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        """See `Judge`."""
        wrapping = WRAPPINGS["mistral"]
        told = []
        for inquiry in inquiries:
            asked = prompts(inquiry, "instruct", wrapping, context=CONTEXT_TOKENS)
            told.append(Answers(answers(inquiry, "instruct", [_read(prompt) for prompt in asked])))
        return told

    async def close(self) -> None:
        """Nothing to give back."""


def _read(prompt: Prompt) -> Answer:
    known = weights(prompt.shared + prompt.text + prompt.ask)
    return exact([math.log(known[label]) for label in prompt.labels])


class _DeadJudge(_Judge):
    async def answer(self, inquiries: Sequence[Inquiry], *, deadline: float | None) -> list[Answers]:
        raise JudgeFailed("away")


class _LateScreen:
    """A screen whose encoder is late for every text; what the rules find still stands. Implements `Screen`."""

    name = fingerprint = "late"

    def __init__(self, screen: StandardScreen) -> None:
        self.model = screen.model
        self._screen = screen

    def prepare(self, policy: Policy) -> None:
        """See `Screen`."""
        self._screen.prepare(policy)

    async def assess(
        self, materials: Sequence[Material], policy: Policy, *, deadline: float | None = None
    ) -> list[Assessment]:
        """See `Screen`."""
        return await self._screen.assess(materials, policy, deadline=time.monotonic() - 1.0)


class _Upstream:
    """Says what the scripted upstream says, whole. Implements `Upstream`."""

    name = "again"
    system_role: SystemRole = "system"

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """See `Upstream`."""
        _, count, _ = body["model"].split("-")
        said = "".join(answer_tokens(body["messages"][-1]["content"], int(count)))
        message = {"role": "assistant", "content": said, "refusal": None}
        return {"choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]}

    async def stream(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
        """Nobody asks for one: what a stream says in the end is what a whole answer says."""
        raise NotImplementedError
        yield {}

    async def models(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """See `Upstream`."""
        return []

    async def close(self) -> None:
        """Nothing to give back."""


class Again:
    """Computes again what a replica has answered. `versions` are the policies, by their fingerprints."""

    def __init__(self, versions: Mapping[str, Policy]) -> None:
        screen = StandardScreen(Encoder.shipped(), threads=2, max_waiting=100_000)
        for policy in versions.values():
            screen.prepare(policy)
        self._versions = versions
        self._moderators = {
            (screen_fails, judge_fails): Moderator(
                screen=_LateScreen(screen) if screen_fails else screen,
                judge=_DeadJudge() if judge_fails else _Judge(),
                cache=MemoryCache(entries=0, ttl=1.0),
                secret=b"nothing is kept",
                listener=Listeners(),
            )
            for screen_fails in _PERHAPS
            for judge_fails in _PERHAPS
        }
        self._chats = {
            fails: GuardedChat(moderator, Upstreams([_Upstream()], {})) for fails, moderator in self._moderators.items()
        }

    async def mismatch(self, done: Done) -> str:
        """Where a good answer is not what it should be; empty where it is."""
        if done.ask.path == DECISIONS:
            return await self._decisions(done)
        if done.ask.path == CHAT:
            return await self._chat(done)
        return await self._verdicts(done)

    async def _verdicts(self, done: Done) -> str:
        answer = msgspec.json.decode(done.body)
        asked = _REQUEST.decode(done.ask.body)
        policy = self._versions.get(answer["policy"]["fingerprint"])
        if policy is None or policy.name != (asked.policy or TENANTS.get(done.ask.key, ("default",))[0]):
            return "$.policy"
        contents = contents_of(asked, Limits())
        if len(contents) != len(answer["results"]):
            return "$.results"
        only = frozenset(asked.categories) if asked.categories is not None else None
        for number, (content, found) in enumerate(zip(contents, answer["results"], strict=True)):
            failed = {reason.partition(":")[0] for reason in found["reasons"]}
            moderator = self._moderators["screen_failed" in failed, "judge_failed" in failed]
            told = await moderator.moderate([content], policy, only=only, explained=asked.explain, patient=True)
            expected = _plain(told.verdicts[0])
            # Another replica may have known it.
            place = difference(found | {"cached": False}, expected, f"$.results[{number}]")
            if place:
                return place
        return ""

    async def _decisions(self, done: Done) -> str:
        text = msgspec.json.decode(done.ask.body)["input"]
        asked: list[Question] = [
            Predicate(one["instructions"])
            if one["type"] == "predicate"
            else Choice(
                one["instructions"],
                tuple([Option(value["value"], value.get("description", "")) for value in one["choices"]]),
            )
            for one in QUESTIONS
        ]
        (told,) = await _Judge().answer([Inquiry(Content(text), tuple(asked))], deadline=None)
        predicate, choice = msgspec.json.decode(done.body)["answers"]
        found = [[predicate["probability"]], [one["probability"] for one in choice["probabilities"]]]
        expected = [[told.answers[0].probabilities[0]], list(told.answers[1].probabilities)]
        return difference(found, expected, "$.answers")

    async def _chat(self, done: Done) -> str:
        body = msgspec.json.decode(done.ask.body)
        found = _whole(done.body) if done.ask.manner == "plain" else streamed(done.body)
        if found.guard is None:
            return "$.guard"
        policy = self._versions.get(found.guard["policy"]["fingerprint"])
        if policy is None or policy.name != done.ask.policy:
            return "$.guard.policy"
        degraded = [bool(found.guard[rail] and found.guard[rail]["degraded"]) for rail in ("input", "output")]
        place = ""
        # Of a chat's rail it is not told which stage has failed.
        for first, second in itertools.product(
            *[list(self._chats)[1:] if one else [(False, False)] for one in degraded]
        ):
            place = await self._chat_with(first, second, body, policy, found, stream=done.ask.manner != "plain")
            if not place:
                break
        return place

    async def _chat_with(
        self,
        first: tuple[bool, bool],
        second: tuple[bool, bool],
        body: dict[str, Any],
        policy: Policy,
        found: Streamed,
        *,
        stream: bool,
    ) -> str:
        asked = msgspec.json.decode(msgspec.json.encode(body)) | {"stream": False}
        begun = await self._chats[first].begin(asked, messages_of(asked), policy, {})
        if isinstance(begun, Refused):
            expected = Streamed("", "content_filter", guard=_plain(shown(policy, begun.report, None)), whole=True)
            return _difference(found, expected)
        told = (await self._chats[second].answer(begun, policy, {})).body
        (choice,) = told["choices"]
        guard = _plain(told["guard"])
        finish = choice["finish_reason"]
        expected = Streamed("" if finish == "content_filter" else choice["message"]["content"], finish, guard=guard)
        if stream and found.finish == "content_filter" and found.guard and found.guard["output"] is not None:
            return await self._stopped(self._moderators[second], begun, policy, found, guard)
        if stream and finish == "content_filter" and found.finish == "stop":
            return "$.choices[0].finish_reason: not stopped"
        return _difference(found, expected)

    async def _stopped(
        self, moderator: Moderator, begun: Begun, policy: Policy, found: Streamed, whole: dict[str, Any]
    ) -> str:
        """A stream is stopped at what has come by then: some beginning of it has to be one that the policy blocks."""
        said = (await _Upstream().complete(begun.body, {}))["choices"][0]["message"]["content"]
        assert found.guard is not None
        if not said.startswith(found.text):
            return "$.choices[0].delta.content: not the upstream's"
        if found.guard["output"]["action"] != "block" or found.guard["input"] != whole["input"]:
            return "$.guard"
        for end in range(len(said), 0, -1):
            if (end == len(said) or said[end].isspace()) and await self._blocks(moderator, said[:end], begun, policy):
                return ""
        return "$.choices[0].finish_reason: stopped for nothing"

    async def _blocks(self, moderator: Moderator, text: str, begun: Begun, policy: Policy) -> bool:
        content = Content(text, "assistant", Rail.OUTPUT, begun.context)
        return (await moderator.moderate([content], policy, patient=True)).verdicts[0].action == "block"

    async def leaks(self, done: Done, *, strictly: bool) -> bool | None:
        """Whether of a letter's harmful sentence something has come, or without `strictly` all of it; or anything that
        the upstream has not said. None where the policy does not block it, whatever has come behind it."""
        found = streamed(done.body)
        message = msgspec.json.decode(done.ask.body)["messages"][-1]["content"]
        start, sentence = harmful_place(message)
        said = "".join(answer_tokens(message, 0))
        if not said.startswith(found.text):
            return True
        policy = next(one for one in self._versions.values() if one.name == done.ask.policy)
        ends = [start + len(sentence), *[n + 1 for n in range(start + len(sentence), len(said)) if said[n] == "."]]
        context = tuple(
            [Turn(turn["role"], turn["content"]) for turn in msgspec.json.decode(done.ask.body)["messages"]]
        )
        for end in ends:
            content = Content(said[:end], "assistant", Rail.OUTPUT, context)
            (verdict,) = (await self._moderators[False, False].moderate([content], policy, patient=True)).verdicts
            if verdict.action != "block":
                return None
        return len(found.text) > start if strictly else len(found.text) >= start + len(sentence)


def _whole(body: bytes) -> Streamed:
    """A whole answer in a stream's words."""
    told = msgspec.json.decode(body)
    (choice,) = told["choices"]
    text = "" if choice["finish_reason"] == "content_filter" else choice["message"]["content"]
    return Streamed(text, choice["finish_reason"], guard=told["guard"], whole=True)


def _plain(value: object) -> dict[str, Any]:
    """As it comes over the wire."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain


def _difference(found: Streamed, expected: Streamed) -> str:
    if found.text != expected.text:
        return "$.choices[0].content"
    if found.finish != expected.finish:
        return "$.choices[0].finish_reason"
    return difference(found.guard, expected.guard, "$.guard")
