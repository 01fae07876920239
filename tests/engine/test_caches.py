"""What stays from one pass to the next: prefixes and rolling buffers, under any order of operations."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule  # noqa: E402

from guard.engine.jobs import Event, Generation, Scoring  # noqa: E402
from guard.engine.kv import NOTHING, KeyValues, Prefixes  # noqa: E402
from guard.engine.sampling import Sampling  # noqa: E402
from guard.engine.scheduler import Scheduler, Sizes  # noqa: E402
from guard.engine.words import Words  # noqa: E402
from tests.engine.conftest import engine, settle, tiny_tokenizer, tokens, write_tiny  # noqa: E402

SIZES = Sizes(budget=40, mixed=24, chunk=8, slots=3, prefix_tokens=20, waiting=12)
MODEL: dict[str, object] = {}


@pytest.fixture(scope="module", autouse=True)
def _model(tmp_path_factory):
    MODEL["engine"] = engine(write_tiny(tmp_path_factory.mktemp("caches")))
    MODEL["tokenizer"] = tiny_tokenizer()
    yield
    MODEL.clear()


class Turns(RuleBasedStateMachine):
    """Texts and questions come, go on, leave; what is kept is always what it should be."""

    @initialize()
    def begin(self):
        self.model = MODEL["engine"]
        self.scheduler = Scheduler(self.model, SIZES)
        self.scorings: list[tuple[int, Scoring]] = []
        self.texts: list[tuple[int, Generation, list]] = []
        self.seed = 0

    def room(self) -> bool:
        waiting = sum(map(len, (self.scheduler._fresh, self.scheduler._begun, self.scheduler._chats)))
        return waiting < SIZES.waiting

    def a_scoring(self, seed: int) -> Scoring:
        prefix = tuple(tokens(3 + 4 * (seed % 4), seed % 4))
        return Scoring(prefix, tokens(seed % 23, seed), [tokens(1 + seed % 5, seed + 1)], [(7, 8)])

    def a_text(self, seed: int) -> tuple[Generation, list]:
        told: list = []
        rule_of = Sampling(temperature=(seed % 2) * 1.0, seed=seed, most=1 + seed % 30)
        words = Words(MODEL["tokenizer"])
        prompt = tokens(1 + seed % 19, seed)
        return Generation((1, 2, 3), prompt, rule_of, words, ends=frozenset({9}), tell=told.append), told

    @precondition(room)
    @rule()
    def ask(self):
        self.seed += 1
        job = self.a_scoring(self.seed)
        self.scheduler.submit(job)
        self.scorings.append((self.seed, job))

    @precondition(room)
    @rule()
    def write(self):
        self.seed += 1
        job, told = self.a_text(self.seed)
        self.scheduler.submit(job)
        self.texts.append((self.seed, job, told))

    @rule(times=st.integers(1, 6))
    def step(self, times):
        for _ in range(times):
            self.scheduler.step()

    @precondition(lambda self: self.texts)
    @rule(which=st.integers(0, 100))
    def leave(self, which):
        self.texts[which % len(self.texts)][1].cancel()

    @precondition(lambda self: self.scorings)
    @rule(which=st.integers(0, 100))
    def hang_up(self, which):
        self.scorings[which % len(self.scorings)][1].found.cancel()

    @precondition(lambda self: self.scheduler._writing)
    @rule(which=st.integers(0, 100))
    def look_into_a_ring(self, which):
        """The ring holds the last keys of exactly the tokens that were read."""
        job = self.scheduler._writing[which % len(self.scheduler._writing)]
        (told,) = [told for _, one, told in self.texts if one is job]
        read = [*job.prefix, *job.text, *[event.token for event in told]][: job.written]
        fresh = self.model.extend(NOTHING, read)
        rings = self.scheduler._rings
        places = torch.arange(len(read) - fresh.kept, len(read)) % rings.capacity
        for kept, ring in zip((*fresh.keys, *fresh.values), (*rings.keys, *rings.values), strict=True):
            assert (ring[job.slot, places] - kept).abs().max() < 1e-3

    @invariant()
    def nobody_shares_a_slot(self):
        rings = self.scheduler._rings
        if rings is not None:
            held = [
                job.slot for job in (*self.scheduler._writing, *self.scheduler._begun) if isinstance(job, Generation)
            ]
            held = [slot for slot in held if slot >= 0]
            assert len(set(held)) == len(held)
            assert sorted([*held, *rings._free]) == list(range(SIZES.slots))

    @invariant()
    def prefixes_are_counted(self):
        prefixes = self.scheduler._prefixes
        assert prefixes.tokens == sum(run.kept for run in prefixes._kept.values())
        assert prefixes.tokens <= SIZES.prefix_tokens or len(prefixes) == 1

    def teardown(self):
        """Everything that was not cancelled is answered, with the bits that it would have alone."""
        if not hasattr(self, "scheduler"):
            return
        settle(self.scheduler)
        for seed, job in self.scorings:
            if not job.found.cancelled():
                alone = self.a_scoring(seed)
                self.alone(alone)
                assert job.found.result(0).logprobs == alone.found.result(0).logprobs
        for seed, job, told in self.texts:
            other, expected = self.a_text(seed)
            self.alone(other)
            assert all(type(event) is Event for event in told)
            assert told == (expected[: len(told)] if job.gone else expected)

    def alone(self, job):
        scheduler = Scheduler(self.model, SIZES)
        scheduler.submit(job)
        settle(scheduler)


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def test_the_prefix_used_longest_ago_is_forgotten():
    """And the newest stays, however long it is."""

    def run(length: int) -> KeyValues:
        return KeyValues(length, (torch.zeros(length, 1, 1),), (torch.zeros(length, 1, 1),))

    kept = Prefixes(10)
    for name, length in (((1,), 4), ((2,), 5)):
        kept.put(name, run(length))
    assert kept.get((1,)) is not None
    kept.put((3,), run(3))
    assert [kept.get(name) is not None for name in ((1,), (2,), (3,))] == [True, False, True]
    kept.put((4,), run(50))
    assert [len(kept), kept.tokens] == [1, 50]
    kept.put((4,), run(2))
    assert [len(kept), kept.tokens] == [1, 2]
