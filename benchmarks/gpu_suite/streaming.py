"""Part 6: an answer that streams and is checked at each piece of it.

kept       the text's keys and values are kept, and the question reads them without writing (a session)
policy     only the policy is kept; turns and answer so far are read anew at each check
nothing    policy, turns and answer are read anew at each check
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.gpu_suite.bench import Bench
from benchmarks.gpu_suite.weights import shape_of, some_tokens, some_weights
from guard.engine.jobs import Scoring
from guard.engine.model import Mistral
from guard.engine.scheduler import Scheduler

__all__ = ["run"]

_LABELS = (7, 8)


def run(bench: Bench) -> None:
    """The three ways, and how far their answers lie apart."""
    sizes, network = bench.sizes, bench.sizes.network
    kept: list[Mistral] = []
    answers: dict[str, list[float]] = {}

    def engine() -> Mistral:
        if not kept:
            kept.append(Mistral(some_weights(shape_of(network), bench.device, bench.dtype)))
        return kept[0]

    for way in ("kept", "policy", "nothing"):
        bench.case(
            f"answer checked, {way}",
            _checked,
            bench,
            engine,
            way,
            answers,
            policy=sizes.policy,
            turns=sizes.turns,
            answer=sizes.answer,
            piece=sizes.piece,
            question=sizes.question,
        )


def _checked(bench: Bench, engine: Callable[[], Mistral], way: str, answers: dict[str, list[float]]) -> dict[str, Any]:
    """All checks of one answer, twice; the first time is for warming up."""
    for _ in range(2):
        figures, found = _once(bench, engine(), way)
    answers[way] = found
    apart = max(abs(a - b) for other in answers.values() for a, b in zip(found, other, strict=True))
    return figures | {"largest_difference": apart}


def _once(bench: Bench, engine: Mistral, way: str) -> tuple[dict[str, Any], list[float]]:
    sizes, network = bench.sizes, bench.sizes.network
    policy, turns = some_tokens(sizes.policy, network, 1), some_tokens(sizes.turns, network, 4)
    answer = some_tokens(sizes.answer, network, 2)
    question = some_tokens(sizes.question, network, 3)
    scheduler = Scheduler(engine)
    prefix: Sequence[int] = policy if way != "nothing" else ()
    # Policies are read before anybody streams.
    _asked(scheduler, Scoring(tuple(prefix), answer[:1], [question], [_LABELS]))
    computed, found, seconds = 0, [], []
    for end in [*range(sizes.piece, sizes.answer, sizes.piece), sizes.answer]:
        text = [*(policy if way == "nothing" else ()), *turns, *answer[:end]]
        job = Scoring(tuple(prefix), text, [question], [_LABELS], session="answer" if way == "kept" else None)
        seconds.append(bench.clock.once(partial(_asked, scheduler, job)))
        scored = job.found.result(0)
        computed += len(prefix) + len(text) + len(question) - scored.cached
        found += scored.logprobs[0]
    figures = {
        "checks": len(seconds),
        "tokens_computed": computed,
        "seconds": sum(seconds),
        "ms_a_check": sorted(seconds)[len(seconds) // 2] * 1e3,
    }
    return figures, found


def _asked(scheduler: Scheduler, job: Scoring) -> None:
    scheduler.submit(job)
    while scheduler.step():
        pass
