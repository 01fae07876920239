"""Attention of one new token per sequence over rolling keys, split among programs (Flash-Decoding, Dao et al., 2023).

A split is a fixed number of keys. How many splits a sequence has follows from its own length, and their order of
summing is fixed, so its bits do not depend on the batch. Nothing is read back to the host: the grid is sized by the
rings' capacity, and a program whose split holds no key yet ends at once, so the calls can be kept in a CUDA graph.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from guard_kernels.launch import Launch

__all__ = ["plan", "rolling_attention"]

_SPLIT = 256
"""Keys of a split."""
_BLOCK = 64
LOG2_E = tl.constexpr(1.4426950408889634)


def rolling_attention(
    q: Tensor,
    ring_k: Tensor,
    ring_v: Tensor,
    slots: Tensor,
    lengths: Tensor,
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """What each sequence's new token takes from the keys in its ring, its own among them.

    The key of position p lies at p % capacity, so that a ring of W rows is a window of W keys. Keys were rotated
    before they were written, and softmax has no order, so the ring is read as it lies. With capacity 4 and 6 tokens
    written, rows 0 to 3 hold positions 4, 5, 2, 3: all four are seen.

    Args:
        q: [batch, heads, d]; bfloat16, float16 or float32, as are the rings. d from 8 to 256, contiguous.
        ring_k, ring_v: [rings, capacity, kv_heads, d], d contiguous.
        slots: int32 [batch], the ring of each sequence.
        lengths: int32 [batch], tokens written to it so far, the new one included. 0 gives zeros and -inf, for the
            unused rows of a batch of fixed size.
        scale: of the scores; 1 / sqrt(d) where None.

    Returns:
        [batch, heads, d] in q's dtype, and the natural logarithm of each softmax's sum, float32 [batch, heads].

    Raises:
        ValueError: shapes do not fit one another.
    """
    split, merge, made = plan(q, ring_k, ring_v, slots, lengths, scale=scale)
    split.run()
    merge.run()
    return made


def plan(
    q: Tensor, ring_k: Tensor, ring_v: Tensor, slots: Tensor, lengths: Tensor, *, scale: float | None = None
) -> tuple[Launch, Launch, tuple[Tensor, Tensor]]:
    """The two calls that `rolling_attention` makes, the splits' and the merge's, and what the second one writes."""
    batch, heads, head_dim = q.shape
    _, capacity, kv_heads, _ = ring_k.shape
    if ring_k.shape != ring_v.shape or ring_k.shape[3] != head_dim or heads % kv_heads or not 8 <= head_dim <= 256:
        raise ValueError(f"q {q.shape}, ring_k {ring_k.shape} and ring_v {ring_v.shape} do not fit")
    if slots.shape != (batch,) or lengths.shape != (batch,):
        raise ValueError(f"slots {slots.shape} and lengths {lengths.shape} must be [{batch}]")
    if any(x.stride(-1) != 1 or x.dtype != q.dtype for x in (q, ring_k, ring_v)):
        raise ValueError("q and the rings must be of one dtype, each with its last dimension contiguous")
    if any(x.dtype != torch.int32 or not x.is_contiguous() for x in (slots, lengths)):
        raise ValueError("slots and lengths must be int32 and contiguous")
    splits = triton.cdiv(capacity, _SPLIT)
    parts = torch.empty(batch, heads, splits, head_dim, dtype=torch.float32, device=q.device)
    part_lse = torch.empty(batch, heads, splits, dtype=torch.float32, device=q.device)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty(batch, heads, dtype=torch.float32, device=q.device)
    sizes = {
        "CAPACITY": capacity,
        "HEADS": heads,
        "HEAD_DIM": head_dim,
        "HEAD_BLOCK": max(16, triton.next_power_of_2(head_dim)),
        "SPLIT": _SPLIT,
        "SPLITS": splits,
    }
    group = heads // kv_heads
    split = Launch(
        kernel=_split,
        grid=(batch, kv_heads, splits),
        arguments={
            "p_q": q,
            "p_k": ring_k,
            "p_v": ring_v,
            "p_slots": slots,
            "p_lengths": lengths,
            "p_parts": parts,
            "p_part_lse": part_lse,
            "s_q": q.stride(0),
            "s_q_head": q.stride(1),
            "s_k_ring": ring_k.stride(0),
            "s_k": ring_k.stride(1),
            "s_k_head": ring_k.stride(2),
            "s_v_ring": ring_v.stride(0),
            "s_v": ring_v.stride(1),
            "s_v_head": ring_v.stride(2),
            "scale": head_dim**-0.5 if scale is None else scale,
            **sizes,
            "GROUP": group,
            "GROUP_BLOCK": max(16, triton.next_power_of_2(group)),
            "BLOCK": _BLOCK if head_dim * q.element_size() <= 256 else _BLOCK // 2,
        },
        num_warps=4,
        num_stages=3,
        fused=True,
    )
    merge = Launch(
        kernel=_merge,
        grid=(batch, heads),
        arguments={
            "p_parts": parts,
            "p_part_lse": part_lse,
            "p_lengths": lengths,
            "p_out": out,
            "p_lse": lse,
            **sizes,
            "BLOCK": 16,
        },
        num_warps=4,
        fused=True,
    )
    return split, merge, (out, lse)


# Names: p_ pointer, s_ stride, b_ block of values, o_ offsets, m_ mask, i_ index, n_ number.


@triton.jit
def _split(
    p_q,
    p_k,
    p_v,
    p_slots,
    p_lengths,
    p_parts,
    p_part_lse,
    s_q,
    s_q_head,
    s_k_ring,
    s_k,
    s_k_head,
    s_v_ring,
    s_v,
    s_v_head,
    scale,
    CAPACITY: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    SPLIT: tl.constexpr,
    SPLITS: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One split of one sequence, for the query heads of one KV head."""
    i_batch = tl.program_id(0)
    i_kv_head = tl.program_id(1)
    i_split = tl.program_id(2)
    n_keys = tl.minimum(tl.load(p_lengths + i_batch), CAPACITY) - i_split * SPLIT
    if n_keys <= 0:
        return
    n_keys = tl.minimum(n_keys, SPLIT)
    slot = tl.load(p_slots + i_batch).to(tl.int64)
    o_group = tl.arange(0, GROUP_BLOCK)
    o_head = i_kv_head * GROUP + o_group
    m_head = o_group < GROUP
    o_dim = tl.arange(0, HEAD_BLOCK)
    m_dim = o_dim < HEAD_DIM
    o_key = tl.arange(0, BLOCK)
    # [GROUP_BLOCK, HEAD_BLOCK]
    b_q = tl.load(
        p_q + i_batch.to(tl.int64) * s_q + o_head[:, None] * s_q_head + o_dim[None, :],
        mask=m_head[:, None] & m_dim[None, :],
        other=0.0,
    )
    p_k += slot * s_k_ring + (i_split * SPLIT).to(tl.int64) * s_k + i_kv_head * s_k_head
    p_v += slot * s_v_ring + (i_split * SPLIT).to(tl.int64) * s_v + i_kv_head * s_v_head
    b_acc = tl.zeros([GROUP_BLOCK, HEAD_BLOCK], tl.float32)
    b_max = tl.full([GROUP_BLOCK], float("-inf"), tl.float32)
    b_sum = tl.zeros([GROUP_BLOCK], tl.float32)
    scale *= LOG2_E
    for start in range(0, n_keys, BLOCK):
        o = start + o_key
        m = o < n_keys
        b_k = tl.load(p_k + o_dim[:, None] + o[None, :] * s_k, mask=m_dim[:, None] & m[None, :], other=0.0)
        b_v = tl.load(p_v + o[:, None] * s_v + o_dim[None, :], mask=m[:, None] & m_dim[None, :], other=0.0)
        b_score = tl.dot(b_q, b_k, input_precision="ieee") * scale
        b_score = tl.where(m[None, :], b_score, float("-inf"))
        b_next = tl.maximum(b_max, tl.max(b_score, 1))
        b_share = tl.exp2(b_score - b_next[:, None])
        b_shrink = tl.exp2(b_max - b_next)
        b_sum = b_sum * b_shrink + tl.sum(b_share, 1)
        b_acc = tl.dot(b_share.to(b_v.dtype), b_v, b_acc * b_shrink[:, None], input_precision="ieee")
        b_max = b_next
    o_part = (i_batch.to(tl.int64) * HEADS + o_head) * SPLITS + i_split
    tl.store(
        p_parts + o_part[:, None] * HEAD_DIM + o_dim[None, :],
        b_acc / b_sum[:, None],
        mask=m_head[:, None] & m_dim[None, :],
    )
    tl.store(p_part_lse + o_part, b_max + tl.log2(b_sum), mask=m_head)


@triton.jit
def _merge(
    p_parts,
    p_part_lse,
    p_lengths,
    p_out,
    p_lse,
    CAPACITY: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    SPLIT: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """All splits of one head of one sequence. The parts' sums are logarithms of base 2."""
    i_batch = tl.program_id(0)
    i_row = i_batch.to(tl.int64) * HEADS + tl.program_id(1)
    n_parts = (tl.minimum(tl.load(p_lengths + i_batch), CAPACITY) + SPLIT - 1) // SPLIT
    o_dim = tl.arange(0, HEAD_BLOCK)
    m_dim = o_dim < HEAD_DIM
    b_acc = tl.zeros([HEAD_BLOCK], tl.float32)
    # Finite, so that a sequence without keys gives zeros.
    top = -1.0e30
    total = 0.0
    for start in range(0, n_parts, BLOCK):
        o = start + tl.arange(0, BLOCK)
        m = o < n_parts
        b_lse = tl.load(p_part_lse + i_row * SPLITS + o, mask=m, other=float("-inf"))
        b_part = tl.load(
            p_parts + (i_row * SPLITS + o[:, None]) * HEAD_DIM + o_dim[None, :],
            mask=m[:, None] & m_dim[None, :],
            other=0.0,
        )
        following = tl.maximum(top, tl.max(b_lse, 0))
        b_share = tl.exp2(b_lse - following)
        shrink = tl.exp2(top - following)
        total = total * shrink + tl.sum(b_share, 0)
        b_acc = b_acc * shrink + tl.sum(b_part * b_share[:, None], 0)
        top = following
    b_out = tl.where(total > 0, b_acc / total, 0.0)
    tl.store(p_out + i_row * HEAD_DIM + o_dim, b_out.to(p_out.dtype.element_ty), mask=m_dim)
    tl.store(p_lse + i_row, tl.where(total > 0, (top + tl.log2(total)) / LOG2_E, float("-inf")))
