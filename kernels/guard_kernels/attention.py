"""Windowed attention of packed texts and branches over shared prefixes, in one kernel.

FlashAttention-2 (Dao, 2023, https://arxiv.org/abs/2307.08691): one program holds a tile of queries and passes over the
keys a block at a time with a running softmax. What is different here:

- The query heads that share a KV head lie side by side in a tile's rows, so that a text of 32 tokens fills a tile.
- Keys come from three places (pool, text, own rows), which are read where they lie; nothing is gathered or copied.
- Blocks that no row of the tile sees are not visited; those that every row sees whole are not masked.
- A tile's blocks follow from its piece alone, and nothing is tuned by the size of a step: a piece has the same bits in
  any step.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from guard_kernels.launch import Launch
from guard_kernels.pieces import PackedPieces

__all__ = ["Configuration", "configuration", "packed_attention", "plan"]

LOG2_E = tl.constexpr(1.4426950408889634)


class Configuration(NamedTuple):
    """Keys in a block, warps of a program, depth of the software pipeline."""

    block: int
    num_warps: int
    num_stages: int


def configuration(head_dim: int, dtype: torch.dtype, capability: tuple[int, int]) -> Configuration:
    """The configuration for a kind of GPU: fixed, never timed on a step that happens to come first."""
    if dtype.itemsize * head_dim > 256:
        return Configuration(32, 8 if dtype.itemsize > 2 else 4, 2)
    # On Hopper the scores come from warp groups and leave registers for a block of 64; on Ampere that would spill.
    return Configuration(64 if capability >= (9, 0) else 32, 8, 3)


def packed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pool_k: Tensor,
    pool_v: Tensor,
    pieces: PackedPieces,
    *,
    window: int | None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """What each row takes from the keys that its piece lets it see.

    Args:
        q: [rows, heads, d]; bfloat16, float16 or float32, as are the others. d from 8 to 256, contiguous in memory;
            the other strides are free, so q, k and v may be slices of one projection.
        k, v: [rows, kv_heads, d], the step's own keys and values.
        pool_k, pool_v: [pool_rows, kv_heads, d], those kept from before.
        pieces: the step's layout, made for this shape by `guard_kernels.pieces.pack`.
        window: W: a query at position p sees the keys at p - W < k <= p. None sees everything before.
        scale: of the scores; 1 / sqrt(d) where None.

    Returns:
        What each row takes [rows, heads, d] in q's dtype, and the natural logarithm of its softmax's sum, float32
        [rows, heads]. Rows of no piece are not written.

    Raises:
        ValueError: shapes or layout do not fit one another.
    """
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
    capability = torch.cuda.get_device_capability(q.device) if q.is_cuda else (9, 0)
    plan(q, k, v, pool_k, pool_v, pieces, out, lse, window=window, scale=scale, capability=capability).run()
    return out, lse


def plan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pool_k: Tensor,
    pool_v: Tensor,
    pieces: PackedPieces,
    out: Tensor,
    lse: Tensor,
    *,
    window: int | None,
    scale: float | None,
    capability: tuple[int, int],
    chosen: Configuration | None = None,
) -> Launch:
    """The call that `packed_attention` makes; `chosen` stands in for the GPU's own configuration when one is sought."""
    _, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    _check(q, k, v, pool_k, pool_v, pieces, window)
    setting = chosen or configuration(head_dim, q.dtype, capability)
    return Launch(
        kernel=_attend,
        grid=(len(pieces.tiles), kv_heads),
        arguments={
            "p_q": q,
            "p_k": k,
            "p_v": v,
            "p_pool_k": pool_k,
            "p_pool_v": pool_v,
            "p_out": out,
            "p_lse": lse,
            "p_table": pieces.table,
            "p_tiles": pieces.tiles,
            "s_q": q.stride(0),
            "s_q_head": q.stride(1),
            "s_k": k.stride(0),
            "s_k_head": k.stride(1),
            "s_v": v.stride(0),
            "s_v_head": v.stride(1),
            "s_pool_k": pool_k.stride(0),
            "s_pool_k_head": pool_k.stride(1),
            "s_pool_v": pool_v.stride(0),
            "s_pool_v_head": pool_v.stride(1),
            "scale": head_dim**-0.5 if scale is None else scale,
            "window": window or 0,
            "HEADS": heads,
            "GROUP": pieces.group,
            "HEAD_DIM": head_dim,
            "HEAD_BLOCK": max(16, triton.next_power_of_2(head_dim)),
            "TILE": pieces.tile,
            "BLOCK": setting.block,
            "WINDOWED": window is not None,
        },
        num_warps=setting.num_warps,
        num_stages=setting.num_stages,
        fused=True,
    )


def _check(
    q: Tensor, k: Tensor, v: Tensor, pool_k: Tensor, pool_v: Tensor, pieces: PackedPieces, window: int | None
) -> None:
    rows, heads, head_dim = q.shape
    if k.shape != v.shape or pool_k.shape != pool_v.shape or k.shape[1:] != pool_k.shape[1:] or len(k) != rows:
        raise ValueError(f"q {q.shape}, k {k.shape}, v {v.shape}, pool {pool_k.shape} and {pool_v.shape} do not fit")
    if heads != pieces.group * k.shape[1] or k.shape[2] != head_dim or not 8 <= head_dim <= 256:
        raise ValueError(f"pieces were packed for another shape than q {q.shape} with k {k.shape}")
    if rows < pieces.rows or len(pool_k) < pieces.pool_rows:
        raise ValueError(
            f"pieces reach to row {pieces.rows} of {rows}, row {pieces.pool_rows} of a pool's {len(pool_k)}"
        )
    if any(x.stride(2) != 1 or x.dtype != q.dtype for x in (q, k, v, pool_k, pool_v)):
        raise ValueError("q, k, v and the pool must be of one dtype, each with its last dimension contiguous")
    if window is not None and window < 1:
        raise ValueError(f"a window of {window} keys shows a query not even itself")


# Names: p_ pointer, s_ stride, b_ block of values, o_ offsets, m_ mask, i_ index, n_ number.


@triton.jit
def _blocks(start, length, offset, first, last, window, OWN: tl.constexpr, BLOCK: tl.constexpr, WINDOWED: tl.constexpr):
    """Which blocks of one run of keys a tile visits.

    Key j of the run stands at position j + offset, counted from the piece's first row; the tile's queries stand at
    `first` to `last`. `OWN`: the run is the piece's own, and causal.

    Returns the row of the first key that any query sees, and from there: how far that key is into the run, how many
    keys any query sees, masked blocks before the whole ones, whole blocks, masked blocks in all.
    """
    low = 0
    all_from = 0
    any_to = length
    all_to = length
    if WINDOWED:
        low = tl.minimum(tl.maximum(first - window + 1 - offset, 0), length)
        all_from = tl.minimum(tl.maximum(last - window + 1 - offset, 0), length)
    if OWN:
        any_to = last + 1
        all_to = first + 1
        all_from = tl.minimum(all_from, all_to)
    n_left = (all_from - low + BLOCK - 1) // BLOCK
    n_whole = tl.maximum((all_to - low) // BLOCK - n_left, 0)
    n_masked = (any_to - low + BLOCK - 1) // BLOCK - n_whole
    return start + low, low + offset, any_to - low, n_left, n_whole, n_masked


@triton.jit
def _scores(
    b_q, p_k, s_k, m_k, o_block, o_dim, scale, HEAD_DIM: tl.constexpr, HEAD_BLOCK: tl.constexpr, MASKED: tl.constexpr
):
    """[TILE, BLOCK] scores in units of log 2, so that the softmax is of base 2."""
    p_block = p_k + o_dim[:, None] + o_block[None, :] * s_k
    if MASKED:
        b_k = tl.load(p_block, mask=m_k[None, :] & (o_dim < HEAD_DIM)[:, None], other=0.0)
    elif HEAD_DIM != HEAD_BLOCK:
        b_k = tl.load(p_block, mask=(o_dim < HEAD_DIM)[:, None], other=0.0)
    else:
        b_k = tl.load(p_block)
    return tl.dot(b_q, b_k, input_precision="ieee") * scale


@triton.jit
def _gathered(
    b_acc,
    b_share,
    p_v,
    s_v,
    m_k,
    o_block,
    o_dim,
    HEAD_DIM: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    MASKED: tl.constexpr,
):
    """[TILE, HEAD_BLOCK] with this block's values, by their shares, added."""
    p_block = p_v + o_block[:, None] * s_v + o_dim[None, :]
    if MASKED:
        b_v = tl.load(p_block, mask=m_k[:, None] & (o_dim < HEAD_DIM)[None, :], other=0.0)
    elif HEAD_DIM != HEAD_BLOCK:
        b_v = tl.load(p_block, mask=(o_dim < HEAD_DIM)[None, :], other=0.0)
    else:
        b_v = tl.load(p_block)
    return tl.dot(b_share.to(b_v.dtype), b_v, b_acc, input_precision="ieee")


@triton.jit
def _attend(  # noqa: PLR0915 (two loops over one state)
    p_q,
    p_k,
    p_v,
    p_pool_k,
    p_pool_v,
    p_out,
    p_lse,
    p_table,
    p_tiles,
    s_q,
    s_q_head,
    s_k,
    s_k_head,
    s_v,
    s_v_head,
    s_pool_k,
    s_pool_k_head,
    s_pool_v,
    s_pool_v_head,
    scale,
    window,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    WINDOWED: tl.constexpr,
):
    """One tile of one piece, for one KV head."""
    i_head = tl.program_id(1)
    p_piece = p_table + tl.load(p_tiles + 2 * tl.program_id(0)) * 8
    i_tile = tl.load(p_tiles + 2 * tl.program_id(0) + 1)
    start = tl.load(p_piece)
    length = tl.load(p_piece + 1)
    pool_start = tl.load(p_piece + 3)
    pool_length = tl.load(p_piece + 4)
    text_start = tl.load(p_piece + 5)
    text_length = tl.load(p_piece + 6)

    o_row = i_tile * TILE + tl.arange(0, TILE)
    o_token = o_row // GROUP
    o_head = i_head * GROUP + o_row % GROUP
    m_row = o_row < length * GROUP
    first = i_tile * TILE // GROUP
    last = (tl.minimum(i_tile * TILE + TILE, length * GROUP) - 1) // GROUP

    o_dim = tl.arange(0, HEAD_BLOCK)
    o_block = tl.arange(0, BLOCK)
    m_dim = o_dim < HEAD_DIM
    o_q = (start + o_token).to(tl.int64)
    # [TILE, HEAD_BLOCK]
    b_q = tl.load(
        p_q + o_q[:, None] * s_q + o_head[:, None] * s_q_head + o_dim[None, :],
        mask=m_row[:, None] & m_dim[None, :],
        other=0.0,
    )
    p_k += i_head * s_k_head
    p_v += i_head * s_v_head
    p_pool_k += i_head * s_pool_k_head
    p_pool_v += i_head * s_pool_v_head

    r_pool, at_pool, n_pool, left_pool, whole_pool, masked_pool = _blocks(
        pool_start, pool_length, -pool_length - text_length, first, last, window, False, BLOCK, WINDOWED
    )
    r_text, at_text, n_text, left_text, whole_text, masked_text = _blocks(
        text_start, text_length, -text_length, first, last, window, False, BLOCK, WINDOWED
    )
    r_own, at_own, n_own, left_own, whole_own, masked_own = _blocks(
        start, length, 0, first, last, window, True, BLOCK, WINDOWED
    )

    b_acc = tl.zeros([TILE, HEAD_BLOCK], tl.float32)
    b_max = tl.full([TILE], float("-inf"), tl.float32)
    b_sum = tl.zeros([TILE], tl.float32)
    scale *= LOG2_E

    # The whole blocks of all three runs in one loop, which is one pipeline: softmax has no order.
    for i in range(0, whole_pool + whole_text + whole_own):
        of_pool = i < whole_pool
        of_text = i < whole_pool + whole_text
        i_text = i - whole_pool
        row = tl.where(
            of_pool,
            r_pool + (left_pool + i) * BLOCK,
            tl.where(
                of_text,
                r_text + (left_text + i_text) * BLOCK,
                r_own + (left_own + i_text - whole_text) * BLOCK,
            ),
        ).to(tl.int64)
        s_key = tl.where(of_pool, s_pool_k, s_k)
        s_value = tl.where(of_pool, s_pool_v, s_v)
        p_key = tl.where(of_pool, p_pool_k, p_k) + row * s_key
        p_value = tl.where(of_pool, p_pool_v, p_v) + row * s_value
        b_score = _scores(b_q, p_key, s_key, o_block, o_block, o_dim, scale, HEAD_DIM, HEAD_BLOCK, False)
        b_next = tl.maximum(b_max, tl.max(b_score, 1))
        b_share = tl.exp2(b_score - b_next[:, None])
        b_shrink = tl.exp2(b_max - b_next)
        b_sum = b_sum * b_shrink + tl.sum(b_share, 1)
        b_acc = b_acc * b_shrink[:, None]
        b_acc = _gathered(b_acc, b_share, p_value, s_value, o_block, o_block, o_dim, HEAD_DIM, HEAD_BLOCK, False)
        b_max = b_next

    # Then the blocks at the borders: the window's first keys, the end of a run, the diagonal.
    for i in range(0, masked_pool + masked_text + masked_own):
        of_pool = i < masked_pool
        of_text = i < masked_pool + masked_text
        i_run = tl.where(of_pool, i, tl.where(of_text, i - masked_pool, i - masked_pool - masked_text))
        left = tl.where(of_pool, left_pool, tl.where(of_text, left_text, left_own))
        whole = tl.where(of_pool, whole_pool, tl.where(of_text, whole_text, whole_own))
        into = (i_run + tl.where(i_run < left, 0, whole)) * BLOCK
        row = (tl.where(of_pool, r_pool, tl.where(of_text, r_text, r_own)) + into).to(tl.int64)
        at = tl.where(of_pool, at_pool, tl.where(of_text, at_text, at_own)) + into + o_block
        m_k = into + o_block < tl.where(of_pool, n_pool, tl.where(of_text, n_text, n_own))
        s_key = tl.where(of_pool, s_pool_k, s_k)
        s_value = tl.where(of_pool, s_pool_v, s_v)
        p_key = tl.where(of_pool, p_pool_k, p_k) + row * s_key
        p_value = tl.where(of_pool, p_pool_v, p_v) + row * s_value
        b_score = _scores(b_q, p_key, s_key, m_k, o_block, o_dim, scale, HEAD_DIM, HEAD_BLOCK, True)
        m_seen = m_k[None, :] & (at[None, :] <= o_token[:, None])
        if WINDOWED:
            m_seen = m_seen & (at[None, :] > o_token[:, None] - window)
        b_score = tl.where(m_seen, b_score, float("-inf"))
        b_next = tl.maximum(b_max, tl.max(b_score, 1))
        # A row that has seen no key yet: its maximum is -inf, and -inf - -inf is no number.
        b_base = tl.where(b_next == float("-inf"), 0.0, b_next)
        b_share = tl.exp2(b_score - b_base[:, None])
        b_shrink = tl.exp2(b_max - b_base)
        b_sum = b_sum * b_shrink + tl.sum(b_share, 1)
        b_acc = b_acc * b_shrink[:, None]
        b_acc = _gathered(b_acc, b_share, p_value, s_value, m_k, o_block, o_dim, HEAD_DIM, HEAD_BLOCK, True)
        b_max = b_next

    o_out = o_q * HEADS + o_head
    b_out = b_acc / b_sum[:, None]
    tl.store(
        p_out + o_out[:, None] * HEAD_DIM + o_dim[None, :],
        b_out.to(p_out.dtype.element_ty),
        mask=m_row[:, None] & m_dim[None, :],
    )
    tl.store(p_lse + o_out, (b_max + tl.log2(b_sum)) / LOG2_E, mask=m_row)
