"""Part 3: attention by our kernels and by others, on the same rows.

Each is also held against ours: a kernel that computes something else would be no measure. In bfloat16 two right ones
differ by less than a hundredth of the result's length.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_suite.backends import NAMES, Step, call, decode_call, step
from benchmarks.gpu_suite.bench import Bench

__all__ = ["run"]

_APART = 0.02
"""Relative distance from ours beyond which a result is not the same attention."""


def run(bench: Bench) -> None:
    """Texts by themselves, packed suffixes, decoding; ours first, and the others where time is left."""
    sizes = bench.sizes
    # One long text and one packed step first, by everybody; then the others.
    for length in sizes.prefill[:2]:
        _prefill(bench, length, NAMES)
    _suffixes(bench, sizes.suffixes[0], NAMES)
    for batch in sizes.batches[:2]:
        _decode(bench, batch, ("ours", "fa2", "sdpa", "fa3"))
    for length in sizes.suffixes[1:]:
        _suffixes(bench, length, ("ours", "fa2", "flex", "fa3"))
    for length in sizes.prefill[2:]:
        _prefill(bench, length, ("ours", "fa2", "fa3"))
    for batch in sizes.batches[2:]:
        _decode(bench, batch, ("ours", "fa2", "fa3"))


def _prefill(bench: Bench, length: int, names: tuple[str, ...]) -> None:
    """One text, with the window where it is shorter than the text, and without."""
    window = bench.sizes.network.window
    for seen in (window, None) if length > window else (None,):
        _compared(bench, f"prefill {length} {'windowed' if seen else 'full'}", names, (1, length, 0, seen))


def _suffixes(bench: Bench, length: int, names: tuple[str, ...]) -> None:
    """Texts after a policy that they share."""
    sizes = bench.sizes
    texts = max(1, sizes.packed // length)
    _compared(bench, f"suffixes of {length}", names, (texts, length, sizes.policy, sizes.network.window))


def _compared(bench: Bench, name: str, names: tuple[str, ...], about: tuple[int, int, int, int | None]) -> None:
    """`about`: texts, their length, the prefix before them, the window."""
    network = bench.sizes.network
    held = _Held()
    texts, length, prefix, window = about

    def rows() -> Step:
        return step(
            *about,
            heads=network.heads,
            kv_heads=network.kv_heads,
            head_dim=network.head_width,
            dtype=bench.dtype,
            device=bench.device,
        )

    def measured(backend: str) -> dict[str, Any]:
        made = held.step = held.step or rows()
        figures = _timed(bench, call(backend, made, fa3=bench.fa3), held)
        return figures | {"flop_per_s": made.flop / figures["seconds"]}

    for backend in names:
        shape = {"texts": texts, "length": length, "prefix": prefix, "window": window}
        bench.case(f"{name}: {backend}", measured, backend, **shape, **_heads(bench))


def _decode(bench: Bench, batch: int, names: tuple[str, ...]) -> None:
    """One token of each sequence; bytes of keys and values over the time."""
    for length in (bench.sizes.context, bench.sizes.network.window):
        held = _Held()
        for backend in names:
            bench.case(
                f"decode {batch} at {length}: {backend}",
                _decoded,
                *(bench, backend, batch, length, held),
                batch=batch,
                keys=length,
                **_heads(bench),
            )


def _decoded(bench: Bench, backend: str, batch: int, length: int, held: "_Held") -> dict[str, Any]:
    network = bench.sizes.network
    if held.rings is None:
        size = (2, batch, length, network.kv_heads, network.head_width)
        held.q = torch.randn(batch, network.heads, network.head_width, device=bench.device, dtype=bench.dtype)
        held.rings = torch.randn(size, device=bench.device, dtype=bench.dtype)
    assert held.q is not None
    figures = _timed(bench, decode_call(backend, held.q, held.rings[0], held.rings[1], length, fa3=bench.fa3), held)
    return figures | {"bytes_per_s": held.rings.numel() * held.rings.element_size() / figures["seconds"]}


class _Held:
    """What all who are compared are given, made by the first one; and what ours made of it."""

    step: Step | None = None
    q: Tensor | None = None
    rings: Tensor | None = None
    ours: Tensor | None = None


def _heads(bench: Bench) -> dict[str, Any]:
    network = bench.sizes.network
    return {
        "heads": network.heads,
        "kv_heads": network.kv_heads,
        "head_width": network.head_width,
        "dtype": str(bench.dtype),
    }


def _timed(bench: Bench, attend: Callable[[], Tensor], held: _Held) -> dict[str, Any]:
    """The time, and how far the result is from ours, which is the first to be asked."""
    with torch.inference_mode():
        out = attend().float()
        if not out.isfinite().all():
            raise ArithmeticError("the result has numbers that are none")
        if held.ours is None:
            held.ours = out
        apart = float((out - held.ours).norm() / held.ours.norm())
        timed = bench.clock.device_time(attend)
    return timed.figures() | {"apart_from_ours": apart, "agrees": apart < _APART}
