"""The recipes of docs/recipes, run by the tools themselves against a guarded chat under the default policy.

`make test-recipes` runs promptfoo and garak: it installs them beside Guard and names them in TEST_PROMPTFOO and
TEST_GARAK. Without those variables only the files are read.
"""

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.chat.doubles import UpstreamServer, running_upstream
from tests.conftest import ROOT, Server, serving
from tests.recipes.obedient import obey

NEEDS = {"test_promptfoo.py": "TEST_PROMPTFOO", "test_garak.py": "TEST_GARAK"}
collect_ignore = [name for name, variable in NEEDS.items() if not os.environ.get(variable)]

RECIPES = ROOT / "docs" / "recipes"
ADDRESS = "http://localhost:8000"
"""Guard's, in every recipe."""


class Guarded(NamedTuple):
    """A `guard serve` and the upstream that it asks."""

    server: Server
    upstream: UpstreamServer

    def reached(self) -> list[str]:
        """What came to the model: the last message of each call."""
        return [body["messages"][-1]["content"] for body in self.upstream.calls]


@pytest.fixture(scope="session")
def guarded_session() -> Iterator[Guarded]:
    """One server for all tests of this folder, with the policies as they are."""
    with running_upstream() as upstream, serving(GUARD_UPSTREAM_URL=upstream.url) as server:
        yield Guarded(server, upstream)


@pytest.fixture
def guarded(guarded_session: Guarded) -> Guarded:
    """That server, before a model that does whatever it is told."""
    guarded_session.upstream.calls.clear()
    guarded_session.upstream.script = obey
    return guarded_session


class Proxy(NamedTuple):
    """A way out of this machine that leads nowhere: its address, and the hosts that were asked for."""

    url: str
    hosts: list[str]

    def environment(self) -> dict[str, str]:
        """For a tool: nothing of ours or of the user's is read, and only this machine is within reach."""
        ours = ("GUARD_", "PYTHON", "OPENAI", "AZURE", "PROMPTFOO_", "GARAK_", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            kept |= {name: self.url, name.upper(): self.url}
        return kept | {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Notes who is called, and hangs up."""
    with _listening() as (listener, hosts):
        yield Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}", hosts)


@contextmanager
def _listening() -> Iterator[tuple[socket.socket, list[str]]]:
    hosts: list[str] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def listen() -> None:
            while not done.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    try:
                        asked = connection.recv(1_000).decode(errors="replace")
                    except OSError:
                        asked = ""
                    found = re.match(r"\w+ (?:\w+://)?([^/:\s]+)", asked)
                    hosts.append(found[1] if found else asked)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield listener, hosts
        finally:
            done.set()
            thread.join(10)
