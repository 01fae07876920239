"""Mixed traffic for a stated time while things go wrong on a schedule; whether every answer was still right.

    python -m benchmarks.soak --seconds 600

Two replicas of `guard serve` share a Redis, with keys, rates, a judge and a chat's upstream. Requests come at a stated
rate, whether those before are answered or not, all from one seed. Redis, the judge, the upstream, the replicas, the
files of policies and keys, and other clients fail meanwhile (`benchmarks/soaking/faults.py`). Afterwards

- an outcome that is not the request's usual one must follow from a fault of that moment,
- a seeded sample of the answers is computed again without Guard's server, cache and Redis, and must be the same,
- no harmful sentence of a stream may have come through a hold-back,
- memory must be flat, and nothing may be left waiting.

The exit code is 1 where one of that does not hold. A run of ten minutes or more is kept in `results/soak.json`.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.record import RESULTS, machine
from benchmarks.soaking.again import Again
from benchmarks.soaking.client import Client, Done, streamed
from benchmarks.soaking.faults import QUIET, Faults, Window
from benchmarks.soaking.stage import Replica, Stage, on_stage
from benchmarks.soaking.traffic import Script
from guard.telemetry import configure_logging

__all__ = ["Soaked", "benchmark", "judged", "main", "soak", "soaked"]

KEPT_SECONDS = 600
SAMPLE = 2_000
"""Answers that are computed again, at most."""
DRIFT = 0.05
"""By how much a replica's memory may grow from the middle quiet phase to the last one."""
LONG_SECONDS = 300
"""In a shorter soak a replica is hardly warm by its middle: its growth is told, and not judged."""
SHOWN = 20
_HEALED_SECONDS = 45.0
"""A breaker that is open waits 37 seconds at most."""


class Memory(NamedTuple):
    """Resident bytes of a replica's process at a moment."""

    at: float
    replica: str
    process: int
    bytes: int


class Soaked(NamedTuple):
    """What a soak gave, before it is judged."""

    seconds: float
    done: Sequence[Done]
    windows: Sequence[Window]
    memory: Sequence[Memory]
    left_behind: dict[str, float]
    mistakes: Counter[str]


async def soaked(stage: Stage, *, seconds: float, rate: float, seed: int) -> Soaked:
    """Runs traffic and faults on a stage, until the last answer is there."""
    script = Script(seed)
    memory: list[Memory] = []
    async with Client([replica.url for replica in stage.replicas], stage.keys, time.perf_counter()) as client:
        watching = asyncio.create_task(_watched(stage.replicas, client, memory))
        faults = Faults(stage, client, script, seconds)
        failing = asyncio.create_task(faults.run())
        await _traffic(client, script, seconds=seconds, rate=rate, seed=seed)
        await failing
        watching.cancel()
        left_behind = await _left_behind(stage, client, script)
        mistakes: Counter[str] = sum((replica.mistakes() for replica in stage.replicas), Counter())
        return Soaked(client.now(), client.done, faults.windows, memory, left_behind, mistakes)


async def _traffic(client: Client, script: Script, *, seconds: float, rate: float, seed: int) -> None:
    """Requests with random pauses between them, whether those before are answered or not."""
    rng = random.Random(f"{seed}:pauses")
    tasks = set()
    due, number = 0.0, 0
    while True:
        due += rng.expovariate(rate)
        if due > seconds:
            break
        await asyncio.sleep(max(0.0, due - client.now()))
        task = asyncio.create_task(client.send(script.ask(number)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    await asyncio.gather(*tasks)


async def _watched(replicas: Sequence[Replica], client: Client, memory: list[Memory]) -> None:
    while True:
        for replica in replicas:
            found = replica.memory()
            if found is not None:
                memory.append(Memory(client.now(), replica.name, *found))
        await asyncio.sleep(0.5)


async def _left_behind(stage: Stage, client: Client, script: Script) -> dict[str, float]:
    """What the replicas still hold, or still take for broken, once nothing comes any more: all zero, sooner or later.
    A breaker finds out that all is well by the requests that it lets through."""
    names = ("guard_queue_waiting", "guard_chat_streams", "guard_cache_open", "guard_judge_open")
    end = client.now() + _HEALED_SECONDS
    number = 900_000
    while True:
        found: dict[str, float] = {}
        for replica in stage.replicas:
            metrics = await replica.metrics()
            found |= {f"{replica.name} {name}": float(metrics[name]) for name in names}
        if not any(found.values()) or client.now() > end:
            return found
        for place in range(2):
            await client.send(script.of("doubtful", number), place)
            number += 1
        await asyncio.sleep(0.5)


async def judged(soaked: Soaked, stage: Stage, *, seconds: float, seed: int) -> dict[str, Any]:
    """The report. `broken` names every limit that does not hold."""
    explained: dict[str, Counter[str]] = defaultdict(Counter)
    unexpected: Counter[str] = Counter()
    degraded: Counter[str] = Counter()
    for done in soaked.done:
        fault = _explained(done, soaked.windows)
        if fault is None:
            unexpected[f"{done.ask.kind}: {done.outcome} ({_when(done, soaked.windows)})"] += 1
        elif fault:
            explained[fault][done.outcome] += 1
        if done.outcome == "200" and b'"degraded":true' in done.body:
            by = [window.name for window in soaked.windows if window.degrades(done)]
            degraded[by[-1] if by else "unexplained"] += 1
    again = Again(stage.versions)
    sample = _sample(soaked.done, seed)
    mismatches: Counter[str] = Counter()
    for done in sample:
        place = await again.mismatch(done)
        if place:
            mismatches[f"{done.ask.kind} under {done.ask.policy or 'its policy'}: {place}"] += 1
    leaks = await _leaks(again, soaked.done)
    drift = _drift(soaked.memory, seconds)
    problems = [f"{window.name}: {problem}" for window in soaked.windows for problem in window.problems]
    problems += _stale(soaked, stage)
    figures: dict[str, Any] = {
        "requests": len([done for done in soaked.done if not done.again]),
        "requests_by_kind": dict(Counter(done.ask.kind for done in soaked.done if not done.again)),
        "asked_the_other_replica": sum(done.again for done in soaked.done),
        "unexpected_errors": sum(unexpected.values()),
        "unexpected_errors_by_kind": dict(unexpected.most_common(SHOWN)),
        "explained_errors": {fault: dict(found) for fault, found in explained.items()},
        "degraded": dict(degraded),
        "verdicts_recomputed": len(sample),
        "verdict_mismatches": sum(mismatches.values()),
        "mismatches_by_place": dict(mismatches.most_common(SHOWN)),
        **leaks,
        "memory_drift": drift,
        "memory_mb": _over_time(soaked.memory, seconds),
        "left_behind": {name: value for name, value in soaked.left_behind.items() if value},
        "mistakes_in_the_log": dict(soaked.mistakes.most_common(SHOWN)),
        "faults": [_told(window) for window in sorted(soaked.windows, key=lambda window: window.began)],
        "problems": problems,
        "latency_ms": _latencies(soaked.done, soaked.windows),
    }
    flat = len(drift) == 2 and all(one <= DRIFT for one in drift.values())
    checks = {
        "no unexpected error": not unexpected,
        "no verdict degraded without a reason": not degraded["unexplained"],
        "every answer computed again is the same": not mismatches and bool(sample),
        "no harmful sentence through a hold-back": not leaks["leaks"] and leaks["harmful_streams"] > 0,
        f"memory grows by {DRIFT:.0%} at most": flat or seconds < LONG_SECONDS,
        "nothing is left behind": not figures["left_behind"],
        "no mistake in the log": not soaked.mistakes,
        "every fault was seen, and what should follow from it": not problems,
    }
    figures["broken"] = [limit for limit, holds in checks.items() if not holds]
    return figures


def _explained(done: Done, windows: Sequence[Window]) -> str | None:
    """The fault that a request's outcome follows from; empty where nothing is to be explained, None where nothing
    explains it."""
    if done.expected:
        over = [w for w in windows if w.name == "key_revoked" and done.began > w.ended]
        return None if over and done.ask.key == "leaving" else ""
    found = [window for window in windows if window.explains(done)]
    return max(found, key=lambda window: window.began).name if found else None


def _stale(soaked: Soaked, stage: Stage) -> list[str]:
    """What is still answered under a policy that was replaced, once both replicas have said that they know."""
    *replaced, _ = [fingerprint for fingerprint, policy in stage.versions.items() if policy.name == "forum"]
    known = next(window.ended for window in soaked.windows if window.name == "policy_changed")
    late = [done for done in soaked.done if done.began > known]
    count = sum(any(old.encode() in done.body for old in replaced) for done in late)
    return [f"policy_changed: {count} answers afterwards are under an old one"] if count else []


def _when(done: Done, windows: Sequence[Window]) -> str:
    met = [window.name for window in windows if done.began <= window.ended and done.ended >= window.began]
    return f"{', '.join(met) or 'quiet'} at {done.began:.0f} s"


def _sample(done: Sequence[Done], seed: int) -> list[Done]:
    """Answers to compute again: as many as may be, by chance, of those that came whole."""
    whole = [
        one
        for one in done
        if one.outcome == "200" and one.ask.status == 200 and one.body and one.ask.manner != "leaves"
    ]
    return whole if len(whole) <= SAMPLE else random.Random(f"{seed}:sample").sample(whole, SAMPLE)


async def _leaks(again: Again, done: Sequence[Done]) -> dict[str, int]:
    """Of streams with a harmful sentence that the policy blocks: how many there were, through how many of them it came.
    Under `held` nothing of it may come, whatever fails; under `default` not all of it, unless a stage failed: there the
    policy has said what follows."""
    found: Counter[str] = Counter()
    for one in done:
        # An answer that did not come to its end has what had come by then.
        if one.ask.kind != "letter" or one.ask.policy == "through" or not one.body.startswith(b"data: "):
            continue
        guard = streamed(one.body).guard
        failed = guard is None or guard["output"] is None or guard["output"]["degraded"]
        if one.ask.policy == "held" or not failed:
            leaks = await again.leaks(one, strictly=one.ask.policy == "held")
            found["harmful_streams"] += leaks is not None
            found["leaks"] += bool(leaks)
    return {name: found[name] for name in ("harmful_streams", "leaks")}


def _drift(memory: Sequence[Memory], seconds: float) -> dict[str, float]:
    """By how much each replica's process has grown between two quiet phases, of those that lived through both."""
    drift = {}
    for replica in sorted({one.replica for one in memory}):
        last = [one for one in memory if one.replica == replica]
        medians = []
        for phase in ("middle", "last"):
            begin, end = (share * seconds for share in QUIET[phase])
            held = [one.bytes for one in last if begin <= one.at <= end and one.process == last[-1].process]
            if held:
                medians.append(statistics.median(held))
        if len(medians) == 2:
            drift[replica] = medians[1] / medians[0] - 1.0
    return drift


def _over_time(memory: Sequence[Memory], seconds: float) -> dict[str, list[float]]:
    """Each replica's memory in MB, medians of forty parts of the soak; 0 where it did not run."""
    found: dict[str, list[float]] = {}
    for replica in sorted({one.replica for one in memory}):
        parts: list[list[int]] = [[] for _ in range(40)]
        for one in memory:
            if one.replica == replica and one.at < seconds:
                parts[int(one.at / seconds * 40)].append(one.bytes)
        found[replica] = [round(statistics.median(part) / 1e6, 1) if part else 0.0 for part in parts]
    return found


def _told(window: Window) -> dict[str, Any]:
    return {
        "fault": window.name,
        "began_s": round(window.began, 1),
        "ended_s": round(window.ended, 1),
        "seen": window.seen,
    }


def _latencies(done: Sequence[Done], windows: Sequence[Window]) -> dict[str, dict[str, float]]:
    """Of whole answers, by the faults that were there when they were asked for; of streams until their first words."""
    times: dict[str, list[float]] = defaultdict(list)
    for one in done:
        if not one.expected or one.ask.manner not in ("plain", "stream") or one.ask.kind == "mistake":
            continue
        names = [w.name for w in windows if w.began <= one.began <= w.ended and w.name != "key_revoked"] or ["quiet"]
        kind = "" if one.ask.manner == "plain" else " streams' first words"
        seconds = (one.ended if one.ask.manner == "plain" else one.first) - one.began
        for name in names:
            times[name + kind].append(seconds * 1e3)
    found = {}
    for name, values in sorted(times.items()):
        cuts = statistics.quantiles(values, n=100) if len(values) > 1 else values * 99
        found[name] = {"count": len(values)} | {f"p{p}": round(cuts[p - 1], 1) for p in (50, 95, 99)}
    return found


def _print(report: dict[str, Any]) -> None:
    """A table for people."""
    figures = report["figures"]
    for name in (
        "requests",
        "asked_the_other_replica",
        "unexpected_errors",
        "verdicts_recomputed",
        "verdict_mismatches",
        "harmful_streams",
        "leaks",
    ):
        print(f"  {name.replace('_', ' '):<28} {figures[name]}")
    for name in ("degraded", "memory_drift", "left_behind", "mistakes_in_the_log"):
        print(f"  {name.replace('_', ' '):<28} {', '.join(f'{k} {v:.3g}' for k, v in figures[name].items()) or 'none'}")
    print(
        f"\n  {'fault':<20} {'from':>6} {'to':>6}  {'p50':>6} {'p95':>6} {'p99':>6} ms  seen; errors that it explains"
    )
    latencies = figures["latency_ms"]
    rows = [{"fault": "quiet", "began_s": 0.0, "ended_s": report["seconds"], "seen": ""}, *figures["faults"]]
    for row in rows:
        known = latencies.get(row["fault"], {})
        times = " ".join(f"{known.get(p, float('nan')):>6.0f}" for p in ("p50", "p95", "p99"))
        errors = ", ".join(f"{k} × {v}" for k, v in figures["explained_errors"].get(row["fault"], {}).items())
        told = "; ".join(filter(None, [row["seen"], errors]))
        print(f"  {row['fault']:<20} {row['began_s']:>6.0f} {row['ended_s']:>6.0f}  {times}     {told}")
    for name in ("unexpected_errors_by_kind", "mismatches_by_place"):
        for kind, count in figures[name].items():
            print(f"  {name.partition('_')[0]}: {kind} × {count}")
    for problem in figures["problems"]:
        print(f"  problem: {problem}")
    print(f"\n  {'does not hold: ' + '; '.join(figures['broken']) if figures['broken'] else 'every limit holds'}")


def soak(*, seconds: float = KEPT_SECONDS, rate: float = 12.0, seed: int = 1, report: Path | None = None) -> bool:
    """Runs a soak, prints and keeps its report; whether every limit holds.

    Raises:
        SystemExit: there is no Redis server.
    """
    configure_logging(level="error", form="text")

    async def whole() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            async with on_stage(Path(folder)) as stage:
                found = await soaked(stage, seconds=seconds, rate=rate, seed=seed)
            return await judged(found, stage, seconds=seconds, seed=seed)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(whole())
    command = f"python -m benchmarks.soak --seconds {seconds:g} --rate {rate:g} --seed {seed}"
    document = {"benchmark": "soak", "command": command, "machine": machine(), "seconds": seconds, "figures": figures}
    places = [report] if report is not None else []
    if seconds >= KEPT_SECONDS:
        RESULTS.mkdir(exist_ok=True)
        places.append(RESULTS / "soak.json")
    for place in places:
        place.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nsoak: {command}")
    _print(document)
    return not figures["broken"]


def benchmark(*, quick: bool = False) -> None:
    """The soak among the other benchmarks.

    Raises:
        SystemExit: a limit does not hold, or there is no Redis server.
    """
    if not soak(seconds=60.0 if quick else KEPT_SECONDS):
        raise SystemExit("the soak: a limit does not hold")


def main() -> None:
    """Runs a soak as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Traffic while things go wrong.")
    parser.add_argument("--seconds", type=float, default=KEPT_SECONDS, help="of traffic (600; 60 at least)")
    parser.add_argument("--rate", type=float, default=12.0, help="requests a second (12)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (1)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the report goes besides, as JSON")
    asked = parser.parse_args()
    if asked.seconds < 60 or not 0 < asked.rate <= 500:
        parser.error("--seconds is 60 or more, or the faults have no time; --rate is above 0, at most 500")
    sys.exit(0 if soak(seconds=asked.seconds, rate=asked.rate, seed=asked.seed, report=asked.report) else 1)


if __name__ == "__main__":
    main()
