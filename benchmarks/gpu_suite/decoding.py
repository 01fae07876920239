"""Part 5: texts that are written: tokens/s by batch, in a CUDA graph and without; rolling buffers against full ones."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu_suite.bench import Bench
from benchmarks.gpu_suite.graphs import DecodingGraph
from benchmarks.gpu_suite.weights import filled_rings, shape_of, some_tokens, some_weights
from guard.engine.checkpoint import Weights
from guard.engine.model import Mistral
from guard.engine.sampling import Sampler, Sampling, choose

__all__ = ["run"]

_ROOM = 512
"""Tokens that a sequence may grow by while it is measured."""


def run(bench: Bench) -> None:
    """The graph at each batch, then far behind the window, then without a graph."""
    sizes, network = bench.sizes, bench.sizes.network
    kept: list[Weights] = []

    def engine(window: bool) -> Mistral:
        if not kept:
            kept.append(some_weights(shape_of(network), bench.device, bench.dtype))
        made = kept[0]
        return Mistral(Weights(shape_of(network, window=window), made.words, made.layers, made.norm, made.head))

    room = min(_ROOM, network.window - sizes.context)
    near = {"context": sizes.context, "window": None}
    for batch in sizes.decoded:
        given = (bench, engine, False, batch, sizes.context, room)
        bench.case(f"decode {batch}", _graphed, *given, batch=batch, **near)
    begun = sizes.far - room
    for name, window in (("rolling", True), ("full", False)):
        bench.case(
            f"decode at {sizes.far} {name}",
            _graphed,
            *(bench, engine, window, sizes.far_batch, begun, room),
            batch=sizes.far_batch,
            context=begun,
            window=network.window if window else None,
        )
    for batch in sizes.decoded:
        given = (bench, engine, False, batch, sizes.context, room)
        bench.case(f"decode {batch} without a graph", _plain, *given, batch=batch, **near)


def _graphed(
    bench: Bench, network: Callable[[bool], Mistral], window: bool, batch: int, context: int, room: int
) -> dict[str, Any]:
    """Network, vocabulary and the likeliest token, kept in one graph; the host only starts it again."""
    engine = network(window)
    rings = filled_rings(engine.shape, bench.device, bench.dtype, slots=batch, context=context + room)
    tokens = some_tokens(batch, bench.sizes.network, 3)
    graph = DecodingGraph(engine, rings, tokens, range(batch), [context] * batch)
    begun = graph.numbers.clone()

    def steps() -> None:
        with torch.inference_mode():
            graph.numbers.copy_(begun)
        for _ in range(count):
            graph.step()

    count = max(1, min(32, room))
    timed = bench.clock.wall_time(steps)
    taken = timed.seconds / count
    return {
        "seconds": taken,
        "spread": timed.spread / count,
        "repeats": timed.repeats,
        "tokens_per_s": batch / taken,
        "ring_bytes": _bytes(rings.keys) + _bytes(rings.values),
        "graph": bench.device.type == "cuda",
    }


def _plain(
    bench: Bench, network: Callable[[bool], Mistral], window: bool, batch: int, context: int, room: int
) -> dict[str, Any]:
    """As the scheduler does it: tokens come back to the host, and are drawn by each sequence's own rules."""
    engine = network(window)
    rings = filled_rings(engine.shape, bench.device, bench.dtype, slots=batch, context=context + room)
    tokens = some_tokens(batch, bench.sizes.network, 3)
    samplers = [Sampler(Sampling(seed=n)) for n in range(batch)]

    def step() -> None:
        hidden = engine.decode(tokens, rings, list(range(batch)), [context] * batch)
        choose(engine.logits(hidden), samplers)

    timed = bench.clock.wall_time(step)
    return timed.figures() | {"tokens_per_s": batch / timed.seconds}


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)
