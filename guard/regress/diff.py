"""Two policies, or two sets of models, side by side: whose verdict is another one, and why.

    texts --asked under both--> Seen, Seen --Comparison--> Diff
    two reports of `guard test --json` --between--> Diff

Where the policies differ only in what they do about scores (the same `assessment_fingerprint`), a text is read once and
decided twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from guard.content import Content, Turn
from guard.moderator import Moderator
from guard.policy import Policy, decide
from guard.policy.changes import Change
from guard.regress.cases import Case
from guard.regress.flips import mcnemar
from guard.regress.run import read
from guard.regress.suite import CaseReport
from guard.text import normalise
from guard.verdict import Action, ActionWord, Assessment, CategoryVerdict, Verdict

__all__ = [
    "CategoryTally", "Comparison", "Diff", "Diffed", "Direction", "Part", "Reported", "Seen", "Shown", "Side", "Text",
    "TextFlip", "asked", "between",
]  # fmt: skip

CHUNK = 256
"""Texts that are asked under both policies before the next ones are looked at."""

Direction = Literal["broken", "mended", "changed", "harder", "milder"]
_WORST: dict[Direction, int] = {"broken": 0, "harder": 1, "milder": 2, "changed": 3, "mended": 4}


class Side(msgspec.Struct, frozen=True):
    """One of the two: as it was `given`, the policy's name and fingerprint, and the models."""

    given: str
    policy: str
    fingerprint: str
    models: dict[str, str | None]


class Part(msgspec.Struct, frozen=True):
    """What one side says of a category; `threshold` is that of its action, or the lowest where it acts at no score."""

    score: float
    threshold: float
    violated: bool
    action: ActionWord
    source: str


class Parts(msgspec.Struct, frozen=True):
    """A category on both sides; null where a side does not check it."""

    before: Part | None
    after: Part | None


class TextFlip(msgspec.Struct, frozen=True):
    """A text whose action, or whose violated categories, are others.

    `broken`: it was as expected and is not any more; `mended`: the other way; `changed`: neither. Where nobody said
    what is expected: `harder` or `milder`, by the action, and `changed` where only categories differ. `categories` are
    those that are violated on one side only, or whose actions differ.
    """

    id: str
    place: str
    direction: Direction
    expected: str
    before: ActionWord
    after: ActionWord
    categories: dict[str, Parts]


class CategoryTally(msgspec.Struct, frozen=True):
    """One category over all texts: how many violate it on each side, how many only now (`came`) or no more (`went`),
    and of those that violate it on both, how many with a harder or a milder action."""

    before: int = 0
    after: int = 0
    came: int = 0
    went: int = 0
    harder: int = 0
    milder: int = 0


class Diff(msgspec.Struct, frozen=True):
    """What came out.

    `texts` were compared, `labelled` of them with an expectation; `degraded` were not, for a stage failed on one side;
    `errors` are unreadable rows. `new`, `gone` and `edited` are cases that only one of two reports has, or that
    ask something else. `p_value` is McNemar's exact test over broken and mended; null where nothing is labelled.
    """

    before: Side
    after: Side
    on: str
    read_once: bool
    texts: int
    labelled: int
    degraded: int
    errors: int
    changes: tuple[Change, ...]
    directions: dict[Direction, int]
    p_value: float | None
    flips: tuple[TextFlip, ...]
    categories: dict[str, CategoryTally]
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()

    @property
    def broken(self) -> int:
        """Texts that were as expected and are not any more."""
        return self.directions.get("broken", 0)


class Shown(msgspec.Struct, frozen=True):
    """A flip's text, for the page alone: the turns, and the verdict's categories with their spans."""

    turns: tuple[tuple[str, str], ...]
    categories: dict[str, CategoryVerdict]


class Diffed(NamedTuple):
    """The result, and the texts of its flips in their order."""

    diff: Diff
    shown: tuple[Shown, ...]


class Text(msgspec.Struct, frozen=True):
    """A text to be asked. It is as expected where its `case` is met, or where it is flagged as its row says; `flagged`
    is None where nobody said."""

    id: str
    place: str
    content: Content
    case: Case | None = None
    flagged: bool | None = None

    @classmethod
    def of(cls, case: Case) -> "Text":
        """A case."""
        return cls(case.id, f"{case.file}:{case.line}", case.content(), case=case)

    @property
    def expected(self) -> str:
        """In words; empty where nobody said."""
        if self.case is not None:
            names = [*self.case.violates, *[f"not {name}" for name in self.case.not_violates]]
            return str(self.case.expected) + (f" ({', '.join(names)})" if names else "")
        return "" if self.flagged is None else "flagged" if self.flagged else "not flagged"

    def passed(self, verdict: Verdict) -> bool | None:
        """Whether the verdict is as expected; None where nobody said."""
        if self.case is not None:
            return not self.case.missed_by(verdict)
        return None if self.flagged is None else verdict.flagged == self.flagged

    def seen(self, verdict: Verdict) -> "Seen":
        """The verdict, held against what is expected."""
        return Seen(verdict.action, self.passed(verdict), verdict.categories, verdict.degraded)


class Seen(NamedTuple):
    """What one side makes of a text."""

    action: ActionWord
    passed: bool | None
    categories: Mapping[str, CategoryVerdict]
    degraded: bool


class Comparison:
    """Takes texts one by one; keeps flips and counts, and no other text."""

    def __init__(self) -> None:
        self.texts = self.labelled = self.degraded = self.errors = 0
        self._flips: list[tuple[TextFlip, Shown]] = []
        self._tallies: dict[str, dict[str, int]] = {}

    def add(
        self, id: str, before: Seen, after: Seen, *, place: str, expected: str, turns: Callable[[], Sequence[Turn]]
    ) -> None:
        """One text under both."""
        if before.degraded or after.degraded:
            # What failed would be compared, not the policies.
            self.degraded += 1
            return
        self.texts += 1
        self.labelled += after.passed is not None
        parts: dict[str, Parts] = {}
        for name in dict.fromkeys((*after.categories, *before.categories)):
            old, new = before.categories.get(name), after.categories.get(name)
            self._tally(name, old, new)
            if (old.action if old is not None else "allow") != (new.action if new is not None else "allow"):
                parts[name] = Parts(_part(old), _part(new))
        if before.action == after.action and _violated(before) == _violated(after):
            return
        flip = TextFlip(id, place, _direction(before, after), expected, before.action, after.action, parts)
        shown = Shown(tuple([(turn.role, turn.text) for turn in turns()]), dict(after.categories))
        self._flips.append((flip, shown))

    def _tally(self, name: str, old: CategoryVerdict | None, new: CategoryVerdict | None) -> None:
        was, now = old is not None and old.violated, new is not None and new.violated
        if not was and not now:
            return
        counts = self._tallies.setdefault(name, defaultdict(int))
        counts["before"] += was
        counts["after"] += now
        counts["came"] += now and not was
        counts["went"] += was and not now
        if old is not None and new is not None and was and now:
            counts["harder"] += Action.of(new.action) > Action.of(old.action)
            counts["milder"] += Action.of(new.action) < Action.of(old.action)

    def diffed(
        self,
        before: Side,
        after: Side,
        *,
        on: str,
        read_once: bool,
        changes: tuple[Change, ...] = (),
        new: tuple[str, ...] = (),
        gone: tuple[str, ...] = (),
        edited: tuple[str, ...] = (),
    ) -> Diffed:
        """All that was found, the worst first."""
        # Stable: within a direction the texts stay in their order.
        self._flips.sort(key=lambda pair: _WORST[pair[0].direction])
        directions: defaultdict[Direction, int] = defaultdict(int)
        for flip, _ in self._flips:
            directions[flip.direction] += 1
        tallies = {name: CategoryTally(**counts) for name, counts in self._tallies.items()}
        diff = Diff(
            before=before,
            after=after,
            on=on,
            read_once=read_once,
            texts=self.texts,
            labelled=self.labelled,
            degraded=self.degraded,
            errors=self.errors,
            changes=changes,
            directions=dict(directions),
            p_value=mcnemar(directions.get("broken", 0), directions.get("mended", 0)) if self.labelled else None,
            flips=tuple([flip for flip, _ in self._flips]),
            categories={name: one for name, one in sorted(tallies.items()) if one.before != one.after or _moved(one)},
            new=new,
            gone=gone,
            edited=edited,
        )
        return Diffed(diff, tuple([shown for _, shown in self._flips]))


async def asked(
    moderator: Moderator,
    before: Policy,
    after: Policy,
    texts: Iterable[Text | None],
    *,
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Asks every text under both policies; None counts as a row without a text. `advance` is called after each."""
    found = Comparison()
    chunk: list[Text] = []

    async def ask() -> None:
        for text, old, new in await _both(moderator, before, after, chunk):
            found.add(
                text.id,
                text.seen(old),
                text.seen(new),
                place=text.place,
                expected=text.expected,
                turns=lambda content=text.content: (*content.context, Turn(content.role, content.text)),  # type: ignore[misc]
            )
            advance()
        chunk.clear()

    for text in texts:
        if text is None:
            found.errors += 1
            advance()
            continue
        chunk.append(text)
        if len(chunk) == CHUNK:
            await ask()
    await ask()
    return found


async def _both(
    moderator: Moderator, before: Policy, after: Policy, texts: Sequence[Text]
) -> list[tuple[Text, Verdict, Verdict]]:
    contents = [text.content for text in texts]
    first = [pair async for pair in read(moderator, before, contents)]
    if before.assessment_fingerprint == after.assessment_fingerprint:
        again = [_again(moderator, after, text.content, found) for text, (_, found) in zip(texts, first, strict=True)]
    else:
        again = [verdict async for verdict, _ in read(moderator, after, contents)]
    return [(text, old, new) for text, (old, _), new in zip(texts, first, again, strict=True)]


def _again(moderator: Moderator, policy: Policy, content: Content, assessment: Assessment) -> Verdict:
    """Another policy's verdict on what was found out already."""
    return decide(
        policy,
        assessment,
        normalise(content.text),
        rail=content.rail,
        uninspected=content.uninspected,
        judge=moderator.judge is not None,
    )


class Reported(msgspec.Struct, frozen=True):
    """What a report of `guard test --json` holds of a policy, as far as two of them are compared."""

    policy: str
    fingerprint: str
    models: dict[str, str | None]
    results: tuple[CaseReport, ...]


def between(before: Reported, after: Reported, *, given: tuple[str, str]) -> Diffed:
    """Two reports side by side; nothing is read again. Cases that ask something else now are left out."""
    found = Comparison()
    old = {result.id: result for result in before.results}
    new = {result.id: result for result in after.results}
    shared = [name for name in new if name in old]
    edited = {name for name in shared if (old[name].turns, old[name].rail) != (new[name].turns, new[name].rail)}
    for name in shared:
        if name in edited:
            continue
        result = new[name]
        found.add(
            name,
            _seen(old[name]),
            _seen(result),
            place=f"{result.file}:{result.line}",
            expected=result.expected,
            turns=lambda result=result: [Turn(*turn) for turn in result.turns],  # type: ignore[misc]
        )
    return found.diffed(
        Side(given[0], before.policy, before.fingerprint, before.models),
        Side(given[1], after.policy, after.fingerprint, after.models),
        on="reports",
        read_once=False,
        new=tuple([name for name in new if name not in old]),
        gone=tuple([name for name in old if name not in new]),
        edited=tuple([name for name in shared if name in edited]),
    )


def _seen(result: CaseReport) -> Seen:
    return Seen(result.action, not result.missed, result.categories, result.degraded)


def _part(found: CategoryVerdict | None) -> Part | None:
    if found is None:
        return None
    return Part(round(found.score, 6), found.threshold, found.violated, found.action, found.source)


def _violated(seen: Seen) -> set[str]:
    return {name for name, found in seen.categories.items() if found.violated}


def _direction(before: Seen, after: Seen) -> Direction:
    if before.passed is not None and after.passed is not None:
        if before.passed == after.passed:
            return "changed"
        return "mended" if after.passed else "broken"
    if before.action == after.action:
        return "changed"
    return "harder" if Action.of(after.action) > Action.of(before.action) else "milder"


def _moved(tally: CategoryTally) -> bool:
    return bool(tally.came or tally.went or tally.harder or tally.milder)
