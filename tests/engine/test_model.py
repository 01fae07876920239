"""The engine's numbers are transformers': whichever way the tokens take."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from transformers import MistralForCausalLM  # noqa: E402

from guard.engine.kv import NOTHING  # noqa: E402
from guard.engine.model import Part  # noqa: E402
from tests.engine.conftest import close, engine, last_logits, tokens, write_tiny  # noqa: E402


def logits(ours, before, text, *branches, **more):
    (ran,) = ours.run([Part(before, text, branches, **more)])
    return ours.logits(ran.hidden)


@pytest.mark.parametrize("window", [4, 8, 64, None])
@pytest.mark.parametrize(("before", "text"), [(0, 1), (0, 5), (1, 1), (7, 8), (8, 9), (20, 30), (63, 70)])
def test_logits_are_those_of_transformers(tmp_path, window, before, text):
    """Windows smaller and larger than prefix, text and question; full attention; several questions at once."""
    folder = write_tiny(tmp_path, window=window)
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    ours = engine(folder)
    prefix, words = tokens(before, 1), tokens(text, 2)
    questions = [tokens(n, 10 + n) for n in (1, 3, 11)]
    found = logits(ours, ours.extend(NOTHING, prefix), words, *questions)
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
    close(logits(ours, kept, [9])[0], last_logits(reference, [*prefix, 9]))


@pytest.mark.parametrize("theta", [10_000.0, 1_000_000.0])
@pytest.mark.parametrize("heads", [(4, 4), (4, 1), (6, 2)])
def test_other_shapes(tmp_path, theta, heads):
    """Heads of their own keys, one key for all heads; RoPE at v0.1's base and v0.2's."""
    many, few = heads
    folder = write_tiny(
        tmp_path,
        num_attention_heads=many,
        num_key_value_heads=few,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    reference = MistralForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval()
    ids = tokens(40, 9)
    close(logits(engine(folder), NOTHING, ids)[0], last_logits(reference, ids))


def test_texts_of_one_pass_are_those_of_transformers(tiny, reference):
    """Each after its own prefix, or after none; some with questions, some without; some kept for later."""
    ours = engine(tiny)
    prefixes = [tokens(n, 20 + n) for n in (0, 3, 12, 30)]
    kept = [ours.extend(NOTHING, prefix) for prefix in prefixes]
    texts = [tokens(n, 30 + n) for n in (1, 9, 5, 17, 33)]
    asks = [tokens(n, 40 + n) for n in (1, 2, 6)]
    plan = [(0, 0, asks), (1, 1, []), (2, 2, asks[:1]), (3, 3, asks[1:]), (2, 4, [])]
    ran = ours.run([Part(kept[p], texts[t], branches, keep=not branches) for p, t, branches in plan])
    for (p, t, branches), found in zip(plan, ran, strict=True):
        whole = prefixes[p] + texts[t]
        for row, branch in zip(ours.logits(found.hidden), branches or [[]], strict=True):
            close(row, last_logits(reference, whole + branch))
        if not branches:
            assert found.after.length == len(texts[t])
            close(logits(ours, kept[p], [7, 8], read=found.after)[0], last_logits(reference, [*whole, 7, 8]))


def test_label_probabilities_are_over_the_whole_vocabulary(tiny, reference):
    """Sliced sums give the same as a soft maximum over all tokens at once."""
    ours = engine(tiny)
    ids = tokens(18, 7)
    (ran,) = ours.run([Part(NOTHING, ids)])
    (found,) = ours.log_probabilities(ran.hidden, [(3, 50, 399)])
    expected = last_logits(reference, ids).log_softmax(-1)
    assert found == pytest.approx([float(expected[n]) for n in (3, 50, 399)], abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 9))
def test_any_way_through_is_the_same(tiny, reference, parts, text, seed):
    """A prefix grown in any steps, then a text, then a question."""
    ours = engine(tiny)
    kept, whole = NOTHING, []
    for number, count in enumerate(parts):
        piece = tokens(count, 100 * seed + number)
        kept = ours.extend(kept, piece, chunk=5)
        whole += piece
    words, question = tokens(text, seed + 50), tokens(2, seed + 60)
    close(logits(ours, kept, words, question)[0], last_logits(reference, whole + words + question))
