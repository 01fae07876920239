"""The rails of a guarded chat: the prompt's check, the whole answer's, and the stream's."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from guard.chat.conversation import (
    Message,
    context_of,
    in_scope,
    message_of,
    messages_of,
    redacted,
    restore,
    speaks,
    with_system_prompt,
)
from guard.chat.history import history_of
from guard.chat.options import Options
from guard.chat.report import RailReport, azure_results, moderated, shown
from guard.chat.stream import Flow, following
from guard.chat.upstream import Upstream, Upstreams
from guard.content import Content, Rail, Turn
from guard.errors import InvalidContent, UpstreamFailed
from guard.moderator import Moderator
from guard.policy import Policy
from guard.policy.redaction import Redactor
from guard.store import Finding
from guard.telemetry import Listener, Listeners, RailDone, StreamBegun, traced
from guard.verdict import Verdict

__all__ = ["Answered", "Begun", "GuardedChat", "Refused", "prompt_filter_results"]

_AZURES_FIRST = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "usage": None}


class Refused(NamedTuple):
    """A prompt that reaches no model, and what was found in it; `findings` where they are asked for."""

    says: str
    report: RailReport
    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...] = ()


class Begun(NamedTuple):
    """A request whose prompt has passed: where its answer comes from, and what is put back into it.

    `characters`: of the prompt's messages, as the client sent them; `came`: when, on `time.perf_counter`; `findings`
    where they are asked for.
    """

    upstream: Upstream
    body: dict[str, Any]
    options: Options
    report: RailReport
    verdicts: tuple[Verdict, ...]
    characters: int
    redactor: Redactor
    context: tuple[Turn, ...]
    early: "_Early | None"
    came: float
    findings: tuple[Finding, ...] = ()

    async def abandon(self) -> None:
        """Ends what was begun: nobody wants the answer."""
        if self.early is not None:
            await self.early.close()


class GuardedChat:
    """Checks both sides of a chat. One for a service; every request is by itself.

    `streams`: answers that are on their way to their clients right now.
    """

    def __init__(self, moderator: Moderator, upstreams: Upstreams, listener: Listener | None = None) -> None:
        self.upstreams = upstreams
        self.streams = 0
        self._moderator = moderator
        self._listener = listener if listener is not None else Listeners()

    async def begin(
        self,
        body: dict[str, Any],
        messages: Sequence[Message],
        policy: Policy,
        headers: Mapping[str, str],
        options: Options = Options(),  # noqa: B008 (frozen)
    ) -> Begun | Refused:
        """The input rail. `messages` are those of `body`, which is the callee's from here on: redaction changes it.

        Raises:
            Overloaded: too many texts are waiting already.
        """
        came = time.perf_counter()
        chat = policy.spec.chat
        upstream, model = self.upstreams.of(body["model"])
        body = body | {"model": model}
        characters = sum([len(message.text) for message in messages])
        system_prompt = options.system_prompt(policy)
        uninspected = tuple([part for message in messages for part in message.uninspected])
        if uninspected and chat.uninspected == "refuse":
            with traced("input rail"):
                self._listener.on_event(RailDone(policy.name, "input", "block"))
            return Refused(chat.refusals.input, RailReport("block", {}, uninspected), ())
        early = None
        if chat.speculative:
            early = _Early(upstream, with_system_prompt(body, system_prompt, upstream.system_role), headers)
        checked = in_scope(messages, chat)
        try:
            with traced("input rail"):
                verdicts, findings = await self._verdicts([content for _, content in checked], policy, options)
                history = await history_of(self._moderator, messages, policy, tenant=options.tenant)
                report = RailReport.of([*verdicts, *history.failed])
                self._listener.on_event(RailDone(policy.name, "input", report.action))
        except BaseException:
            if early is not None:
                await early.close()
            raise
        report = msgspec.structs.replace(report, uninspected=tuple(dict.fromkeys([*uninspected, *report.uninspected])))
        cut = [(message, v.cuts) for (message, _), v in zip(checked, verdicts, strict=True) if v.cuts]
        # In their order: a turn's placeholders stay what they were when more turns follow.
        cut = [*history.cuts, *cut]
        if early is not None and (report.action == "block" or cut):
            # It was told what it must not be told: what it says is thrown away.
            await early.close()
            early = None
        if report.action == "block":
            return Refused(chat.refusals.input, report, verdicts, findings)
        redactor = Redactor(policy.spec.redaction.style, [message.text for message in messages])
        for message, cuts in cut:
            redacted(message, cuts, redactor)
        told = with_system_prompt(body, system_prompt, upstream.system_role)
        context = context_of(messages_of(body) if cut else messages)
        return Begun(upstream, told, options, report, verdicts, characters, redactor, context, early, came, findings)

    async def answer(self, begun: Begun, policy: Policy, headers: Mapping[str, str]) -> "Answered":
        """A whole answer, each choice checked; what is blocked has its refusal in place. `guard` says what was found.

        Raises:
            UpstreamFailed, UpstreamRefused: there is none.
            Overloaded: too many texts are waiting already.
        """
        early = begun.early
        told = await (early.whole() if early is not None else begun.upstream.complete(begun.body, headers))
        messages = _answers(told)
        found = [(choice, message) for choice, message in messages if message.text]
        contents = [
            Content(message.text, "assistant", Rail.OUTPUT, begun.context, message.uninspected) for _, message in found
        ]
        with traced("output rail"):
            verdicts, findings = await self._verdicts(contents, policy, begun.options)
            redactor = Redactor(policy.spec.redaction.style, [*begun.redactor.given, *[m.text for _, m in found]])
            for (choice, message), verdict in zip(found, verdicts, strict=True):
                _settle(choice, message, verdict, policy, redactor)
                if policy.spec.redaction.restore and verdict.action != "block":
                    restore(message_of(choice["message"], "$"), begun.redactor)
            report = RailReport.of(verdicts)
            self._listener.on_event(RailDone(policy.name, "output", report.action))
        unseen = [part for _, message in messages for part in message.uninspected]
        report = msgspec.structs.replace(report, uninspected=tuple(dict.fromkeys([*report.uninspected, *unseen])))
        told["guard"] = shown(policy, begun.report, report)
        given = iter(verdicts)
        by_choice = [[next(given)] if message.text else [] for _, message in messages]
        if begun.options.moderation is not None:
            told["moderation"] = moderated(policy, begun.options.moderation, begun.verdicts, by_choice)
        if begun.options.style_under(policy) == "azure":
            told["prompt_filter_results"] = prompt_filter_results(policy, begun.verdicts)
            for (choice, _), own in zip(messages, by_choice, strict=True):
                choice["content_filter_results"] = azure_results(policy, own)
        return Answered(told, report, verdicts, findings)

    async def stream(
        self, begun: Begun, policy: Policy, headers: Mapping[str, str], findings: list[Finding] | None = None
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        """An answer's chunks as they may leave; those that leave together are one list. `findings` gets what was
        found, at the end or where the stream is left.

        Raises:
            UpstreamFailed, UpstreamRefused: before the first chunk, or in the middle.
            Overloaded: the screen was too busy for as long as the policy waits.
        """
        early = begun.early
        chunks = early.chunks() if early is not None else begun.upstream.stream(begun.body, headers)
        count = begun.body.get("n")
        rail = traced("output rail")
        flow = Flow(
            self._moderator,
            policy,
            begun.options,
            prompt=begun.report,
            characters=begun.characters,
            context=begun.context,
            redactor=begun.redactor,
            expected=count if isinstance(count, int) else 1,
            rail=rail,
        )
        azure = begun.options.style_under(policy) == "azure"
        silent = True
        self.streams += 1
        try:
            async with aclosing(flow.run(chunks)) as vetted:
                async for leaving in vetted:
                    if azure:
                        # Once there is an answer: until then an error has a status of its own.
                        found = prompt_filter_results(policy, begun.verdicts)
                        leaving.insert(0, _AZURES_FIRST | {"prompt_filter_results": found})
                        azure = False
                    if silent and any(map(speaks, leaving)):
                        silent = False
                        self._listener.on_event(StreamBegun(policy.name, time.perf_counter() - begun.came))
                    yield leaving
        finally:
            self.streams -= 1
            # Where the client has left, or the upstream has broken off, nothing may have been checked to its end.
            if findings is not None:
                findings += flow.findings
            verdicts = [verdict for own in flow.verdicts for verdict in own]
            with rail:
                if verdicts:
                    self._listener.on_event(RailDone(policy.name, "output", RailReport.of(verdicts).action))
        if begun.options.moderation is not None:
            told = moderated(policy, begun.options.moderation, begun.verdicts, flow.verdicts)
            last = {name: value for name, value in flow.last.items() if name != "usage"}
            yield [last | {"choices": [], "moderation": told}]

    async def close(self) -> None:
        """Closes the upstreams."""
        await self.upstreams.close()

    async def _verdicts(self, contents: Sequence[Content], policy: Policy, options: Options) -> "_Found":
        if not contents:
            return _Found((), ())
        found = await self._moderator.moderate(contents, policy, cuts=True, tenant=options.tenant)
        rails = [content.rail for content in contents]
        verdicts = tuple([options.applied(verdict, rail) for verdict, rail in zip(found.verdicts, rails, strict=True)])
        if not options.findings:
            return _Found(verdicts, ())
        each = zip(contents, verdicts, found.assessments, strict=True)
        return _Found(verdicts, tuple([Finding(*one) for one in each]))


class _Found(NamedTuple):
    """The verdicts under the request's own demands too; findings where they are asked for."""

    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]


class Answered(NamedTuple):
    """A whole answer as it may leave, and what the output rail found in it."""

    body: dict[str, Any]
    report: RailReport
    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...] = ()


def prompt_filter_results(policy: Policy, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Azure's results of a prompt."""
    return [{"prompt_index": 0, "content_filter_results": azure_results(policy, verdicts)}]


def _answers(told: dict[str, Any]) -> list[tuple[dict[str, Any], Message]]:
    """The choices of an answer with their messages."""
    choices = told.get("choices")
    try:
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise InvalidContent("expected a list of choices", path="$.choices")
        return [
            (choice, message_of(choice.get("message"), f"$.choices[{number}].message"))
            for number, choice in enumerate(choices)
        ]
    except InvalidContent as exc:
        raise UpstreamFailed("the upstream's answer is not in OpenAI's form", code="upstream_malformed") from exc


def _settle(choice: dict[str, Any], message: Message, verdict: Verdict, policy: Policy, redactor: Redactor) -> None:
    """Makes of a choice what may leave of it."""
    if verdict.action == "block":
        says = policy.spec.chat.refusals.output
        choice["message"] = {"role": "assistant", "content": says, "refusal": says}
        choice["finish_reason"] = "content_filter"
        choice["logprobs"] = None
    elif verdict.cuts:
        redacted(message, verdict.cuts, redactor)
        # They spell out what was cut.
        choice["logprobs"] = None


class _Early:
    """An answer that is begun while its prompt is still being checked."""

    def __init__(self, upstream: Upstream, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        self._chunks = upstream.stream(body, headers) if body.get("stream") else None
        begun = following(self._chunks) if self._chunks is not None else upstream.complete(body, headers)
        self._task: asyncio.Task[dict[str, Any] | None] = asyncio.create_task(begun)

    async def whole(self) -> dict[str, Any]:
        """All of it."""
        return await self._task or {}

    async def chunks(self) -> AsyncGenerator[dict[str, Any]]:
        """Its chunks, the first of which may be there already."""
        try:
            first = await self._task
            if first is not None and self._chunks is not None:
                yield first
                async for chunk in self._chunks:
                    yield chunk
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends it, however far it is."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._chunks is not None:
            await self._chunks.aclose()
