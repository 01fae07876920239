"""The scheduler: the same bits in any company, long texts in chunks, nobody waited for who has left."""

import random
import time

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from guard.engine.jobs import Scoring  # noqa: E402
from guard.engine.scheduler import Scheduler, Sizes  # noqa: E402
from guard.errors import Overloaded  # noqa: E402
from tests.engine.conftest import close, engine, last_logits, settle, tokens, write_tiny  # noqa: E402

PREFIXES = tuple(tuple(tokens(n, n)) for n in (0, 5, 40))
LABELS = ((7, 8), (7, 8, 9, 10), (399,))


def scoring(seed: int, *, length: int | None = None, deadline: float | None = None) -> Scoring:
    """A job that follows from its number alone."""
    luck = random.Random(seed)
    text = tokens(luck.randint(0, 60) if length is None else length, seed + 1_000)
    branches = [tokens(luck.randint(1, 12), seed + 2_000 + n) for n in range(luck.randint(1, 4))]
    labels = [luck.choice(LABELS) for _ in branches]
    return Scoring(luck.choice(PREFIXES), text, branches, labels, deadline=deadline)


def alone(model, sizes: Sizes, seed: int) -> list[list[float]]:
    scheduler, job = Scheduler(model, sizes), scoring(seed)
    scheduler.submit(job)
    settle(scheduler)
    return job.found.result(0).logprobs


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 500), min_size=2, max_size=12, unique=True),
    st.integers(1, 300),
    st.integers(1, 50),
    st.integers(1, 60),
)
def test_bits_are_the_same_in_any_company(tiny, seeds, budget, chunk, kept):
    """Whatever the others are, whatever fits into a step, however long prefixes stay."""
    model = engine(tiny)
    sizes = Sizes(budget=budget, chunk=chunk, prefix_tokens=kept)
    scheduler = Scheduler(model, sizes)
    jobs = [scoring(seed) for seed in seeds]
    scheduler.submit(*jobs[: len(jobs) // 2])
    scheduler.step()
    scheduler.submit(*jobs[len(jobs) // 2 :])
    settle(scheduler)
    for seed, job in zip(seeds, jobs, strict=True):
        assert job.found.result(0).logprobs == alone(model, Sizes(budget=100_000, chunk=chunk), seed)


@pytest.mark.parametrize("shape", [{"hidden_size": 48, "head_dim": 12}, {"hidden_size": 40, "intermediate_size": 72}])
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_are_the_same_for_odd_widths(tmp_path, shape, threads):
    """Where no width is a whole number of vectors."""
    model = engine(write_tiny(tmp_path, **shape))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scheduler = Scheduler(model)
        jobs = [scoring(seed) for seed in range(40)]
        scheduler.submit(*jobs)
        settle(scheduler)
        for seed in (0, 7, 39):
            assert jobs[seed].found.result(0).logprobs == alone(model, Sizes(), seed)
    finally:
        torch.set_num_threads(before)


def test_answers_are_those_of_transformers(tiny, reference):
    """A text longer than a chunk, and branches after it."""
    scheduler = Scheduler(engine(tiny), Sizes(chunk=16))
    job = scoring(3, length=70)
    scheduler.submit(job)
    settle(scheduler)
    for branch, labels, found in zip(job.branches, job.labels, job.found.result(0).logprobs, strict=True):
        expected = last_logits(reference, [*job.prefix, *job.text, *branch]).log_softmax(-1)
        close(torch.tensor(found), expected[list(labels)])


def test_a_prefix_is_computed_once(tiny):
    """The second text finds it; one that was forgotten is computed again."""
    scheduler = Scheduler(engine(tiny), Sizes(prefix_tokens=8))
    first, second, other, again = (
        Scoring(p, [9], [[6]], [(7, 8)]) for p in ((5, 6, 7), (5, 6, 7), (1,) * 12, (5, 6, 7))
    )
    for job in (first, second, other, again):
        scheduler.submit(job)
        settle(scheduler)
    assert [job.found.result(0).cached for job in (first, second, other, again)] == [0, 3, 0, 0]
    assert first.found.result(0).logprobs == again.found.result(0).logprobs


def test_a_long_text_does_not_hold_up_short_ones(tiny):
    """It goes on chunk by chunk; what came after it is answered in between."""
    scheduler = Scheduler(engine(tiny), Sizes(budget=64, chunk=16))
    long = scoring(1, length=600)
    scheduler.submit(long)
    scheduler.step()
    short = [scoring(n, length=10) for n in (2, 3)]
    scheduler.submit(*short)
    for _ in range(4):
        scheduler.step()
    assert all(job.found.done() for job in short)
    assert not long.found.done()
    settle(scheduler)
    assert long.found.done()


def test_who_has_left_or_is_late_is_not_read(tiny, monkeypatch):
    """A long text whose caller leaves in the middle is not read to its end."""
    model = engine(tiny)
    read = []
    run = model.run
    monkeypatch.setattr(model, "run", lambda parts: (read.append(len(parts)), run(parts))[1])
    scheduler = Scheduler(model, Sizes(budget=64, chunk=16))
    left, late, long, stays = scoring(1), scoring(2, deadline=time.monotonic() - 1), scoring(3, length=400), scoring(4)
    scheduler.submit(left, late, long, stays)
    left.found.cancel()
    scheduler.step()
    long.found.cancel()
    settle(scheduler)
    assert len(read) <= 6
    with pytest.raises(TimeoutError):
        late.found.result(0)
    assert stays.found.result(0)


def test_more_than_may_wait_is_refused_whole(tiny):
    """Those who have left do not count."""
    scheduler = Scheduler(engine(tiny), Sizes(waiting=3))
    first, second = scoring(1), scoring(2)
    scheduler.submit(first, second)
    with pytest.raises(Overloaded, match="2 inquiries wait"):
        scheduler.submit(scoring(3), scoring(4))
    first.found.cancel()
    scheduler.submit(scoring(3), scoring(4))
    settle(scheduler)


def test_what_would_come_too_late_is_refused_at_once(tiny):
    """Where there is something ahead of it; never for what nobody is ahead of, however slow the last steps were."""
    scheduler = Scheduler(engine(tiny))
    for seed in range(8):
        scheduler.submit(scoring(seed))
        settle(scheduler)
    scheduler._paces.extend([0.5] * 16)
    hurried = scoring(20, deadline=time.monotonic() + 30)
    scheduler.submit(hurried)
    with pytest.raises(TimeoutError, match=r"\d+ tokens are ahead"):
        scheduler.submit(scoring(21, deadline=time.monotonic() + 30))
    settle(scheduler)
    assert hurried.found.result(0)


def test_long_texts_are_not_all_begun_at_once(tiny):
    """What is half read holds memory; short texts pass those that wait."""
    scheduler = Scheduler(engine(tiny), Sizes(budget=64, chunk=16, begun_tokens=300))
    jobs = [scoring(n, length=200) for n in range(12)]
    scheduler.submit(*jobs)
    most = 0
    while scheduler.step():
        most = max(most, sum(job.read.length for job in scheduler._begun))
        if not most:
            short = scoring(50, length=4)
            scheduler.submit(short)
    assert 0 < most <= 600
    assert all(job.found.result(0) for job in jobs)


def test_a_step_that_fails_as_a_whole_ends_no_thread(tiny, monkeypatch):
    """Everybody is told, without a word of their texts, and the next ones are served."""
    model = engine(tiny)
    scheduler = Scheduler(model)
    monkeypatch.setattr(scheduler, "_take", lambda: 1 / 0)
    scheduler.start()
    job = scoring(1)
    scheduler.submit(job)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        job.found.result(30)
    monkeypatch.undo()
    again = scoring(2)
    scheduler.submit(again)
    assert again.found.result(30)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Scoring((1,), [5], [[]], [(7, 8)]),
        lambda: Scoring((1,), [], [], [(7, 8)]),
        lambda: Scoring((1,), [5], [[6], [7]], [(7, 8)]),
    ],
)
def test_jobs_without_sense_are_refused(tiny, wrong):
    """They would be answered with a neighbour's numbers."""
    with pytest.raises(ValueError, match=r"empty prompt|rows of labels"):
        Scheduler(engine(tiny)).submit(wrong())


def test_a_prompt_longer_than_the_model_reads_is_refused(tiny):
    """With both numbers."""
    with pytest.raises(ValueError, match=r"a prompt of 5\d+ tokens; the model reads at most 4096"):
        Scheduler(engine(tiny)).submit(scoring(1, length=5_000))


def test_one_that_fails_does_not_spoil_its_neighbours(tiny, monkeypatch):
    """And memory that does not suffice makes the next steps smaller."""
    model = engine(tiny)
    run = model.run

    def failing(parts):
        if sum(len(part.text) for part in parts) > 100:
            raise torch.OutOfMemoryError("too much")
        return run(parts)

    monkeypatch.setattr(model, "run", failing)
    scheduler = Scheduler(model, Sizes(budget=500, chunk=200))
    jobs = [scoring(n, length=length) for n, length in enumerate((20, 30, 150, 40))]
    scheduler.submit(*jobs)
    settle(scheduler)
    assert [job.found.exception(0) is None for job in jobs] == [True, True, False, True]
    assert isinstance(jobs[2].found.exception(0), torch.OutOfMemoryError)
