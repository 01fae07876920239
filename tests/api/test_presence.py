"""Clients that do not wait: what nobody waits for is not worked on."""

import json
import shutil
import socket
import time
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, Server

TULIPS = """\
version: 1
name: tulips
description: One category that only a judge can tell.
categories:
  tulips:
    title: Tulips
    definition: The text speaks of tulips or of other flowers that grow from bulbs.
    group: garden
    thresholds: {block: 0.9}
"""


@pytest.fixture(scope="module")
def judged(module_judge_server: Any, start_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service whose judge is asked about every text."""
    folder = tmp_path_factory.mktemp("presence") / "policies"
    shutil.copytree(ROOT / "policies", folder)
    (folder / "tulips").mkdir()
    (folder / "tulips" / "policy.yaml").write_text(TULIPS, encoding="utf-8")
    settings = {"GUARD_JUDGE_URL": module_judge_server.url, "GUARD_JUDGE_MODEL": "tiny"}
    with start_server(GUARD_POLICIES=str(folder), GUARD_DEFAULT_POLICY="tulips", **settings) as server:
        yield server


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/moderate", {"input": "A bulb."}),
        ("/v1/decisions", {"input": "A bulb.", "questions": [{"type": "predicate", "instructions": "A flower."}]}),
    ],
)
def test_a_client_that_leaves_ends_its_work(judged: Server, module_judge_server: Any, route: str, body: Any):
    """The judge's call is broken off at once; nothing is logged as an error, and the next request is served."""
    judged.client.post("/v1/decisions", json={"input": "x", "questions": [{"type": "predicate", "instructions": "y"}]})
    before, cancelled = len(module_judge_server.calls), module_judge_server.cancelled
    module_judge_server.delay = 5.0
    raw = json.dumps(body).encode()
    url = httpx.URL(judged.url)
    try:
        with socket.create_connection((url.host, url.port)) as client:
            client.sendall(f"POST {route} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
            _until(lambda: len(module_judge_server.calls) > before)
            time.sleep(0.1)
            left = time.monotonic()
        _until(lambda: module_judge_server.cancelled > cancelled)
        assert time.monotonic() - left < 1.0
    finally:
        module_judge_server.delay = 0.0
    assert judged.moderate("A rose.").status_code == 200
    assert "request_failed" not in judged.log()


def _until(holds: Any) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
