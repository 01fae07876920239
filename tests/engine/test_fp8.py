"""Linear layers in fp8, by the form for CPUs: near the network as it was, and a row by itself."""

import pytest

torch = pytest.importorskip("torch")

from guard.engine.checkpoint import in_fp8, load  # noqa: E402
from guard.engine.engine import Engine  # noqa: E402
from guard.engine.fp8 import Scaled, linear, plain, scaled  # noqa: E402
from guard.engine.kv import NOTHING  # noqa: E402
from guard.engine.model import Mistral, Part  # noqa: E402
from guard.errors import ModelError  # noqa: E402
from guard.judge.local import LocalJudge  # noqa: E402
from tests.engine.conftest import CPU, tokens  # noqa: E402


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1e-6, 1.0, 300.0, 1e6])
def test_rows_are_rounded_relative_to_their_largest_number(size):
    """Half of three bits of fraction, or half of the smallest step; the largest number itself stays."""
    x = random(7, 100) * size
    made = scaled(x)
    apart = (made.back() - x).abs()
    assert (apart <= x.abs() / 16 + made.scales / 1_024).all()
    largest = x.abs().argmax(-1, keepdim=True)
    torch.testing.assert_close(made.back().gather(1, largest), x.gather(1, largest))


def test_a_row_of_zeros_stays_one():
    """Its scale is no zero to be divided by."""
    made = scaled(torch.zeros(2, 16, dtype=torch.bfloat16))
    assert made.scales.dtype == torch.float32
    assert not made.back().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_errs_as_its_rounding_does(dtype):
    """Some hundredths of its length; and it keeps its dtype."""
    x, matrix = random(33, 256).to(dtype), random(48, 256, seed=1).to(dtype)
    found = linear(x, scaled(matrix))
    wanted = x.double() @ matrix.double().T
    assert found.dtype == dtype
    assert 0.005 < (found.double() - wanted).norm() / wanted.norm() < 0.06


def test_our_form_is_pytorchs_scaled_product():
    """The product that a GPU is asked for, with the same scales, where PyTorch has a form of it for CPUs."""
    x, matrix = scaled(random(32, 64)), scaled(random(48, 64, seed=1))
    try:
        found = torch._scaled_mm(x.values, matrix.values.T, x.scales, matrix.scales.T, out_dtype=torch.bfloat16)
    except RuntimeError as exc:
        assert "scale_a.numel() == 1" in str(exc)  # noqa: PT017 (before torch 2.12 a CPU has one scale for all)
        return
    wanted = x.back() @ matrix.back().T
    torch.testing.assert_close(found.float(), wanted, rtol=0.01, atol=0.02)


def test_a_row_has_the_same_bits_in_any_company():
    """Scales are a row's own."""
    x, matrix = random(32, 64), scaled(random(48, 64, seed=1))
    whole = linear(x, matrix)
    other = torch.cat([x[16:] * 1_000, x[:16]])
    assert torch.equal(linear(other, matrix)[16:], whole[:16])


def test_a_plain_matrix_is_left_alone():
    """The default way has no other bits than before."""
    x, matrix = random(16, 64), random(48, 64, seed=1)
    assert torch.equal(linear(x, matrix), torch.nn.functional.linear(x, matrix))
    assert plain(matrix) is matrix
    with pytest.raises(TypeError, match="fp8"):
        plain(scaled(matrix))


@pytest.fixture(scope="module")
def both(tiny):
    """The tiny network as it is, and in fp8."""
    return tuple(Mistral(load(tiny, device=CPU, dtype=torch.float32, fp8=fp8)) for fp8 in (False, True))


def test_scores_move_a_little(both):
    """A random network has no margins, and its weights were made large so that everything makes a difference. Between
    two labels 0.025 of probability moves on average, 0.14 at most; the bounds are double and half as much again."""
    moved = []
    for seed in range(40):
        text, question = tokens(20 + seed, seed), tokens(4, 50 + seed)
        shares = []
        for network in both:
            (ran,) = network.run([Part(NOTHING, text, [question])])
            (row,) = network.log_probabilities(ran.hidden, [(7, 8)])
            shares.append(torch.tensor(row).double().softmax(-1))
        moved.append(float((shares[0] - shares[1]).abs().max()))
    assert 0 < sum(moved) / len(moved) < 0.05, moved
    assert max(moved) < 0.21, moved


def test_reading_writing_and_companies_agree_in_fp8(both):
    """As without: in any company the same bits, and a text that is written is the text that is read."""
    _, network = both
    texts = [tokens(n, n) for n in (5, 17, 40)]
    together = network.run([Part(NOTHING, text) for text in texts])
    for text, ran in zip(texts, together, strict=True):
        (alone,) = network.run([Part(NOTHING, text)])
        assert torch.equal(alone.hidden, ran.hidden)
    rings = network.rings(slots=1, context=0)
    slot = rings.take()
    rings.fill(slot, network.extend(NOTHING, texts[2][:-1]))
    hidden = network.decode(texts[2][-1:], rings, [slot], [len(texts[2]) - 1])
    assert (hidden - together[2].hidden).abs().max() < 0.05 * together[2].hidden.abs().max()


def test_what_is_kept_is_a_byte_a_number(tiny):
    """Of the layers' matrices; the rest stays as it was."""
    layer = in_fp8(load(tiny, device=CPU, dtype=torch.float32)).layers[0]
    for matrix in (layer.qkv, layer.out, layer.gate_up, layer.down):
        assert isinstance(matrix, Scaled)
        assert matrix.values.element_size() == 1
        assert matrix.scales.shape == (len(matrix.values), 1)
    assert layer.attention_norm.dtype == torch.float32


def test_a_gpu_without_fp8_is_told_before_anything_is_loaded(tiny, monkeypatch):
    """With the setting's name and what to do."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(ModelError, match=r"GUARD_JUDGE_DTYPE=fp8 needs a GPU of compute capability 9\.0"):
        load(tiny, device=torch.device("cuda"), dtype=torch.bfloat16, fp8=True)


def test_the_engine_says_what_it_computes_in(tiny):
    """A judge's fingerprint has it, so a verdict in other numbers is never taken out of a cache."""
    assert Engine(str(tiny)).numbers == str(Engine(str(tiny)).dtype)
    assert Engine(str(tiny), fp8=True).numbers == "fp8"
    prints = {LocalJudge(Engine(str(tiny), fp8=fp8)).fingerprint for fp8 in (False, True)}
    assert len(prints) == 2
