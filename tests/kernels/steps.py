"""Packed steps for tests, and what attention must give for them by its definition."""

from typing import NamedTuple

import torch
from guard_kernels.pieces import PackedPieces, Piece, pack


class Step(NamedTuple):
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    pool_k: torch.Tensor
    pool_v: torch.Tensor
    pieces: PackedPieces

    def only(self, *numbers):
        """The same rows with some of the pieces, in another order if need be."""
        heads, head_dim = self.q.shape[1:]
        kept = [self.pieces.pieces[number] for number in numbers]
        return self._replace(
            pieces=pack(
                kept,
                heads=heads,
                kv_heads=self.k.shape[1],
                head_dim=head_dim,
                dtype=self.q.dtype,
                device="cpu",
            )
        )


class Text(NamedTuple):
    """Lengths: of what the pool holds before a text, of the text, of its branches; `dropped` rows are kept no more."""

    pool: int
    text: int
    branches: tuple[int, ...] = ()
    dropped: int = 0


TEXTS = (
    Text(70, 17, (1, 5)),
    Text(0, 63),
    Text(1, 130, (17,)),
    Text(64, 64, dropped=30),
    Text(33, 65),
    Text(130, 0, (3,)),
)


def step(texts, heads, kv_heads, head_dim, dtype=torch.float32, seed=0):
    """Random rows, q, k and v slices of one tensor, with NaN in every row of the pool that no piece may see."""
    generator = torch.Generator().manual_seed(seed)
    pieces, row, pool_row, alive = [], 0, 2, []
    for text in texts:
        first = text.dropped + text.pool
        pieces.append(Piece(row, text.text, first, pool_row, text.pool))
        start = row
        row += text.text
        for branch in text.branches:
            pieces.append(Piece(row, branch, first + text.text, pool_row, text.pool, start, text.text))
            row += branch
        alive.append((pool_row, pool_row + text.pool))
        pool_row += text.pool + 3
    mixed = torch.randn(row, heads + 2 * kv_heads, head_dim, generator=generator).to(dtype)
    pools = torch.randn(2, pool_row, kv_heads, head_dim, generator=generator).to(dtype)
    pool = torch.full_like(pools, torch.nan)
    for start, end in alive:
        pool[:, start:end] = pools[:, start:end]
    return Step(
        *mixed.split([heads, kv_heads, kv_heads], dim=1),
        *pool,
        pack(pieces, heads=heads, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype, device="cpu"),
    )


def by_definition(made, window, scale=None):
    """Softmax attention in float64, head by head, each key with its position written out."""
    q, k, v, pool_k, pool_v = (x.double() for x in made[:5])
    out, lse = torch.full_like(q, torch.nan), torch.full(q.shape[:2], torch.nan, dtype=torch.float64)
    group = q.shape[1] // k.shape[1]
    scale = q.shape[2] ** -0.5 if scale is None else scale
    for piece in made.pieces.pieces:
        pool = range(piece.pool_start, piece.pool_start + piece.pool_length)
        text = range(piece.text_start, piece.text_start + piece.text_length)
        own = range(piece.start, piece.start + piece.length)
        keys = torch.stack([*(pool_k[i] for i in pool), *(k[i] for i in text), *(k[i] for i in own)]) if own else None
        values = torch.stack([*(pool_v[i] for i in pool), *(v[i] for i in text), *(v[i] for i in own)]) if own else None
        at_q = [piece.first + i for i in range(piece.length)]
        oldest = piece.first - piece.text_length - piece.pool_length
        hidden = torch.tensor(
            [[not (p - (window or 10**9) < at <= p) for at in range(oldest, piece.first + piece.length)] for p in at_q]
        )
        for head in range(q.shape[1]) if own else ():
            scores = (q[own.start : own.stop, head] @ keys[:, head // group].T) * scale
            scores[hidden] = -torch.inf
            out[own.start : own.stop, head] = scores.softmax(-1) @ values[:, head // group]
            lse[own.start : own.stop, head] = scores.logsumexp(-1)
    return out, lse


def distance(found, wanted):
    """The largest difference; NaN anywhere is no small one."""
    return (found.double() - wanted.double()).abs().max().item()
