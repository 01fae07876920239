"""The benchmarks' own servers: figures that rest on them are worth as much as they are."""

import socket
import sys
from collections.abc import Iterator

import pytest

from benchmarks.asking import ask_all, chat, is_whole, prompt, said
from benchmarks.load import Running, started
from benchmarks.upstream import tokens_of


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Running]:
    """The scripted upstream, as the benchmarks run it."""
    port = a_free_port()
    with started([sys.executable, "-m", "benchmarks.upstream", str(port)], port) as running:
        yield running


@pytest.fixture(scope="module")
def passing(upstream: Running) -> Iterator[Running]:
    """The pass-through before it."""
    port = a_free_port()
    with started([sys.executable, "-m", "benchmarks.passthrough", str(port), upstream.url], port) as running:
        yield running


async def test_the_scripted_upstream_keeps_its_pace(upstream):
    """The first token after one interval, the last after all; without a pace, at once."""
    paced = [chat(prompt(n), tokens=20, pace=50, stream=True) for n in range(8)]
    for told, asked in zip(await ask_all(upstream.url, paced, connections=8), paced, strict=True):
        assert is_whole(told, asked)
        assert 0.019 < told.first - told.asked < 0.3
        assert 0.4 < told.ended - told.asked < 1.0
    (told,) = await ask_all(upstream.url, [chat("Hi", tokens=20, stream=True)], connections=1)
    assert told.ended - told.asked < 0.3


@pytest.mark.parametrize("stream", [False, True])
async def test_the_pass_through_changes_nothing(upstream, passing, stream):
    """Byte for byte, and its errors too."""
    asked = [chat(prompt(n), tokens=60, stream=stream) for n in range(20)]
    direct = await ask_all(upstream.url, asked, connections=4)
    passed = await ask_all(passing.url, asked, connections=4)
    assert [told.body for told in passed] == [told.body for told in direct]
    assert all(map(is_whole, passed, asked))
    assert len({said(told) for told in passed}) == 20
    (refused,) = await ask_all(passing.url, [chat("Hi", tokens=6) | {"model": "another"}], connections=1)
    assert refused.status == 400


async def test_an_answer_that_lacks_something_is_not_whole(upstream):
    """Or the benchmarks would count what they lost."""
    asked = chat(prompt(1), tokens=30, stream=True)
    (told,) = await ask_all(upstream.url, [asked], connections=1)
    assert said(told) == "".join(tokens_of(prompt(1), 30))
    assert not is_whole(told, chat(prompt(1), tokens=31, stream=True))
    assert not is_whole(told, chat(prompt(2), tokens=30, stream=True))
    assert not is_whole(told._replace(body=told.body.removesuffix(b"data: [DONE]\n\n")), asked)
    assert not is_whole(told._replace(status=500), asked)
