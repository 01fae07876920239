"""Normalisation: total, idempotent, and with a way back that never leaves the original."""

from guard.text import normalise

__all__ = ["check"]


def check(data: bytes) -> None:
    """Raises AssertionError where a promise of `guard.text.normalise` is broken. Bytes that are no UTF-8 become lone
    surrogates, which JSON may hold too."""
    text = data.decode("utf-8", "surrogateescape")
    normalised = normalise(text)
    assert normalise(normalised.text).text == normalised.text, "normalising twice changes more"
    assert normalised.original == text
    assert (normalised.text != text or bool(normalised.views)) <= bool(normalised.steps), "a change has no name"
    assert len(normalised.views) <= 8
    normalised.text.encode()
    length = len(normalised.text)
    places = [normalised.to_original(at, at + 1) for at in range(length)]
    assert all(0 <= start <= end <= len(text) for start, end in places), "a span leaves the original"
    assert places == sorted(places), "spans are out of order"
    assert [end for _, end in places] == sorted(end for _, end in places)
    for start in range(0, length, max(1, length // 8)):
        for end in range(start + 1, length + 1, max(1, length // 8)):
            hull = (places[start][0], places[end - 1][1])
            assert normalised.to_original(start, end) == hull, "a span is not that of its characters"
    outside = normalised.to_original(-5, length + 99)
    assert 0 <= outside[0] <= outside[1] <= len(text)
    for view in normalised.views:
        view.text.encode()
        for at in range(0, len(view.text), max(1, len(view.text) // 64)):
            start, end = view.to_text(at, at + 1)
            assert 0 <= start <= end <= length, "a view's span leaves the text"
