"""RMSNorm (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467), alone and with the residual sum before it.

The steps and their rounding are `torch.nn.functional.rms_norm`'s: all in float32, rounded once at the end.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from guard_kernels.launch import Launch

__all__ = ["add_rms_norm", "plan", "rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x²) + epsilon) · weight, for each row.

    Args:
        x: [rows, width], its last dimension contiguous.
        weight: [width], contiguous.
        epsilon: added to the mean square.

    Returns:
        [rows, width] in x's dtype.

    Raises:
        ValueError: shapes do not fit one another.
    """
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    plan(x, None, weight, epsilon, out, None).run()
    return out


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The sum `x + residual`, rounded to x's dtype, and its RMSNorm; read once, written once.

    Args:
        x, residual: [rows, width] of one dtype, their last dimension contiguous.
        weight: [width], contiguous.
        epsilon: as for `rms_norm`.

    Returns:
        The normed sum and the sum, each [rows, width] in x's dtype.

    Raises:
        ValueError: shapes do not fit one another.
    """
    out, total = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(2))
    plan(x, residual, weight, epsilon, out, total).run()
    return out, total


def plan(
    x: Tensor, residual: Tensor | None, weight: Tensor, epsilon: float, out: Tensor, total: Tensor | None
) -> Launch:
    """The call that both make; `total` is where the sum goes."""
    other = x if residual is None else residual
    rows, width = x.shape
    if other.shape != x.shape or weight.shape != (width,):
        raise ValueError(f"x {x.shape}, residual {other.shape} and weight {weight.shape} do not fit")
    if other.dtype != x.dtype or x.stride(1) != 1 or other.stride(1) != 1 or not weight.is_contiguous():
        raise ValueError("x and residual must be of one dtype, rows and weight contiguous")
    block = triton.next_power_of_2(width)
    return Launch(
        kernel=_norm,
        grid=(rows,),
        arguments={
            "p_x": x,
            "p_residual": other,
            "p_weight": weight,
            "p_out": out,
            "p_total": out if total is None else total,
            "s_x": x.stride(0),
            "s_residual": other.stride(0),
            "epsilon": epsilon,
            "WIDTH": width,
            "BLOCK": block,
            "ADDED": residual is not None,
        },
        num_warps=min(8, max(1, block // 512)),
    )


@triton.jit
def _norm(
    p_x,
    p_residual,
    p_weight,
    p_out,
    p_total,
    s_x,
    s_residual,
    epsilon,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ADDED: tl.constexpr,
):
    """One row."""
    i_row = tl.program_id(0).to(tl.int64)
    o = tl.arange(0, BLOCK)
    m = o < WIDTH
    b_x = tl.load(p_x + i_row * s_x + o, mask=m, other=0.0).to(tl.float32)
    if ADDED:
        b_total = b_x + tl.load(p_residual + i_row * s_residual + o, mask=m, other=0.0).to(tl.float32)
        b_total = b_total.to(p_total.dtype.element_ty)
        tl.store(p_total + i_row * WIDTH + o, b_total, mask=m)
        b_x = b_total.to(tl.float32)
    mean = tl.sum(b_x * b_x, 0) / WIDTH
    b_weight = tl.load(p_weight + o, mask=m, other=0.0).to(tl.float32)
    b_out = b_x * tl.rsqrt(mean + epsilon) * b_weight
    tl.store(p_out + i_row * WIDTH + o, b_out.to(p_out.dtype.element_ty), mask=m)
