"""A guarded chat over real sockets, side by side with the scripted upstream itself and with a bare pass-through.

    chat_first_token    how much later the first text arrives than from the upstream
    chat_cpu            CPU time a request, the encoder's own and the rest, against the pass-through; also with an
                        encoder that costs nothing
    chat_streams        hundreds of streams at the same time: pace, errors, memory

Upstream, pass-through and Guard are a process each; this one asks. Prompts and answers differ from request to request,
so that no verdict comes from the cache, and every answer is compared with what the upstream has said.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.asking import Told, ask_all, chat, is_whole, prompt
from benchmarks.load import ROOT, Running, cpu_seconds, guard_server, started
from benchmarks.metered import Meter, read_meter
from benchmarks.record import write

__all__ = ["COMMAND", "THROUGH", "Side", "cpu", "first_token", "policies", "run", "sides", "streams"]

COMMAND = "python -m benchmarks"
UPSTREAM_PORT = 8903
PASSTHROUGH_PORT = 8904
FREE_PORT = 8907
THROUGH = (("X-Guard-Policy", "through"),)
PACE = 50
"""Tokens a second, as a model of middling size gives them."""
TOKENS = 60
_NUMBERS = count()


class Side(NamedTuple):
    """One of those that are compared: a server, and what a request says to it besides."""

    server: Running
    headers: Sequence[tuple[str, str]] = ()


@contextmanager
def policies() -> Iterator[Path]:
    """A folder with our policies and `through`: the default one, but for its streams."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for found in (ROOT / "policies").glob("*/policy.yaml"):
            (folder / found.parent.name).mkdir()
            (folder / found.parent.name / "policy.yaml").write_bytes(found.read_bytes())
        (folder / "through").mkdir()
        (folder / "through" / "policy.yaml").write_text(
            "version: 1\nname: through\ndescription: Streams leave at once.\nextends: default\n"
            "chat:\n  streaming: {mode: through}\n"
        )
        yield folder


class _Sides(NamedTuple):
    """Who is compared. `meter` is the file of the meter on Guard's encoder; the encoder of `free` costs nothing."""

    direct: Side
    passing: Side
    hold: Side
    through: Side
    free: Side
    meter: Path


@contextmanager
def sides() -> Iterator[_Sides]:
    """The upstream, the pass-through and Guard in two modes, running."""
    with ExitStack() as stack:
        folder = stack.enter_context(policies())
        upstream = stack.enter_context(
            started([sys.executable, "-m", "benchmarks.upstream", str(UPSTREAM_PORT)], UPSTREAM_PORT)
        )
        passing = stack.enter_context(
            started(
                [sys.executable, "-m", "benchmarks.passthrough", str(PASSTHROUGH_PORT), upstream.url],
                PASSTHROUGH_PORT,
            )
        )
        meter = folder / "meter"
        guard = stack.enter_context(
            guard_server(
                runner=("-m", "benchmarks.metered", str(meter)),
                GUARD_POLICIES=str(folder),
                GUARD_UPSTREAM_URL=upstream.url,
            )
        )
        free = stack.enter_context(
            guard_server(
                port=FREE_PORT,
                runner=("-m", "benchmarks.metered", "free"),
                GUARD_POLICIES=str(folder),
                GUARD_UPSTREAM_URL=upstream.url,
            )
        )
        yield _Sides(Side(upstream), Side(passing), Side(guard), Side(guard, THROUGH), Side(free), meter)


def run(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Runs a client on an event loop as fast as the servers'."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def bodies(number: int, **asked: Any) -> list[dict[str, Any]]:
    """So many requests that nobody has sent before."""
    return [chat(prompt(next(_NUMBERS)), **asked) for _ in range(number)]


async def told(side: Side, asked: Sequence[dict[str, Any]], connections: int) -> list[Told]:
    """The answers, all of which are as the upstream gave them.

    Raises:
        RuntimeError: one is not.
    """
    answers = await ask_all(side.server.url, asked, connections=connections, headers=side.headers)
    wrong = [answer for answer, body in zip(answers, asked, strict=True) if not is_whole(answer, body)]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(answers)} answers are wrong; one: {wrong[0].body[:2_000]!r}")
    return answers


def first_token(*, quick: bool = False) -> None:
    """From the request to the first text of a stream, asked one after the other, the ways in turn."""
    requests = 6 if quick else 60
    with sides() as found:
        figures = run(_first_token(found, requests))
    figures |= {"requests": requests, "goal": f"hold <= 150 ms, through <= 15 ms at the median at {PACE} tokens/s"}
    write("chat_first_token", f"{COMMAND} chat_first_token", figures, keep=not quick)


async def _first_token(found: _Sides, requests: int) -> dict[str, Any]:
    ways = {"direct": found.direct, "passing": found.passing, "through": found.through, "hold": found.hold}
    figures: dict[str, Any] = {}
    for pace in (PACE, 0):
        times: dict[str, list[float]] = {name: [] for name in ways}
        for side in ways.values():
            await told(side, bodies(4, tokens=20, pace=pace, stream=True), 1)
        for _ in range(requests):
            for name, side in ways.items():
                (answer,) = await told(side, bodies(1, tokens=20, pace=pace, stream=True), 1)
                times[name].append((answer.first - answer.asked) * 1e3)
        place = f"at_{pace}_tokens_per_s" if pace else "at_full_speed"
        direct = statistics.median(times["direct"])
        figures[f"ms_direct_median_{place}"] = direct
        for name in ("passing", "through", "hold"):
            figures[f"ms_added_by_{name}_median_{place}"] = statistics.median(times[name]) - direct
            figures[f"ms_added_by_{name}_p95_{place}"] = _p95(times[name]) - _p95(times["direct"])
    return figures


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


class _Cost(NamedTuple):
    """CPU time of one request in microseconds: all of it, the encoder's own, and calls of the encoder."""

    whole: float
    encoder: float
    calls: float

    @property
    def rest(self) -> float:
        """What is not the encoder's."""
        return self.whole - self.encoder


KINDS: Mapping[str, dict[str, Any]] = {
    "whole": {"tokens": TOKENS},
    "stream_at_full_speed": {"tokens": TOKENS, "stream": True},
    f"stream_at_{PACE}_tokens_per_s": {"tokens": TOKENS, "stream": True, "pace": PACE},
}


def cpu(*, quick: bool = False) -> None:
    """CPU time a request by kind: Guard's own, the encoder's calls taken off, against the pass-through's."""
    rounds, requests = (1, 32) if quick else (3, 160)
    with sides() as found:
        figures = run(_cpu(found, rounds, requests))
    figures |= {
        "rounds": rounds,
        "tokens_an_answer": TOKENS,
        "encoder": "the thread's CPU time inside Encoder.read, metered in the server, in the measured calls",
        "free_encoder": "hold, with an encoder that costs nothing: it says of every text what it said of its first",
        "goal": "ratio <= 3",
    }
    write("chat_cpu", f"{COMMAND} chat_cpu", figures, keep=not quick)


async def _cpu(found: _Sides, rounds: int, requests: int) -> dict[str, Any]:
    ways = {"hold": found.hold, "through": found.through, "free": found.free, "passing": found.passing}
    figures: dict[str, Any] = {}
    for kind, asked in KINDS.items():
        costs: dict[str, list[_Cost]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, side in ways.items():
                if name == "through" and not asked.get("stream"):
                    continue
                # CPU time is counted in hundredths of a second: what takes little of it is asked more often.
                many = requests if asked.get("pace") else 5 * requests
                cost = await _cost(found, side, bodies(many if number else 32, **asked))
                # The first round warms up.
                costs[name] += [cost] if number else []
        bare = [cost.whole for cost in costs["passing"]]
        figures[f"passing_us_{kind}"] = statistics.median(bare)
        ratios = [cost.whole / yard for cost, yard in zip(costs["free"], bare, strict=True)]
        figures[f"free_encoder_us_{kind}"] = statistics.median(cost.whole for cost in costs["free"])
        figures[f"free_encoder_ratio_{kind}"] = statistics.median(ratios)
        figures[f"free_encoder_ratio_{kind}_range"] = f"{min(ratios):.2f} to {max(ratios):.2f}"
        for name in ("hold", "through"):
            if not costs[name]:
                continue
            label = name if asked.get("stream") else "guard"
            ratios = [cost.rest / yard for cost, yard in zip(costs[name], bare, strict=True)]
            figures[f"{label}_us_without_encoder_{kind}"] = statistics.median(cost.rest for cost in costs[name])
            figures[f"{label}_encoder_us_{kind}"] = statistics.median(cost.encoder for cost in costs[name])
            figures[f"{label}_encoder_calls_{kind}"] = statistics.median(cost.calls for cost in costs[name])
            figures[f"{label}_ratio_{kind}"] = statistics.median(ratios)
            figures[f"{label}_ratio_{kind}_range"] = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return figures


async def _cost(found: _Sides, side: Side, asked: Sequence[dict[str, Any]]) -> _Cost:
    before, meter = cpu_seconds(side.server), read_meter(found.meter)
    await told(side, asked, 16)
    after, then = cpu_seconds(side.server), read_meter(found.meter)
    used = Meter(then.calls - meter.calls, then.seconds - meter.seconds)
    return _Cost((after - before) / len(asked) * 1e6, used.seconds / len(asked) * 1e6, used.calls / len(asked))


STREAMS = (8, 16, 32, 64, 128, 256, 500)
FULL_PACE = 1.05
"""How much longer than the upstream's own time a stream may take and still count as one at full pace."""


def streams(*, quick: bool = False) -> None:
    """Many streams at the same time, more and more of them."""
    seconds, numbers = (2, (16, 500)) if quick else (4, STREAMS)
    with sides() as found:
        figures = run(_streams(found, seconds, numbers))
    figures |= {
        "seconds_a_stream": seconds,
        "full_pace": f"the median stream takes at most {FULL_PACE} times as long as the upstream gives it",
        "goal": "500 streams on two cores (upstream and client on the same two): no error, bounded memory",
    }
    write("chat_streams", f"{COMMAND} chat_streams", figures, keep=not quick)


async def _streams(found: _Sides, seconds: int, numbers: Sequence[int]) -> dict[str, Any]:
    ways = {"direct": found.direct, "passing": found.passing, "through": found.through, "hold": found.hold}
    figures: dict[str, Any] = {}
    for name, side in ways.items():
        await told(side, bodies(32, tokens=TOKENS, stream=True), 16)
        fresh = side.server.process.memory_info().rss
        crowds = {number: await _crowd(side, number, seconds) for number in numbers}
        figures[f"{name}_most_at_full_pace"] = max((n for n, crowd in crowds.items() if crowd.unhurt), default=0)
        figures |= {f"{name}_stretch_by_number": {n: round(crowd.stretch, 2) for n, crowd in crowds.items()}}
        figures |= {f"{name}_{key}_at_{numbers[-1]}": value for key, value in crowds[numbers[-1]]._asdict().items()}
        figures[f"{name}_mb_before"] = fresh / 1e6
    return figures


class _Crowd(NamedTuple):
    """How streams did that came at the same time.

    `errors` did not arrive as they were; `undecided` of them were blocked because the screen was too late.
    `stretch` is the median stream's time over the upstream's own, `stretch_p95` the slow ones'; `first_ms` and
    `first_ms_p95` are from the request to the first text; `cpu_ms` is the server's CPU time a stream, `peak_mb` the
    most memory it had.
    """

    errors: int
    undecided: int
    stretch: float
    stretch_p95: float
    first_ms: float
    first_ms_p95: float
    cpu_ms: float
    peak_mb: float

    @property
    def unhurt(self) -> bool:
        """Whether all were whole and came at full pace."""
        return not self.errors and self.stretch <= FULL_PACE


async def _crowd(side: Side, number: int, seconds: int) -> _Crowd:
    asked = bodies(number, tokens=PACE * seconds, pace=PACE, stream=True)
    before, peak = cpu_seconds(side.server), [side.server.process.memory_info().rss]
    watching = asyncio.create_task(_watched(side.server, peak))
    try:
        answers = await ask_all(side.server.url, asked, connections=number, headers=side.headers)
    finally:
        watching.cancel()
    stretches = [(answer.ended - answer.asked) / (seconds + 1 / PACE) for answer in answers]
    firsts = [(answer.first - answer.asked) * 1e3 for answer in answers]
    wrong = [answer for answer, body in zip(answers, asked, strict=True) if not is_whole(answer, body)]
    return _Crowd(
        errors=len(wrong),
        undecided=sum(b'"degraded":true' in answer.body for answer in wrong),
        stretch=statistics.median(stretches),
        stretch_p95=_p95(stretches),
        first_ms=statistics.median(firsts),
        first_ms_p95=_p95(firsts),
        cpu_ms=(cpu_seconds(side.server) - before) / number * 1e3,
        peak_mb=max(peak) / 1e6,
    )


async def _watched(server: Running, peak: list[int]) -> None:
    while True:
        peak[0] = max(peak[0], server.process.memory_info().rss)
        await asyncio.sleep(0.05)
