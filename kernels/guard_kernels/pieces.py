"""How the rows of a packed step hang together: which rows are one piece, and what stands before each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PackedPieces", "Piece", "pack"]


class Piece(NamedTuple):
    """A run of packed rows with consecutive positions: a text after a prefix, or a branch after a text.

    What a piece sees, oldest first: rows `pool_start` to `pool_start + pool_length` of the pool (keys kept from
    before), rows `text_start` to `text_start + text_length` of the step itself (a branch's text), its own rows.
    Positions run on from one to the next, so the last row before the piece stands at `first - 1`.

    With a prefix of 5 rows at the pool's row 100, a text of 3 rows and a branch of 2, packed one after the other:

        text    Piece(start=0, length=3, first=5, pool_start=100, pool_length=5)
        branch  Piece(start=3, length=2, first=8, pool_start=100, pool_length=5, text_start=0, text_length=3)

    The branch's second row stands at position 9. Under a window of 4 it sees positions 6 to 9: rows 1 and 2 of the
    step, and the branch's own two.
    """

    start: int
    length: int
    first: int
    pool_start: int = 0
    pool_length: int = 0
    text_start: int = 0
    text_length: int = 0


class PackedPieces(NamedTuple):
    """The pieces of one step, as the host and as the device read them. Made once per step, used by every layer."""

    pieces: tuple[Piece, ...]
    table: Tensor
    """int32 [pieces, 8], the fields of each piece and a zero, so that `tiles`, which lies behind, is aligned."""
    tiles: Tensor
    """int32 [tiles, 2]: a tile's piece, and which tile of that piece it is."""
    tile: int
    """Rows of a tile. A row is one query head of one token; the heads that share a KV head lie side by side."""
    group: int
    """Query heads for each KV head."""
    rows: int
    """Rows that the step needs at least."""
    pool_rows: int
    """Rows that the pool needs at least."""


def pack(
    pieces: Sequence[Piece],
    *,
    heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    device: torch.device | str,
    tile: int | None = None,
) -> PackedPieces:
    """Lays out a step's pieces for attention of this shape; `tile` is found from the shape where None.

    How a piece is cut into tiles depends on that piece alone. Tiles that see most keys come first: they are started
    first, and the short ones fill the gaps at the end.

    Raises:
        ValueError: a field is negative, a piece has nowhere to stand, or `heads` is no multiple of `kv_heads`.
    """
    if kv_heads < 1 or heads < 1 or heads % kv_heads:
        raise ValueError(f"{heads} query heads cannot share {kv_heads} KV heads evenly")
    for piece in pieces:
        if min(piece) < 0:
            raise ValueError(f"{piece} has a negative field")
        if piece.first < piece.pool_length + piece.text_length:
            raise ValueError(f"{piece} has more keys before it than positions")
    group = heads // kv_heads
    tile = tile or (128 if head_dim * dtype.itemsize <= 256 else 64)
    tiles = [
        (piece.pool_length + piece.text_length + (number + 1) * tile // group, index, number)
        for index, piece in enumerate(pieces)
        for number in range(-(-piece.length * group // tile))
    ]
    tiles.sort(key=lambda found: -found[0])
    numbers = [field for piece in pieces for field in (*piece, 0)]
    numbers += [field for _, index, number in tiles for field in (index, number)]
    # One copy, and not a blocking one: the driver has taken the numbers from pageable memory when the call returns.
    both = torch.tensor(numbers, dtype=torch.int32, device="cpu").to(device, non_blocking=True)
    end = 8 * len(pieces)
    return PackedPieces(
        pieces=tuple(pieces),
        table=both[:end].view(-1, 8),
        tiles=both[end:].view(-1, 2),
        tile=tile,
        group=group,
        rows=max((max(p.start + p.length, p.text_start + p.text_length) for p in pieces), default=0),
        pool_rows=max((p.pool_start + p.pool_length for p in pieces), default=0),
    )
