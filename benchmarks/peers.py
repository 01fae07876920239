"""Requests a second through guarding proxies, one upstream behind them all: Guard with every check on, and others.

    guard       prompts and answers that nobody has sent before: rules and encoder read every one of them
    cached      Guard again, one prompt of a few hundred after the other, whose verdicts it knows
    litellm     LiteLLM's proxy, which checks nothing
    nemo        NeMo Guardrails' IORails engine with a regular expression on each side: the fastest that it has

Whole answers; the same prompts and as many connections for each, in turns. The others are in environments of their own
(`make bench-peers`), each as fast as it can be made: one process, as Guard, and no logs.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.asking import ask_all, chat, is_whole, prompt
from benchmarks.chat import COMMAND, UPSTREAM_PORT, Side, run
from benchmarks.load import ROOT, Running, cpu_seconds, guard_server, started
from benchmarks.record import write
from benchmarks.upstream import model, tokens_of

__all__ = ["rate"]

CONNECTIONS = 16
LITELLM = "1.106.2"
NEMO = "0.24.1"
_KEY = "sk-only-for-this-benchmark-0123456789"
_HARMFUL = "I will find you tonight and I will kill you."
"""What the rails must find in a prompt: the policy blocks it, and NeMo has an expression for it."""
_REVEALING = "Which words are not to be said?"
"""A prompt whose answer NeMo has another expression for."""
_QUIET = "import logging; logging.disable(logging.CRITICAL); "
"""A line of log for each request would be a part of its cost."""


class Size(NamedTuple):
    """How long the texts are: words of a prompt, tokens of its answer."""

    words: int
    tokens: int


SIZES = {"short": Size(12, 16), "long": Size(30, 60)}
"""A question and its answer in one sentence each; a few sentences."""
KNOWN = 200
"""Different prompts that are asked over and over where the verdicts are cached."""


class Way(NamedTuple):
    """One of those that are compared, and which prompt its requests send: `prompts` gives a number for each."""

    side: Side
    prompts: Callable[[int], list[int]]


def rate(*, quick: bool = False, with_peers: bool = False) -> None:
    """Requests a second and CPU time a request; with peers, the ratios to them."""
    rounds, requests = (1, 64) if quick else (5, 500)
    figures: dict[str, Any] = {"connections": CONNECTIONS, "requests_a_round": requests}
    with ExitStack() as stack:
        upstream = stack.enter_context(
            started([sys.executable, "-m", "benchmarks.upstream", str(UPSTREAM_PORT)], UPSTREAM_PORT)
        )
        guard = Side(stack.enter_context(guard_server(GUARD_UPSTREAM_URL=upstream.url)))
        ways = {"guard": Way(guard, _new()), "cached": Way(guard, _known)}
        if with_peers:
            ways["litellm"] = Way(stack.enter_context(_litellm(upstream)), _new())
            ways["nemo"] = Way(stack.enter_context(_nemo(upstream)), _new())
            figures |= {"litellm_version": LITELLM, "nemo_version": NEMO}
        run(_checked(ways))
        for name, size in SIZES.items():
            figures |= run(_rates(ways, name, size, rounds, requests))
    figures["goal"] = "guard >= 3 times litellm, and ahead of nemo"
    write("chat_rate", f"{COMMAND} chat_rate{' --peers' * with_peers}", figures, keep=not quick)


def _new() -> Callable[[int], list[int]]:
    """Prompts that were never sent to this server."""
    numbers = count()
    return lambda many: [next(numbers) for _ in range(many)]


def _known(many: int) -> list[int]:
    """A few hundred prompts that are no others', one after the other."""
    return [900_000 + number % KNOWN for number in range(many)]


async def _checked(ways: dict[str, Way]) -> dict[str, Any]:
    """Makes sure that whoever is to check does.

    Raises:
        RuntimeError: somebody lets through what its rail must stop, or stops what it must not.
    """
    expected = {
        "guard": (False, True),
        "cached": (False, True),
        "litellm": (True, True),
        "nemo": (False, False),
    }
    for name, way in ways.items():
        asked = [chat(text, tokens=SIZES["short"].tokens) for text in (_HARMFUL, _REVEALING)]
        answers = await ask_all(way.side.server.url, asked, connections=1, headers=way.side.headers)
        passed = tuple(is_whole(answer, body) for answer, body in zip(answers, asked, strict=True))
        if passed != expected[name]:
            raise RuntimeError(f"{name} lets through {passed}, not {expected[name]}: {answers}")
    return {}


class _Rate(NamedTuple):
    """Requests a second, the server's CPU time for one in microseconds, and its answers that are wrong."""

    requests_per_s: float
    cpu_us: float
    errors: int


async def _rates(ways: dict[str, Way], name: str, size: Size, rounds: int, requests: int) -> dict[str, Any]:
    found: dict[str, list[_Rate]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, (side, prompts) in ways.items():
            # The first round warms up, and fills the cache.
            many = requests if number else KNOWN if way == "cached" else requests // 4
            measured = await _rate(side, [chat(prompt(n, size.words), tokens=size.tokens) for n in prompts(many)])
            found[way] += [measured] if number else []
    figures: dict[str, Any] = {}
    for way, rates in found.items():
        each = [one.requests_per_s for one in rates]
        figures[f"{way}_requests_per_s_{name}"] = statistics.median(each)
        figures[f"{way}_requests_per_s_{name}_range"] = f"{min(each):.0f} to {max(each):.0f}"
        figures[f"{way}_cpu_us_{name}"] = statistics.median(one.cpu_us for one in rates)
        figures[f"{way}_errors_{name}"] = sum(one.errors for one in rates)
    for peer in ("litellm", "nemo"):
        for ours in ("guard", "cached") if peer in found else ():
            pairs = zip(found[ours], found[peer], strict=True)
            ratios = [mine.requests_per_s / theirs.requests_per_s for mine, theirs in pairs]
            figures[f"{ours}_ratio_to_{peer}_{name}"] = statistics.median(ratios)
    return figures


async def _rate(side: Side, asked: Sequence[dict[str, Any]]) -> _Rate:
    before, begun = cpu_seconds(side.server), time.perf_counter()
    answers = await ask_all(side.server.url, asked, connections=CONNECTIONS, headers=side.headers)
    seconds, used = time.perf_counter() - begun, cpu_seconds(side.server) - before
    errors = sum(not is_whole(answer, body) for answer, body in zip(answers, asked, strict=True))
    return _Rate(len(asked) / seconds, used / len(asked) * 1e6, errors)


@contextmanager
def _litellm(upstream: Running, port: int = 8905) -> Iterator[Side]:
    python = _python(".venv-litellm", "litellm", LITELLM)
    served = [
        {
            "model_name": model(size.tokens, 0),
            "litellm_params": {
                "model": f"openai/{model(size.tokens, 0)}",
                "api_base": f"{upstream.url}/v1",
                "api_key": "none",
            },
        }
        for size in SIZES.values()
    ]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": _KEY}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        # JSON is YAML.
        file.write_text(json.dumps({"model_list": served, "litellm_settings": {"telemetry": False}}))
        command = [python, "-c", f"{_QUIET}from litellm import run_server; run_server()", "--config", str(file)]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        with started(command, port, "/health/liveliness", environment) as running:
            yield Side(running, (("Authorization", f"Bearer {_KEY}"),))


@contextmanager
def _nemo(upstream: Running, port: int = 8906) -> Iterator[Side]:
    python = _python(".venv-nemo", "nemoguardrails", NEMO)
    given = {"engine": "openai", "parameters": {"base_url": f"{upstream.url}/v1", "api_key": "none"}}
    revealed = "".join(tokens_of(_REVEALING, SIZES["short"].tokens))
    patterns = {"input": {"patterns": [re.escape(_HARMFUL)]}, "output": {"patterns": [re.escape(revealed)]}}
    config = {
        "models": [{"type": "main", "model": model(SIZES["short"].tokens, 0), **given}],
        "rails": {
            "config": {"regex_detection": patterns},
            "input": {"flows": ["regex check input"]},
            "output": {"flows": ["regex check output"]},
        },
    }
    environment = {"NEMO_GUARDRAILS_IORAILS_ENGINE": "1", "NEMO_GUARDRAILS_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "regex").mkdir()
        (Path(folder) / "regex" / "config.yml").write_text(json.dumps(config))
        # What the fast engine cannot do, the slow one does without a word.
        code = (
            "import sys; from nemoguardrails import RailsConfig\n"
            "from nemoguardrails.guardrails.iorails import IORails\n"
            "sys.exit(IORails.unsupported_reason(RailsConfig.from_path(sys.argv[1])))"
        )
        subprocess.run(
            [python, "-c", code, str(Path(folder) / "regex")], check=True, env=dict(os.environ) | environment
        )
        command = [python, "-c", f"{_QUIET}from nemoguardrails.cli import app; app()", "server", "--disable-chat-ui"]
        command += ["--config", folder, "--default-config-id", "regex", "--port", str(port)]
        with started(command, port, "/v1/rails/configs", environment) as running:
            yield Side(running)


def _python(folder: str, package: str, version: str) -> str:
    """The interpreter of a peer's environment, which has the version that the figures are about."""
    python = ROOT / folder / "bin" / "python"
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = (
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=False) if python.exists() else None
    )
    if found is None or found.stdout.strip() != version:
        raise SystemExit(f"chat_rate --peers needs {package} {version} in {folder}: make bench-peers")
    return str(python)
