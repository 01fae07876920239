"""Server-sent events, however they are cut and written."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.chat import sse
from guard.chat.sse import DONE, frames, written
from guard.errors import UpstreamFailed

CHUNKS = [{"n": 1, "t": "Grüße 👍"}, {"n": 2}, {"n": 3, "t": "a\r\nb\n\nc"}]


async def read(*parts: bytes) -> list[dict]:
    """All objects of a stream that comes in these parts."""

    return [chunk async for chunk in frames(_parts(*parts))]


@given(st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200), max_size=60))
async def test_a_stream_may_be_cut_anywhere(newline, cuts):
    """Inside a line's end, a character, a name; comments and other fields are passed over."""
    stream = b": hello\n\nevent: x\nid: 7\n" + b"".join(map(written, CHUNKS)) + b": ping\n\n" + DONE
    stream = stream.replace(b"\n", newline)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parts = [stream[a:b] for a, b in pairwise(places)]
    assert await read(*parts) == CHUNKS
    assert await read(*[bytes([byte]) for byte in stream]) == CHUNKS


async def test_an_event_may_have_several_lines_and_no_space():
    """As the standard says."""
    assert await read(b'data:{"a":\ndata: 1}\n\ndata:[DONE]') == [{"a": 1}]


async def test_what_comes_after_the_end_is_not_read():
    """`[DONE]` is the end."""
    assert await read(DONE, b"data: nonsense\n\n") == []


async def test_an_event_of_ten_megabytes_is_read():
    """In parts as a socket gives them."""
    big = written({"t": "x" * 10_000_000})
    (found,) = await read(*[big[i : i + 65_536] for i in range(0, len(big), 65_536)], DONE)
    assert len(found["t"]) == 10_000_000


async def test_what_is_too_large_is_refused(monkeypatch):
    """One line, or many of one event."""
    monkeypatch.setattr(sse, "MOST", 1_000)
    with pytest.raises(UpstreamFailed, match="longer than 1000 bytes"):
        await read(b"data: " + b"x" * 2_000)
    with pytest.raises(UpstreamFailed, match="larger than 1000 bytes"):
        await read(*[b"data: 1234567890\n"] * 100)


@pytest.mark.parametrize("event", [b"data: {nonsense", b"data: [1]", b'data: "THE TEXT"', b"data: \xff"])
async def test_what_is_no_object_is_told_without_quoting_it(event):
    """The text may be anything."""
    with pytest.raises(UpstreamFailed) as failed:
        await read(event + b"\n\n")
    assert failed.value.code == "upstream_malformed"
    assert "TEXT" not in str(failed.value)


@pytest.mark.parametrize("rest", [b"", b"data: {", b'data: {"n": 9}'])
async def test_a_stream_that_breaks_off_says_so(rest):
    """What was whole was given before."""
    found: list[dict] = []
    with pytest.raises(UpstreamFailed) as failed:
        await collect(found, written(CHUNKS[0]) + rest)
    assert failed.value.code == "upstream_closed"
    assert found == CHUNKS[:1]


async def collect(found: list[dict], *parts: bytes) -> None:
    """Keeps what comes before an error."""
    async for chunk in frames(_parts(*parts)):
        found.append(chunk)


async def _parts(*parts: bytes):
    for part in parts:
        yield part


def test_a_chunk_is_one_event():
    """Newlines of a text cannot end it."""
    assert written({"t": "a\n\nb"}).count(b"\n") == 2
    assert json.loads(written(CHUNKS[0])[6:]) == CHUNKS[0]
