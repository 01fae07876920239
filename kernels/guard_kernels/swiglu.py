"""The gated activation of the feed-forward layer (Shazeer, 2020, https://arxiv.org/abs/2002.05202)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from guard_kernels.launch import Launch

__all__ = ["plan", "swiglu"]

_BLOCK = 2_048


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) · up, the first and the second half of each row.

    silu is rounded to the dtype before the product, as PyTorch's own two steps round it.

    Args:
        gate_up: [rows, 2 · inner], its last dimension contiguous.

    Returns:
        [rows, inner] in the same dtype.

    Raises:
        ValueError: the rows have no two halves.
    """
    if gate_up.shape[1] % 2 or gate_up.stride(1) != 1:
        raise ValueError(f"gate_up {gate_up.shape} must have contiguous rows of two halves")
    out = torch.empty(len(gate_up), gate_up.shape[1] // 2, dtype=gate_up.dtype, device=gate_up.device)
    plan(gate_up, out).run()
    return out


def plan(gate_up: Tensor, out: Tensor) -> Launch:
    """The call that `swiglu` makes."""
    rows, inner = out.shape
    block = min(_BLOCK, triton.next_power_of_2(inner))
    return Launch(
        kernel=_swiglu,
        grid=(rows, triton.cdiv(inner, block)),
        arguments={"p_in": gate_up, "p_out": out, "s_in": gate_up.stride(0), "INNER": inner, "BLOCK": block},
        num_warps=4,
    )


@triton.jit
def _swiglu(p_in, p_out, s_in, INNER: tl.constexpr, BLOCK: tl.constexpr):
    """One block of one row."""
    i_row = tl.program_id(0).to(tl.int64)
    o = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = o < INNER
    b_gate = tl.load(p_in + i_row * s_in + o, mask=m, other=0.0).to(tl.float32)
    b_up = tl.load(p_in + i_row * s_in + INNER + o, mask=m, other=0.0).to(tl.float32)
    kind = p_out.dtype.element_ty
    b_silu = (b_gate / (1.0 + tl.exp(-b_gate))).to(kind).to(tl.float32)
    tl.store(p_out + i_row * INNER + o, (b_silu * b_up).to(kind), mask=m)
