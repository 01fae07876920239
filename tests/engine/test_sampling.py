"""Draws follow the probabilities that temperature and top_p leave."""

import pytest

torch = pytest.importorskip("torch")

from guard.engine.sampling import Sampler, Sampling, choose  # noqa: E402

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -4.0])
TIMES = 6_000


def drawn(sampling: Sampling) -> torch.Tensor:
    sampler = Sampler(sampling)
    found = [choose(LOGITS[None], [sampler])[0][0] for _ in range(TIMES)]
    return torch.bincount(torch.tensor(found), minlength=len(LOGITS)) / TIMES


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.9), (1.0, 0.6)])
def test_shares(temperature, top_p):
    """Within five standard errors, and nothing outside of the nucleus."""
    expected = (LOGITS / temperature).softmax(0)
    inside = expected.cumsum(0) - expected < top_p
    expected = torch.where(inside, expected, 0.0)
    expected /= expected.sum()
    found = drawn(Sampling(temperature=temperature, top_p=top_p, seed=11))
    assert (found[~inside] == 0).all()
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / TIMES).sqrt() + 1e-9).all()


def test_rows_draw_from_streams_of_their_own():
    """A row's tokens are the same beside others; log-probabilities are those before temperature and top_p."""
    rules = [Sampling(temperature=0), Sampling(seed=1), Sampling(temperature=0.3, top_p=0.5, seed=2)]
    together = [Sampler(rule) for rule in rules]
    apart = [Sampler(rule) for rule in rules]
    rows = LOGITS.repeat(3, 1)
    for _ in range(50):
        tokens, logprobs = choose(rows, together)
        assert (tokens, logprobs) == tuple(
            map(list, zip(*[(t[0], p[0]) for t, p in (choose(LOGITS[None], [one]) for one in apart)], strict=True))
        )
        assert logprobs == pytest.approx(LOGITS.log_softmax(0)[tokens].tolist(), abs=1e-6)
