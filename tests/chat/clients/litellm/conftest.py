"""LiteLLM's proxy before a guarded chat, and with Guard as its guardrail.

`make test-litellm` runs these tests: it installs LiteLLM beside Guard and names its Python in TEST_LITELLM. Without
that variable nothing in this folder is collected.
"""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

collect_ignore_glob = [] if os.environ.get("TEST_LITELLM") else ["test_*.py"]

START_SECONDS = 90
CONFIG = """\
model_list:
  - model_name: guarded
    litellm_params: {{model: openai/m, api_base: "{url}/v1", api_key: mine}}
  - model_name: as-error
    litellm_params:
      model: openai/m
      api_base: "{url}/v1"
      api_key: mine
      extra_headers: {{X-Guard-Policy: as-error}}
router_settings: {{num_retries: 0}}
"""


class Proxy(NamedTuple):
    """A running proxy: its address and its key."""

    url: str
    key: str


def python() -> Path:
    """The Python that has LiteLLM; absolute, and not resolved: the interpreter of a virtual environment is a link."""
    return Path(os.environ["TEST_LITELLM"]).absolute()


def environment() -> dict[str, str]:
    """For LiteLLM's processes: nothing is fetched, and nothing of ours is read."""
    ours = ("GUARD_", "PYTHON", "OPENAI_", "LITELLM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@contextmanager
def running_proxy(config: str, folder: Path) -> Iterator[Proxy]:
    """A proxy with this configuration; stopped at the end."""
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A weak key, or none, and the proxy does not start.
    key = f"sk-{secrets.token_hex(24)}"
    where = ["--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "proxy.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python().parent / "litellm", *where],
            env=environment() | {"LITELLM_MASTER_KEY": key},
            stdout=out,
            stderr=out,
            cwd=folder,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield Proxy(url, key)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


@pytest.fixture(scope="session")
def proxy(guarded_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy whose models are Guard's."""
    config = CONFIG.format(url=guarded_session.server.url)
    with running_proxy(config, tmp_path_factory.mktemp("litellm")) as running:
        yield running


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/health/readiness", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    pytest.fail(f"LiteLLM's proxy did not start:\n{last}", pytrace=False)
