"""Sentences and windows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.text import sentences, windows


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Dr. Smith paid 3.5. Why?", ["Dr. Smith paid 3.5.", "Why?"]),
        ("See e.g. it. See https://a.b/c.d?e=f. Yes", ["See e.g. it.", "See https://a.b/c.d?e=f.", "Yes"]),
        ("J. R. Tolkien wrote! “Did he?” He did.", ["J. R. Tolkien wrote!", "“Did he?”", "He did."]),
        ("你好。再见！好", ["你好。", "再见！", "好"]),
        ("one\n\n  two \r\nthree", ["one", "two", "three"]),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, pieces: list[str]) -> None:
    """Abbreviations, numbers and addresses do not end a sentence; CJK stops and lines do."""
    assert [text[start:end] for start, end in sentences(text)] == pieces


@given(st.text(alphabet=st.sampled_from("aB .!?\n。…\"')1é\u2028\t")) | st.text())
def test_sentences_cover_all_but_white_space(text: str) -> None:
    """In order, trimmed, not overlapping, and nothing readable is left out."""
    spans = sentences(text)
    position = 0
    for start, end in spans:
        assert position <= start < end <= len(text)
        assert not text[position:start].strip()
        assert text[start:end] == text[start:end].strip()
        position = end
    assert not text[position:].strip()


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 59))
def test_every_token_is_in_a_full_window(count: int, size: int, overlap: int) -> None:
    """Windows cover everything, are full, and neighbours share at least the overlap."""
    if overlap >= size:
        with pytest.raises(ValueError, match="overlap"):
            windows(count, size=size, overlap=overlap)
        return
    cut = windows(count, size=size, overlap=overlap)
    assert {token for start, end in cut for token in range(start, end)} == set(range(count))
    if count <= size:
        assert cut == [(0, count)]
        return
    assert all(end - start == size for start, end in cut)
    assert all(end - start >= overlap for (_, end), (start, _) in pairwise(cut))
    assert all(a < b for (a, _), (b, _) in pairwise(cut))
    assert all(b - a == size - overlap for (a, _), (b, _) in pairwise(cut[:-1]))


def test_windows_shift_the_last_one_back() -> None:
    """The worked example of the docstring."""
    assert windows(10, size=4, overlap=1) == [(0, 4), (3, 7), (6, 10)]
    assert windows(0, size=4, overlap=1) == [(0, 0)]
