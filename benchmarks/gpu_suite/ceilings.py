"""Part 2: what this machine can do at best. All else is a share of these."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_suite.bench import Bench

__all__ = ["run", "scaled_rows"]

FP8 = torch.float8_e4m3fn


def run(bench: Bench) -> None:
    """The copy and the square product first; then a layer's four products, together and one by one."""
    sizes = bench.sizes
    bench.case("copy", _copy, bench, sizes.copied, bytes=sizes.copied)
    n = sizes.square
    kinds = {"bf16": _bf16, "fp8 rowwise": _fp8}
    for name, product in kinds.items():
        bench.case(f"{name} product", _measured, bench, product, n, n, n, m=n, k=n, n=n)
    for rows in sizes.rows:
        for name, product in kinds.items():
            bench.case(f"{name} layer at {rows}", _layer, bench, product, rows, m=rows)
    for rows in sizes.rows:
        for name, product in kinds.items():
            for matrix, (k, n) in sizes.network.matrices.items():
                bench.case(f"{name} {matrix} at {rows}", _measured, bench, product, rows, k, n, m=rows, k=k, n=n)


def _copy(bench: Bench, size: int) -> dict[str, Any]:
    """Bytes read and bytes written, both counted."""
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    timed = bench.clock.device_time(lambda: target.copy_(source))
    return timed.figures() | {"bytes_per_s": 2 * size / timed.seconds}


def _measured(
    bench: Bench, product: Callable[[Bench, int, int, int], Callable[[], Tensor]], m: int, k: int, n: int
) -> dict[str, Any]:
    timed = bench.clock.device_time(product(bench, m, k, n))
    return timed.figures() | {"flop_per_s": 2 * m * k * n / timed.seconds}


def _layer(bench: Bench, product: Callable[[Bench, int, int, int], Callable[[], Tensor]], rows: int) -> dict[str, Any]:
    """The four products one after the other: the rate that a whole layer's products can have."""
    calls = [product(bench, rows, k, n) for k, n in bench.sizes.network.matrices.values()]
    timed = bench.clock.device_time(lambda: [call() for call in calls])
    flop = sum(2 * rows * k * n for k, n in bench.sizes.network.matrices.values())
    return timed.figures() | {"flop_per_s": flop / timed.seconds}


def _bf16(bench: Bench, m: int, k: int, n: int) -> Callable[[], Tensor]:
    """[m, k] by [n, k], as a linear layer has them."""
    a = torch.randn(m, k, device=bench.device, dtype=torch.bfloat16)
    b = torch.randn(n, k, device=bench.device, dtype=torch.bfloat16)
    return lambda: torch.nn.functional.linear(a, b)


def _fp8(bench: Bench, m: int, k: int, n: int) -> Callable[[], Tensor]:
    """The product alone: both sides were turned into fp8 before."""
    a, a_scale = scaled_rows(torch.randn(m, k, device=bench.device))
    b, b_scale = scaled_rows(torch.randn(n, k, device=bench.device))
    b_scale = b_scale.T.contiguous()
    return lambda: torch._scaled_mm(a, b.T, a_scale, b_scale, out_dtype=torch.bfloat16, use_fast_accum=True)


def scaled_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """fp8 [rows, k] and float32 [rows, 1]: each row over its largest number, times what fp8 holds at most."""
    scale = (x.abs().amax(-1, keepdim=True) / torch.finfo(FP8).max).clamp(min=1e-12)
    return (x / scale).to(FP8), scale.float()
