"""Which verdicts leave a record, and what is in it."""

import msgspec
import pytest

from guard.content import Content, Rail, Turn
from guard.errors import InvalidContent, StoreError
from guard.policy import Policy, decide
from guard.store import Beside, Finding, Page, Query, Record, Sight
from guard.store import recorder as module
from guard.store.recorder import Call, Keeping, Numbers, Recorder, keeping
from guard.telemetry import RecordsKept, ShadowDropped
from guard.testing import Recorder as Told
from guard.testing import a_policy
from guard.text import normalise
from guard.verdict import Assessment, Hit, Score
from tests.store.conftest import WallClock

MAIL = "Write to jane@example.com."
HIT = Hit("patterns", "email", 9, 25)
REDACTING = {"patterns": {"email": {"category": "violence", "action": "redact"}}}


class ListStore:
    """Keeps what it is told in a list; fails where it was told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.records: list[Record] = []
        self.seconds: list[float] = []
        self.waiting, self.room, self.problem = 0, 1, ""
        self._fails = fails

    async def add(self, records, *, seconds):
        self.seconds.append(seconds)
        if self._fails:
            raise StoreError("the disk's own words")
        self.records += records

    async def find(self, query: Query, sight: Sight = Sight()) -> Page:  # noqa: B008 (frozen)
        return Page(tuple(self.records))

    async def get(self, id, sight=None):
        return None

    async def delete(self, id, sight=None):
        return False

    async def purge(self):
        return 0

    async def close(self):
        self.records.clear()


def a_finding(policy: Policy, text: str = "a text", score: float = 0.1, *, hits=(), only=None, **content) -> Finding:
    """What the moderator would find."""
    given = Content(text, **({"role": "user"} | content))
    scores = {"hate": Score(score, "encoder"), "violence": Score(0.0, "encoder")}
    failures = ("screen",) if score < 0 else ()
    assessment = Assessment({} if failures else scores, hits=tuple(hits), failures=failures, error="quotes the text")
    verdict = decide(
        policy, assessment, normalise(text), only=only, cuts=True, uninspected=given.uninspected, rail=given.rail
    )
    return Finding(given, verdict, assessment)


async def records_of(policy: Policy, *findings: Finding, texts: bool = True, only=None, fails: bool = False):
    """The records that they leave, all of them."""
    store = ListStore(fails=fails)
    call = Call("mod_1", "moderate", "shop", "web", policy, Keeping("all", texts), only)
    lost = await Recorder(store, Told(), screen="s", judge=None, wall_clock=WallClock()).keep(call, findings)
    assert not lost
    return store.records


@pytest.mark.parametrize(
    ("spec", "asked", "stored", "expected"),
    [
        ({}, None, True, None),
        ({"store_verdicts": "flagged"}, None, True, Keeping("flagged", texts=False)),
        ({"store_verdicts": "all", "store_texts": True}, None, True, Keeping("all", texts=True)),
        ({"store_texts": True}, None, True, None),
        ({"store_verdicts": "all", "store_texts": True}, None, False, None),
        ({"store_verdicts": "all", "store_texts": True}, False, True, None),
        ({"store_verdicts": "all"}, False, False, None),
        ({"store_texts": True}, True, True, Keeping("all", texts=True)),
        ({"store_verdicts": "flagged", "store_texts": True}, True, True, Keeping("all", texts=True)),
    ],
)
def test_the_policy_decides_unless_the_call_says_no(spec, asked, stored, expected):
    """`false` always holds; `true` keeps the text whatever the action."""
    assert keeping(a_policy(**spec), asked, stored=stored) == expected


@pytest.mark.parametrize(
    ("stored", "message"), [(True, "policy `test` keeps no texts"), (False, r"no store is set \(GUARD_STORE\)")]
)
def test_a_wish_that_cannot_be_granted_is_refused(stored, message):
    """By the field's place, with what to send instead."""
    with pytest.raises(InvalidContent, match=f"{message}.*send `store: false`, or leave it out") as caught:
        keeping(a_policy(store_verdicts="all"), True, stored=stored)
    assert caught.value.path == "$.store"


async def test_a_record_says_whose_what_and_until_when():
    """All that is known of the call, and the verdict as the API encodes it."""
    policy = a_policy(store_texts=True, retention_days=3)
    (record,) = await records_of(policy, a_finding(policy, "a text", 0.95, context=(Turn("assistant", "before"),)))
    assert (record.id, record.tenant, record.key, record.route) == ("mod_1-0", "shop", "web", "moderate")
    assert (record.policy, record.fingerprint, record.screen, record.judge) == ("test", policy.fingerprint, "s", None)
    assert (record.action, record.role, record.rail) == ("block", "user", Rail.INPUT)
    assert (record.text, record.context) == ("a text", (Turn("assistant", "before"),))
    assert (record.expires - record.time).days == 3
    assert record.assessment.scores["hate"].value == 0.95
    assert record.verdict.categories["hate"].violated
    assert record.verdict.cuts is msgspec.UNSET


async def test_only_what_flags_is_kept_where_the_policy_says_so():
    """Numbers are those of the texts in the call, so that they can be told apart."""
    policy = a_policy()
    store, told = ListStore(), Told()
    call = Call("mod_1", "chat", "", "", policy, Keeping("flagged", texts=False))
    recorder = Recorder(store, told, screen="s", judge="j")
    assert await recorder.keep(call, [a_finding(policy, score=0.1) for _ in range(4)]) == frozenset()
    findings = [a_finding(policy, score=score) for score in (0.1, 0.6, 0.1, 0.95)]
    assert await recorder.keep(call, findings) == frozenset()
    assert [(record.id, record.action) for record in store.records] == [("mod_1-5", "flag"), ("mod_1-7", "block")]
    assert told.events == [RecordsKept("test", 2)]
    assert await recorder.keep(call, findings[:1]) == frozenset()
    assert len(store.seconds) == 1


async def test_without_texts_no_word_of_a_clients_is_kept():
    """Not in what is redacted, explained or named by the client; nor as somebody's role."""
    policy = a_policy(**REDACTING)
    finding = a_finding(policy, MAIL, hits=[HIT], role="canary", context=(Turn("canary", "canary"),),
                        uninspected=("$.input[0].content[1]: canary", "$.input[0].content[2]: image_url"))  # fmt: skip
    (record,) = await records_of(policy, finding, texts=False)
    assert record.action == "redact"
    assert (record.text, record.context, record.verdict.redacted) == (None, (), None)
    assert record.verdict.uninspected == ("$.input[0].content[1]", "$.input[0].content[2]: image_url")
    assert record.role == "other"
    encoded = msgspec.json.encode(record)
    for word in (b"canary", b"jane", b"EMAIL", b"quotes"):
        assert word not in encoded


async def test_what_is_redacted_is_kept_redacted():
    """Also where another category asks for more, and without the turns before, which nobody has redacted."""
    policy = a_policy(**REDACTING)
    before = (Turn("user", "I am joe@example.com."),)
    plain, blocked = (a_finding(policy, MAIL, score, hits=[HIT], context=before) for score in (0.1, 0.95))
    for record in await records_of(policy, plain, blocked):
        assert record.text == record.verdict.redacted == "Write to [EMAIL_1]."
        assert record.context == ()
        assert b"example.com" not in msgspec.json.encode(record)


async def test_a_call_that_asks_for_some_categories_has_its_text_redacted_by_all():
    """Whether an address is answered or not, it is not kept."""
    policy = a_policy(**REDACTING)
    only = frozenset({"hate"})
    finding = a_finding(policy, MAIL, 0.6, hits=[HIT], only=only)
    assert finding.verdict.redacted is None
    (record,) = await records_of(policy, finding, only=only)
    assert record.text == "Write to [EMAIL_1]."


async def test_a_text_that_was_not_screened_is_not_kept_where_the_policy_redacts():
    """Nobody knows what is in it. Where nothing is redacted, it is."""
    redacting, plain = a_policy(**REDACTING), a_policy()
    assert [record.text for record in await records_of(redacting, a_finding(redacting, MAIL, -1))] == [None]
    assert [record.text for record in await records_of(plain, a_finding(plain, MAIL, -1))] == [MAIL]


async def test_a_store_that_fails_is_told_by_place():
    """Of those that were to be kept; nothing of the store's own words goes on."""
    policy = a_policy()
    store, told = ListStore(fails=True), Told()
    recorder = Recorder(store, told, screen="s", judge=None)
    call = Call("mod_1", "chat", "", "", policy, Keeping("flagged", texts=False))
    findings = [a_finding(policy, score=score) for score in (0.1, 0.6)]
    assert await recorder.keep(call, findings) == {1}
    assert told.events == []
    refusing = msgspec.structs.replace(call, policy=a_policy(when_store_fails="refuse", deadline_ms=500))
    with pytest.raises(StoreError, match="could not be kept") as caught:
        await recorder.keep(refusing, findings)
    assert "disk" not in str(caught.value)
    assert store.seconds == [2.0, 0.5]


async def test_what_nobody_waits_for_is_kept_before_the_end():
    """Closing waits for it; what cannot be kept then is nobody's error any more."""
    failing = Recorder(ListStore(fails=True), Told(), screen="s", judge=None)
    refusing = a_policy(when_store_fails="refuse")
    failing.keeping_on(Call("mod_0", "chat", "", "", refusing, Keeping("all", texts=False)), [a_finding(refusing)])
    await failing.close()
    policy = a_policy()
    store = ListStore()
    recorder = Recorder(store, Told(), screen="s", judge=None)
    kept: list[Record] = []
    store.close = lambda: _note(kept, store)  # type: ignore[method-assign]
    recorder.keeping_on(Call("mod_1", "chat", "", "", policy, Keeping("all", texts=False)), [a_finding(policy)])
    await recorder.close()
    assert [record.id for record in kept] == ["mod_1-0"]


async def _note(kept: list[Record], store: ListStore) -> None:
    kept += store.records


LIVE = a_policy(name="live", store_verdicts="flagged", store_texts=True, retention_days=9)
TRIED = a_policy(name="tried", store_verdicts="all", store_texts=True, retention_days=4)
BESIDE = Beside("mod_1-0", "live", LIVE.fingerprint, "allow", ())


def flipped(recorder: Recorder, candidate: Policy = TRIED, text: str = "a text", **more) -> None:
    """A candidate that flags what `live` allowed."""
    finding = a_finding(candidate, text, 0.6, **more)
    recorder.flipped(LIVE, candidate, finding, BESIDE, tenant="shop", key="web")


async def quiet(recorder: Recorder) -> None:
    if recorder._keeping_flips is not None:
        await recorder._keeping_flips


async def test_a_flip_leaves_a_record_of_its_own_without_a_text():
    """Whatever the two policies would keep: not in any form. It goes with the first of the two retentions."""
    store, told = ListStore(), Told()
    recorder = Recorder(store, told, screen="s", judge="j", wall_clock=WallClock())
    candidate = a_policy(name="tried", store_verdicts="all", store_texts=True, retention_days=4, **REDACTING)
    flipped(recorder, candidate, MAIL, hits=[HIT], role="canary", context=(Turn("canary", "canary"),),
            uninspected=("$.input[0].content[1]: canary",))  # fmt: skip
    await quiet(recorder)
    (record,) = store.records
    assert (record.id, record.route, record.policy, record.action) == ("mod_1-0.tried", "shadow", "tried", "redact")
    assert (record.tenant, record.key, record.screen, record.judge) == ("shop", "web", "s", "j")
    assert record.fingerprint == candidate.fingerprint
    assert record.beside == BESIDE
    assert (record.expires - record.time).days == 4
    assert (record.text, record.context, record.verdict.redacted) == (None, (), None)
    encoded = msgspec.json.encode(record)
    for word in (b"canary", b"jane", b"EMAIL", b"quotes"):
        assert word not in encoded
    assert told.events == [RecordsKept("tried", 1)]


async def test_a_candidate_that_keeps_no_verdicts_leaves_no_record():
    store = ListStore()
    recorder = Recorder(store, Told(), screen="s", judge=None)
    flipped(recorder, a_policy(name="tried", store_texts=True))
    assert recorder._keeping_flips is None
    assert store.records == []


async def test_a_store_that_fails_costs_shadows_their_records_and_nobody_else_anything():
    """Each is counted; the next is tried again."""
    store, told = ListStore(fails=True), Told()
    recorder = Recorder(store, told, screen="s", judge=None)
    for _ in range(10):
        flipped(recorder)
    await quiet(recorder)
    assert told.events == [ShadowDropped("live", "tried", "record")] * 10
    assert store.seconds == [2.0, 2.0]
    store._fails = False
    flipped(recorder)
    await quiet(recorder)
    assert len(store.records) == 1


async def test_records_of_shadows_are_bounded_and_give_way(monkeypatch):
    """So many wait, and none while more than half of the store's room is taken or the store fails."""
    store, told = ListStore(), Told()
    monkeypatch.setattr(module, "MOST_FLIPS", 3)
    recorder = Recorder(store, told, screen="s", judge=None)
    for _ in range(5):
        flipped(recorder)
    assert told.events == [ShadowDropped("live", "tried", "record")] * 2
    await quiet(recorder)
    assert len(store.records) == 3
    for store.waiting, store.room, store.problem in ((6, 10, ""), (0, 10, "the disk is full")):
        told.events.clear()
        flipped(recorder)
        await quiet(recorder)
        assert told.events == [ShadowDropped("live", "tried", "record")]
    assert (len(store.records), len(store.seconds)) == (3, 1)


async def test_after_the_end_no_flip_is_kept():
    """What waits then is forgotten, and the store is left alone."""
    store = ListStore()
    recorder = Recorder(store, Told(), screen="s", judge=None)
    for _ in range(20):
        flipped(recorder)
    kept: list[Record] = []
    store.close = lambda: _note(kept, store)  # type: ignore[method-assign]
    await recorder.close()
    flipped(recorder)
    await quiet(recorder)
    assert len(store.records) == len(kept) < 20


def test_numbers_go_by_the_object():
    """In the order in which they are asked for; two equal texts are two."""
    numbers = Numbers()
    one, equal, other = Content("a"), Content("a"), Content("b")
    assert [numbers.of(content) for content in (other, one, equal, one, other)] == [0, 1, 2, 1, 0]
