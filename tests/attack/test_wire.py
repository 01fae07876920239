"""Requests that are made to hurt: slow, huge, compressed, nested, ambiguous."""

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from guard.api.wire import HEAD_SECONDS, MOST_HEAD
from tests.conftest import Server

Connect = Callable[[], socket.socket]
BODY = b'{"input": "Hi"}'
BOMB = gzip.compress(b'{"input": "' + b"a" * 50_000_000 + b'"}', compresslevel=1)
JSON_ROUTES = (
    "/moderate",
    "/v1/chat/completions",
    "/openai/deployments/m/chat/completions",
    "/v1/decisions",
    "/policies/validate",
)


def answered(connect: Connect, data: bytes) -> bytes:
    """What is answered to bytes on a connection of their own, until the server closes it or is silent for a second."""
    told = b""
    with connect() as client:
        client.settimeout(1.0)
        try:
            client.sendall(data)
            while part := client.recv(65_536):
                told += part
        except (TimeoutError, ConnectionError):
            return told
    return told


def told_by(route: str, response: httpx.Response) -> str:
    """What an error says, in the dialect of its route."""
    if route.startswith(("/v1/", "/openai/")):
        return str(response.json()["error"]["message"])
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["detail"])


def post(head: bytes, body: bytes = BODY) -> bytes:
    """A request to /moderate with these header lines."""
    return b"POST /moderate HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + body


def test_slow_heads_keep_nobody_waiting_and_end(server: Server, connect: Connect):
    """Two hundred connections with a byte a second: others are served at once, and after ten seconds they are over.

    One that has sent nothing at all ends too.
    """
    slow = [connect() for _ in range(200)]
    silent = connect()
    started = time.monotonic()
    slowest, n = 0.0, 0
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    while time.monotonic() < started + HEAD_SECONDS - 2:
        for client in slow:
            client.sendall(head[n : n + 1])
        n += 1
        for _ in range(5):
            asked = time.monotonic()
            assert server.moderate("The kettle whistles.").status_code == 200
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.2)
    assert slowest < 1.0
    for client in (*slow, silent):
        client.settimeout(max(0.1, started + HEAD_SECONDS + 5 - time.monotonic()))
        try:
            told = client.recv(10)
        except ConnectionResetError:
            told = b""
        assert told == b""
        client.close()


def test_a_request_after_a_pause_is_answered(server: Server, connect: Connect):
    """The bound on heads is none on the time between requests, on bodies, or on pipelined requests."""
    with connect() as client:
        time.sleep(0.5)
        client.sendall(post(b"Content-Length: 15", BODY[:5]))
        time.sleep(0.5)
        client.sendall(BODY[5:] + b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" * 2)
        told = b""
        while part := client.recv(65_536):
            told += part
    assert told.count(b"HTTP/1.1 200") == 2


def test_a_body_larger_than_a_head_may_be_is_read(server: Server):
    """In one piece and in several."""
    text = "A quiet sentence. " * 6_000
    assert len(text) > MOST_HEAD
    body = json.dumps({"input": text}).encode()
    assert server.client.post("/moderate", content=body).status_code == 200
    assert server.client.post("/moderate", content=iter([body[:70_000], body[70_000:]])).status_code == 200


@pytest.mark.parametrize("bomb", ["one header", "many headers", "address", "no end of a name"])
def test_a_huge_head_is_refused_before_it_is_whole(server: Server, connect: Connect, bomb: str):
    """A bounded part of it is ever held."""
    start, piece = {
        "one header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"a" * 100_000),
        "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: y\r\n" * 12_500),
        "address": (b"GET /", b"a" * 100_000),
        "no end of a name": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a" * 100_000),
    }[bomb]
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    sent = len(start)
    with connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(start)
        while sent < 50_000_000:
            client.sendall(piece)
            sent += len(piece)
    # What the sockets hold counts as sent.
    assert sent < 20_000_000
    assert process.memory_info().rss - before < 20_000_000
    assert server.client.get("/healthz").status_code == 200


def test_ordinary_large_heads_are_served(server: Server):
    """A header of 32 KB, as large tokens and cookies are."""
    assert server.client.get("/healthz", headers={"Cookie": "a" * 32_000}).status_code == 200


@pytest.mark.parametrize("route", JSON_ROUTES)
@pytest.mark.parametrize("encoding", ["gzip", "GZip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x"])
def test_nothing_is_decompressed(server: Server, route: str, encoding: str):
    """A bomb stays as small as it came, and its client learns what to send instead."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    response = server.client.post(route, content=BOMB, headers={"Content-Encoding": encoding})
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    assert "Content-Encoding" in told_by(route, response)
    assert process.memory_info().rss - before < 20_000_000


@pytest.mark.parametrize("route", JSON_ROUTES)
@pytest.mark.parametrize("encoding", ["identity", "Identity", "", "identity, identity"])
def test_a_body_that_is_only_said_to_be_plain_is_read(server: Server, route: str, encoding: str):
    """What is wrong with this one is found by reading it."""
    response = server.client.post(route, content=b"{nonsense", headers={"Content-Encoding": encoding})
    assert response.status_code == 400
    assert "JSON" in told_by(route, response)


@pytest.mark.parametrize("route", JSON_ROUTES)
@pytest.mark.parametrize("depth", [100, 100_000])
@pytest.mark.parametrize("key", ["input", "messages", "yaml", "unknown"])
@pytest.mark.parametrize("brackets", [b"[]", b"{}"])
def test_deep_json_is_refused(server: Server, route: str, depth: int, key: str, brackets: bytes):
    """In a known field and in one that there is not."""
    opening = b"[" if brackets == b"[]" else b'{"a":'
    nested = opening * depth + b"1" + brackets[1:] * depth
    response = server.client.post(route, content=b'{"model": "m", "%s": %s}' % (key.encode(), nested))
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] in ("application/json", "application/problem+json")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"f\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED),
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
        post(b"Content-Length: 15\r\nContent-Length: 5", BODY + SMUGGLED),
        post(b"Content-Length: 15, 5", BODY + SMUGGLED),
        post(b"Content-Length: +15", BODY + SMUGGLED),
        post(b"Content-Length: 0x0f", BODY + SMUGGLED),
        post(b"Content-Length: -1", BODY + SMUGGLED),
        post(b"Transfer-Encoding: xchunked", BODY + SMUGGLED),
        post(b"Transfer-Encoding : chunked\r\nContent-Length: 15", BODY + SMUGGLED),
        post(b"X: a\r\n Content-Length: 0\r\nContent-Length: 15", BODY + SMUGGLED),
        post(b"Transfer-Encoding: chunked", b"fffffffffffffffff\r\n" + BODY + SMUGGLED),
        post(b"Transfer-Encoding: chunked", b"0xf\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED),
        post(b"Content-Length: 15", BODY + SMUGGLED).replace(b"\r\n", b"\n"),
        post(b"Content-Length: 15\r\nX\0: y", BODY + SMUGGLED),
    ],
)
def test_a_request_whose_end_is_ambiguous_is_refused(server: Server, connect: Connect, request_: bytes):
    """Together with what it may have been meant to hide; the connection ends."""
    told = answered(connect, request_)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1") == 1
    assert b"connection: close" in told


def test_the_log_holds_nothing_of_all_that(server: Server):
    """No error of ours, no traceback."""
    log = server.log()
    assert "Traceback" not in log
    assert "request_failed" not in log
