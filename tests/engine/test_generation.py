"""Texts that go on: transformers' tokens, the scorer's probabilities, the same words in any company."""

import pytest

torch = pytest.importorskip("torch")

from transformers import MistralForCausalLM  # noqa: E402

from guard.engine.jobs import Event, Generation, Scoring  # noqa: E402
from guard.engine.sampling import Sampling  # noqa: E402
from guard.engine.scheduler import Scheduler, Sizes  # noqa: E402
from guard.engine.tokens import ModelTokens  # noqa: E402
from tests.engine.conftest import engine, settle, tokens, write_tiny  # noqa: E402

GREEDY = Sampling(temperature=0, most=220)


class Told(list):
    """What a generation told, in order."""

    @property
    def ids(self) -> list[int]:
        return [event.token for event in self]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self)


@pytest.fixture(scope="module")
def words(tiny):
    return ModelTokens(tiny)


def generation(words, prompt, sampling=GREEDY, *, prefix=(1,), ends=frozenset(), **more) -> tuple[Generation, Told]:
    told = Told()
    made = Generation(prefix, prompt, sampling, words.words(sampling.stop), ends=ends, tell=told.append, **more)
    return made, told


def written(model, words, prompt, sampling=GREEDY, sizes=Sizes(), **more) -> Told:  # noqa: B008 (frozen)
    scheduler = Scheduler(model, sizes)
    job, told = generation(words, prompt, sampling, **more)
    scheduler.submit(job)
    settle(scheduler)
    return told


@pytest.mark.parametrize("window", [8, 64, None])
def test_greedy_text_is_that_of_transformers(tmp_path, words, window):
    """Two hundred tokens past the window, from a prompt that is longer than a chunk."""
    folder = write_tiny(tmp_path, window=window)
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    prompt = tokens(37, 1)
    told = written(engine(folder), words, prompt, Sampling(temperature=0, most=270), Sizes(chunk=16))
    with torch.inference_mode():
        expected = reference.generate(
            torch.tensor([[1, *prompt]]), max_new_tokens=270, do_sample=False, eos_token_id=None, pad_token_id=0
        )[0].tolist()
    assert told.ids == expected[1 + len(prompt) :]
    assert told[-1].finish == "length"


def test_a_text_is_the_same_in_any_company(tiny, words):
    """Tokens and log-probabilities, bit for bit, beside other texts and beside questions; more texts than slots."""
    model = engine(tiny)
    rules = [
        Sampling(temperature=0, most=40),
        Sampling(temperature=0.8, top_p=0.9, seed=3, most=60),
        Sampling(temperature=1.5, seed=4, most=25),
    ]
    prompts = [tokens(n, n) for n in (4, 30, 11, 50, 2)]
    scheduler = Scheduler(model, Sizes(slots=3, chunk=16, mixed=20))
    jobs = [generation(words, prompt, rules[number % 3]) for number, prompt in enumerate(prompts)]
    scheduler.submit(*[job for job, _ in jobs[:2]])
    scheduler.submit(Scoring((1, 2), tokens(40, 7), [[6, 7]], [(7, 8)]))
    for _ in range(5):
        scheduler.step()
    scheduler.submit(*[job for job, _ in jobs[2:]])
    settle(scheduler)
    for number, (prompt, (_, told)) in enumerate(zip(prompts, jobs, strict=True)):
        assert told == written(model, words, prompt, rules[number % 3], Sizes(chunk=16))


def test_what_was_written_scores_the_same(tiny, words):
    """The log-probability that each token came with is the one that the scorer gives it."""
    model = engine(tiny)
    prompt = tokens(9, 5)
    told = written(model, words, prompt, Sampling(temperature=1.0, seed=1, most=60))
    scheduler = Scheduler(model)
    jobs = [Scoring((1,), [*prompt, *told.ids[:n]], [], [(told.ids[n],)]) for n in range(60)]
    scheduler.submit(*jobs)
    settle(scheduler)
    for event, job in zip(told, jobs, strict=True):
        assert job.found.result(0).logprobs[0] == pytest.approx([event.logprob], abs=5e-4)


def test_sampling_follows_its_seed_and_its_bounds(tiny, words):
    """Another seed, another text; a tiny top_p is the likeliest token."""
    model, prompt = engine(tiny), tokens(9, 5)
    warm = [written(model, words, prompt, Sampling(temperature=1.0, seed=seed, most=30)).ids for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
    narrow = written(model, words, prompt, Sampling(temperature=1.0, top_p=1e-6, seed=1, most=30))
    assert narrow.ids == written(model, words, prompt, Sampling(temperature=0, most=30)).ids


def test_an_end_token_and_a_stop_text_end_it(tiny, words):
    """The stop text is no part of the answer, wherever its tokens begin; neither is the end token."""
    model, prompt = engine(tiny), tokens(9, 5)
    free = written(model, words, prompt, Sampling(temperature=0, most=40))
    third = free.ids[2]
    ended = written(model, words, prompt, Sampling(temperature=0, most=40), ends=frozenset({third}))
    assert ended.ids == free.ids[: free.ids.index(third) + 1]
    assert ended[-1].finish == "stop"
    text = free.text
    stop = text[5:9]
    stopped = written(model, words, prompt, Sampling(temperature=0, most=40, stop=("never there", stop)))
    assert stopped.text == text[: text.index(stop)]
    assert stopped[-1].finish == "stop"
    assert [event.finish for event in stopped[:-1]] == [None] * (len(stopped) - 1)


def test_without_a_window_a_text_ends_with_its_room(tmp_path, words):
    """And a prompt that leaves none is refused."""
    model = engine(write_tiny(tmp_path, window=None))
    sizes = Sizes(context=32)
    told = written(model, words, tokens(20, 1), sizes=sizes)
    assert told[-1].finish == "length"
    # The last token needs no room of its own: nothing follows it.
    assert len(told) == 32 - 21 + 1
    with pytest.raises(ValueError, match="at most 32"):
        Scheduler(model, sizes).submit(generation(words, tokens(40, 1))[0])


def test_a_cancelled_text_gives_its_slot_back(tiny, words):
    """Whether it waits, is being read, or writes; and whoever cannot be told any more has left."""
    scheduler = Scheduler(engine(tiny), Sizes(slots=1, chunk=8))
    writes, writing = generation(words, tokens(5, 1))
    reads, reading = generation(words, tokens(60, 2))
    waits, waiting = generation(words, tokens(5, 3))
    scheduler.submit(writes)
    for _ in range(5):
        scheduler.step()
    scheduler.submit(reads, waits)
    writes.cancel()
    scheduler.step()
    assert 0 < len(writing) < 10
    scheduler.step()
    reads.cancel()
    waits.cancel()
    settle(scheduler)
    assert (list(reading), list(waiting)) == ([], [])

    def gone(event: object) -> None:
        raise RuntimeError("the loop is closed")

    deaf = Generation((1,), [5], GREEDY, words.words(()), ends=frozenset(), tell=gone)
    scheduler.submit(deaf)
    settle(scheduler)
    last, told = generation(words, tokens(5, 4), Sampling(temperature=0, most=3))
    scheduler.submit(last)
    settle(scheduler)
    assert len(told) == 3


def test_a_deadline_ends_a_text_with_an_error(tiny, words):
    """What was written before has been told."""
    import time

    scheduler = Scheduler(engine(tiny))
    job, told = generation(words, tokens(5, 1), deadline=time.monotonic() + 60)
    scheduler.submit(job)
    for _ in range(3):
        scheduler.step()
    job.deadline = time.monotonic()
    settle(scheduler)
    assert [type(event) for event in told] == [Event, Event, Event, TimeoutError]


def test_rules_as_small_as_numbers_get_hurt_nobody(tiny, words):
    """The likeliest token, and the neighbours go on."""
    model = engine(tiny)
    scheduler = Scheduler(model)
    rules = [Sampling(temperature=1e-38, most=9), Sampling(top_p=1e-46, seed=1, most=9), Sampling(seed=1, most=9)]
    jobs = [generation(words, tokens(7, 3), rule) for rule in rules]
    scheduler.submit(*[job for job, _ in jobs])
    settle(scheduler)
    greedy = written(model, words, tokens(7, 3), Sampling(temperature=0, most=9))
    assert jobs[0][1].ids == jobs[1][1].ids == greedy.ids
    assert len(jobs[2][1]) == 9


def test_one_that_fails_while_it_writes_fails_alone(tiny, words, monkeypatch):
    """And its error says nothing of its text."""
    scheduler = Scheduler(engine(tiny))
    (bad, told), (good, other) = (generation(words, tokens(7, n), Sampling(temperature=0, most=9)) for n in (3, 4))
    monkeypatch.setattr(bad._words, "push", lambda token: (_ for _ in ()).throw(ValueError("secret text")))
    scheduler.submit(bad, good)
    settle(scheduler)
    assert [str(error) for error in told] == ["ValueError"]
    assert len(other) == 9
    last, more = generation(words, tokens(5, 5), Sampling(temperature=0, most=4))
    scheduler.submit(last)
    settle(scheduler)
    assert len(more) == 4


def test_buffers_that_do_not_fit_fail_the_chat_alone(tiny, words, monkeypatch):
    """Scoring goes on."""
    model = engine(tiny)
    monkeypatch.setattr(model, "rings", lambda **_: (_ for _ in ()).throw(torch.OutOfMemoryError("8 GB")))
    scheduler = Scheduler(model)
    job, told = generation(words, tokens(5, 1))
    asked = Scoring((1, 2), tokens(9, 7), [[6, 7]], [(7, 8)])
    scheduler.submit(job, asked)
    settle(scheduler)
    assert [type(error) for error in told] == [torch.OutOfMemoryError]
    assert asked.found.result(0)


def test_a_chat_that_waits_for_a_slot_is_told_when_it_is_too_late(tiny, words):
    """Not only when its turn would have come."""
    import time

    scheduler = Scheduler(engine(tiny), Sizes(slots=1))
    first, _ = generation(words, tokens(5, 1))
    waits, told = generation(words, tokens(5, 2), deadline=time.monotonic() - 1)
    scheduler.submit(first)
    scheduler.step()
    scheduler.submit(waits)
    scheduler.step()
    assert [type(error) for error in told] == [TimeoutError]


def test_one_token_more_reads_one_token_more(tiny, words, monkeypatch):
    """Nothing is read twice: the prompt once, then one row a token."""
    model = engine(tiny)
    rows = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda tokens, *more: (rows.append(len(tokens)), decode(tokens, *more))[1])
    written(model, words, tokens(30, 1), Sampling(temperature=0, most=12))
    assert rows == [1] * 11


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0}, {"top_p": 1.1}, {"most": 0}, {"stop": ("",)}],
)
def test_rules_that_make_no_sense_are_refused(wrong):
    """With the bounds."""
    with pytest.raises(ValueError, match=r"must be|empty"):
        Sampling(**wrong)
