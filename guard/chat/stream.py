"""A stream on its way through the output rail: read, checked, and let go piece by piece.

Each choice's chunks wait in a queue of their own and leave as they came, whole, once all of their text may leave; where
only a part may, that part leaves in a chunk of its own. So what the client receives, joined, is the upstream's text,
and whatever else a chunk holds goes with it.
"""

import asyncio
import copy
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from guard.chat.conversation import arguments_text, message_of, places_of, redacted, restore
from guard.chat.hold import Edit, Lane, Window
from guard.chat.options import Options, block_starts
from guard.chat.report import RailReport, azure_results, shown
from guard.content import Content, Rail, Turn
from guard.errors import Overloaded, UpstreamFailed
from guard.moderator import Moderator
from guard.policy import Policy
from guard.policy.redaction import Redactor
from guard.policy.schema import Streaming
from guard.store import Finding
from guard.telemetry import UNTRACED, TraceSpan
from guard.verdict import Action, Cut, Verdict

__all__ = ["Flow", "following"]

WHOLE = 20_000
"""Characters up to which a finished answer is checked once more as a whole."""
BACKLOG = 4 * 1_024 * 1_024
"""Bytes of a stream's chunks that wait for their checks; past that its upstream is not read on meanwhile."""
AHEAD = 16 * 1_024
"""Bytes of a stream's chunks that are read on, at most, before what they change is seen to; so also while the client
takes what it was sent."""
MOST_HELD = 32 * 1_024 * 1_024
"""Bytes of the chunks of an answer that is held until its end."""
_RETRY_SECONDS = 0.05
_BUFFERED = Streaming(mode="buffer")


async def following(chunks: AsyncGenerator[dict[str, Any]]) -> dict[str, Any] | None:
    """The next chunk; None at the end."""
    async for chunk in chunks:
        return chunk
    return None


class _Span(NamedTuple):
    """Characters of a lane that one string of a chunk holds."""

    lane: str
    start: int
    end: int


class _Item(NamedTuple):
    """One choice of one chunk, waiting: its strings in their order as spans, and its size in bytes.

    `cut`: the spans are only a part of its strings.
    """

    chunk: dict[str, Any]
    choice: dict[str, Any]
    spans: tuple[_Span, ...]
    size: int
    cut: bool = False

    @property
    def calls(self) -> bool:
        """Whether it holds a part of a tool call."""
        return any(_is_call(span.lane) for span in self.spans)


class _Checked(NamedTuple):
    """A verdict on a window of a lane's text; `last`: the lane was complete."""

    finding: Finding
    verdict: Verdict
    window: Window
    last: bool


class _Choice:
    """One answer of a stream.

    `over`: its text is complete; `done`: the lanes that are checked to their end; `size`: bytes that wait; `found`: the
    last verdicts of its lanes; `noted`: what records are made of; `annotated`: characters of its content that the
    client was told are vetted.
    """

    def __init__(self) -> None:
        self.waiting: deque[_Item] = deque()
        self.size = 0
        self.found: dict[str, Verdict] = {}
        self.annotated = 0
        self.lanes: dict[str, Lane] = {}
        self.checks: dict[str, asyncio.Task[_Checked]] = {}
        self.done: set[str] = set()
        self.verdicts: list[Verdict] = []
        self.noted: dict[str, list[Finding]] = {}
        self.over = False
        self.blocked = False
        self.told = False

    @property
    def final(self) -> bool:
        """Whether everything that it says is there and checked."""
        return self.over and self.done >= {name for name, lane in self.lanes.items() if lane.text}

    def block(self) -> None:
        """Nothing of it leaves any more."""
        self.blocked = True
        self.waiting.clear()
        self.size = 0
        for task in self.checks.values():
            task.cancel()
        self.checks.clear()

    def may_leave(self, item: _Item) -> bool:
        """Whether all of an item may."""
        if item.choice.get("finish_reason") is not None and not self.final:
            return False
        for span in item.spans:
            lane = self.lanes[span.lane]
            if lane.allowed < span.end:
                return False
            # The first chunk of a call has its name and no arguments yet: it waits for all of them.
            if _is_call(span.lane) and not (self.over and (span.lane in self.done or not lane.text)):
                return False
        return True


class Flow:
    """One stream on its way through the output rail."""

    def __init__(
        self,
        moderator: Moderator,
        policy: Policy,
        options: Options,
        *,
        prompt: RailReport,
        characters: int,
        context: tuple[Turn, ...],
        redactor: Redactor,
        expected: int,
        rail: TraceSpan = UNTRACED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rail`: the span that the checks belong to."""
        self._rail = rail
        self._moderator = moderator
        self._policy = policy
        self._options = options
        self._azure = options.style_under(policy) == "azure"
        self._starts = block_starts(policy, Rail.OUTPUT, options.guardrails)
        self._prompt = prompt
        self._characters = characters
        self._context = context
        self._put = redactor
        self._redactor = Redactor(policy.spec.redaction.style, redactor.given)
        self._expected = expected
        self._clock = clock
        self._streaming = policy.spec.chat.streaming
        self._choices: dict[int, _Choice] = {}
        self._others: deque[dict[str, Any]] = deque()
        self._last: dict[str, Any] = {}
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._planned: float | None = None
        self._ahead = 0
        self._ended = False
        self._error: Exception | None = None
        # The judge goes on with what it has read of this stream; nobody else can know the name.
        self._session = secrets.token_hex(8)

    @property
    def last(self) -> dict[str, Any]:
        """The last chunk without its choices: what all chunks of the stream have."""
        return self._last

    @property
    def verdicts(self) -> list[list[Verdict]]:
        """What was found in each choice, in their order."""
        return [choice.verdicts for _, choice in sorted(self._choices.items())]

    @property
    def findings(self) -> list[Finding]:
        """What is to be told for records, choice by choice."""
        return [
            finding
            for _, choice in sorted(self._choices.items())
            for noted in choice.noted.values()
            for finding in noted
        ]

    async def run(self, chunks: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[list[dict[str, Any]]]:
        """The chunks that may leave, as soon as they may; those that leave together are one list.

        Closing it ends the upstream's work.

        Raises:
            UpstreamFailed, UpstreamRefused: once what was vetted before has left.
            Overloaded: the screen was too busy for as long as the policy waits.
        """
        reading = asyncio.create_task(self._read(chunks))
        try:
            while True:
                self._finish_checks()
                self._planned = self._start_checks()
                leaving = self._leaving()
                if leaving:
                    yield leaving
                if (self._ended and self._settled()) or self._all_blocked():
                    break
                self._make_room()
                await self._news()
            if self._error is not None:
                raise self._error
        finally:
            tasks: list[asyncio.Task[Any]] = [task for c in self._choices.values() for task in c.checks.values()]
            for task in (reading, *tasks):
                task.cancel()
            await asyncio.gather(reading, *tasks, return_exceptions=True)
            await chunks.aclose()

    async def _news(self) -> None:
        """Until something happens: text came that cannot wait, a check is done, or one is due."""
        timer = None
        if self._planned is not None and not self._woken.is_set():
            pause = max(0.0, self._planned - self._clock())
            timer = asyncio.get_running_loop().call_later(pause, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._woken.clear()

    async def _read(self, chunks: AsyncGenerator[dict[str, Any]]) -> None:
        """Takes in all that comes, as far as there is room for it.

        Most chunks of a stream change nothing by themselves: they wait for a check that is due later. So it is one task
        that reads, and it wakes the other only where something is to be done.
        """
        try:
            async for chunk in chunks:
                self._came(chunk)
                if self._ahead >= AHEAD:
                    self._woken.set()
                    self._room.clear()
                    await self._room.wait()
        except Exception as exc:  # noqa: BLE001 (raised again once what was vetted has left)
            # Some servers end a stream without `[DONE]`: nothing is missing then.
            complete = bool(self._choices) and all(choice.over for choice in self._choices.values())
            if not (complete and isinstance(exc, UpstreamFailed) and exc.code == "upstream_closed"):
                self._error = exc
        self._ended = True
        for choice in self._choices.values():
            choice.over = True
        self._woken.set()

    def _make_room(self) -> None:
        """Lets the upstream be read on, unless too much waits. Where no check can change that, only more text can."""
        if self._backlog() < BACKLOG or not any(choice.checks for choice in self._choices.values()):
            self._ahead = 0
            self._room.set()

    def _backlog(self) -> int:
        """Bytes that wait; what is held to its end has a bound of its own."""
        return sum([choice.size for choice in self._choices.values() if not self._held(choice)])

    def _held(self, choice: _Choice) -> bool:
        # Half a call is of no use, and half a JSON text cannot be read: calls leave whole.
        return self._streaming.mode == "buffer" or (bool(choice.waiting) and choice.waiting[0].calls)

    def _came(self, chunk: dict[str, Any]) -> None:
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            self._others.append(chunk)
            self._woken.set()
            return
        size = len(msgspec.json.encode(chunk))
        self._ahead += size
        size //= len(choices)
        rest = self._last = {key: value for key, value in chunk.items() if key != "choices"}
        for number, choice in enumerate(choices):
            if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
                raise UpstreamFailed("the upstream's stream has a choice that is none", code="upstream_malformed")
            mine = self._choices.setdefault(choice.get("index", 0), _Choice())
            if mine.blocked:
                continue
            spans = tuple([self._added(mine, place.lane, place.text) for place in places_of(choice.get("delta"))])
            # Usage belongs to the chunk, not to each of its choices.
            own = rest if number == len(choices) - 1 else _without_usage(rest)
            item = _Item(own, choice, spans, size)
            if not mine.waiting and mine.may_leave(item):
                self._woken.set()
            mine.waiting.append(item)
            mine.size += size
            if mine.size > MOST_HELD and self._held(mine):
                raise UpstreamFailed(f"an answer of more than {MOST_HELD} bytes that has to be held until its end")
            if choice.get("finish_reason") is not None:
                mine.over = True
                self._woken.set()

    def _added(self, choice: _Choice, name: str, text: str) -> _Span:
        lane = choice.lanes.get(name)
        if lane is None:
            lane = choice.lanes[name] = Lane(_BUFFERED if _is_call(name) else self._streaming)
        start = len(lane.text)
        if text:
            now = self._clock()
            lane.add(text, now)
            choice.done.discard(name)
            if name not in choice.checks and lane.changes(self._planned, now):
                self._woken.set()
        return _Span(name, start, len(lane.text))

    def _start_checks(self) -> float | None:
        """Starts the checks that are due; when the next one is."""
        now = self._clock()
        soonest: list[float] = []
        for index, choice in self._choices.items():
            if choice.blocked:
                continue
            for name, lane in choice.lanes.items():
                if name in choice.checks or not lane.text or name in choice.done:
                    continue
                due = now if choice.over else lane.due()
                if due is None:
                    continue
                if due > now:
                    soonest.append(due)
                elif choice.over or lane.unchecked:
                    task = asyncio.create_task(self._check(index, name, lane, last=choice.over))
                    task.add_done_callback(lambda _: self._woken.set())
                    choice.checks[name] = task
                else:
                    lane.ripened(now)
                    soonest.append(now)
        return min(soonest, default=None)

    async def _check(self, index: int, name: str, lane: Lane, *, last: bool) -> _Checked:
        """Has the moderator read what is due of a lane; what is complete as a whole, where it is not too long."""
        whole = last and (_is_call(name) or len(lane.text) <= WHOLE)
        window = Window(0, len(lane.text), lane.text) if whole else lane.window()
        text = arguments_text(window.text) if _is_call(name) else window.text
        content = Content(text, "assistant", Rail.OUTPUT, self._context)
        ends = time.monotonic() + self._policy.spec.deadline_ms / 1e3
        with self._rail.child("check"):
            while True:
                try:
                    # What is remembered owes nothing to what was read before.
                    session = None if whole else f"{self._session}:{index}:{name}"
                    # Patient: what waits is held, and a screen that is late is no reason to block what it has not read.
                    done = await self._moderator.moderate(
                        [content],
                        self._policy,
                        cuts=True,
                        patient=True,
                        remember=whole,
                        session=session,
                        tenant=self._options.tenant,
                    )
                    break
                except Overloaded:
                    if time.monotonic() > ends:
                        raise
                await asyncio.sleep(_RETRY_SECONDS)
        verdict = self._options.applied(done.verdicts[0], Rail.OUTPUT)
        finding = Finding(content, verdict, done.assessments[0])
        return _Checked(finding, verdict, window, last and window.end == len(lane.text))

    def _finish_checks(self) -> None:
        for choice in self._choices.values():
            for name, task in list(choice.checks.items()):
                # A block of one lane ends the checks of the others.
                if not choice.blocked and task.done():
                    del choice.checks[name]
                    self._finished(choice, name, task.result())

    def _finished(self, choice: _Choice, name: str, found: _Checked) -> None:
        lane, verdict, window = choice.lanes[name], found.verdict, found.window
        choice.found[name] = verdict
        # A verdict on the whole says it all, but for what was cut out before; of a text too long for one, all parts do.
        if (found.last and window.start == 0) or verdict.action == "block" or verdict.cuts or window.end > WHOLE:
            choice.verdicts.append(verdict)
            if self._options.findings:
                self._note(choice, name, found)
        if verdict.action == "block":
            choice.block()
            return
        if found.last and window.end == len(lane.text):
            choice.done.add(name)
        edits = self._edits(name, lane, found)
        over = name in choice.done
        lane.passed(window.end, edits, suspicion=self._suspicion(verdict), over=over, now=self._clock())

    def _note(self, choice: _Choice, name: str, found: _Checked) -> None:
        """Remembers a verdict for a record. One on the whole says what milder ones on parts of it said; a part that is
        simply allowed says nothing once another was read."""
        whole = found.last and found.window.start == 0
        least = Action.of(found.verdict.action) if whole else Action.ALLOW
        noted = [before for before in choice.noted.get(name, ()) if Action.of(before.verdict.action) > least]
        choice.noted[name] = [*noted, found.finding]

    def _edits(self, name: str, lane: Lane, found: _Checked) -> list[Edit]:
        """What is replaced in a window: cuts of the policy, placeholders of the prompt."""
        window, cuts = found.window, found.verdict.cuts or ()
        if _is_call(name):
            # Its text was read out of JSON: a cut in it has no place of its own.
            changed = self._call(window.text, cuts)
            return [Edit(0, window.end, lambda _: changed)] if changed != window.text else []
        edits = [
            Edit(window.start + cut.start, window.start + cut.end, partial(self._redactor.replacement, label=cut.label))
            for cut in cuts
        ]
        pattern = self._put.placeholders if self._policy.spec.redaction.restore else None
        if pattern is not None:
            places = [place.span() for place in pattern.finditer(window.text)]
            edits += [
                Edit(window.start + start, window.start + end, self._put.restored)
                for start, end in places
                # Half a placeholder is none.
                if window.start + start >= lane.allowed
            ]
        return edits

    def _call(self, arguments: str, cuts: Sequence[Cut]) -> str:
        """A tool call's arguments as they leave."""
        call = {"role": "assistant", "tool_calls": [{"function": {"arguments": arguments}}]}
        if cuts:
            redacted(message_of(call, "$"), cuts, self._redactor)
        if self._policy.spec.redaction.restore:
            restore(message_of(call, "$"), self._put)
        changed: str = call["tool_calls"][0]["function"]["arguments"]  # type: ignore[index]
        return changed

    def _suspicion(self, verdict: Verdict) -> float:
        shares = [
            verdict.categories[name].score / max(start, 1e-6)
            for name, start in self._starts.items()
            if name in verdict.categories
        ]
        return max(shares, default=0.0)

    def _leaving(self) -> list[dict[str, Any]]:
        leaving = []
        for index, choice in self._choices.items():
            while choice.waiting:
                head = choice.waiting[0]
                if choice.may_leave(head):
                    choice.waiting.popleft()
                    choice.size -= head.size
                    leaving.append(self._emitted(index, choice, head))
                    continue
                part = _part(choice, head)
                if part is not None:
                    leaving.append(self._emitted(index, choice, part))
                break
            if choice.blocked and not choice.told:
                choice.told = True
                leaving.append(self._refusal(index, choice))
            if self._streaming.mode == "through" and not choice.blocked and not choice.final:
                leaving += self._progress(index, choice)
        if self._others and not any(choice.waiting for choice in self._choices.values()):
            leaving += self._others
            self._others.clear()
        return leaving

    def _settled(self) -> bool:
        return all(choice.blocked or (choice.final and not choice.waiting) for choice in self._choices.values())

    def _all_blocked(self) -> bool:
        blocked = [choice.blocked for choice in self._choices.values()]
        return len(blocked) >= self._expected and all(blocked)

    def _emitted(self, index: int, choice: _Choice, item: _Item) -> dict[str, Any]:
        own = item.choice
        texts = [choice.lanes[span.lane].leaving(span.start, span.end) for span in item.spans]
        for span, text in zip(item.spans, texts, strict=True):
            choice.lanes[span.lane].sent += len(text)
        came = [choice.lanes[span.lane].text[span.start : span.end] for span in item.spans]
        if item.cut or texts != came:
            own = copy.deepcopy(own)
            for place, text in zip(places_of(own["delta"]), texts, strict=True):
                place.put(text)
        if own.get("logprobs") is not None and texts != came:
            # They spell out what was replaced.
            own = own | {"logprobs": None}
        chunk = item.chunk | {"choices": [own]}
        if own.get("finish_reason") is not None:
            chunk["guard"] = self._report(choice)
        return self._annotated(choice, chunk)

    def _progress(self, index: int, choice: _Choice) -> list[dict[str, Any]]:
        """Where text leaves before it is checked, and somebody wants to know how far that is."""
        content = choice.lanes.get("content")
        if content is None or content.vetted <= choice.annotated or not (self._azure or self._options.vetted):
            return []
        nothing_new = {"index": index, "delta": {}, "finish_reason": None}
        return [self._annotated(choice, _without_usage(self._last) | {"choices": [nothing_new]})]

    def _annotated(self, choice: _Choice, chunk: dict[str, Any]) -> dict[str, Any]:
        """The chunk with what the request wants to know besides: how much is vetted, Azure's results and offsets."""
        content = choice.lanes.get("content")
        vetted = content.vetted if content is not None else 0
        if self._options.vetted:
            told = {name: lane.vetted for name, lane in choice.lanes.items() if not _is_call(name)}
            chunk["guard"] = chunk.get("guard", {}) | {"vetted": told}
        if self._azure and choice.found:
            (own,) = chunk["choices"]
            offsets = {
                "check_offset": self._characters + vetted,
                "start_offset": self._characters + choice.annotated,
                "end_offset": self._characters + vetted,
            }
            results = azure_results(self._policy, choice.found.values())
            chunk["choices"] = [own | {"content_filter_results": results, "content_filter_offsets": offsets}]
        choice.annotated = vetted
        return chunk

    def _report(self, choice: _Choice) -> dict[str, Any]:
        return shown(self._policy, self._prompt, RailReport.of(choice.verdicts))

    def _refusal(self, index: int, choice: _Choice) -> dict[str, Any]:
        """A blocked choice's last chunk: the refusal in OpenAI's place, and in the content, which all clients show."""
        says = self._policy.spec.chat.refusals.output
        content = choice.lanes.get("content")
        told = f"\n\n{says}" if content is not None and content.allowed else says
        ending = {
            "index": index,
            "delta": {"content": told, "refusal": says},
            "logprobs": None,
            "finish_reason": "content_filter",
        }
        return self._annotated(
            choice, _without_usage(self._last) | {"choices": [ending], "guard": self._report(choice)}
        )


def _is_call(lane: str) -> bool:
    return lane.startswith("tool ")


def _without_usage(chunk: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in chunk.items() if key != "usage" or value is None}


def _part(choice: _Choice, head: _Item) -> _Item | None:
    """The part of the first waiting item that may leave; the rest stays. None where nothing may, or only all of it."""
    cuts = [min(span.end, max(span.start, choice.lanes[span.lane].allowed)) for span in head.spans]
    if head.calls or all(span.start == cut for span, cut in zip(head.spans, cuts, strict=True)):
        return None
    # What describes the whole item stays with its last part.
    first = {"index": head.choice.get("index", 0), "delta": head.choice["delta"], "finish_reason": None}
    delta = {name: value for name, value in head.choice["delta"].items() if name != "role"}
    rest = [span._replace(start=cut) for span, cut in zip(head.spans, cuts, strict=True)]
    choice.waiting[0] = head._replace(choice=head.choice | {"delta": delta}, spans=tuple(rest), cut=True)
    parts = [span._replace(end=cut) for span, cut in zip(head.spans, cuts, strict=True)]
    return _Item(_without_usage(head.chunk), first, tuple(parts), 0, cut=True)
