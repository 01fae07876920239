"""Packed attention: the kernel and its twin against the definition, and against each other."""

import pytest

torch = pytest.importorskip("torch")

from guard_kernels import twins  # noqa: E402
from guard_kernels.pieces import Piece, pack  # noqa: E402

from tests.kernels.steps import TEXTS, Text, by_definition, distance, step  # noqa: E402


@pytest.fixture(params=["kernel", "twin"])
def attention(request):
    """Both, by one name."""
    if request.param == "twin":
        return twins.packed_attention
    run_kernel = request.getfixturevalue("run_kernel")
    return lambda *arguments, **options: run_kernel("attention.packed_attention", *arguments, **options)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "window"),
    [
        (4, 2, 16, None),
        (4, 4, 8, 65),
        (6, 2, 64, 40),
        (8, 2, 128, 10_000),
    ],
)
def test_attention_is_what_it_is_by_definition(attention, heads, kv_heads, head_dim, window):
    """In float32 all that may differ is the order of sums: some units of the last place of values near 1."""
    made = step(TEXTS, heads, kv_heads, head_dim)
    out, lse = attention(*made, window=window)
    wanted, wanted_lse = by_definition(made, window)
    assert distance(out, wanted) < 5e-6
    assert distance(lse, wanted_lse) < 5e-6
    assert lse.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("window", [None, 50])
def test_half_precision_errs_no_more_than_pytorch(attention, dtype, window):
    """The measure is PyTorch's own error in that dtype on the same rows, twice."""
    made = step((Text(70, 65, (5,)), Text(0, 63)), 8, 2, 64, dtype)
    out, lse = attention(*made, window=window)
    wanted, wanted_lse = by_definition(made, window)
    pytorch = max(
        distance(plainly(made, piece, dtype, window), wanted[piece.start : piece.start + piece.length])
        for piece in made.pieces.pieces
    )
    assert out.dtype == dtype
    assert distance(out, wanted) <= 2 * pytorch
    assert distance(lse, wanted_lse) < 1e-4


def plainly(made, piece, dtype, window):
    """One piece by PyTorch's own attention."""
    parts_k, parts_v = (
        torch.cat(
            [
                pool[piece.pool_start : piece.pool_start + piece.pool_length],
                own[piece.text_start : piece.text_start + piece.text_length],
                own[piece.start : piece.start + piece.length],
            ]
        )
        for pool, own in ((made.pool_k, made.k), (made.pool_v, made.v))
    )
    at = torch.arange(len(parts_k))
    at_q = at[-piece.length :, None]
    q = made.q[piece.start : piece.start + piece.length]
    group = made.pieces.group
    return torch.nn.functional.scaled_dot_product_attention(
        q.transpose(0, 1),
        parts_k.repeat_interleave(group, 1).transpose(0, 1),
        parts_v.repeat_interleave(group, 1).transpose(0, 1),
        attn_mask=(at <= at_q) & (at > at_q - (window or len(at))),
    ).transpose(0, 1)


@pytest.mark.parametrize("window", [None, 20])
def test_a_piece_has_the_same_bits_alone_and_in_a_step(attention, window):
    """Each piece by itself, all rows but its own and its text's NaN; and the step with its pieces turned round."""
    made = step(TEXTS[:2] + TEXTS[4:6], 4, 2, 16)
    count = len(made.pieces.pieces)
    out, lse = attention(*made, window=window)
    turned, turned_lse = attention(*made.only(*reversed(range(count))), window=window)
    assert torch.equal(out, turned)
    assert torch.equal(lse, turned_lse)
    for number, piece in enumerate(made.pieces.pieces):
        rows = slice(piece.start, piece.start + piece.length)
        text = slice(piece.text_start, piece.text_start + piece.text_length)
        bare = [torch.full_like(x, torch.nan) for x in (made.q, made.k, made.v)]
        for x, whole in zip(bare, (made.q, made.k, made.v), strict=True):
            x[rows], x[text] = whole[rows], whole[text]
        one = made.only(number)._replace(q=bare[0], k=bare[1], v=bare[2])
        alone, alone_lse = attention(*one, window=window)
        assert torch.equal(out[rows], alone[rows])
        assert torch.equal(lse[rows], alone_lse[rows])


def test_where_a_text_lies_changes_no_bit(attention):
    """The same text at the front of a step and behind another one, its prefix at other rows of the pool."""
    ahead = step((Text(70, 65, (5,)), Text(9, 33)), 4, 2, 16)
    q, k, v, pool_k, pool_v, pieces = ahead
    rows = pieces.pieces[1].start + pieces.pieces[1].length
    shifted = [
        Piece(p.start + 33, p.length, p.first, p.pool_start + 12, p.pool_length, p.text_start + 33, p.text_length)
        for p in pieces.pieces[:2]
    ]
    behind = [torch.cat([x[rows:], x[:rows]]) for x in (q, k, v)]
    pools = [torch.cat([x[-12:], x[:-12]]) for x in (pool_k, pool_v)]
    again = pack(shifted, heads=4, kv_heads=2, head_dim=16, dtype=q.dtype, device="cpu")
    out, lse = attention(*ahead, window=40)
    moved, moved_lse = attention(*behind, *pools, again, window=40)
    assert torch.equal(out[:rows], moved[33:])
    assert torch.equal(lse[:rows], moved_lse[33:])


@pytest.mark.parametrize("window", [1, 7])
def test_a_window_may_be_small(attention, window):
    """Of one key: each token sees itself, and takes its own values whole."""
    made = step(TEXTS[:2], 4, 2, 16)
    out, lse = attention(*made, window=window)
    wanted, wanted_lse = by_definition(made, window)
    assert distance(out, wanted) < 5e-6
    assert distance(lse, wanted_lse) < 5e-6


def test_the_scale_may_be_given(attention):
    """As `scale`, in place of 1 / sqrt(d)."""
    made = step((Text(5, 17),), 4, 2, 16)
    assert distance(attention(*made, window=None, scale=0.7)[0], by_definition(made, None, 0.7)[0]) < 5e-6


def test_attention_over_a_prefix_and_over_the_rest_merge_into_one(run_kernel):
    """Softmax over two sets of keys is each set's, weighted by the shares of their sums."""
    made = step((Text(70, 33),), 4, 2, 16)
    piece = made.pieces.pieces[0]
    whole, whole_lse = run_kernel("attention.packed_attention", *made, window=None)
    bare = pack([Piece(0, 33, 0)], heads=4, kv_heads=2, head_dim=16, dtype=made.q.dtype, device="cpu")
    own, own_lse = run_kernel("attention.packed_attention", *made._replace(pieces=bare), window=None)
    rings = [x[None, piece.pool_start : piece.pool_start + 70] for x in (made.pool_k, made.pool_v)]
    slots, lengths = torch.zeros(33, dtype=torch.int32), torch.full((33,), 70, dtype=torch.int32)
    before, before_lse = run_kernel("decode.rolling_attention", made.q, *rings, slots, lengths)
    merged_lse = torch.logaddexp(own_lse, before_lse)
    merged = own * (own_lse - merged_lse).exp()[..., None] + before * (before_lse - merged_lse).exp()[..., None]
    assert distance(merged, whole) < 2e-6
    assert distance(merged_lse, whole_lse) < 2e-6


def test_what_does_not_fit_is_refused_before_it_runs(run_kernel):
    """A row too few would be read from memory of somebody else."""
    made = step((Text(5, 17),), 4, 2, 16)
    kernel = "attention.packed_attention"
    for wrong, message in (
        (made._replace(q=made.q[:16], k=made.k[:16], v=made.v[:16]), "reach"),
        (made._replace(pool_k=made.pool_k[:5], pool_v=made.pool_v[:5]), "reach"),
        (made._replace(q=made.q[:, :2]), "another shape"),
        (made._replace(v=made.v[:, :1]), "do not fit"),
        (made._replace(q=made.q.half()), "one dtype"),
    ):
        with pytest.raises((ValueError, RuntimeError), match=message):
            run_kernel(kernel, *wrong, window=None)
    with pytest.raises((ValueError, RuntimeError), match="window"):
        run_kernel(kernel, *made, window=0)
