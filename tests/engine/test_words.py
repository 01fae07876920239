"""Tokens to text as they come: no half characters, stop texts across any border."""

import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from guard.engine.words import Words
from tests.engine.conftest import tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def pushed(tokenizer, text: str, stop=()) -> tuple[list[str], Words]:
    words = Words(tokenizer, stop)
    came = [words.push(token) for token in tokenizer.encode(text, add_special_tokens=False).ids]
    return [*came, words.end()], words


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_what_comes_is_the_text(tokenizer, text):
    """Joined, it is what a decoder gives; no piece holds half a character."""
    came, _ = pushed(tokenizer, text)
    whole = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=True)
    assert "".join(came) == whole
    assert all("�" not in piece for piece in came) or "�" in text


@settings(max_examples=200, deadline=None)
@given(st.text("ab \n#é🙂", max_size=40), st.lists(st.text("ab \n#é🙂", min_size=1, max_size=6), max_size=3))
def test_a_stop_text_is_seen_wherever_it_lies(tokenizer, text, stop):
    """Everything before the one that is complete first comes, and nothing after it."""
    came, words = pushed(tokenizer, text, stop)
    places = [(text.find(one) + len(one), text.find(one)) for one in stop if one in text]
    assert "".join(came) == (text[: min(places)[1]] if places else text)
    assert words.stopped == bool(places)


def test_text_is_not_held_back_without_need(tokenizer):
    """Only what may be the beginning of a stop text waits."""
    words = Words(tokenizer, ["###"])
    ids = tokenizer.encode("plain # words", add_special_tokens=False).ids
    sure = ""
    for number, token in enumerate(ids):
        sure += words.push(token)
        whole = tokenizer.decode(ids[: number + 1])
        assert sure == whole.rstrip("#") or sure == whole


def test_bytes_that_never_become_a_character_come_at_the_end(tokenizer):
    """As a decoder shows them."""
    first = tokenizer.encode("é", add_special_tokens=False).ids[:1]
    words = Words(tokenizer)
    assert [words.push(first[0]), words.end()] == ["", "�"]


def test_bytes_that_are_no_text_do_not_end_it():
    """A vocabulary that falls back to bytes can write anything."""
    from tokenizers import Tokenizer, decoders, models

    vocabulary = {"<unk>": 0, "a": 1, "\u2581b": 2} | {f"<0x{n:02X}>": 3 + n for n in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ids = (
        [3 + byte for byte in (0xC3, 0xA9, 0xFF)] + [1, 2] + [3 + byte for byte in (0xF0, 0x9F, 0x98, 0x80, 0xC3)] + [1]
    )
    words = Words(tokenizer)
    came = [words.push(token) for token in ids]
    text = "".join([*came, words.end()])
    assert text.startswith("é")
    assert "a b😀" in text
    assert text.endswith("a")
