"""Attention by several hands, all given the same rows: packed texts after one shared prefix, under a window or not.

    ours    the engine's own kernel (its plain twin on a CPU): prefix and texts are read where they lie
    fa2     PyTorch's bundled FlashAttention-2, `aten._flash_attention_forward`
    varlen  the same kernels through `torch.nn.attention.varlen.varlen_attn`
    flex    FlexAttention, compiled for the mask (on a CPU uncompiled)
    sdpa    `scaled_dot_product_attention`, by its own choice, with a mask where one is needed; one text only
    fa3     FlashAttention-3: a library that is loaded, vLLM's `_vllm_fa3_C`, or an installed `flash_attn_interface`

All but `ours` and `flex` need the prefix's keys in front of each text's own. They have them ready: what is timed is
the kernel alone. Windows of the FlashAttention family count the keys to the left: W keys are (W - 1, 0).
"""

import inspect
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from guard_kernels.pieces import PackedPieces, Piece, pack
from torch import Tensor

__all__ = ["NAMES", "Step", "call", "decode_call", "pairs", "step"]

NAMES = ("ours", "fa2", "varlen", "flex", "sdpa", "fa3")


_MASKED = 8_192
"""Tokens of a text for which a mask is still written out."""


class Step(NamedTuple):
    """`texts` texts of `length` tokens, each after the same `prefix` tokens.

    `keys` and `values` are [texts * (prefix + length), kv_heads, d]: for each text the prefix, then its own.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    pool_k: Tensor
    pool_v: Tensor
    keys: Tensor
    values: Tensor
    texts: int
    length: int
    prefix: int
    window: int | None
    pieces: PackedPieces
    query_ends: Tensor
    key_ends: Tensor

    @property
    def flop(self) -> int:
        """Operations of both products, over the pairs that are seen."""
        return 4 * self.q.shape[1] * self.q.shape[2] * self.texts * pairs(self.length, self.prefix, self.window)


def pairs(length: int, prefix: int, window: int | None) -> int:
    """Query and key pairs of one text that see each other."""
    most = prefix + length if window is None else window
    return sum(min(prefix + at + 1, most) for at in range(length))


def step(
    count: int,
    length: int,
    prefix: int,
    window: int | None,
    *,
    heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Step:
    """Random rows."""
    rows = count * length
    mixed = torch.randn(rows, heads + 2 * kv_heads, head_dim, device=device, dtype=dtype)
    q, k, v = torch.split(mixed, [heads, kv_heads, kv_heads], dim=1)
    pool_k, pool_v = torch.randn(2, prefix, kv_heads, head_dim, device=device, dtype=dtype)
    keys, values = (
        torch.cat(
            [
                before[None].expand(count, -1, -1, -1),
                own.reshape(count, length, kv_heads, head_dim),
            ],
            dim=1,
        ).flatten(0, 1)
        for before, own in ((pool_k, k), (pool_v, v))
    )
    ends = torch.arange(count + 1, device=device, dtype=torch.int32)
    pieces = pack(
        [Piece(n * length, length, prefix, 0, prefix) for n in range(count)],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        dtype=dtype,
        device=device,
    )
    return Step(
        q,
        k,
        v,
        pool_k,
        pool_v,
        keys,
        values,
        count,
        length,
        prefix,
        window,
        pieces,
        ends * length,
        ends * (prefix + length),
    )


def call(name: str, made: Step, *, fa3: str | None = None) -> Callable[[], Tensor]:
    """A function that computes [rows, heads, d]; what can be prepared is prepared.

    Raises:
        ImportError, RuntimeError, ValueError: it is not there, or has no form for these rows.
    """
    if name == "ours":
        return _ours(made)
    if name == "flex":
        return _flex(made)
    if name == "sdpa":
        return _sdpa(made)
    return partial(_packed(name, fa3), made.q.contiguous(), made)


def _ours(made: Step) -> Callable[[], Tensor]:
    packed = _own("attention", made.q.device).packed_attention
    return lambda: packed(made.q, made.k, made.v, made.pool_k, made.pool_v, made.pieces, window=made.window)[0]


def decode_call(
    name: str, q: Tensor, ring_k: Tensor, ring_v: Tensor, length: int, *, fa3: str | None = None
) -> Callable[[], Tensor]:
    """One new token of each sequence, q [batch, heads, d], over the first `length` of its keys.

    Rings are [batch, capacity, kv_heads, d].
    """
    batch = len(q)
    ends = torch.arange(batch + 1, device=q.device, dtype=torch.int32)
    if name == "ours":
        rolling = _own("decode", q.device).rolling_attention
        lengths = torch.full((batch,), length, device=q.device, dtype=torch.int32)
        return lambda: rolling(q, ring_k, ring_v, ends[:batch], lengths)[0]
    if name == "sdpa":
        attend = torch.nn.functional.scaled_dot_product_attention
        k, v = (x[:, :length].transpose(1, 2) for x in (ring_k, ring_v))
        return lambda: attend(q[:, :, None], k, v, enable_gqa=True)[:, :, 0]
    if name == "flex":
        raise ValueError("no form for one query a sequence that is not compiled anew for each length")
    made = Step(
        q,
        ring_k[:, length - 1],
        ring_v[:, length - 1],
        q[:0],
        q[:0],
        ring_k[:, :length].flatten(0, 1),
        ring_v[:, :length].flatten(0, 1),
        batch,
        1,
        length - 1,
        None,
        PackedPieces((), ends, ends, 0, 0, 0, 0),
        ends,
        ends * length,
    )
    return partial(_packed(name, fa3), q, made)


def _own(module: str, device: torch.device) -> Any:
    """The kernels' module on a GPU, their twins on a CPU."""
    if device.type != "cuda":
        from guard_kernels import twins  # noqa: PLC0415

        return twins
    from guard_kernels import attention, decode  # noqa: PLC0415 (Triton, which a CPU may lack)

    return {"attention": attention, "decode": decode}[module]


def _packed(name: str, fa3: str | None) -> Callable[[Tensor, Step], Tensor]:
    """The FlashAttention family: runs end to end, the causal mask aligned at the bottom right."""
    if name == "fa2":
        return _fa2
    if name == "varlen":
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 (not in every version)

        known = inspect.signature(varlen_attn).parameters
        if "window_size" not in known:
            raise RuntimeError("this version's varlen_attn has no window_size")
        attend: Any = varlen_attn
        return partial(_varlen, attend, {"enable_gqa": True} if "enable_gqa" in known else {})
    return _fa3(fa3)


def _fa2(q: Tensor, made: Step) -> Tensor:
    left, right = _window(made.window)
    given = torch.ops.aten._flash_attention_forward(
        q,
        made.keys,
        made.values,
        made.query_ends,
        made.key_ends,
        made.length,
        made.prefix + made.length,
        0.0,
        True,
        False,
        window_size_left=left,
        window_size_right=right,
    )
    out: Tensor = given[0]
    return out


def _varlen(attend: Callable[..., Tensor], more: dict[str, Any], q: Tensor, made: Step) -> Tensor:
    # Causal is a window that ends at the query itself.
    left, _ = _window(made.window)
    return attend(
        q,
        made.keys,
        made.values,
        made.query_ends,
        made.key_ends,
        made.length,
        made.prefix + made.length,
        window_size=(left, 0),
        **more,
    )


def _window(window: int | None) -> tuple[int, int]:
    return (-1, -1) if window is None else (window - 1, 0)


def _flex(made: Step) -> Callable[[], Tensor]:
    """All texts as one row: the prefix once, then the texts' own keys; the mask keeps the texts apart."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention  # noqa: PLC0415

    prefix, length, window = made.prefix, made.length, made.window

    def seen(_batch: Tensor, _head: Tensor, at_q: Tensor, at_k: Tensor) -> Tensor:
        own = at_k - prefix
        inside = (own < 0) | ((own // length == at_q // length) & (own % length <= at_q % length))
        if window is None:
            return inside
        place = torch.where(own < 0, at_k, prefix + own % length)
        return inside & (place > prefix + at_q % length - window)

    rows = len(made.q)
    compiled = made.q.is_cuda
    attend: Any = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
    mask = create_block_mask(
        seen, None, None, rows, prefix + rows, device=str(made.q.device), **({"_compile": True} if compiled else {})
    )
    q, k, v = (
        x.transpose(0, 1)[None] for x in (made.q, torch.cat([made.pool_k, made.k]), torch.cat([made.pool_v, made.v]))
    )

    def attended() -> Tensor:
        out: Tensor = attend(q, k, v, block_mask=mask, enable_gqa=True)
        return out[0].transpose(0, 1)

    return attended


def _sdpa(made: Step) -> Callable[[], Tensor]:
    """One text, or texts of one length as a batch."""
    batch, whole = made.texts, made.prefix + made.length
    q = made.q.view(batch, made.length, *made.q.shape[1:]).transpose(1, 2)
    k, v = (x.view(batch, whole, *x.shape[1:]).transpose(1, 2) for x in (made.keys, made.values))
    mask = None
    if made.prefix or (made.window is not None and made.window < whole):
        if whole > _MASKED:
            raise ValueError(f"a mask of {whole} by {whole} and all scores would be written out")
        at_q = torch.arange(made.prefix, whole, device=q.device)[:, None]
        at_k = torch.arange(whole, device=q.device)
        mask = at_k <= at_q
        if made.window is not None:
            mask &= at_k > at_q - made.window
    attend = torch.nn.functional.scaled_dot_product_attention

    def attended() -> Tensor:
        out = attend(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return out.transpose(1, 2).flatten(0, 1)

    return attended


def _fa3(library: str | None) -> Callable[[Tensor, Step], Tensor]:
    if library is not None:
        ops: Any = torch.ops
        ops.load_library(library)
        return partial(_fa3_library, ops._vllm_fa3_C.fwd)
    if find_spec("flash_attn_interface") is not None:
        from flash_attn_interface import flash_attn_varlen_func  # noqa: PLC0415 (built by hand)

        return partial(_fa3_interface, flash_attn_varlen_func)
    raise ImportError("no FlashAttention-3: give its library with --fa3, or install flash_attn_interface")


def _fa3_library(forward: Any, q: Tensor, made: Step) -> Tensor:
    """vLLM's build: every argument has to be given, and which there are differs by version."""
    left, right = _window(made.window)
    given = {
        "q": q,
        "k": made.keys,
        "v": made.values,
        "cu_seqlens_q": made.query_ends,
        "cu_seqlens_k": made.key_ends,
        "max_seqlen_q": made.length,
        "max_seqlen_k": made.prefix + made.length,
        "softmax_scale": q.shape[-1] ** -0.5,
        "is_causal": True,
        "window_size_left": left,
        "window_size_right": right,
        "softcap": 0.0,
        "is_rotary_interleaved": True,
        "num_splits": 0,
        "sm_margin": 0,
        "cp_world_size": 1,
        "cp_rank": 0,
        "attention_chunk": 0,
    }
    out: Tensor = forward(*[given.get(argument.name) for argument in forward.default._schema.arguments])[0]
    return out


def _fa3_interface(attend: Callable[..., Any], q: Tensor, made: Step) -> Tensor:
    given = attend(
        q,
        made.keys,
        made.values,
        cu_seqlens_q=made.query_ends,
        cu_seqlens_k=made.key_ends,
        max_seqlen_q=made.length,
        max_seqlen_k=made.prefix + made.length,
        causal=True,
        window_size=_window(made.window),
    )
    out: Tensor = given[0] if isinstance(given, tuple) else given
    return out
