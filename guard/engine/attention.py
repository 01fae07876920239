"""The one door to attention: queries of packed pieces against the keys that each piece may see.

A *piece* is a run of tokens with consecutive positions: a text after a prefix, or a question after a text. What stands
before it is given as earlier keys, shared by many pieces and never copied for one. A query at position q sees the
keys at q - W < k <= q: W keys, itself included.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["attend"]


def attend(
    queries: Tensor,
    earlier: Sequence[tuple[Tensor, Tensor]],
    keys: Tensor,
    values: Tensor,
    *,
    first: int,
    window: int | None,
) -> Tensor:
    """What each token of a piece takes from the tokens that it sees.

    Args:
        queries: [n, heads, head_width], the piece's own, at positions `first`, `first + 1`, …
        earlier: keys and values before the piece, oldest first, each [m, kv_heads, head_width]; together they end at
            position `first - 1`.
        keys, values: the piece's own, [n, kv_heads, head_width].
        first: the position of the piece's first token.
        window: W; None sees everything before.

    Returns:
        [n, heads, head_width].
    """
    own = len(keys)
    before = sum(len(found) for found, _ in earlier)
    # Keys that no query of the piece can see are left out before anything is computed.
    skip = 0 if window is None else max(0, before - (window - 1))
    parts_k, parts_v = [], []
    for found_k, found_v in earlier:
        cut = min(skip, len(found_k))
        skip -= cut
        if cut < len(found_k):
            parts_k.append(found_k[cut:])
            parts_v.append(found_v[cut:])
    all_k, all_v = torch.cat([*parts_k, keys]), torch.cat([*parts_v, values])
    start = first + own - len(all_k)
    groups = queries.shape[1] // keys.shape[1]
    at_q = torch.arange(first, first + own, device=queries.device)[:, None]
    at_k = torch.arange(start, first + own, device=queries.device)[None, :]
    seen = at_k <= at_q
    if window is not None:
        seen &= at_k > at_q - window
    out = functional.scaled_dot_product_attention(
        queries.transpose(0, 1)[None],
        all_k.transpose(0, 1).repeat_interleave(groups, dim=0)[None],
        all_v.transpose(0, 1).repeat_interleave(groups, dim=0)[None],
        attn_mask=seen,
    )
    return out[0].transpose(0, 1)
