"""The kernels of single rows: norms, rotary positions, the gated activation."""

import pytest

torch = pytest.importorskip("torch")

from guard_kernels import twins  # noqa: E402

KINDS = [(torch.float32, 1e-6), (torch.bfloat16, 0.0079), (torch.float16, 0.00098)]
"""A dtype, and its last place for numbers near 1: a sum in another order may round the other way."""


def near(found, wanted, tolerance):
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
@pytest.mark.parametrize("width", [8, 100, 4_096])
def test_the_norm_is_pytorchs(run_kernel, width, dtype, tolerance):
    """Also for rows that lie apart, and for one that is all zeros."""
    x, weight = random(5, width + 16, dtype=dtype)[:, :width], random(width, dtype=dtype, seed=1)
    x[2] = 0
    near(run_kernel("norm.rms_norm", x, weight, 1e-5), twins.rms_norm(x, weight, 1e-5), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
def test_the_sum_is_exact_and_its_norm_pytorchs(run_kernel, dtype, tolerance):
    """The norm is of the sum as it was rounded."""
    x, residual, weight = (random(3, 100, dtype=dtype, seed=seed) for seed in range(3))
    normed, total = run_kernel("norm.add_rms_norm", x, residual, weight[0].clone(), 1e-5)
    wanted, wanted_total = twins.add_rms_norm(x, residual, weight[0], 1e-5)
    assert torch.equal(total, wanted_total)
    near(normed, wanted, tolerance)


@pytest.mark.parametrize("twin", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(4, 2, 16), (6, 3, 128), (5, 5, 10)])
def test_positions_turn_queries_and_keys_where_they_lie(run_kernel, heads, kv_heads, d, dtype, tolerance, twin):
    """Slices of one projection: the values between them stay as they are."""
    mixed = random(7, heads + 2 * kv_heads, d, dtype=dtype)
    q, k, v = mixed.split([heads, kv_heads, kv_heads], dim=1)
    before = v.clone()
    angles = random(7, d // 2, seed=1)
    wanted = [turned(x, angles).to(dtype) for x in (q, k)]
    call = twins.rotate if twin else lambda *arguments: run_kernel("rope.rotate", *arguments)
    for found, right in zip(call(q, k, angles.cos(), angles.sin()), wanted, strict=True):
        near(found, right, tolerance)
    assert torch.equal(v, before)


def turned(x, angles):
    """As a product of complex numbers in float64: a head's first half real, its second imaginary."""
    first, second = x.double().chunk(2, dim=-1)
    out = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles).to(torch.complex128)[:, None]
    return torch.cat([out.real, out.imag], dim=-1)


@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
@pytest.mark.parametrize("inner", [1, 17, 2_050])
def test_the_gated_activation_is_pytorchs(run_kernel, inner, dtype, tolerance):
    """Large gates too: their exponentials overflow, and silu is still 0 or the gate."""
    gate_up = random(3, 2 * inner, dtype=dtype)
    gate_up[0, 0], gate_up[1, 0] = -200, 200
    near(run_kernel("swiglu.swiglu", gate_up), twins.swiglu(gate_up), tolerance)


@pytest.mark.parametrize("twin", ["rms_norm", "swiglu"])
def test_a_row_has_the_same_bits_alone(twin):
    """The twins are what runs on a CPU."""
    x, weight = random(33, 130), random(130, seed=1)
    call = (lambda rows: twins.rms_norm(rows, weight, 1e-5)) if twin == "rms_norm" else twins.swiglu
    assert all(torch.equal(call(x[i : i + 1])[0], row) for i, row in enumerate(call(x)))
