"""Rotary positions (Su et al., 2021, https://arxiv.org/abs/2104.09864), in the order of Hugging Face's checkpoints."""

import triton
import triton.language as tl
from torch import Tensor

from guard_kernels.launch import Launch

__all__ = ["plan", "rotate"]


def rotate(q: Tensor, k: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Turns the first half of each head with its second half, where they lie.

    Args:
        q: [rows, heads, d], k: [rows, kv_heads, d]: slices of one projection, or whole; d even and contiguous.
        cosine, sine: float32 [rows, d / 2], contiguous, of each row's position.

    Returns:
        q and k themselves, changed: first · cosine - second · sine, second · cosine + first · sine, in float32,
        rounded once.

    Raises:
        ValueError: shapes do not fit one another.
    """
    plan(q, k, cosine, sine).run()
    return q, k


def plan(q: Tensor, k: Tensor, cosine: Tensor, sine: Tensor) -> Launch:
    """The call that `rotate` makes."""
    rows, heads, head_dim = q.shape
    if len(k) != rows or k.shape[2] != head_dim or head_dim % 2:
        raise ValueError(f"q {q.shape} and k {k.shape} do not fit")
    if any(x.shape != (rows, head_dim // 2) or not x.is_contiguous() for x in (cosine, sine)):
        raise ValueError(f"cosine {cosine.shape} and sine {sine.shape} must be [rows, d / 2] and contiguous")
    if q.stride(2) != 1 or k.stride(2) != 1:
        raise ValueError("heads must be contiguous")
    return Launch(
        kernel=_rotate,
        grid=(rows,),
        arguments={
            "p_q": q,
            "p_k": k,
            "p_cosine": cosine,
            "p_sine": sine,
            "s_q": q.stride(0),
            "s_q_head": q.stride(1),
            "s_k": k.stride(0),
            "s_k_head": k.stride(1),
            "HEADS": heads,
            "HEADS_BLOCK": triton.next_power_of_2(heads),
            "KV_HEADS": k.shape[1],
            "KV_HEADS_BLOCK": triton.next_power_of_2(k.shape[1]),
            "HALF": head_dim // 2,
            "HALF_BLOCK": triton.next_power_of_2(head_dim // 2),
        },
        num_warps=4,
    )


@triton.jit
def _turn(p_x, s_head, b_cosine, b_sine, HEADS: tl.constexpr, BLOCK: tl.constexpr, HALF: tl.constexpr, o_half):
    """All heads of one row."""
    o_head = tl.arange(0, BLOCK)
    m = (o_head < HEADS)[:, None] & (o_half < HALF)[None, :]
    p_first = p_x + o_head[:, None] * s_head + o_half[None, :]
    b_first = tl.load(p_first, mask=m, other=0.0).to(tl.float32)
    b_second = tl.load(p_first + HALF, mask=m, other=0.0).to(tl.float32)
    kind = p_x.dtype.element_ty
    tl.store(p_first, (b_first * b_cosine - b_second * b_sine).to(kind), mask=m)
    tl.store(p_first + HALF, (b_second * b_cosine + b_first * b_sine).to(kind), mask=m)


@triton.jit
def _rotate(
    p_q,
    p_k,
    p_cosine,
    p_sine,
    s_q,
    s_q_head,
    s_k,
    s_k_head,
    HEADS: tl.constexpr,
    HEADS_BLOCK: tl.constexpr,
    KV_HEADS: tl.constexpr,
    KV_HEADS_BLOCK: tl.constexpr,
    HALF: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
):
    """One row."""
    i_row = tl.program_id(0).to(tl.int64)
    o_half = tl.arange(0, HALF_BLOCK)
    b_cosine = tl.load(p_cosine + i_row * HALF + o_half, mask=o_half < HALF, other=0.0)[None, :]
    b_sine = tl.load(p_sine + i_row * HALF + o_half, mask=o_half < HALF, other=0.0)[None, :]
    _turn(p_q + i_row * s_q, s_q_head, b_cosine, b_sine, HEADS, HEADS_BLOCK, HALF, o_half)
    _turn(p_k + i_row * s_k, s_k_head, b_cosine, b_sine, KV_HEADS, KV_HEADS_BLOCK, HALF, o_half)
