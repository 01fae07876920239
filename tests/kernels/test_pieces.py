"""The layout of a packed step."""

import pytest

torch = pytest.importorskip("torch")

from guard_kernels.pieces import Piece, pack  # noqa: E402


def packed(*pieces, heads=8, kv_heads=2, head_dim=128, dtype=torch.bfloat16, **options):
    return pack(pieces, heads=heads, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype, device="cpu", **options)


def test_tiles_hold_the_heads_that_share_keys():
    """Four query heads for each KV head: 32 tokens fill a tile of 128 rows, 33 take a second one."""
    assert packed(Piece(0, 32, 0)).tiles.tolist() == [[0, 0]]
    assert sorted(packed(Piece(0, 33, 0)).tiles.tolist()) == [[0, 0], [0, 1]]


def test_tiles_that_see_most_keys_come_first():
    """The grid starts them in this order, and short ones fill its end."""
    made = packed(Piece(0, 64, 0), Piece(64, 32, 600, 0, 600), Piece(96, 0, 0))
    assert made.tiles.tolist() == [[1, 0], [0, 1], [0, 0]]


def test_the_table_holds_every_field():
    """Rows of eight numbers, so that what lies behind the table is aligned whatever the number of pieces."""
    piece = Piece(1, 2, 9, 3, 4, 0, 1)
    made = packed(piece)
    assert made.table.tolist() == [[*piece, 0]]
    assert made.tiles.storage_offset() % 8 == 0
    assert (made.rows, made.pool_rows) == (3, 7)


def test_a_step_may_be_empty():
    """A grid without programs."""
    made = packed()
    assert (len(made.tiles), made.rows, made.pool_rows) == (0, 0, 0)


@pytest.mark.parametrize(
    ("pieces", "options", "message"),
    [
        ((Piece(0, -1, 0),), {}, "negative"),
        ((Piece(0, 1, 3, 0, 4),), {}, "more keys"),
        ((), {"heads": 6, "kv_heads": 4}, "evenly"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(pieces, options, message):
    """Before anything of it reaches a GPU."""
    with pytest.raises(ValueError, match=message):
        packed(*pieces, **options)
