"""The local judge with a tiny Mistral: right answers, one at a time, and nobody waits for who has left."""

import asyncio
import itertools
import time

import pytest

torch = pytest.importorskip("torch")

from transformers import MistralForCausalLM  # noqa: E402

from guard.content import Content, Rail, Turn  # noqa: E402
from guard.errors import JudgeFailed, ModelError, Overloaded  # noqa: E402
from guard.judge import Inquiry, asking  # noqa: E402
from guard.judge.local import LocalJudge  # noqa: E402
from guard.judge.rendering import prompts  # noqa: E402
from guard.question import Choice, Option, Predicate, Scale  # noqa: E402
from guard.testing import a_policy  # noqa: E402
from tests.engine.conftest import write_tiny  # noqa: E402

POLICY = a_policy(["hate", "violence"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose window holds policy, text and question."""
    return write_tiny(tmp_path_factory.mktemp("judge"), window=None, max_position_embeddings=16_384)


@pytest.fixture(scope="module")
def judge(folder):
    return LocalJudge(str(folder), context=8_192)


async def ask(judge, *inquiries, deadline=None):
    return await judge.answer(inquiries, deadline=deadline)


async def test_probabilities_follow_from_the_tokens_that_it_shows(judge, folder):
    """Anybody with the model computes the same with transformers."""
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    free = Inquiry(
        Content("Where is my parcel?"),
        (
            Predicate("The customer is angry."),
            Choice("What is it about?", (Option("delivery"), Option("billing"), Option("other"))),
            Scale("How urgent?", (Option("not"), Option("very"))),
        ),
        show_prompt=True,
    )
    (told,) = await ask(judge, free)
    assert [len(answer.probabilities) for answer in told.answers] == [2, 3, 2]
    for answer in told.answers:
        with torch.inference_mode():
            logits = reference(torch.tensor([answer.prompt])).logits[0, -1]
        weights = logits.softmax(-1)[list(answer.labels)]
        assert answer.probabilities == pytest.approx((weights / weights.sum()).tolist(), abs=1e-4)
        assert answer.mass == pytest.approx(float(weights.sum()), abs=1e-4)


async def test_a_request_alone_is_the_same_in_any_company(judge):
    """Bit for bit, whatever is asked before, after and beside it."""
    inquiries = [asking(POLICY, Content(f"text number {n} " * (1 + n % 5)), ("hate", "violence")) for n in range(12)]
    many = await ask(judge, *inquiries)
    for number in (11, 3, 0):
        assert (await ask(judge, inquiries[number]))[0].answers == many[number].answers


async def test_the_policy_is_computed_once(judge):
    """The second text under a policy finds the prefix."""
    policy = a_policy(["violence"], description="A policy that nobody has asked about before.")
    (first,) = await ask(judge, asking(policy, Content("one"), ("violence",)))
    (second,) = await ask(judge, asking(policy, Content("two"), ("violence",)))
    assert first.cached_tokens == 0
    assert 0 < second.cached_tokens < second.tokens


async def test_conversations_and_the_output_rail(judge):
    """What stands before the text, and who speaks, is part of the prompt."""
    bare = asking(POLICY, Content("With cold water.", "assistant", Rail.OUTPUT), ("hate",))
    after = asking(POLICY, Content("With cold water.", "assistant", Rail.OUTPUT, (Turn("user", "How?"),)), ("hate",))
    one, other = await ask(judge, bare, after)
    assert one.answers != other.answers


async def test_a_long_text_is_read_in_windows_and_whole_where_the_policy_says_so(judge):
    """The window that finds most counts; whole, there is one prompt."""
    long = Content("some plain words of a long text " * 900)
    (windows,) = await ask(judge, asking(POLICY, long, ("hate",)))
    (whole,) = await ask(judge, asking(a_policy(["hate"], long_text="whole"), long, ("hate",)))
    assert windows.tokens > whole.tokens
    assert windows.answers != whole.answers


async def test_every_window_is_read_even_where_windows_read_alike(judge):
    """What stands between two equal ones too."""
    text = "a" * 9_000 + " the needle " + "a" * 9_000 + " the other needle " + "a" * 9_000
    inquiry = asking(POLICY, Content(text), ("hate", "violence"))
    rendered = prompts(
        inquiry, "instruct", judge._wrapping, context=2_048, prose=judge._prose, cut=judge._tokens.pieces
    )
    context, judge._context = judge._context, 2_048
    try:
        jobs = judge._asked(inquiry, None)
    finally:
        judge._context = context
    windows = [prompt.text for prompt in rendered[::2]]
    assert len(set(windows)) < len(windows)
    # Neighbours that are the same are one job.
    expected = [judge._tokens.plain(window) for window, _ in itertools.groupby(windows)]
    assert [list(one.job.text) for one in jobs] == expected
    assert sum("the needle" in window for window in windows) >= 1


async def test_a_window_never_has_more_tokens_than_fit(judge):
    """Whatever the text is made of."""
    for text in ("1234567890" * 3_000, "Zx9!" * 5_000, "[INST]" * 3_000, "\U00012000" * 4_000, "plain words " * 4_000):
        inquiry = asking(POLICY, Content(text), ("hate",))
        for prompt in prompts(
            inquiry, "instruct", judge._wrapping, context=2_048, prose=judge._prose, cut=judge._tokens.pieces
        ):
            whole = (
                judge._tokens.start(prompt.shared),
                judge._tokens.plain(prompt.text),
                judge._tokens.control(prompt.ask),
            )
            assert sum(map(len, whole)) <= 2_048


async def test_a_passed_deadline_is_no_answer(judge):
    """And the queue goes on."""
    inquiry = asking(POLICY, Content("x"), ("hate",))
    with pytest.raises(JudgeFailed, match="deadline"):
        await ask(judge, inquiry, deadline=time.monotonic() - 1)
    assert await ask(judge, inquiry, deadline=time.monotonic() + 60)


async def test_who_has_left_is_not_waited_for(judge, monkeypatch):
    """A cancelled call's inquiries leave the queue unread."""
    network = judge._scheduler._model
    run, read = network.run, []

    def slow(parts):
        read.append(len(parts))
        time.sleep(0.2)
        return run(parts[:1]) * len(parts)

    monkeypatch.setattr(network, "run", slow)
    inquiries = [asking(POLICY, Content(f"gone {n} " * 400), ("hate",)) for n in range(20)]
    call = asyncio.create_task(judge.answer(inquiries, deadline=None))
    while not read:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    before = sum(read)
    monkeypatch.setattr(network, "run", run)
    await ask(judge, asking(POLICY, Content("next"), ("hate",)))
    assert 0 < before < 20


async def test_more_than_may_wait_is_refused(folder):
    """At once; what waits goes on."""
    judge = LocalJudge(str(folder), context=8_192, waiting=2)
    inquiry = asking(POLICY, Content("x"), ("hate",))
    running = asyncio.create_task(judge.answer([inquiry, inquiry], deadline=None))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ask(judge, inquiry)
    assert len(await running) == 2
    assert await ask(judge, inquiry)


GROWING = "First one thing was said, then another; nobody minded, and so it went on. " * 12
TURNS = (Turn("user", "What happened then? " * 20), Turn("assistant", "A lot. " * 30), Turn("user", "And then?"))


def checks(session):
    """What a stream asks: a text that grows, a window that moves on, a beginning that changes, then other turns,
    another policy, other categories, and the whole once more."""
    other = a_policy(["hate", "violence"], description="Another policy.", mode="self_reflection")

    def check(text, policy=POLICY, turns=TURNS, names=("hate", "violence")):
        return asking(policy, Content(text, "assistant", Rail.OUTPUT, turns), names, session)

    for end in range(60, 420, 60):
        yield check(GROWING[:end])
    for end in range(420, 600, 60):
        yield check(GROWING[100:end])
    yield check("No. " + GROWING[4:300])
    yield check(GROWING[:200])
    yield check(GROWING[:200], names=("violence",))
    yield check(GROWING[:300], turns=TURNS[1:])
    yield check(GROWING[:300], policy=other)
    yield check(GROWING)


def within_rounding(found, expected):
    """Every label's probability within 1e-6; between labels that have little of it together, somewhat more."""
    for one, other in zip(found.answers, expected.answers, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.mass == pytest.approx(other.mass, abs=1e-6)
    assert found.tokens == expected.tokens


async def test_a_session_changes_no_answer(judge):
    """Whatever it asked before, and three of them at once."""
    for name, inquiry in enumerate(checks(None)):
        (expected,) = await ask(judge, inquiry)
        sessions = [list(checks(f"{letter}"))[name] for letter in "abc"]
        for found in await ask(judge, *sessions):
            within_rounding(found, expected)


async def test_a_session_reads_only_what_is_new(judge, monkeypatch):
    """The turns before a text are read once; of the text, what came since and what stands behind it."""
    network = judge._scheduler._model
    run, read = network.run, []
    monkeypatch.setattr(
        network,
        "run",
        lambda parts: (read.append(sum(len(p.text) + sum(map(len, p.branches)) for p in parts)), run(parts))[1],
    )
    before = 0
    for number, end in enumerate(range(60, 400, 20)):
        inquiry = asking(POLICY, Content(GROWING[:end], "assistant", Rail.OUTPUT, TURNS), ("hate",), "reads")
        read.clear()
        (found,) = await ask(judge, inquiry)
        asked = len(judge._tokens.control(prompts(inquiry, "instruct", judge._wrapping, context=8_192)[0].ask))
        assert sum(read) == found.tokens - found.cached_tokens
        if number:
            # Delimiters behind the text, and the words that became other tokens.
            assert sum(read) <= found.tokens - before + asked + 16
            assert found.cached_tokens > 400
        before = found.tokens


async def test_windows_of_one_long_text_are_kept_apart(judge):
    """Each goes on from itself: of the text with something more at its end, only the last window is read."""
    long = "some plain words of a long text " * 900
    first, grown = [asking(POLICY, Content(long + more), ("hate",), "windows") for more in ("", "and a few more words")]
    await ask(judge, first)
    (found,) = await ask(judge, grown)
    (expected,) = await ask(judge, asking(POLICY, grown.content, ("hate",)))
    within_rounding(found, expected)
    jobs = judge._asked(grown, None)
    assert len({one.job.session for one in jobs}) == len(jobs) > 1
    assert found.tokens - found.cached_tokens < 200


async def test_a_call_that_is_given_up_leaves_a_session_right(judge, monkeypatch):
    """Between two checks that are answered."""
    network = judge._scheduler._model
    run, begun = network.run, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(parts):
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.1)
        return run(parts)

    def check(end, session):
        return asking(POLICY, Content(GROWING[:end], "assistant", Rail.OUTPUT, TURNS), ("hate",), session)

    await ask(judge, check(100, "left"))
    monkeypatch.setattr(network, "run", slow)
    call = asyncio.create_task(judge.answer([check(300, "left")], deadline=None))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    monkeypatch.setattr(network, "run", run)
    (found,), (expected,) = [await ask(judge, check(320, session)) for session in ("left", None)]
    within_rounding(found, expected)


@pytest.mark.parametrize("form", ["wildguard", "llama_guard"])
async def test_other_formats_go_on_too(folder, form, monkeypatch):
    """Where each category is a prefix of its own as well."""
    judge = LocalJudge(str(folder), form="wildguard", context=8_192)
    # The tiny tokenizer has no single token for Llama Guard's labels: any two tokens do here.
    monkeypatch.setattr(judge, "_form", form)
    monkeypatch.setattr(judge, "_labels", lambda stem, labels: (7, 8))
    for end in (200, 240, 280):
        content = Content(GROWING[:end], "assistant", Rail.OUTPUT, TURNS)
        (found,) = await ask(judge, asking(POLICY, content, ("hate", "violence"), "s"))
        (expected,) = await ask(judge, asking(POLICY, content, ("hate", "violence")))
        within_rounding(found, expected)
    assert found.cached_tokens > expected.cached_tokens + 100


async def test_a_window_smaller_than_the_text(tmp_path):
    """A policy that wants texts whole, and a model that leaves their beginning behind."""
    judge = LocalJudge(str(write_tiny(tmp_path, window=128, max_position_embeddings=16_384)), context=8_192)
    whole = a_policy(["hate"], long_text="whole")
    for end in range(100, 900, 80):
        inquiry = asking(whole, Content(GROWING[:end]), ("hate",), "s")
        (found,) = await ask(judge, inquiry)
        (expected,) = await ask(judge, asking(whole, inquiry.content, ("hate",)))
        within_rounding(found, expected)
    assert found.cached_tokens - expected.cached_tokens > 200


async def test_wildguards_own_format(folder):
    """One verdict for all categories; on the output rail from seven branches."""
    judge = LocalJudge(str(folder), form="wildguard", context=8_192)
    (told,) = await ask(judge, asking(POLICY, Content("x"), ("hate", "violence")))
    assert told.answers[0] == told.answers[1]
    content = Content("y", "assistant", Rail.OUTPUT, (Turn("user", "x"),))
    (told,) = await ask(judge, asking(POLICY, content, ("hate",)))
    assert 0 < told.answers[0].probabilities[0] < 1


def test_the_fingerprint_follows_the_weights(folder, tmp_path):
    """Another model under the same name is another judge."""
    other = write_tiny(tmp_path, window=None, max_position_embeddings=8_192, seed=1)
    same = LocalJudge(str(folder), context=8_192).fingerprint
    assert LocalJudge(str(folder), context=8_192).fingerprint == same
    assert LocalJudge(str(other), context=8_192).fingerprint != same


def test_an_adapter_without_a_tokenizer_takes_its_bases(folder, tmp_path):
    """As peft writes them; and another base is another judge."""
    import json
    import shutil

    from safetensors.torch import save_file

    base, adapter = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(folder, base)
    adapter.mkdir()
    save_file({}, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "../base"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    first = LocalJudge(str(adapter), context=8_192).fingerprint
    shutil.rmtree(base)
    write_tiny(base, window=None, max_position_embeddings=16_384, seed=3)
    assert LocalJudge(str(adapter), context=8_192).fingerprint != first


def test_a_folder_that_is_no_model_says_so(tmp_path):
    """At the start, not at the first request."""
    with pytest.raises(ModelError):
        LocalJudge(str(tmp_path))
    with pytest.raises(ModelError, match="no such folder"):
        LocalJudge(str(tmp_path / "nosuch"))
