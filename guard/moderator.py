"""The cascade: look up, screen, judge the doubtful, decide, remember.

    contents -> normalise -> cache --hit---------------------------------+
                               |miss                                     v
                               +--> screen --doubtful--> judge --> assessment --decide--> verdict

`Moderator` is the one way to a verdict: the API, the chat's rails, the command line and the
regression suite all call it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from guard.cache import CacheKeyer, VerdictCache
from guard.cache.claims import Shared
from guard.content import Content, Turn
from guard.errors import JudgeFailed, Overloaded, ScreenFailed
from guard.judge import Answers, Inquiry, Judge, asking
from guard.policy import Policy, decide, explain
from guard.question import Choice
from guard.screen import Material, Screen
from guard.single_flight import SingleFlight
from guard.telemetry import OPEN_SPAN, UNTRACED, Listener, ModerationDone, ModerationFailed, Stage, traced
from guard.text import normalise
from guard.turns import Crowd, Turns
from guard.verdict import Assessment, Score, Verdict

__all__ = ["Moderation", "Moderator", "Onlooker"]

T = TypeVar("T")

PIECE = 8
"""Texts that are screened in one turn."""
SHORT = 256
"""Characters of the texts that are screened in one turn while several tenants are there: one window, or so."""
SLICE = 2_000
"""Characters that are normalised in one turn while several tenants are there: a millisecond or two of the loop."""
DECIDED = 32
"""Texts that are decided on in one turn."""
MANY = 1 << 30
LONG = 10_000
"""Characters from which a call's texts are normalised in a thread."""
HELD = 0.25
"""Seconds after which a request is refused whose tenant's queue is full: who comes again at once is slowed down."""


class Moderation(msgspec.Struct, frozen=True):
    """The verdicts on a request's contents, in their order, what they rest on, and what they cost."""

    verdicts: tuple[Verdict, ...]
    assessments: tuple[Assessment, ...]
    judged: int
    judge_tokens: int
    seconds: float


class Onlooker(Protocol):
    """Is told of every verdict on a complete text, with what it rests on. It must be quick and must not raise."""

    def seen(
        self,
        policy: Policy,
        contents: Sequence[Content],
        materials: Sequence[Material],
        assessments: Sequence[Assessment],
        verdicts: Sequence[Verdict],
        *,
        only: frozenset[str] | None,
        tenant: str,
    ) -> None:
        """Called once for each call of the moderator, before its answer is returned."""

    async def close(self) -> None:
        """Ends what it still does."""


class Moderator:
    """Gives verdicts. Safe to call concurrently from one event loop.

    A verdict depends on the text, its role and context, the policy and the models: not on the
    other contents of the call, not on the cache, not on load.
    """

    def __init__(
        self,
        *,
        screen: Screen,
        judge: Judge | None,
        cache: VerdictCache,
        secret: bytes,
        listener: Listener,
        turns: Turns | None = None,
        onlooker: Onlooker | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.screen = screen
        self.judge = judge
        self._cache = cache
        self._keyer = CacheKeyer(
            secret, screen=screen.fingerprint, judge=judge.fingerprint if judge is not None else "none"
        )
        self._listener = listener
        self._clock = clock
        self._turns = turns if turns is not None else Turns(slots=MANY, most=MANY)
        self._onlooker = onlooker
        self._crowd = Crowd()
        self._flights: SingleFlight[bytes, Assessment] = SingleFlight()

    async def moderate(
        self,
        contents: Sequence[Content],
        policy: Policy,
        *,
        only: frozenset[str] | None = None,
        explained: bool = False,
        patient: bool = False,
        cuts: bool = False,
        remember: bool = True,
        session: str | None = None,
        again: bool = False,
        tenant: str = "",
    ) -> Moderation:
        """One verdict per content.

        `only` restricts the verdict to these categories; `explained` adds what each verdict rests
        on; `patient` waits as long as it takes (bulk work), where otherwise the policy's
        `deadline_ms` holds; `cuts` adds the places that redaction leaves out. Without `remember` the cache is neither
        asked nor told: for a text that is still being written. `session` names a text that comes again while it grows,
        for the judge alone to go on where it was (`Inquiry.session`): it is part of no cache key, and only of use with
        one content. `again`: these were decided on before, and nobody is told of it once more. `tenant`: whose texts
        these are; nothing that is remembered of them is used for another's.

        Raises:
            ValueError: a session of several contents.
            InvalidContent: `only` names a category that the policy does not have.
            Overloaded: too many texts are waiting already; where somebody waits for the answer, after a moment.
        """
        started = self._clock()
        if session is not None and len(contents) > 1:
            raise ValueError(f"a session is of one text; there are {len(contents)}")
        for rail in {content.rail for content in contents}:
            policy.active(rail, only)
        self._crowd.come(tenant)
        await self._room(tenant, len(contents), patient=patient)
        with traced("normalise"):
            materials = await self._materials(contents, tenant)
        normalised = self._clock()
        asked = only if self.judge is not None else None
        keys = [
            self._keyer.key(content, material.normalised, policy.assessment_fingerprint, asked, tenant)
            for content, material in zip(contents, materials, strict=True)
        ]
        with traced("cache") if remember else UNTRACED:
            known = await self._cache.get_many(keys) if remember else [None] * len(keys)
        looked_up = self._clock()
        spent: dict[Stage, float] = {}
        missing = {key: material for key, material, hit in zip(keys, materials, known, strict=True) if hit is None}
        fresh: dict[bytes, Assessment] = {}
        own: frozenset[bytes] = frozenset()
        if missing:
            fresh, own = await self._fresh(
                missing, policy, only, spent, patient=patient, remember=remember, session=session, tenant=tenant
            )
            if len(own) < len(missing):
                # That work is another call's, and so are its spans.
                OPEN_SPAN.get().put("guard.waited_for", len(missing) - len(own))
        assessments = [hit if hit is not None else fresh[key] for key, hit in zip(keys, known, strict=True)]
        cached = [hit is not None for hit in known]
        verdicts = await self._decided(policy, materials, assessments, cached, only=only, cuts=cuts, tenant=tenant)
        if explained:
            verdicts = [
                _explained(verdict, policy, assessment, material)
                for verdict, assessment, material in zip(verdicts, assessments, materials, strict=True)
            ]
        moderation = Moderation(
            verdicts=tuple(verdicts),
            assessments=tuple(assessments),
            judged=sum([fresh[key].judged for key in own]),
            judge_tokens=sum([fresh[key].judge_tokens for key in own]),
            seconds=self._clock() - started,
        )
        stages: list[tuple[Stage, float]] = [("normalise", normalised - started)]
        if remember:
            stages.append(("cache", looked_up - normalised))
        stages += spent.items()
        if again:
            return moderation
        self._listener.on_event(_event(moderation, contents, policy, tuple(stages), partial=not remember))
        if self._onlooker is not None and remember:
            self._onlooker.seen(policy, contents, materials, assessments, verdicts, only=only, tenant=tenant)
        return moderation

    @property
    def fingerprint(self) -> str:
        """Of the models: changes whenever the same text may get other scores."""
        return self.screen.fingerprint if self.judge is None else f"{self.screen.fingerprint}+{self.judge.fingerprint}"

    async def close(self) -> None:
        """Gives back what the judge and the cache hold."""
        if self._onlooker is not None:
            await self._onlooker.close()
        if self.judge is not None:
            await self.judge.close()
        await self._cache.close()

    async def _fresh(
        self,
        missing: dict[bytes, Material],
        policy: Policy,
        only: frozenset[str] | None,
        spent: dict[Stage, float],
        *,
        patient: bool,
        remember: bool,
        session: str | None,
        tenant: str,
    ) -> tuple[dict[bytes, Assessment], frozenset[bytes]]:
        """What the cache does not know, and the keys of what was worked on for this call: not for another one, here or
        at another replica. `spent` gets the seconds."""
        elsewhere: set[bytes] = set()

        async def assess(keys: list[bytes]) -> dict[bytes, Assessment]:
            work = {key: missing[key] for key in keys}
            found, others = await self._assess(
                work, policy, only, spent, patient=patient, remember=remember, session=session, tenant=tenant
            )
            elsewhere.update(others)
            return found

        # What is still being written is nobody else's; who is patient may be served later than others may.
        if patient or not remember:
            fresh, own = await assess(list(missing)), frozenset(missing)
        else:
            fresh, own = await self._flights.run(missing, assess)
        return fresh, own - elsewhere

    async def _assess(
        self,
        missing: dict[bytes, Material],
        policy: Policy,
        only: frozenset[str] | None,
        spent: dict[Stage, float],
        *,
        patient: bool,
        remember: bool,
        session: str | None,
        tenant: str,
    ) -> tuple[dict[bytes, Assessment], set[bytes]]:
        """Screens and judges what the cache does not know, identical texts of a call once; and the keys of those that
        another replica has judged meanwhile. `spent` gets the seconds."""
        deadline = None if patient else time.monotonic() + policy.spec.deadline_ms / 1e3
        begin = self._clock()
        screened = await self._screened(list(missing.values()), policy, deadline, tenant)
        spent["screen"] = spent.get("screen", 0.0) + self._clock() - begin
        fresh = dict(zip(missing, screened, strict=True))
        # Half of the time: who has waited for a replica that died has the other half left.
        shared = Shared(self._cache, policy.spec.deadline_ms / 2e3)
        try:
            if self.judge is not None:
                one_of_many = shared if remember else None
                fresh = await self._judged(
                    self.judge, missing, fresh, policy, only, deadline, session, tenant, one_of_many, spent
                )
            if remember:
                found = {k: a for k, a in fresh.items() if not a.failures and k not in shared.elsewhere}
                await self._cache.set_many(found)
                shared.held.difference_update(found)
        finally:
            await self._cache.release(shared.held)
        return fresh, shared.elsewhere

    async def _room(self, tenant: str, texts: int, *, patient: bool) -> None:
        """Refuses what has no place before it costs anything.

        Raises:
            Overloaded: too many texts are waiting already.
        """
        try:
            self._turns.check(tenant, texts)
        except Overloaded:
            if not patient:
                await asyncio.sleep(HELD)
            raise

    async def _materials(self, contents: Sequence[Content], tenant: str) -> list[Material]:
        """The contents with their normalised texts; long ones in a thread, for others wait on this loop.

        A thread keeps others waiting too, as long as it runs Python, so beside them many texts are done by and by.
        """
        materials: list[Material] = []
        left = deque(contents)
        size = SLICE if self._crowd.several else MANY
        while left:
            some = _taken(left, _length, characters=size)
            await self._crowd.turn(tenant)
            long = sum(map(_length, some)) > LONG
            materials += await asyncio.to_thread(_normalised, some) if long else _normalised(some)
        return materials

    async def _decided(
        self,
        policy: Policy,
        materials: Sequence[Material],
        assessments: Sequence[Assessment],
        cached: Sequence[bool],
        *,
        only: frozenset[str] | None,
        cuts: bool,
        tenant: str,
    ) -> list[Verdict]:
        """One verdict for each assessment; many of them by and by where others are there."""
        verdicts: list[Verdict] = []
        for start in range(0, len(assessments), DECIDED):
            if start:
                await self._crowd.turn(tenant)
            some = slice(start, start + DECIDED)
            verdicts += [
                decide(
                    policy,
                    assessment,
                    material.normalised,
                    rail=material.content.rail,
                    only=only,
                    uninspected=material.content.uninspected,
                    cached=hit,
                    judge=self.judge is not None,
                    cuts=cuts,
                )
                for assessment, material, hit in zip(assessments[some], materials[some], cached[some], strict=True)
            ]
        return verdicts

    async def _screened(
        self, materials: list[Material], policy: Policy, deadline: float | None, tenant: str
    ) -> list[Assessment]:
        """The screen's assessments, in pieces, as the tenant's turns come."""
        found: dict[int, Assessment] = {}
        left = deque(enumerate(materials))

        async def work() -> None:
            while left:
                async with self._turns.turn(tenant):
                    # Who is alone gets large pieces, which cost less; else others would wait for their end.
                    size = SHORT if self._crowd.several else MANY
                    piece = _taken(left, lambda one: len(one[1].normalised.text), characters=size, most=PIECE)
                    if piece:
                        read = await self._piece([material for _, material in piece], policy, deadline)
                        found.update(zip([place for place, _ in piece], read, strict=True))

        pieces = min(self._turns.slots, -(-len(materials) // PIECE))
        with traced("screen"):
            async with self._turns.place(tenant, len(materials)):
                await asyncio.gather(*[work() for _ in range(pieces)])
            assessments = [found[place] for place in range(len(materials))]
            failed = [assessment for assessment in assessments if assessment.failures]
            if failed:
                self._listener.on_event(ModerationFailed(policy.name, "screen", failed[0].error, len(failed)))
        return assessments

    async def _piece(self, materials: list[Material], policy: Policy, deadline: float | None) -> list[Assessment]:
        try:
            return await self.screen.assess(materials, policy, deadline=deadline)
        except ScreenFailed as exc:
            return [Assessment(scores={}, failures=("screen",), error=str(exc))] * len(materials)

    async def _judged(
        self,
        judge: Judge,
        materials: dict[bytes, Material],
        assessments: dict[bytes, Assessment],
        policy: Policy,
        only: frozenset[str] | None,
        deadline: float | None,
        session: str | None,
        tenant: str,
        shared: Shared | None,
        spent: dict[Stage, float],
    ) -> dict[bytes, Assessment]:
        """The assessments with the judge's probabilities in place of doubtful scores; each asked for by one of the
        replicas, where they share a cache and nobody has all the time in the world."""
        inquiries: dict[bytes, Inquiry] = {}
        for key, material in materials.items():
            categories = _doubtful(assessments[key], policy, material.content, only)
            if categories:
                inquiries[key] = asking(policy, _as_read(material), categories, session, tenant)
        if not inquiries:
            return assessments
        begin = self._clock()
        settled = dict(assessments)

        async def ask(keys: list[bytes]) -> dict[bytes, Assessment]:
            answers = await judge.answer([inquiries[key] for key in keys], deadline=deadline)
            found = {k: _settled(assessments[k], inquiries[k], told) for k, told in zip(keys, answers, strict=True)}
            settled.update(found)
            return found

        with traced("judge"):
            try:
                async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                    if shared is None or deadline is None:
                        await ask(list(inquiries))
                    else:
                        settled |= await shared.run(list(inquiries), ask)
            except (JudgeFailed, TimeoutError) as exc:
                failed = [key for key in inquiries if settled[key] is assessments[key]]
                error = str(exc) or "not within the policy's deadline"
                self._listener.on_event(ModerationFailed(policy.name, "judge", error, len(failed)))
                for key in failed:
                    before = assessments[key]
                    settled[key] = msgspec.structs.replace(before, failures=(*before.failures, "judge"))
            finally:
                spent["judge"] = spent.get("judge", 0.0) + self._clock() - begin
        return settled


def _taken(left: deque[T], length: Callable[[T], int], *, characters: int, most: int = MANY) -> list[T]:
    """Takes the first of what is left, and of what follows as many as fit into so many characters, at most `most`."""
    taken: list[T] = []
    while left and (not taken or (len(taken) < most and length(left[0]) <= characters)):
        characters -= length(left[0])
        taken.append(left.popleft())
    return taken


def _length(content: Content) -> int:
    return len(content.text) + sum([len(turn.text) for turn in content.context])


def _normalised(contents: Sequence[Content]) -> list[Material]:
    # One conversation's turns are the context of each other.
    known: dict[str, str] = {}
    return [_material(content, known) for content in contents]


def _material(content: Content, known: dict[str, str]) -> Material:
    if content.context:
        for turn in content.context:
            if turn.text not in known:
                known[turn.text] = normalise(turn.text).text
        context = tuple([Turn(turn.role, known[turn.text]) for turn in content.context])
        return Material(msgspec.structs.replace(content, context=context), normalise(content.text))
    return Material(content, normalise(content.text))


def _doubtful(assessment: Assessment, policy: Policy, content: Content, only: frozenset[str] | None) -> tuple[str, ...]:
    """The categories that a judge should settle: in the doubtful band, or scored by examples or by nobody. In a
    language that the screen was not made for every score is doubtful, where the category has a band at all."""
    names = []
    scores = policy.seen(assessment.scores)
    for category in policy.active(content.rail, only):
        score = scores.get(category.name)
        foreign = not assessment.language_supported and category.doubt is not None
        if score is None or score.source == "examples" or foreign or category.doubtful(score.value):
            names.append(category.name)
    return tuple(names)


def _as_read(material: Material) -> Content:
    """The content as the screen has read it: its normalised text, and what is encoded or disguised in it."""
    readings = [f"\n\nThe same text, {view.kind} undone:\n{view.text}" for view in material.normalised.views]
    return msgspec.structs.replace(material.content, text="".join([material.normalised.text, *readings]))


def _settled(assessment: Assessment, inquiry: Inquiry, told: Answers) -> Assessment:
    """The judge's word replaces the screen's score; the screen's spans stay."""
    scores = dict(assessment.scores)
    for name, probability in _by_category(inquiry, told).items():
        before = scores.get(name)
        scores[name] = Score(round(probability, 6), "judge", before.spans if before is not None else ())
    return msgspec.structs.replace(
        assessment,
        scores=scores,
        judged=len(inquiry.questions),
        judge_tokens=told.tokens,
    )


def _by_category(inquiry: Inquiry, told: Answers) -> dict[str, float]:
    first = inquiry.questions[0]
    if isinstance(first, Choice):
        options = [option.name for option in first.options]
        reflected = dict(zip(options, told.answers[0].probabilities, strict=True))
        return {category: reflected[category] for category in inquiry.categories}
    found = [answer.probabilities[0] for answer in told.answers]
    return dict(zip(inquiry.categories, found, strict=True))


def _explained(verdict: Verdict, policy: Policy, assessment: Assessment, material: Material) -> Verdict:
    explanation = explain(policy, assessment, material.normalised, rail=material.content.rail)
    return msgspec.structs.replace(verdict, explanation=explanation)


def _event(
    moderation: Moderation,
    contents: Sequence[Content],
    policy: Policy,
    stages: tuple[tuple[Stage, float], ...],
    *,
    partial: bool,
) -> ModerationDone:
    return ModerationDone(
        policy=policy.name,
        fingerprint=policy.fingerprint,
        rail=contents[0].rail.value if contents else "",
        verdicts=moderation.verdicts,
        seconds=moderation.seconds,
        judged=moderation.judged,
        judge_tokens=moderation.judge_tokens,
        partial=partial,
        stages=stages,
    )
