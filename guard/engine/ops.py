"""The one door to what is not a matrix product: our Triton kernels on CUDA, their plain twins on a CPU.

Attention over packed pieces goes to flash-attn where it is installed.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from guard_kernels import twins
from guard_kernels.pieces import PackedPieces
from torch import Tensor

__all__ = ["Ops", "flash", "ops_for"]


class Ops(NamedTuple):
    """The functions, with the signatures of `guard_kernels.twins`."""

    packed_attention: Callable[..., tuple[Tensor, Tensor]]
    rolling_attention: Callable[..., tuple[Tensor, Tensor]]
    rms_norm: Callable[[Tensor, Tensor, float], Tensor]
    add_rms_norm: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
    rotate: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    swiglu: Callable[[Tensor], Tensor]


def ops_for(device: torch.device) -> Ops:
    """What computes on this device."""
    if device.type != "cuda":
        return Ops(
            twins.packed_attention,
            twins.rolling_attention,
            twins.rms_norm,
            twins.add_rms_norm,
            twins.rotate,
            twins.swiglu,
        )
    from guard_kernels import attention, decode, norm, rope, swiglu  # noqa: PLC0415 (Triton, which CPUs may lack)

    packed = attention.packed_attention
    if find_spec("flash_attn") is not None:
        from flash_attn import flash_attn_varlen_func  # noqa: PLC0415 (not a dependency: it must be built)

        packed = flash(flash_attn_varlen_func)
    return Ops(packed, decode.rolling_attention, norm.rms_norm, norm.add_rms_norm, rope.rotate, swiglu.swiglu)


def flash(varlen: Callable[..., Any]) -> Callable[..., tuple[Tensor, Tensor]]:
    """`packed_attention` by flash-attn's `flash_attn_varlen_func`.

    It knows no pool and no branches, so each piece's keys are gathered to stand in one run: next to the weights of a
    layer that is little to copy. Its windows count the keys to the left, so W keys are `(W - 1, 0)`.
    """
    last: tuple[PackedPieces, _Gathered] | None = None

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
        nonlocal last
        if last is None or last[0] is not pieces:
            # Once a step, not once a layer.
            last = (pieces, _Gathered.of(pieces, len(pool_k), window, q.device))
        plan = last[1]
        out, lse, _ = varlen(
            q[plan.queries],
            torch.cat([pool_k, k])[plan.keys],
            torch.cat([pool_v, v])[plan.keys],
            cu_seqlens_q=plan.query_ends,
            cu_seqlens_k=plan.key_ends,
            max_seqlen_q=plan.most_queries,
            max_seqlen_k=plan.most_keys,
            softmax_scale=scale,
            causal=True,
            window_size=(-1, -1) if window is None else (window - 1, 0),
            return_attn_probs=True,
        )
        whole, sums = torch.empty_like(q), torch.empty(q.shape[:2], dtype=torch.float32, device=q.device)
        whole[plan.queries] = out
        sums[plan.queries] = lse.transpose(0, 1)
        return whole, sums

    return packed_attention


class _Gathered(NamedTuple):
    """Rows of the step, and rows of pool and step one after the other, in the order of the pieces."""

    queries: Tensor
    keys: Tensor
    query_ends: Tensor
    key_ends: Tensor
    most_queries: int
    most_keys: int

    @classmethod
    def of(cls, pieces: PackedPieces, pooled: int, window: int | None, device: torch.device) -> "_Gathered":
        """Keys that no query of a piece can see are left out."""
        queries: list[int] = []
        keys: list[int] = []
        query_ends, key_ends, most = [0], [0], [0, 0]
        for piece in pieces.pieces:
            queries += range(piece.start, piece.start + piece.length)
            before = [
                *range(piece.pool_start, piece.pool_start + piece.pool_length),
                *range(pooled + piece.text_start, pooled + piece.text_start + piece.text_length),
            ]
            if window is not None:
                before = before[max(0, len(before) - (window - 1)) :]
            keys += [*before, *range(pooled + piece.start, pooled + piece.start + piece.length)]
            most = [max(most[0], piece.length), max(most[1], len(before) + piece.length)]
            query_ends.append(len(queries))
            key_ends.append(len(keys))
        return cls(
            torch.tensor(queries, device=device),
            torch.tensor(keys, device=device),
            torch.tensor(query_ends, dtype=torch.int32, device=device),
            torch.tensor(key_ends, dtype=torch.int32, device=device),
            *most,
        )
