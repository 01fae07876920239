"""From examples to tensors: the layout, the epochs, the targets."""

import random

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from training.batches import Plan, epoch, laid_out, matrices, roughened
from training.data import Example
from training.heads import Target, clean, toxic


def a_tokenizer() -> Tokenizer:
    """One token for every word of a small vocabulary."""
    words = {f"w{i}": 200 + i for i in range(500)}
    tokenizer = Tokenizer(WordLevel({"[UNK]": 100, **words}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def an_example(text: str, *, times: float = 1.0) -> Example:
    return Example(text, "comment", "", clean(), text, "civil_comments_10k", times)


def test_the_layout_has_the_role_after_the_first_marker_and_the_context_as_type_one() -> None:
    """It is the layout that the service sends."""
    found = laid_out([7, 8], "user", [9], max_tokens=192)
    assert found.ids == [101, 3, 7, 8, 102, 9, 102]
    assert found.types == [0, 0, 0, 0, 0, 1, 1]
    assert laid_out([7], "nobody", [], max_tokens=192).ids == [101, 1, 7, 102]


def test_no_input_is_longer_than_the_limit() -> None:
    """A long text shows a window; the context keeps its place."""
    assert len(laid_out(range(1_000), "user", range(48), max_tokens=192).ids) == 192
    assert len(laid_out(range(1_000), "user", [], max_tokens=192, start=900).ids) == 103


def test_an_epoch_shows_each_example_as_often_as_it_says() -> None:
    """`times` is an average: 1 is once, 2.5 is two or three times."""
    found = [an_example(f"w{i}") for i in range(100)] + [an_example(f"w{i}", times=2.5) for i in range(100, 300)]
    plan = Plan(("hate",), roughen=0.0)
    shown = sum(len(batch.known) for batch in epoch(found, a_tokenizer(), plan, seed="1"))
    assert 100 + 2 * 200 < shown < 100 + 3 * 200


def test_the_same_seed_gives_the_same_batches() -> None:
    """A resumed run skips the batches that it has made and meets the same ones afterwards."""
    found = [an_example(" ".join(f"w{(i * j) % 500}" for j in range(i % 40 + 1))) for i in range(300)]
    plan = Plan(("hate", "toxicity"), budget=512)
    first, second = (list(epoch(found, a_tokenizer(), plan, seed="3")) for _ in range(2))
    assert all(a.input_ids.equal(b.input_ids) for a, b in zip(first, second, strict=True))
    assert max(batch.input_ids.numel() for batch in first) <= 512


def test_a_head_that_is_not_trained_takes_its_open_set_along() -> None:
    """An open set without one of its heads would blame the others."""
    known, any_of = matrices([toxic(), Target({"hate": 1})], ("hate", "harassment"))
    assert known.tolist() == [[-1, -1], [1, -1]]
    assert not any_of.any()


def test_roughened_text_is_never_empty() -> None:
    """A one-letter text survives a slip of the keyboard."""
    rng = random.Random(5)
    assert all(roughened(text, rng) for text in ("a", "ab", "a b", "x" * 300) for _ in range(200))
