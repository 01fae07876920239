"""The door to attention: flash-attn's way of packed pieces gives what our own gives.

flash-attn has no form for CPUs; a few lines with its documented meaning stand in for it.
"""

import itertools

import pytest

torch = pytest.importorskip("torch")

from guard_kernels import twins  # noqa: E402

from guard.engine.kv import NOTHING  # noqa: E402
from guard.engine.model import Part  # noqa: E402
from guard.engine.ops import flash, ops_for  # noqa: E402
from tests.engine.conftest import CPU, close, engine, last_logits, tokens, write_tiny  # noqa: E402


def varlen(
    q,
    k,
    v,
    *,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    softmax_scale,
    causal,
    window_size,
    return_attn_probs,
):
    """`flash_attn_varlen_func`: runs end to end, the causal mask aligned at the bottom right, windows inclusive."""
    assert (causal, return_attn_probs) == (True, True)
    out, lse = torch.zeros_like(q), torch.zeros(q.shape[1], len(q))
    q_ends, k_ends = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    assert max_seqlen_q == max(b - a for a, b in itertools.pairwise(q_ends))
    assert max_seqlen_k == max(b - a for a, b in itertools.pairwise(k_ends))
    groups = q.shape[1] // k.shape[1]
    for (qa, qb), (ka, kb) in zip(itertools.pairwise(q_ends), itertools.pairwise(k_ends), strict=True):
        at_q = torch.arange(qb - qa)[:, None] + (kb - ka) - (qb - qa)
        at_k = torch.arange(kb - ka)[None]
        seen = at_k <= at_q
        if window_size[0] >= 0:
            seen &= at_k >= at_q - window_size[0]
        keys, values = (x[ka:kb].repeat_interleave(groups, 1).transpose(0, 1) for x in (k, v))
        scores = q[qa:qb].transpose(0, 1) @ keys.transpose(1, 2) * (softmax_scale or q.shape[2] ** -0.5)
        scores = scores.masked_fill(~seen, -torch.inf)
        lse[:, qa:qb] = scores.logsumexp(-1)
        out[qa:qb] = (scores.softmax(-1) @ values).transpose(0, 1)
    return out, lse, None


@pytest.mark.parametrize("window", [5, 8, 64, None])
def test_flash_attention_by_gathered_keys(tmp_path, window):
    """Several prefixes, texts with and without questions, windows that cut and that do not."""
    folder = write_tiny(tmp_path, window=window)
    plain, other = engine(folder), engine(folder)
    other._ops = ops_for(CPU)._replace(packed_attention=flash(varlen))
    kept = [plain.extend(NOTHING, tokens(n, n)) for n in (0, 3, 40)]
    parts = [
        Part(kept[0], tokens(9, 1)),
        Part(kept[1], tokens(20, 2), [tokens(3, 3), tokens(11, 4)]),
        Part(kept[2], tokens(4, 5), [tokens(1, 6)]),
        Part(kept[2], [], [tokens(2, 7), tokens(6, 8)]),
    ]
    for ours, theirs in zip(plain.run(parts), other.run(parts), strict=True):
        close(ours.hidden, theirs.hidden)


def test_flash_attention_gives_the_sums_too(tiny, reference):
    """Once more for another step: what was gathered for the one before is not used again."""
    ours = engine(tiny)
    ours._ops = ops_for(CPU)._replace(packed_attention=flash(varlen))
    for seed in (1, 2):
        ids = tokens(30 + seed, seed)
        (ran,) = ours.run([Part(NOTHING, ids)])
        close(ours.logits(ran.hidden)[0], last_logits(reference, ids))


def test_a_cpu_takes_the_twins():
    """And loads no Triton."""
    assert ops_for(CPU).packed_attention is twins.packed_attention
