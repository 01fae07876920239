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
