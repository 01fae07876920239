"""Guard stops while answers are on their way."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.chat.doubles import UpstreamServer, a_chunk, chunks_of, finishes, running_upstream, said
from tests.conftest import serving

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@contextmanager
def stopped_in_the_middle(upstream: UpstreamServer, **settings: str) -> Iterator[tuple[Any, list[str]]]:
    """A server that gets SIGTERM once the first words of a stream are there; the stream's events come into the list."""
    events: list[str] = []
    with serving(GUARD_UPSTREAM_URL=upstream.url, **settings) as server:

        def read() -> None:
            with server.client.stream("POST", "/v1/chat/completions", json=BODY) as response:
                for line in response.iter_lines():
                    if line:
                        events.append(line.removeprefix("data: "))

        reader = threading.Thread(target=read)
        reader.start()
        until = time.monotonic() + 10
        while not events:
            assert time.monotonic() < until
            time.sleep(0.02)
        server.process.terminate()
        yield server, events
        reader.join(20)
        assert server.process.wait(20) == 0


def test_a_stream_that_has_begun_comes_to_its_end():
    """Every word of it, checked as ever; whoever comes now is not let in."""
    words = [f"word{number}. " for number in range(15)]
    with running_upstream() as upstream:
        upstream.script = lambda body: [step for chunk in chunks_of(words) for step in (0.1, chunk)]
        with stopped_in_the_middle(upstream) as (server, events):
            time.sleep(0.3)
            with pytest.raises(httpx.TransportError):
                httpx.post(f"{server.url}/v1/chat/completions", json=BODY)
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert said(chunks) == "".join(words)
    assert finishes(chunks) == {0: "stop"}


def test_a_stream_that_is_too_long_ends_with_an_error():
    """After the time that GUARD_DRAIN_SECONDS gives it; the upstream's work ends too."""
    with running_upstream() as upstream:
        upstream.script = lambda body: [a_chunk("Hello there. And "), *[0.1] * 300]
        before = time.monotonic()
        with stopped_in_the_middle(upstream, GUARD_DRAIN_SECONDS="1") as (_, events):
            pass
        assert time.monotonic() - before < 15
        assert upstream.cancelled
    assert json.loads(events[-1])["error"]["code"] == "stopped"
