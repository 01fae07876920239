"""Connections as an attacker opens them."""

import socket
from collections.abc import Callable

import httpx
import pytest

from tests.conftest import Server


@pytest.fixture
def connect(server: Server) -> Callable[[], socket.socket]:
    """Opens a connection to the shared server."""
    url = httpx.URL(server.url)
    return lambda: socket.create_connection((url.host, url.port or 80), timeout=10)
