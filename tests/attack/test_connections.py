"""Connections that are held for as long as they may be: slow bodies, too many of them, idle ones."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from guard.api.wire import SPARE
from tests.attack.test_wire import JSON_ROUTES, told_by
from tests.conftest import Server, serving

ROOM = 5
BODY = b'{"input": "Hi"}'
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def bounded() -> Iterator[Server]:
    """A server with a second for a body and for a pause, and room for a few connections."""
    settings = {"GUARD_BODY_SECONDS": "1.5", "GUARD_KEEP_ALIVE_SECONDS": "2", "GUARD_UNREAD_SECONDS": "1"}
    with serving(**settings, GUARD_MAX_CONNECTIONS=str(ROOM)) as running:
        yield running


@pytest.fixture
def open_to(bounded: Server) -> Iterator[Callable[[], socket.socket]]:
    """Opens connections to it, which end with the test; it begins when those before it are gone."""
    bounded.client.close()
    bounded.client = httpx.Client(base_url=bounded.url, timeout=60)
    wait_until(lambda: gauge(bounded, "guard_connections") <= 1)
    # Its own connection would take a place.
    bounded.client.close()
    url = httpx.URL(bounded.url)
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection((url.host, url.port or 80), timeout=10))

        yield connect
    bounded.client = httpx.Client(base_url=bounded.url, timeout=60)


def gauge(server: Server, name: str) -> float:
    """A metric without labels, asked for on a connection of its own."""
    text = httpx.get(f"{server.url}/metrics", headers={"Connection": "close"}).text
    found = re.search(rf"^{name} (\S+)$", text, flags=re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns once it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def head(route: str, length: int = 100) -> bytes:
    """A head that announces a body."""
    return f"POST {route} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def rest(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    told = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65_536):
            told += part
    return told


def status(client: socket.socket) -> int:
    """The status of the next answer, which is read whole."""
    told = b""
    while b"\r\n\r\n" not in told:
        part = client.recv(65_536)
        assert part, told
        told += part
    start, _, body = told.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", start)
    assert length is not None
    while len(body) < int(length[1]):
        body += client.recv(65_536)
    return int(start.split()[1])


def as_response(route: str, told: bytes) -> httpx.Response:
    """An answer as it came, to be read like others."""
    start, _, body = told.partition(b"\r\n\r\n")
    first, *lines = start.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(first.split()[1]), headers=headers, content=body)


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_a_body_that_trickles_is_given_up(open_to: Callable[[], socket.socket], route: str):
    """A byte now and then lengthens nothing; the answer is in the route's dialect, and the connection ends."""
    client = open_to()
    client.sendall(head(route) + b'{"a": "')
    started = time.monotonic()
    client.settimeout(0.1)
    told = b""
    while not told:
        assert time.monotonic() < started + 5
        client.sendall(b" ")
        with contextlib.suppress(TimeoutError):
            told = client.recv(65_536)
    assert 1.3 < time.monotonic() - started < 3
    client.settimeout(5)
    response = as_response(route, told + rest(client))
    assert response.status_code == 408
    assert response.headers["connection"] == "close"
    assert "GUARD_BODY_SECONDS" in told_by(route, response)


def test_a_body_of_which_nothing_comes_is_given_up(open_to: Callable[[], socket.socket]):
    """Also where the client waits to be told to go on."""
    silent, asked = open_to(), open_to()
    silent.sendall(head("/moderate"))
    asked.sendall(head("/moderate").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert rest(silent).startswith(b"HTTP/1.1 408 ")
    told = rest(asked)
    assert told.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 408 " in told


def test_chunks_that_trickle_are_given_up(open_to: Callable[[], socket.socket]):
    """A body whose length nobody has announced."""
    client = open_to()
    client.sendall(b"POST /moderate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        client.sendall(b"1\r\n \r\n")
        time.sleep(0.1)
    assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_a_body_in_time_is_read_however_it_is_cut(open_to: Callable[[], socket.socket]):
    """The clock is the request's: the next one on the connection has its own."""
    client = open_to()
    for _ in range(3):
        client.sendall(head("/moderate", len(BODY)))
        for byte in BODY:
            client.sendall(bytes([byte]))
            time.sleep(0.05)
        assert status(client) == 200


def test_a_body_that_nobody_reads_ends_its_connection(open_to: Callable[[], socket.socket]):
    """The answer went out before: nothing else would end it."""
    client = open_to()
    client.sendall(head("/no/such/route"))
    started = time.monotonic()
    assert status(client) == 404
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < started + 5:
            client.sendall(b" ")
            client.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                if client.recv(65_536) == b"":
                    break
    assert 1.0 < time.monotonic() - started < 3


def many_texts() -> bytes:
    """A request whose answer has half a megabyte: more than the system takes from a server at once, mostly."""
    body = json.dumps({"input": ["Good morning."] * 256}).encode()
    return head("/moderate", len(body)) + body


def unhurried(open_to: Callable[[], socket.socket]) -> socket.socket:
    """A connection of which the system holds little for its client."""
    client = open_to()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    return client


def test_an_answer_that_nobody_takes_ends_its_connection(bounded: Server, open_to: Callable[[], socket.socket]):
    """It is not kept for a client that reads nothing."""
    client = unhurried(open_to)
    # Several answers: the system itself holds up to a few megabytes for a client.
    client.sendall(many_texts() * 20)
    # The one that asks is the second connection.
    wait_until(lambda: gauge(bounded, "guard_connections") == 2)
    wait_until(lambda: gauge(bounded, "guard_connections") == 1)


def test_an_answer_that_is_taken_by_and_by_arrives_whole(bounded: Server, open_to: Callable[[], socket.socket]):
    """Slowly is not never, also where it takes longer than the bound."""
    client = unhurried(open_to)
    client.sendall(many_texts().replace(b"Host: x", b"Host: x\r\nConnection: close"))
    told, begun = b"", time.monotonic()
    while time.monotonic() - begun < 2.5:
        told += client.recv(16_384)
        time.sleep(0.1)
    told += rest(client)
    start, _, body = told.partition(b"\r\n\r\n")
    assert b" 200 " in start.splitlines()[0]
    assert len(json.loads(body)["results"]) == 256


def test_an_idle_connection_ends_and_a_used_one_stays(open_to: Callable[[], socket.socket]):
    """Two seconds here, counted from the last answer."""
    idle, used = open_to(), open_to()
    for client in (idle, used):
        client.sendall(HEALTH)
        assert status(client) == 200
    started = time.monotonic()
    for _ in range(4):
        time.sleep(0.6)
        used.sendall(HEALTH)
        assert status(used) == 200
    assert rest(idle) == b""
    assert time.monotonic() - started < 4


def test_past_the_bound_new_connections_are_refused_and_known_ones_served(
    bounded: Server, open_to: Callable[[], socket.socket]
):
    """Of those past it some may ask about health; the rest is told to come again, at once. What leaves makes room."""
    refused = gauge(bounded, "guard_connections_refused_total")
    known = [open_to() for _ in range(ROOM)]
    for client in known:
        client.sendall(HEALTH)
        assert status(client) == 200
    for route in ("/moderate", "/v1/chat/completions"):
        extra = open_to()
        extra.sendall(head(route, len(BODY)) + BODY)
        response = as_response(route, rest(extra))
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.headers["connection"] == "close"
        assert "GUARD_MAX_CONNECTIONS" in told_by(route, response)
    extra = open_to()
    extra.sendall(HEALTH)
    told = rest(extra)
    assert told.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in told
    silent = [open_to() for _ in range(SPARE)]
    asked = time.monotonic()
    at_once = rest(open_to())
    assert time.monotonic() - asked < 0.5
    assert at_once.startswith(b"HTTP/1.1 503 ")
    assert json.loads(at_once.partition(b"\r\n\r\n")[2])["limit"] == "max_connections"
    for client in known:
        client.sendall(head("/moderate", len(BODY)) + BODY)
        assert status(client) == 200
    # Those that are silent past the bound have a second.
    assert [rest(client) for client in silent] == [b""] * SPARE
    assert time.monotonic() - asked < 4
    assert gauge(bounded, "guard_connections_refused_total") == refused + 3
    assert gauge(bounded, "guard_connections_room") == ROOM
    for client in known:
        client.close()
    wait_until(lambda: gauge(bounded, "guard_connections") <= 1)
    again = open_to()
    again.sendall(head("/moderate", len(BODY)) + BODY)
    assert status(again) == 200


def test_no_connection_becomes_a_websocket(open_to: Callable[[], socket.socket]):
    """It would be counted for ever, and no clock would end it."""
    client = open_to()
    client.sendall(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert status(client) == 200


def test_what_a_client_provokes_is_a_line_of_json_and_not_one_for_each(
    bounded: Server, open_to: Callable[[], socket.socket]
):
    """Bytes that are no HTTP, fifty times within a second; the next line says how many went before."""

    def lines() -> list[dict]:
        told = [json.loads(line) for line in bounded.log().splitlines()]
        return [line for line in told if line["event"] == "library_warned" and line["message"].startswith("Invalid")]

    for attempts in (50, 1):
        for _ in range(attempts):
            client = open_to()
            client.sendall(b"\0\0\0\r\n\r\n")
            assert rest(client).startswith(b"HTTP/1.1 400 ")
        time.sleep(1.1)
    wait_until(lambda: len(lines()) >= 2)
    assert len(lines()) <= 4
    assert sum(1 + line.get("unwritten", 0) for line in lines()) == 51
    assert {line["level"] for line in lines()} == {"warning"}


def test_the_log_is_json_from_its_first_line_to_its_last(bounded: Server):
    """After all of that."""
    told = [json.loads(line) for line in bounded.log().splitlines()]
    assert "request_failed" not in {line["event"] for line in told}
