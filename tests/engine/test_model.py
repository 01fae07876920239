"""The engine's numbers are transformers': whichever way the tokens take."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from transformers import MistralForCausalLM  # noqa: E402

from guard.engine.checkpoint import load  # noqa: E402
from guard.engine.model import NOTHING, Mistral  # noqa: E402
from guard.engine.scorer import Scorer  # noqa: E402
from tests.engine.conftest import write_tiny  # noqa: E402

CPU = torch.device("cpu")


def tokens(count: int, seed: int) -> list[int]:
    return torch.randint(5, 400, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def engine(folder) -> Mistral:
    return Mistral(load(folder, device=CPU, dtype=torch.float32))


def last_logits(reference, ids: list[int]):
    with torch.inference_mode():
        return reference(torch.tensor([ids])).logits[0, -1]


def close(ours, theirs) -> None:
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("window", [4, 8, 64, None])
@pytest.mark.parametrize(("before", "text"), [(0, 1), (0, 5), (1, 1), (7, 8), (8, 9), (20, 30), (63, 70)])
def test_logits_are_those_of_transformers(tmp_path, window, before, text):
    """Windows smaller and larger than prefix, text and question; full attention; several questions at once."""
    folder = write_tiny(tmp_path, window=window)
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    ours = engine(folder)
    prefix, words = tokens(before, 1), tokens(text, 2)
    questions = [tokens(n, 10 + n) for n in (1, 3, 11)]
    kept = ours.extend(NOTHING, prefix)
    found = ours.logits(ours.hidden(kept, words, questions))
    for row, question in zip(found, questions, strict=True):
        close(row, last_logits(reference, prefix + words + question))


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_a_prefix_in_chunks_or_token_by_token_is_the_same(tiny, reference, chunk):
    """What the window has left behind is dropped, and nothing else."""
    ours = engine(tiny)
    prefix = tokens(41, 3)
    kept = ours.extend(NOTHING, prefix, chunk=chunk)
    assert kept.length == 41
    assert kept.kept == 7
    close(ours.logits(ours.hidden(kept, [], [[9]]))[0], last_logits(reference, [*prefix, 9]))


def test_a_question_is_answered_as_if_it_were_alone(tiny):
    """Bit for bit: other branches and other texts change nothing."""
    ours = engine(tiny)
    scorer = Scorer(ours)
    prefix, text = tokens(20, 4), tokens(30, 5)
    questions = [tokens(6, 20 + n) for n in range(5)]
    labels = [(7, 8)] * 5
    scorer.score(prefix, tokens(12, 6), questions[:1], labels[:1])
    together = scorer.score(prefix, text, questions, labels)
    assert together.cached == len(prefix)
    again = Scorer(ours).score(prefix, text, questions, labels)
    assert again.logprobs == together.logprobs
    assert again.cached == 0


def test_label_probabilities_are_over_the_whole_vocabulary(tiny, reference):
    """Sliced sums give the same as a soft maximum over all tokens at once."""
    ours = engine(tiny)
    prefix, text, question = tokens(5, 7), tokens(9, 8), tokens(4, 9)
    (found,) = Scorer(ours).score(prefix, text, [question], [(3, 50, 399)]).logprobs
    expected = last_logits(reference, prefix + text + question).log_softmax(-1)
    assert found == pytest.approx([float(expected[n]) for n in (3, 50, 399)], abs=1e-4)


def test_a_text_longer_than_a_chunk_is_read_in_several(tiny, reference, monkeypatch):
    """`long_text: whole` has no bound but the model's."""
    monkeypatch.setattr("guard.engine.scorer.CHUNK", 16)
    text, question = tokens(70, 11), tokens(3, 12)
    (found,) = Scorer(engine(tiny)).score([1], text, [question], [(5, 6)]).logprobs
    expected = last_logits(reference, [1, *text, *question]).log_softmax(-1)
    assert found == pytest.approx([float(expected[5]), float(expected[6])], abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 9))
def test_any_way_through_is_the_same(tiny, reference, parts, text, seed):
    """A prefix grown in any steps, then a text, then questions."""
    ours = engine(tiny)
    kept, whole = NOTHING, []
    for number, count in enumerate(parts):
        piece = tokens(count, 100 * seed + number)
        kept = ours.extend(kept, piece, chunk=5)
        whole += piece
    words, question = tokens(text, seed + 50), tokens(2, seed + 60)
    found = ours.logits(ours.hidden(kept, words, [question]))[0]
    close(found, last_logits(reference, whole + words + question))
