"""The screen that ships: the policy's rules first, then the encoder, over the text and its other readings."""

import asyncio
import hashlib
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from weakref import WeakKeyDictionary

import msgspec

from guard import __version__
from guard.errors import Overloaded, ScreenFailed
from guard.policy import Policy
from guard.policy.calibration import Model
from guard.policy.schema import TermList
from guard.screen import Material
from guard.screen.encoder import Encoder, Reading
from guard.screen.examples import Nearest
from guard.screen.language import LanguageIdentifier
from guard.screen.lexicon import Lexicon
from guard.screen.patterns import CATALOGUE, PatternSet
from guard.text import View, normalise
from guard.verdict import Assessment, Hit, Score, Span

__all__ = ["StandardScreen"]

CHUNK = 8
"""Texts that one thread takes at a time: few, so that a small request does not wait behind a large one."""
MAX_HITS = 256
"""Matches of one rule in one text that are told apart; the last one then reaches to the end of the rest."""


class _Rules:
    """The compiled rules of one policy, and the scores of a text that the static tier settles.

    `settled` is None where the tier must not be asked: the policy tells faint scores apart, or it has a category that
    the encoder scores and the tier does not, or one that is scored by examples.
    """

    def __init__(self, policy: Policy, encoder: Encoder) -> None:
        self.nearest = Nearest(policy, heads=encoder.heads, embed=lambda text: encoder.read(text).embeddings[0])
        self.settled = _settled_scores(policy, encoder) if not self.nearest.scored else None
        self._lexicon = Lexicon({name: _as_read(terms) for name, terms in policy.spec.terms.items()})
        self._patterns = PatternSet(policy.spec.patterns)

    def find(self, text: str) -> list[Hit]:
        return [*self._lexicon.find(text), *self._patterns.find(text)]


def _settled_scores(policy: Policy, encoder: Encoder) -> dict[str, Score] | None:
    tier = encoder.static
    scored = [head for head in encoder.heads if head in policy.categories]
    if tier is None or policy.silent_below < tier.settings.ceiling or not tier.settings.scores.keys() >= set(scored):
        return None
    return {head: Score(tier.settings.scores[head], "static") for head in scored}


def _as_read(terms: TermList) -> TermList:
    """The list with its words also as `normalise` leaves them among Latin words.

    A Cyrillic word that looks Latin stays as it is in a Russian text, and is folded in an English one.
    """
    words, allowed = (_with_folded(terms.words), _with_folded(terms.allow_in))
    return msgspec.structs.replace(terms, words=words, allow_in=allowed)


def _with_folded(words: tuple[str, ...]) -> tuple[str, ...]:
    before, after = "you are such a ", " my friend"
    folded = [normalise(before + word + after).text[len(before) : -len(after)] for word in words]
    return tuple(dict.fromkeys([*words, *folded]))


class StandardScreen:
    """Rules and encoder in a pool of threads. Implements `Screen`.

    `threads` texts are scored at the same time; at most `max_waiting` may be queued or in work. With `static`,
    the encoder's static tier settles the plain texts, where the encoder has one.
    """

    def __init__(self, encoder: Encoder, *, threads: int, max_waiting: int, static: bool = True) -> None:
        self._encoder = encoder
        self._languages = LanguageIdentifier(encoder.languages)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="screen")
        self._max_waiting = max_waiting
        self._waiting = 0
        self._windows = 0
        self._lock = threading.Lock()
        # Weak, so that what was compiled for a policy goes when the last request under it has gone.
        self._rules: WeakKeyDictionary[Policy, _Rules] = WeakKeyDictionary()
        self.name = encoder.name
        self.model = Model(name=encoder.name, fingerprint=encoder.fingerprint)
        self._static = encoder.static if static else None
        self.fingerprint = _fingerprint(encoder, static=self._static is not None)

    @property
    def windows(self) -> int:
        """Windows of texts that the encoder has read so far, hidden readings included."""
        return self._windows

    def prepare(self, policy: Policy) -> None:
        """Compiles the policy's rules, unless that was done."""
        self._rules_of(policy)

    async def assess(
        self, materials: Sequence[Material], policy: Policy, *, deadline: float | None = None
    ) -> list[Assessment]:
        """See `Screen.assess`."""
        with self._lock:
            if self._waiting + len(materials) > self._max_waiting:
                raise Overloaded(f"{self._waiting} texts are in work; at most {self._max_waiting} may be")
            self._waiting += len(materials)
        rules = self._rules_of(policy)
        chunks = [materials[i : i + CHUNK] for i in range(0, len(materials), CHUNK)]
        futures = [self._submit(chunk, policy, rules, deadline) for chunk in chunks]
        parts = await asyncio.gather(*map(asyncio.wrap_future, futures))
        return [assessment for part in parts for assessment in part]

    def _submit(
        self, chunk: Sequence[Material], policy: Policy, rules: _Rules, deadline: float | None
    ) -> Future[list[Assessment]]:
        """Queues a chunk; its texts count as waiting until a thread is done with them, whoever still listens."""

        def done(_: object) -> None:
            with self._lock:
                self._waiting -= len(chunk)

        future = self._pool.submit(lambda: [self._assess(material, policy, rules, deadline) for material in chunk])
        future.add_done_callback(done)
        return future

    def _rules_of(self, policy: Policy) -> _Rules:
        rules = self._rules.get(policy)
        if rules is None:
            rules = self._rules[policy] = _Rules(policy, self._encoder)
        return rules

    def _assess(self, material: Material, policy: Policy, rules: _Rules, deadline: float | None) -> Assessment:
        """One text. Where the encoder fails, what the rules found still stands."""
        content, normalised = material.content, material.normalised
        supported = self._languages.supports(normalised.text)
        hits = rules.find(normalised.text)
        for view in normalised.views:
            hits += [Hit(hit.kind, hit.name, *view.to_text(hit.start, hit.end)) for hit in rules.find(view.text)]
        if supported and not hits and (settled := self._settled(material, rules)) is not None:
            return Assessment(scores=settled)
        context = content.context[-1].text if content.context else ""
        try:
            own = self._encoder.read(normalised.text, role=content.role, context=context, deadline=deadline)
            read = own.windows
            scores = self._scores(own, policy, rules)
            for view in normalised.views:
                other = self._encoder.read(view.text, role=content.role, context=context, deadline=deadline)
                read += other.windows
                _raise(scores, self._scores(other, policy, rules), view)
        except ScreenFailed as exc:
            return Assessment(
                scores={},
                hits=_bounded(hits),
                language_supported=supported,
                failures=("screen",),
                error=str(exc),
            )
        with self._lock:
            self._windows += read
        return Assessment(
            scores=scores,
            hits=_bounded(hits),
            windows=own.windows,
            unread=own.unread,
            language_supported=supported,
        )

    def _settled(self, material: Material, rules: _Rules) -> dict[str, Score] | None:
        """The static tier's scores for a plain text. Beyond it are a turn before, a hidden reading, long texts."""
        tier, content, text = self._static, material.content, material.normalised.text
        if tier is None or rules.settled is None or content.context or material.normalised.views:
            return None
        if len(text) > tier.settings.max_characters:
            return None
        return rules.settled if tier.settles(self._encoder.plain_ids(text), content.role) else None

    def _scores(self, reading: Reading, policy: Policy, rules: _Rules) -> dict[str, Score]:
        scores = {
            head: Score(round(float(value), 6), "encoder", reading.spans.get(head, ()))
            for head, value in zip(self._encoder.heads, reading.scores, strict=True)
            if head in policy.categories
        }
        for embedding in reading.embeddings if rules.nearest.scored else ():
            for name, value in rules.nearest.scores(embedding).items():
                if name not in scores or value > scores[name].value:
                    scores[name] = Score(round(value, 6), "examples")
        return scores


def _raise(scores: dict[str, Score], others: Mapping[str, Score], view: View) -> None:
    """Takes the higher of two readings' scores; spans of `view` go to the place in the text it comes from."""
    for head, other in others.items():
        if other.value > scores[head].value:
            spans = tuple([Span(*view.to_text(span.start, span.end), span.score) for span in other.spans])
            scores[head] = Score(other.value, other.source, spans)


def _bounded(hits: list[Hit]) -> tuple[Hit, ...]:
    """Each hit once, and at most MAX_HITS of a rule: the last then covers the rest, so redaction loses nothing."""
    by_rule: defaultdict[tuple[str, str], list[Hit]] = defaultdict(list)
    for hit in dict.fromkeys(hits):
        by_rule[hit.kind, hit.name].append(hit)
    kept: list[Hit] = []
    for found in by_rule.values():
        found.sort(key=lambda hit: hit.start)
        kept += found[: MAX_HITS - 1]
        if rest := found[MAX_HITS - 1 :]:
            kept.append(Hit(rest[0].kind, rest[0].name, rest[0].start, max(hit.end for hit in rest)))
    return tuple(sorted(kept, key=lambda hit: (hit.start, hit.name)))


def _fingerprint(encoder: Encoder, *, static: bool) -> str:
    """Covers the encoder, whether its static tier is used, the catalogue's expressions and this version's code: all
    that scores come from."""
    rules = "\n".join(f"{name} {pattern.regex}" for name, pattern in sorted(CATALOGUE.items()))
    return hashlib.blake2b(f"{__version__} {encoder.fingerprint} {static} {rules}".encode(), digest_size=8).hexdigest()
