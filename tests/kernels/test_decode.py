"""Attention over rolling keys."""

import pytest

torch = pytest.importorskip("torch")

from guard_kernels import twins  # noqa: E402

from tests.kernels.steps import distance  # noqa: E402


@pytest.fixture(params=["kernel", "twin"])
def attention(request):
    """Both, by one name."""
    if request.param == "twin":
        return twins.rolling_attention
    run_kernel = request.getfixturevalue("run_kernel")
    return lambda *arguments, **options: run_kernel("decode.rolling_attention", *arguments, **options)


def rolled(capacity, lengths, heads, kv_heads, head_dim, dtype=torch.float32):
    """Sequences of these lengths, their rings written token by token; rows never written hold NaN."""
    generator = torch.Generator().manual_seed(1)
    rings = torch.full((2, len(lengths) + 1, capacity, kv_heads, head_dim), torch.nan, dtype=dtype)
    slots = torch.arange(len(lengths), 0, -1, dtype=torch.int32)
    whole = []
    for slot, length in zip(slots.tolist(), lengths, strict=True):
        keys = torch.randn(2, length, kv_heads, head_dim, generator=generator).to(dtype)
        for position in range(length):
            rings[:, slot, position % capacity] = keys[:, position]
        whole.append(keys)
    q = torch.randn(len(lengths), heads + 2, head_dim, generator=generator).to(dtype)[:, :heads]
    return (q, *rings, slots, torch.tensor(lengths, dtype=torch.int32)), whole


def last_keys(q, whole, capacity):
    """Full attention over each sequence's last `capacity` keys, in float64."""
    outs, sums = [], []
    for row, keys in zip(q.double(), whole, strict=True):
        k, v = (x[-capacity:].double().repeat_interleave(q.shape[1] // x.shape[1], 1) for x in keys)
        scores = torch.einsum("hd,khd->hk", row, k) * q.shape[2] ** -0.5
        outs.append(torch.einsum("hk,khd->hd", scores.softmax(-1), v))
        sums.append(scores.logsumexp(-1))
    return torch.stack(outs), torch.stack(sums)


@pytest.mark.parametrize(
    ("capacity", "heads", "kv_heads", "head_dim"),
    [(17, 4, 2, 16), (64, 8, 2, 64), (65, 4, 4, 8), (130, 6, 2, 128), (600, 4, 2, 16)],
)
def test_a_ring_is_full_attention_over_its_last_keys(attention, capacity, heads, kv_heads, head_dim):
    """Lengths short of the ring, exactly full, and wrapped round; more than one split of 256 keys."""
    lengths = [1, 2, capacity - 1, capacity, capacity + 1, 2 * capacity + 5]
    arguments, whole = rolled(capacity, lengths, heads, kv_heads, head_dim)
    out, lse = attention(*arguments)
    wanted, wanted_lse = last_keys(arguments[0], whole, capacity)
    assert distance(out, wanted) < 5e-6
    assert distance(lse, wanted_lse) < 5e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(attention, dtype):
    """A result is rounded to the dtype's last place of numbers below 4, and so are the shares."""
    arguments, whole = rolled(300, [300, 450, 7], 8, 2, 64, dtype)
    out, lse = attention(*arguments)
    wanted, wanted_lse = last_keys(arguments[0], whole, 300)
    assert out.dtype == dtype
    assert distance(out, wanted) < 4 * torch.finfo(dtype).eps
    assert distance(lse, wanted_lse) < 5e-5


def test_a_sequence_has_the_same_bits_alone_and_in_a_batch(attention):
    """The split is of a fixed number of keys, whatever else is decoded."""
    arguments, _ = rolled(300, [1, 255, 256, 257, 300, 700], 4, 2, 16)
    q, ring_k, ring_v, slots, lengths = arguments
    out, lse = attention(*arguments)
    for row in range(len(q)):
        alone = slice(row, row + 1)
        one, one_lse = attention(q[alone], ring_k, ring_v, slots[alone], lengths[alone])
        assert torch.equal(one, out[alone])
        assert torch.equal(one_lse, lse[alone])


def test_an_unused_row_gives_zeros(attention):
    """Batches of fixed size have rows without a sequence."""
    arguments, _ = rolled(16, [3, 0], 4, 2, 16)
    out, lse = attention(*arguments)
    assert not out[1].any()
    assert (lse[1] == -torch.inf).all()
    assert out[0].isfinite().all()
