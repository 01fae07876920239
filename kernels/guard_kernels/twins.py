"""Each kernel's twin: the same signature and result in plain PyTorch, on any device.

These are what runs on a CPU. A piece, a sequence or a row is computed by itself, so its bits do not depend on what
else is in the step.
"""

import torch
from torch import Tensor
from torch.nn import functional

from guard_kernels.pieces import PackedPieces, Piece

__all__ = ["add_rms_norm", "packed_attention", "rms_norm", "rolling_attention", "rotate", "swiglu"]

_TOKENS = 128
"""Query tokens whose scores stand in memory at once."""


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
    """See `guard_kernels.attention.packed_attention`."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out, lse = torch.empty(q.shape, dtype=q.dtype, device=q.device), q.new_empty(q.shape[:2], dtype=torch.float32)
    for piece in pieces.pieces:
        before = piece.pool_length + piece.text_length
        whole = window is None or before + piece.length <= window
        compute = _in_runs if whole and q.device.type == "cpu" else _at_once
        rows = slice(piece.start, piece.start + piece.length)
        if piece.length:
            out[rows], lse[rows] = compute(q[rows], k, v, pool_k, pool_v, piece, window, scale)
    return out, lse


def _in_runs(
    q: Tensor, k: Tensor, v: Tensor, pool_k: Tensor, pool_v: Tensor, piece: Piece, window: int | None, scale: float
) -> tuple[Tensor, Tensor]:
    """A piece whose rows see everything before them: pool, text and own rows each where they lie, nothing copied,
    joined by their sums."""
    own = slice(piece.start, piece.start + piece.length)
    parts = [
        _flash(q, keys, values, scale)
        for keys, values in zip(_before(piece, k, pool_k), _before(piece, v, pool_v), strict=True)
        if len(keys)
    ]
    parts.append(_flash(q, k[own], v[own], scale, causal=True))
    if len(parts) == 1:
        return parts[0]
    sums = torch.stack([sums for _, sums in parts])
    lse = sums.logsumexp(0)
    shares = (sums - lse).exp()[..., None]
    out = sum((found.float() * share for (found, _), share in zip(parts, shares, strict=True)), torch.zeros(()))
    return out.to(q.dtype), lse


def _flash(q: Tensor, k: Tensor, v: Tensor, scale: float, *, causal: bool = False) -> tuple[Tensor, Tensor]:
    """PyTorch's flash attention for CPUs with the logarithms of its sums: q [n, heads, d], k and v [m, kv_heads, d].

    The query heads that share a KV head are a batch over the same keys.
    """
    n, heads, d = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    keys, values = (x.transpose(0, 1)[None].expand(group, -1, -1, -1) for x in (k, v))
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q.view(n, kv_heads, group, d).permute(2, 1, 0, 3), keys, values, 0.0, causal, scale=scale
    )
    return out.permute(2, 1, 0, 3).reshape(n, heads, d), lse.permute(2, 1, 0).reshape(n, heads)


def _at_once(
    q: Tensor, k: Tensor, v: Tensor, pool_k: Tensor, pool_v: Tensor, piece: Piece, window: int | None, scale: float
) -> tuple[Tensor, Tensor]:
    """A piece under a window, some query tokens at a time."""
    out, lse = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=torch.float32)
    before_k, before_v = _before(piece, k, pool_k), _before(piece, v, pool_v)
    before = piece.pool_length + piece.text_length
    for start in range(0, piece.length, _TOKENS):
        end = min(start + _TOKENS, piece.length)
        low = 0 if window is None else max(0, before + start - window + 1)
        keys, values = (
            torch.cat([*_after(low, *earlier), own[piece.start + max(0, low - before) : piece.start + end]])
            for earlier, own in ((before_k, k), (before_v, v))
        )
        at_q = torch.arange(before + start, before + end, device=q.device)[:, None]
        at_k = torch.arange(low, before + end, device=q.device)[None, :]
        seen = at_k <= at_q
        if window is not None:
            seen &= at_k > at_q - window
        out[start:end], lse[start:end] = _attended(q[start:end], keys, values, seen, scale)
    return out, lse


def rolling_attention(
    q: Tensor,
    ring_k: Tensor,
    ring_v: Tensor,
    slots: Tensor,
    lengths: Tensor,
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """See `guard_kernels.decode.rolling_attention`."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out, lse = torch.zeros(q.shape, dtype=q.dtype, device=q.device), q.new_empty(q.shape[:2], dtype=torch.float32)
    lse.fill_(-torch.inf)
    for row, (slot, length) in enumerate(zip(slots.tolist(), lengths.tolist(), strict=True)):
        seen = min(length, ring_k.shape[1])
        if seen:
            out[row : row + 1], lse[row : row + 1] = _attended(
                q[row : row + 1], ring_k[slot, :seen], ring_v[slot, :seen], None, scale
            )
    return out, lse


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """See `guard_kernels.norm.rms_norm`."""
    return functional.rms_norm(x, (x.shape[-1],), weight, epsilon)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """See `guard_kernels.norm.add_rms_norm`."""
    total = x + residual
    return rms_norm(total, weight, epsilon), total


def rotate(q: Tensor, k: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """See `guard_kernels.rope.rotate`."""
    c, s = cosine[:, None], sine[:, None]
    for x in (q, k):
        first, second = x.float().chunk(2, dim=-1)
        x.copy_(torch.cat([first * c - second * s, second * c + first * s], dim=-1))
    return q, k


def swiglu(gate_up: Tensor) -> Tensor:
    """See `guard_kernels.swiglu.swiglu`."""
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.silu(gate) * up


def _before(piece: Piece, own: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """What stands before a piece: its rows of the pool, then those of its text."""
    return (
        pool[piece.pool_start : piece.pool_start + piece.pool_length],
        own[piece.text_start : piece.text_start + piece.text_length],
    )


def _after(low: int, pool: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """The same without its first `low` rows, which no query can see."""
    return pool[low:], text[max(0, low - len(pool)) :]


def _attended(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention in float32: q [n, heads, d] over k and v [m, kv_heads, d], where `seen` [n, m] allows."""
    n, heads, d = q.shape
    kv_heads = k.shape[1]
    # [kv_heads, n, group, d]: the products are of fresh tensors, so that their bits do not depend on an address.
    queries = q.view(n, kv_heads, heads // kv_heads, d).transpose(0, 1).float().contiguous()
    keys, values = (x.transpose(0, 1).float().contiguous() for x in (k, v))
    scores = (queries.view(kv_heads, -1, d) @ keys.transpose(1, 2)).view(kv_heads, n, -1, len(k)) * scale
    if seen is not None:
        scores = scores.masked_fill(~seen[:, None], -torch.inf)
    lse = scores.logsumexp(-1)
    shares = (scores - lse[..., None]).exp().view(kv_heads, -1, len(k))
    out = (shares @ values).view(kv_heads, n, -1, d)
    return out.transpose(0, 1).reshape(n, heads, d).to(q.dtype), lse.transpose(0, 1).reshape(n, heads)
