"""Part 7: what lies in the device's memory, and how many sequences fit beside the weights.

Every case of every other part has its peak in its record; here it is taken apart.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu_suite.bench import Bench
from benchmarks.gpu_suite.weights import shape_of, some_tokens, some_weights
from guard.engine.checkpoint import Weights
from guard.engine.kv import NOTHING, KeyValues, Rings
from guard.engine.model import Mistral, Part

__all__ = ["run"]

_SPARE = 4 << 30
"""Bytes that a step needs beside weights, keys and values."""


def run(bench: Bench) -> None:
    """Weights, prefixes, steps, sequences."""
    sizes, network = bench.sizes, bench.sizes.network
    kept: list[Weights] = []

    def weights() -> Weights:
        if not kept:
            kept.append(some_weights(shape_of(network), bench.device, bench.dtype))
        return kept[0]

    bench.case("weights", _weights, bench, weights, parameters=shape_of(network).parameters)
    for name, window in (("rolling", True), ("full", False)):
        bench.case(
            f"sequences at {sizes.far} {name}",
            _sequences,
            bench,
            weights,
            window,
            context=sizes.far,
            window=network.window if window else None,
        )
    for tokens in sizes.step:
        bench.case(f"step of {tokens}", _step, bench, weights, tokens, tokens=tokens)
    bench.case("policy kept", _policy, bench, weights, tokens=sizes.policy)


def _weights(bench: Bench, weights: Callable[[], Weights]) -> dict[str, Any]:
    made = weights()
    layers = [getattr(layer, name) for layer in made.layers for name in layer.__struct_fields__]
    tensors = [made.words, made.norm, made.head, *layers]
    return {"bytes": sum(x.numel() * x.element_size() for x in tensors)} | _held(bench)


def _sequences(bench: Bench, weights: Callable[[], Weights], window: bool) -> dict[str, Any]:
    """How many have room for their keys and values; on a GPU that many are really set up."""
    weights()
    sizes = bench.sizes
    shape = shape_of(sizes.network, window=window)
    one = Rings(shape, slots=1, context=sizes.far, device=bench.device, dtype=bench.dtype)
    each = sum(x.numel() * x.element_size() for x in (*one.keys, *one.values))
    del one
    figures: dict[str, Any] = {"bytes_a_sequence": each}
    if bench.device.type != "cuda":
        return figures
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(bench.device)[0] - _SPARE
    fit = free // each
    rings = Rings(shape, slots=fit, context=sizes.far, device=bench.device, dtype=bench.dtype)
    figures |= {"sequences": fit, "ring_bytes": sum(x.numel() * x.element_size() for x in (*rings.keys, *rings.values))}
    del rings
    torch.cuda.empty_cache()
    return figures


def _step(bench: Bench, weights: Callable[[], Weights], tokens: int) -> dict[str, Any]:
    """A packed step's peak beyond what lay there before it."""
    length = bench.sizes.texts[0]
    engine = Mistral(weights())
    parts = [Part(NOTHING, some_tokens(length, bench.sizes.network, n)) for n in range(max(1, tokens // length))]
    engine.run(parts)
    if bench.device.type != "cuda":
        return {"texts": len(parts)}
    torch.cuda.reset_peak_memory_stats(bench.device)
    before = torch.cuda.memory_allocated(bench.device)
    engine.run(parts)
    return {"texts": len(parts), "bytes": torch.cuda.max_memory_allocated(bench.device) - before}


def _policy(bench: Bench, weights: Callable[[], Weights]) -> dict[str, Any]:
    made: KeyValues = Mistral(weights()).extend(NOTHING, some_tokens(bench.sizes.policy, bench.sizes.network, 1))
    kept = sum(x.numel() * x.element_size() for x in (*made.keys, *made.values))
    return {"bytes": kept, "bytes_a_token": kept / made.kept}


def _held(bench: Bench) -> dict[str, Any]:
    """What the allocator says, beside what was counted."""
    if bench.device.type != "cuda":
        return {}
    return {"allocated_bytes": torch.cuda.memory_allocated(bench.device)}
