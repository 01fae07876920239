"""The GPU suite, on a CPU: that it runs from end to end, and that it would notice what is wrong or missing."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from guard_kernels import twins  # noqa: E402

from benchmarks.gpu_suite import __main__ as suite  # noqa: E402
from benchmarks.gpu_suite import correctness  # noqa: E402
from benchmarks.gpu_suite.backends import NAMES, call, decode_call, pairs, step  # noqa: E402
from benchmarks.gpu_suite.bench import Bench  # noqa: E402
from benchmarks.gpu_suite.ceilings import scaled_rows  # noqa: E402
from benchmarks.gpu_suite.graphs import DecodingGraph, RequestGraph  # noqa: E402
from benchmarks.gpu_suite.parts import ORDER, PARTS, file_name  # noqa: E402
from benchmarks.gpu_suite.sizes import FULL, SMOKE  # noqa: E402
from benchmarks.gpu_suite.table import GOALS, UNKNOWN, errors, markdown, records, rows  # noqa: E402
from benchmarks.gpu_suite.weights import shape_of, some_tokens, some_weights  # noqa: E402
from guard.engine.kv import NOTHING  # noqa: E402
from guard.engine.model import Mistral, Part  # noqa: E402

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """What the command leaves, and what it says."""
    out = tmp_path_factory.mktemp("suite")
    command = [sys.executable, "-m", "benchmarks.gpu_suite", "--cpu-smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(known=records(out), said=done.stdout, table=(out / "table.md").read_text(), out=out)


def test_every_part_comes_to_its_end(smoke):
    """All cases have figures, but those whose kernels no CPU has."""
    assert set(smoke.known) == set(PARTS)
    for number, record in smoke.known.items():
        assert record["state"] == "done"
        assert record["smoke"] is True
        assert record["machine"]["packages"]["torch"] == torch.__version__
        assert record["machine"]["commit"]
        for case in record["cases"]:
            name = case["case"]
            backend = name.rpartition(": ")[2]
            missing = number == 3 and backend in ("fa2", "varlen", "fa3")
            assert ("error" in case) == missing, case
            assert ("figures" in case) != missing, case
            assert case["peak_bytes"] > 0


def test_the_toy_is_right_too(smoke):
    """The checks, and each attention that has a form for CPUs against ours."""
    checks = smoke.known[1]["cases"]
    assert len(checks) == 15
    assert all(case["figures"]["right"] for case in checks)
    agreeing = [case["figures"]["agrees"] for case in smoke.known[3]["cases"] if "figures" in case]
    assert len(agreeing) > 12
    assert all(agreeing)
    assert all(case["figures"]["largest_difference"] < 1e-4 for case in smoke.known[6]["cases"])


def test_what_is_counted_is_right(smoke):
    """Tokens of a streamed answer, and what the table makes of figures."""
    sizes = SMOKE
    ends = [*range(sizes.piece, sizes.answer, sizes.piece), sizes.answer]
    counted = [case["figures"]["tokens_computed"] for case in smoke.known[6]["cases"]]
    anew = sum(sizes.turns + end + sizes.question for end in ends)
    once = sizes.turns + sizes.answer + len(ends) * sizes.question
    assert counted == [once, anew, anew + len(ends) * sizes.policy]
    assert f"| answer kept | {once}" in smoke.table.replace("tokens computed to check a streamed answer, ", "")


def test_a_toys_figures_stand_beside_no_targets(smoke):
    """Nobody may take them for a GPU's."""
    assert "toy sizes on a CPU" in smoke.said
    assert "Correctness: 15 of 15 checks right." in smoke.said
    assert smoke.table == markdown(smoke.known, SMOKE)
    figures = [line for line in smoke.table.splitlines() if line.startswith("|")][2:]
    assert len(figures) == len(rows(SMOKE))
    assert all(line.endswith("|  |  |") for line in figures)


def test_nobody_has_to_have_a_gpu(tmp_path):
    """Asked without --cpu-smoke the suite says what is missing, and measures nothing."""
    if torch.cuda.is_available():
        pytest.skip("there is one")
    command = [sys.executable, "-m", "benchmarks.gpu_suite", "--out", str(tmp_path), "--parts", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no GPU here" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_page_shows_what_was_measured():
    """docs/performance.md has the table of the records that are kept, word for word."""
    page = (ROOT / "docs" / "performance.md").read_text()
    table = markdown(records(suite.RESULTS), FULL)
    assert table in page, f"python -m benchmarks.gpu_suite --table says:\n{table}"


def test_without_records_everything_is_unknown():
    """And each goal is one of a row that there is."""
    table = markdown({}, FULL)
    assert table.count(UNKNOWN) == len(rows(FULL)) + 1
    goals = [row.goal for row in rows(FULL)]
    assert all(goal in goals for goal in GOALS.values())


def test_ceilings_move_with_the_measured_rates():
    """Half of the assumed matrix rate halves what a product can reach, and doubles no time that copies bound."""

    def record(**figures):
        return {"state": "done", "cases": [{"case": name, "figures": made} for name, made in figures.items()]}

    rates = record(**{"bf16 product": {"flop_per_s": 395e12}, "copy": {"bytes_per_s": 8.6e12}})
    engine = record(
        **{"prefill 4096": {"tokens_per_s": 14_150}, "one request at 128 in a graph": {"ms": 3.3}},
    )
    table = markdown({2: rates, 4: engine}, FULL)
    assert "| packed prefill, bf16, tokens/s | 14,150 (50%) | 28,300 | ≥ 45,000 |" in table
    assert "| one request alone, 128 tokens, CUDA graph | 3.3 ms (50%) | 1.6 ms | ≤ 8 ms |" in table


def test_the_parent_loads_no_torch():
    """It only starts processes, and must outlive whatever happens in them."""
    code = "import benchmarks.gpu_suite.__main__, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_time_is_shared_out():
    """Each part by its share of what is left; nothing where nothing is left."""
    now = suite.time.monotonic()
    shares = {number: part.share for number, part in PARTS.items()}
    assert set(ORDER) == set(PARTS)
    found = suite._budgets([2], [2, 7], now + 100 + 2 * suite._START)
    assert found[2] == pytest.approx(100 * shares[2] / (shares[2] + shares[7]), abs=1)
    assert suite._budgets([7], [7], now - 1) == {7: 0}


@pytest.mark.parametrize(("script", "told"), [("sleep 60", "killed after"), ("exit 7", "ended with status 7")])
def test_a_part_that_hangs_or_dies_is_told(tmp_path, monkeypatch, script, told):
    """What it had recorded stays."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nexec sh -c '{script}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(suite.sys, "executable", str(program))
    monkeypatch.setattr(suite, "_START", 0.2)
    monkeypatch.setattr(suite, "_GRACE", 0.2)
    (tmp_path / file_name(2)).write_text(json.dumps({"part": 2, "state": "cut short", "cases": [{"case": "copy"}]}))
    assert suite._run([2, 7], {2: 0.1, 7: 0.1}, tmp_path, smoke=True, fa3=None) != 0
    known = records(tmp_path)
    assert known[2]["cases"] == [{"case": "copy"}]
    assert all(told in line for line in errors(known))
    assert len(errors(known)) == 2
    assert suite._ended(tmp_path / file_name(7), 7).startswith(f"7 memory: 0 of 0 cases, 0 s, {told}")


@pytest.fixture
def bench(tmp_path):
    """A part's surroundings."""
    return Bench(1, "correctness", tmp_path / "1.json", seconds=60, smoke=True, fa3=None)


def test_a_record_is_there_after_every_case(bench, tmp_path):
    """Also after one that failed, and when the time is over."""

    def broken():
        raise RuntimeError("out of memory")

    def kept():
        return json.loads((tmp_path / "1.json").read_text())["cases"]

    assert bench.case("whole", dict, {"seconds": 1.0}, rows=3) == {"seconds": 1.0}
    assert kept()[0]["shape"] == {"rows": 3}
    assert bench.case("broken", broken) is None
    assert kept()[1]["error"] == "RuntimeError: out of memory"
    assert kept()[1]["at"].startswith("test_gpu_suite.py:")
    bench._end = 0.0
    assert bench.case("late", broken) is None
    assert kept()[2]["left_out"]


@pytest.mark.parametrize(
    ("kernel", "check", "spoil"),
    [
        ("swiglu", "_swiglu", lambda x: x * 1.02),
        ("rms_norm", "_norm", lambda x: x.index_fill(0, torch.tensor([7]), torch.nan)),
        ("rotate", "_rotate", lambda x: (x[0], x[0][:, : x[1].shape[1]])),
        ("rolling_attention", "_rolling", lambda x: (x[0].roll(1, 0), x[1])),
    ],
)
def test_a_wrong_kernel_is_found(bench, monkeypatch, kernel, check, spoil):
    """Two hundredths too much; a row that was not written; keys that are not turned; a neighbour's answer."""
    right = getattr(correctness, check)(bench)
    assert right["right"]
    spoilt = {name: getattr(twins, name) for name in twins.__all__}
    spoilt[kernel] = lambda *given: spoil(getattr(twins, kernel)(*given))
    monkeypatch.setattr(correctness, "_kernels", lambda bench: SimpleNamespace(**spoilt))
    assert not getattr(correctness, check)(bench)["right"]


@pytest.mark.parametrize("window", [None, 1, 5, 40])
@pytest.mark.parametrize(("length", "prefix"), [(1, 0), (7, 0), (9, 4), (3, 30)])
def test_pairs_are_counted_as_masks_have_them(length, prefix, window):
    """Rates are these pairs over the time."""
    at_q, at_k = torch.arange(prefix, prefix + length)[:, None], torch.arange(prefix + length)
    seen = (at_k <= at_q) & (at_k > at_q - (window or 10**6))
    assert pairs(length, prefix, window) == seen.sum()


def by_definition(q, k, v, q_ends, k_ends, left, right, causal):
    """The FlashAttention family's documented meaning: bottom right causal, windows inclusive, -1 without end."""
    out, group = torch.zeros_like(q), q.shape[1] // k.shape[1]
    for (qa, qb), (ka, kb) in zip(
        itertools.pairwise(q_ends.tolist()), itertools.pairwise(k_ends.tolist()), strict=True
    ):
        at_q = torch.arange(qb - qa)[:, None] + (kb - ka) - (qb - qa)
        at_k = torch.arange(kb - ka)
        right_most = 0 if causal else right
        seen = torch.ones(qb - qa, kb - ka, dtype=torch.bool)
        if right_most >= 0:
            seen &= at_k <= at_q + right_most
        if left >= 0:
            seen &= at_k >= at_q - left
        keys, values = (x[ka:kb].repeat_interleave(group, 1).transpose(0, 1) for x in (k, v))
        scores = (q[qa:qb].transpose(0, 1) @ keys.transpose(1, 2)) * q.shape[2] ** -0.5
        out[qa:qb] = (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values).transpose(0, 1)
    return out


FA3 = (
    "fwd(Tensor q, Tensor k, Tensor v, Tensor? k_new, Tensor? v_new, Tensor? q_v, Tensor? out, Tensor? cu_seqlens_q, "
    "Tensor? cu_seqlens_k, Tensor? cu_seqlens_k_new, Tensor? seqused_q, Tensor? seqused_k, int? max_seqlen_q, "
    "int? max_seqlen_k, Tensor? page_table, Tensor? kv_batch_idx, Tensor? leftpad_k, Tensor? rotary_cos, "
    "Tensor? rotary_sin, Tensor? seqlens_rotary, Tensor? q_descale, Tensor? k_descale, Tensor? v_descale, "
    "float softmax_scale, bool is_causal, int window_size_left, int window_size_right, float softcap, "
    "bool is_rotary_interleaved, Tensor? scheduler_metadata, int num_splits, bool? pack_gqa, int sm_margin, "
    "Tensor? s_aux, int cp_world_size, int cp_rank, Tensor? cp_tot_seqused_k) -> Tensor[]"
)
"""As vLLM's library declares it."""


@pytest.fixture(scope="module")
def flash():
    """Forms for CPUs of the kernels that have none, behind PyTorch's and vLLM's own declarations."""

    def torchs(q, k, v, q_ends, k_ends, most_q, most_k, dropout, causal, debug, **more):
        assert (dropout, debug) == (0.0, False)
        assert most_q == max(b - a for a, b in itertools.pairwise(q_ends.tolist()))
        assert most_k == max(b - a for a, b in itertools.pairwise(k_ends.tolist()))
        left, right = (more.get(name) for name in ("window_size_left", "window_size_right"))
        out = by_definition(
            q, k, v, q_ends, k_ends, -1 if left is None else left, -1 if right is None else right, causal
        )
        return out, q.new_zeros(q.shape[1], len(q)), q.new_zeros(2), q.new_zeros(()), q.new_zeros(())

    def vllms(*given):
        named = dict(zip([argument.name for argument in declared.arguments], given, strict=True))
        assert named["softmax_scale"] == pytest.approx(named["q"].shape[2] ** -0.5)
        out = by_definition(
            *(named[name] for name in ("q", "k", "v", "cu_seqlens_q", "cu_seqlens_k")),
            *(named[name] for name in ("window_size_left", "window_size_right", "is_causal")),
        )
        return [out, named["q"].new_zeros(1)]

    aten = torch.library.Library("aten", "IMPL")
    aten.impl("_flash_attention_forward", torchs, "CPU")
    vllm = torch.library.Library("_vllm_fa3_C", "DEF")
    vllm.define(FA3)
    declared = torch.ops._vllm_fa3_C.fwd.default._schema
    vllm.impl("fwd", vllms, "CPU")
    yield
    aten._destroy()
    vllm._destroy()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("texts", "length", "prefix", "window"), [(1, 33, 0, None), (3, 9, 20, 12), (2, 17, 5, None)])
@pytest.mark.parametrize("name", NAMES)
def test_all_attentions_are_asked_for_the_same(flash, monkeypatch, name, texts, length, prefix, window):
    """Windows, prefixes and shared heads reach each of them as it understands them."""
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    torch.manual_seed(0)
    made = step(texts, length, prefix, window, heads=4, kv_heads=2, head_dim=16, dtype=torch.float32, device=CPU)
    found, wanted = (call(one, made, fa3="library")() for one in (name, "ours"))
    assert found.shape == made.q.shape
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["fa2", "varlen", "sdpa", "fa3"])
def test_all_decode_the_same(flash, monkeypatch, name):
    """The first keys of a ring that has room for more."""
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    torch.manual_seed(0)
    q, rings = torch.randn(3, 4, 16), torch.randn(2, 3, 12, 2, 16)
    found, wanted = (decode_call(one, q, *rings, 9, fa3="library")() for one in (name, "ours"))
    assert (found - wanted).abs().max() < 1e-5


@pytest.fixture(scope="module")
def network():
    """A toy in the engine."""
    return Mistral(some_weights(shape_of(SMOKE.network), CPU, torch.float32))


def test_a_recorded_request_answers_as_the_engine_does(network):
    """Another text than it was recorded with; and no text of another length."""
    toy = SMOKE.network
    before = network.extend(NOTHING, some_tokens(30, toy, 1))
    part = Part(before, some_tokens(9, toy, 2), [some_tokens(3, toy, 3), some_tokens(2, toy, 4)])
    graph = RequestGraph(network, part, [(7, 8), (9, 10)])
    for seed in (5, 6):
        text, *branches = (some_tokens(n, toy, seed + n) for n in (9, 3, 2))
        (ran,) = network.run([Part(before, text, branches)])
        assert graph(text, branches) == network.log_probabilities(ran.hidden, [(7, 8), (9, 10)])
    with pytest.raises(ValueError, match="recorded for lengths"):
        graph(text[1:], branches)


def test_recorded_decoding_writes_what_the_engine_writes(network):
    """Its tokens and positions go into the next step by themselves, also past a ring's end."""
    toy = SMOKE.network
    texts = [some_tokens(toy.window - 3, toy, 1), some_tokens(20, toy, 2)]
    written = [len(text) for text in texts]
    said = []
    for recorded in (True, False):
        rings = network.rings(slots=3, context=0)
        slots = [rings.take(), rings.take()]
        for slot, text in zip(slots, texts, strict=True):
            rings.fill(slot, network.extend(NOTHING, text))
        tokens, mine = [5, 6], []
        graph = DecodingGraph(network, rings, tokens, slots, written) if recorded else None
        for number in range(6):
            if graph is None:
                places = [place + number for place in written]
                tokens = network.logits(network.decode(tokens, rings, slots, places)).argmax(-1).tolist()
            else:
                tokens = graph.step().tolist()
            mine.append(tokens)
        said.append(mine)
    assert said[0] == said[1]
    assert len({tuple(tokens) for tokens in said[0]}) > 1


def test_scaled_rows_come_back():
    """Within fp8's three bits of fraction, whatever the row's size; a row of zeros too."""
    x = torch.randn(5, 64) * torch.tensor([1e-3, 1.0, 50.0, 1e4, 0.0])[:, None]
    kept, scale = scaled_rows(x)
    assert kept.dtype == torch.float8_e4m3fn
    apart = (kept.float() * scale - x).abs()
    assert (apart <= x.abs() / 16 + scale / 512).all()
