"""Texts that are asked about again and again while they grow: read once, and answered as if they were read anew."""

import math
import time

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from guard.engine.jobs import Scoring  # noqa: E402
from guard.engine.kv import NOTHING, SPARE, KeyValues, Sessions  # noqa: E402
from guard.engine.scheduler import Scheduler, Sizes  # noqa: E402
from tests.engine.conftest import engine, settle, tokens, write_tiny  # noqa: E402

PREFIXES = tuple(tuple(tokens(n, n)) for n in (0, 5, 40))
BRANCHES = [tokens(3, 900), tokens(11, 901)]
LABELS = [(7, 8), (7, 8, 9)]
LONG = tokens(900, 902)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By their window: smaller than the texts, smaller than prefix and text together, none."""
    return {w: engine(write_tiny(tmp_path_factory.mktemp("sessions"), window=w)) for w in (8, 48, None)}


@pytest.fixture
def counted(monkeypatch):
    """Counts the tokens that a model runs, from here on."""

    def of(model) -> list[int]:
        read: list[int] = []
        run = model.run

        def counting(parts):
            read.append(sum(len(part.text) + sum(map(len, part.branches)) for part in parts))
            return run(parts)

        monkeypatch.setattr(model, "run", counting)
        return read

    return of


def asked(text, *, prefix=PREFIXES[1], session="s", branches=BRANCHES, deadline=None) -> Scoring:
    labels = LABELS[: max(1, len(branches))]
    return Scoring(prefix, text, branches, labels, session=session, deadline=deadline)


def answer(scheduler, *jobs: Scoring) -> list[list[list[float]]]:
    scheduler.submit(*jobs)
    settle(scheduler)
    return [job.found.result(0).logprobs for job in jobs]


def alike(found, expected) -> bool:
    """Probabilities within 1e-6."""
    return all(
        abs(math.exp(one) - math.exp(other)) <= 1e-6
        for own, theirs in zip(found, expected, strict=True)
        for one, other in zip(own, theirs, strict=True)
    )


def anew(model, job: Scoring, chunk: int) -> list[list[float]]:
    """The answer in a new scheduler, without a session."""
    other = Scoring(job.prefix, job.text, job.branches, job.labels)
    return answer(Scheduler(model, Sizes(chunk=chunk)), other)[0]


TURN = st.tuples(
    st.sampled_from(["a", "b", "c", None]),
    st.integers(0, 2),  # the prefix
    st.integers(0, 900),  # where its beginning is changed; mostly behind its end
    st.integers(1, 150),  # its length
    st.integers(0, 2),  # how many branches
)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([8, 48, None]),
    st.lists(st.lists(TURN, min_size=1, max_size=4), min_size=2, max_size=8),
    st.integers(5, 60),
    st.sampled_from([0, 30, 200, 10_000]),
    st.integers(1, 200),
)
def test_whatever_a_session_asked_before_the_answer_is_that_of_the_text(models, window, steps, chunk, kept, budget):
    """Texts that grow, shrink and change, under several prefixes, in several sessions at once, some of them forgotten;
    with windows that have left their beginning behind."""
    model = models[window]
    scheduler = Scheduler(model, Sizes(chunk=chunk, session_tokens=kept, budget=budget))
    for turns in steps:
        jobs = []
        for session, prefix, changed, length, branches in turns:
            text = LONG[:length]
            if changed < length:
                text = [*text[:changed], 399, *text[changed + 1 :]]
            jobs.append(asked(text, prefix=PREFIXES[prefix], session=session, branches=BRANCHES[:branches]))
        for job, found in zip(jobs, answer(scheduler, *jobs), strict=True):
            assert alike(found, anew(model, job, chunk))
        sessions = scheduler._sessions
        assert sessions.tokens == sum(one.read.kept for one in sessions._kept.values()) <= kept
        assert all(one.read.length == len(one.text) for one in sessions._kept.values())


def test_only_new_tokens_are_computed(models, counted):
    """And told: what was there is `cached`. Branches are not kept; a text that got shorter takes nothing away, and
    behind a change all is read again."""
    model = models[None]
    scheduler, read = Scheduler(model, Sizes(chunk=64)), counted(model)
    branches = sum(map(len, BRANCHES))
    changed = [*LONG[:100], 399, *LONG[101:230]]
    plan = [
        (LONG[:200], 5 + 200, 0),
        (LONG[:212], 12, 200),
        (LONG[:212], 0, 212),
        (LONG[:150], 0, 150),
        (LONG[:160], 0, 160),
        (changed, 130, 100),
    ]
    for text, new, known in plan:
        read.clear()
        job = asked(text)
        answer(scheduler, job)
        assert sum(read) == new + branches
        assert job.found.result(0).cached == known + (5 if known else 0)
    read.clear()
    answer(scheduler, asked(LONG[:150], session="another"))
    assert sum(read) == 150 + branches
    answer(scheduler, asked(LONG[:150], prefix=PREFIXES[2]))
    assert sum(read) == 150 + branches + 40 + 150 + branches


def test_without_branches_the_last_token_is_read_again(models, counted):
    """The answer comes from its state, which is not kept."""
    model = models[None]
    scheduler, read = Scheduler(model), counted(model)
    first = answer(scheduler, asked(LONG[:50], branches=[]))
    read.clear()
    (again,) = answer(scheduler, asked(LONG[:50], branches=[]))
    assert read == [1]
    assert alike(again, first[0])


def test_past_a_window_a_text_goes_on_too(models, counted):
    """What the window left behind is dropped, but for a few tokens to go back by; farther back all is read anew."""
    model = models[8]
    scheduler, read = Scheduler(model, Sizes(chunk=128)), counted(model)
    ends = [[*LONG[:length], 11, 12] for length in range(600, 700, 12)]
    for number, text in enumerate([*ends, LONG[: 690 - SPARE], LONG[:40]]):
        read.clear()
        job = asked(text)
        (found,) = answer(scheduler, job)
        computed = sum(read) - sum(map(len, BRANCHES))
        if not number:
            assert computed == 602 + 5
        elif number < len(ends):
            assert computed == 14
        else:
            assert computed == len(text)
        assert alike(found, anew(model, job, 128))
        (kept,) = [one.read for one in scheduler._sessions._kept.values()]
        assert kept.kept == min(len(text), 7 + SPARE)


def test_a_sessions_first_inquiry_and_those_without_one_have_the_bits_that_they_had(models):
    """Sessions change nothing for anybody else, and nothing before there is something to go on from."""
    for model in models.values():
        scheduler = Scheduler(model, Sizes(chunk=64, budget=150))
        answer(scheduler, asked(LONG[:90], session="before"))
        first, beside, other = asked(LONG[:140]), asked(LONG[:140], session=None), asked(LONG[:97], session="before")
        found = answer(scheduler, first, other, beside)
        assert found[0] == found[2] == anew(model, first, 64)


def test_the_same_inquiries_have_the_same_bits_in_any_company(models):
    """What a session asked before may show in the last bits; what others ask does not."""
    for model in models.values():
        alone, busy = Scheduler(model, Sizes(chunk=64)), Scheduler(model, Sizes(chunk=64))
        for length in (100, 113, 120, 97, 140):
            (expected,) = answer(alone, asked(LONG[:length]))
            others = [asked(LONG[n : n + length], session=f"other {n}") for n in (1, 2, 3)]
            assert answer(busy, *others[:2], asked(LONG[:length]), *others[2:])[2] == expected


def test_who_leaves_in_the_middle_spoils_nothing(models, counted):
    """What was read of the long text by then is not read again by the session's next inquiry."""
    model = models[None]
    scheduler, read = Scheduler(model, Sizes(chunk=64)), counted(model)
    leaving = asked(LONG[:600])
    scheduler.submit(leaving)
    scheduler.step()
    scheduler.step()
    leaving.found.cancel()
    settle(scheduler)
    assert sum(read) == 5 + 128
    read.clear()
    job = asked(LONG[:610])
    (found,) = answer(scheduler, job)
    assert sum(read) == 610 - 128 + sum(map(len, BRANCHES))
    assert alike(found, anew(model, job, 64))


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_a_step_that_fails_leaves_what_was_kept_right(models, monkeypatch, error):
    """The next inquiry goes on from before it; where memory does not suffice, everything kept is given back."""
    model = models[None]
    scheduler = Scheduler(model, Sizes(chunk=64))
    answer(scheduler, asked(LONG[:100]))
    run = model.run

    def failing(parts):
        if any(399 in part.text for part in parts):
            raise error("no")
        return run(parts)

    monkeypatch.setattr(model, "run", failing)
    broken, beside = asked([*LONG[:120], 399, 8]), asked(LONG[:50], session="beside")
    scheduler.submit(broken, beside)
    settle(scheduler)
    assert isinstance(broken.found.exception(0), error)
    assert alike(beside.found.result(0).logprobs, anew(model, beside, 64))
    job = asked(LONG[:130])
    (found,) = answer(scheduler, job)
    assert alike(found, anew(model, job, 64))
    kept = 5 + 100 if error is RuntimeError else 5
    assert job.found.result(0).cached == kept


def test_what_a_session_has_counts_for_nothing_in_the_queue(models):
    """A deadline is not refused for tokens that nobody will compute."""
    scheduler = Scheduler(models[None])
    for number in range(8):
        answer(scheduler, asked(LONG[:800], session=number))
    scheduler._paces.extend([10.0] * 16)
    in_time = time.monotonic() + 60
    scheduler.submit(*[asked(LONG[:801], session=number) for number in range(8)])
    scheduler.submit(asked(LONG[:5], session=None, deadline=in_time))
    scheduler.submit(asked(LONG[:800], session="unknown"))
    with pytest.raises(TimeoutError, match="are ahead"):
        scheduler.submit(asked(LONG[:5], session=None, deadline=in_time))
    settle(scheduler)


def test_the_session_read_longest_ago_is_forgotten():
    """By tokens; a text longer than all that may be kept is not, and pushes nobody out."""

    def run(length: int) -> KeyValues:
        return KeyValues(length, (torch.zeros(length, 1, 1),), (torch.zeros(length, 1, 1),))

    def begun(name, text) -> int:
        return kept.begin(name, (1,), text, most=len(text), window=None).length

    kept = Sessions(10)
    kept.put("a", (1,), [5] * 4, run(4))
    kept.put("b", (1,), [6] * 5, run(5))
    assert begun("a", [5, 5, 6]) == 2
    kept.put("c", (1,), [7] * 3, run(3))
    assert [kept.common(name, (1,), [n] * 9) for name, n in (("a", 5), ("b", 6), ("c", 7))] == [4, 0, 3]
    kept.put("d", (1,), [8] * 11, run(11))
    assert [len(kept), kept.tokens] == [2, 7]
    kept.put("a", (1,), [5] * 11, run(11))
    assert [len(kept), kept.tokens] == [1, 3]
    kept.put("c", (1,), [7] * 9, run(9))
    assert [len(kept), kept.tokens] == [1, 9]
    assert kept.common("c", (2,), [7]) == 0
    assert kept.begin("c", (2,), [7], most=1, window=None) is NOTHING
    kept.clear()
    assert [len(kept), kept.tokens] == [0, 0]


def test_a_run_is_gone_back_in_only_as_far_as_the_window_needs():
    """Without a gap: the token after the beginning sees `window - 1` keys."""
    whole = torch.arange(20.0)[:, None, None]
    kept = KeyValues(20, (whole[8:],), (whole[8:],))
    for count in range(21):
        found = kept.first(count, 5)
        if count < 12:
            assert found is None
        else:
            assert found.length == count
            assert found.keys[0].flatten().tolist() == list(range(8, count))
    assert kept.first(20, None) is None
    assert KeyValues(20, (whole,), (whole,)).first(3, None).keys[0].flatten().tolist() == [0, 1, 2]
