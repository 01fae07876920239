"""Files of keys, and a real Redis for the rates that replicas share."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from guard.access.keys import make, written
from tests.redis_server import NO_SERVER, RedisServer, find_server

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, str]]]:
    """Writes a file of keys, one for each name with its rights; the file, and what their owners send."""

    def write(**rights: dict[str, Any]) -> tuple[Path, dict[str, str]]:
        file = tmp_path / "keys.yaml"
        made = {name.replace("_", "-"): make(name.replace("_", "-"), now=NOW, **more) for name, more in rights.items()}
        written(file, [key for key, _ in made.values()])
        return file, {name: shown for name, (_, shown) in made.items()}

    return write


@pytest.fixture
def redis_binary() -> str:
    """The program of a Redis server."""
    binary = find_server()
    if binary is None:
        pytest.fail(NO_SERVER, pytrace=False)
    return binary


@pytest.fixture
def redis_server(redis_binary: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A server for this test alone."""
    server = RedisServer(redis_binary, tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.client.close()
