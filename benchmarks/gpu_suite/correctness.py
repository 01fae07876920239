"""Part 1: whether what is measured is right.

A kernel, run in the engine's type, may err twice as much as its plain twin does in that type; both are held against the
twin in float32 on the same numbers. Outputs hold NaN before they are written. A layer of the engine may err twice as
much as transformers' own, against transformers in float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from guard_kernels import twins
from guard_kernels.pieces import PackedPieces, Piece, pack
from torch import Tensor

from benchmarks.gpu_suite.bench import Bench

__all__ = ["run"]

_LAYERS = 2
"""Of the network's shape that are held against transformers."""
_FLOOR = 2e-5
"""Relative error of float32 sums in another order, and in units that keep a little less."""


def run(bench: Bench) -> None:
    """Kernels, then layers."""
    for window in (bench.sizes.network.window, bench.sizes.network.window // 8, None):
        bench.case("kernel packed_attention", _packed, bench, window, window=window)
    bench.case("kernel rolling_attention", _rolling, bench)
    bench.case("kernel rms_norm", _norm, bench)
    bench.case("kernel add_rms_norm", _add_norm, bench)
    bench.case("kernel rotate", _rotate, bench)
    bench.case("kernel swiglu", _swiglu, bench)
    bench.case("fp8 product", _fp8, bench)
    bench.case("a piece has the same bits alone and in a step", _alone, bench)
    sizes = bench.sizes
    shapes = {"before": sizes.policy, "text": sizes.network.window // 4 + 33, "question": sizes.question}
    bench.case("layers against transformers", _layers, bench, shapes["text"], layers=_LAYERS, **shapes)
    longer = shapes | {"text": sizes.network.window + sizes.network.window // 3}
    bench.case("layers behind the window", _layers, bench, longer["text"], layers=_LAYERS, **longer)
    bench.case("layers against the twins in float32", _on_cpu, bench, layers=_LAYERS)
    bench.case("decoding goes on as reading does", _goes_on, bench, layers=_LAYERS)
    bench.case("a request in a graph is the request", _graphed, bench, layers=_LAYERS)


def _kernels(bench: Bench) -> Any:
    """The kernels by name on a GPU; on a CPU the twins, which then are held against themselves in float32."""
    if bench.device.type != "cuda":
        return twins
    from types import SimpleNamespace  # noqa: PLC0415

    from guard_kernels import attention, decode, norm, rope, swiglu  # noqa: PLC0415 (Triton, which CPUs may lack)

    return SimpleNamespace(
        packed_attention=attention.packed_attention,
        rolling_attention=decode.rolling_attention,
        rms_norm=norm.rms_norm,
        add_rms_norm=norm.add_rms_norm,
        rotate=rope.rotate,
        swiglu=swiglu.swiglu,
    )


@contextmanager
def _poisoned() -> Iterator[None]:
    """Fresh memory holds NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _judged(bench: Bench, call: Callable[[Any, Callable[[Tensor], Tensor]], Any]) -> dict[str, Any]:
    """`call(ops, cast)` with the kernels, with the twins, and with the twins in float32."""
    half = torch.bfloat16

    def run_with(ops: Any, dtype: torch.dtype) -> list[Tensor]:
        torch.manual_seed(1)
        given = call(ops, lambda x: x.to(half).to(dtype))
        return list(given) if isinstance(given, tuple) else [given]

    wanted = run_with(twins, torch.float32)
    twin = run_with(twins, half)
    with _poisoned():
        found = run_with(_kernels(bench), half)
    errors = [_apart(x, y) for x, y in zip(found, wanted, strict=True)]
    allowed = [2 * _apart(x, y) + _FLOOR for x, y in zip(twin, wanted, strict=True)]
    return {
        "error": max(errors),
        "allowed": max(allowed),
        "right": all(e <= a for e, a in zip(errors, allowed, strict=True)),
        "kernels": bench.device.type == "cuda",
    }


def _apart(found: Tensor, wanted: Tensor) -> float:
    """Relative distance; NaN is no small one."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def _random(bench: Bench, *shape: int) -> Tensor:
    return torch.randn(*shape, device=bench.device)


def _texts(bench: Bench, cast: Callable[[Tensor], Tensor]) -> tuple[list[Tensor], list[Piece]]:
    """Odd lengths, a shared prefix, branches: q, k, v, pool's keys and values, and how they hang together."""
    network = bench.sizes.network
    text = network.window // 2 + 7
    pieces = [
        Piece(0, 33, 333, 3, 333),
        Piece(33, text, 333, 3, 333),
        Piece(33 + text, 17, 333 + text, 3, 333, 33, text),
        Piece(50 + text, 5, 333 + text, 3, 333, 33, text),
        Piece(55 + text, 130, 0),
    ]
    rows = 185 + text
    heads, kv_heads = network.heads, network.kv_heads
    mixed = cast(_random(bench, rows, heads + 2 * kv_heads, network.head_width))
    pools = cast(_random(bench, 2, 336, kv_heads, network.head_width))
    return [*torch.split(mixed, [heads, kv_heads, kv_heads], dim=1), *pools], pieces


def _laid_out(bench: Bench, pieces: list[Piece], dtype: torch.dtype) -> PackedPieces:
    network = bench.sizes.network
    return pack(
        pieces,
        heads=network.heads,
        kv_heads=network.kv_heads,
        head_dim=network.head_width,
        dtype=dtype,
        device=bench.device,
    )


def _packed(bench: Bench, window: int | None) -> dict[str, Any]:
    def call(ops: Any, cast: Callable[[Tensor], Tensor]) -> Any:
        rows, pieces = _texts(bench, cast)
        return ops.packed_attention(*rows, _laid_out(bench, pieces, rows[0].dtype), window=window)

    return _judged(bench, call)


def _rolling(bench: Bench) -> dict[str, Any]:
    network = bench.sizes.network
    capacity = network.window
    lengths = [1, 2, capacity // 2 + 1, capacity - 1, capacity, capacity + 5, 2 * capacity + 3]

    def call(ops: Any, cast: Callable[[Tensor], Tensor]) -> Any:
        q = cast(_random(bench, len(lengths), network.heads, network.head_width))
        rings = cast(_random(bench, 2, len(lengths) + 1, capacity, network.kv_heads, network.head_width))
        slots = torch.arange(len(lengths), 0, -1, device=bench.device, dtype=torch.int32)
        return ops.rolling_attention(q, *rings, slots, torch.tensor(lengths, device=bench.device, dtype=torch.int32))

    return _judged(bench, call)


def _norm(bench: Bench) -> dict[str, Any]:
    width = bench.sizes.network.width
    return _judged(
        bench, lambda ops, cast: ops.rms_norm(cast(_random(bench, 33, width)), cast(_random(bench, width)), 1e-5)
    )


def _add_norm(bench: Bench) -> dict[str, Any]:
    width = bench.sizes.network.width

    def call(ops: Any, cast: Callable[[Tensor], Tensor]) -> Any:
        x, residual = cast(_random(bench, 2, 33, width))
        return ops.add_rms_norm(x, residual, cast(_random(bench, width)), 1e-5)

    return _judged(bench, call)


def _rotate(bench: Bench) -> dict[str, Any]:
    network = bench.sizes.network

    def call(ops: Any, cast: Callable[[Tensor], Tensor]) -> Any:
        mixed = cast(_random(bench, 65, network.heads + 2 * network.kv_heads, network.head_width))
        q, k, _ = torch.split(mixed, [network.heads, network.kv_heads, network.kv_heads], dim=1)
        angles = 1_000 * _random(bench, 65, network.head_width // 2)
        return ops.rotate(q, k, angles.cos(), angles.sin())

    return _judged(bench, call)


def _swiglu(bench: Bench) -> dict[str, Any]:
    inner = bench.sizes.network.inner
    return _judged(bench, lambda ops, cast: ops.swiglu(cast(_random(bench, 33, 2 * inner))))


def _fp8(bench: Bench) -> dict[str, Any]:
    """The engine's product in fp8 against the same rounded numbers in float32: but for its sum it adds one rounding."""
    from guard.engine.fp8 import linear, scaled  # noqa: PLC0415

    torch.manual_seed(1)
    width, rows = bench.sizes.network.width, 48
    x = _random(bench, rows, width).to(torch.bfloat16)
    matrix = scaled(_random(bench, 2 * width, width))
    error = _apart(linear(x, matrix), scaled(x).back() @ matrix.back().T)
    return {"error": error, "allowed": 5e-3, "right": error <= 5e-3, "kernels": bench.device.type == "cuda"}


def _alone(bench: Bench) -> dict[str, Any]:
    """Bit for bit."""
    window = bench.sizes.network.window
    torch.manual_seed(2)
    rows, pieces = _texts(bench, lambda x: x.to(bench.dtype))
    attend = _kernels(bench).packed_attention
    out, _ = attend(*rows, _laid_out(bench, pieces, bench.dtype), window=window)
    same = []
    for piece in pieces:
        alone, _ = attend(*rows, _laid_out(bench, [piece], bench.dtype), window=window)
        mine = slice(piece.start, piece.start + piece.length)
        same.append(torch.equal(alone[mine], out[mine]))
    return {"same": sum(same), "pieces": len(same), "right": all(same)}


@torch.inference_mode()
def _layers(bench: Bench, length: int) -> dict[str, Any]:
    """A prefix, a text and two questions as branches, against transformers' forward over each whole prompt."""
    from benchmarks.gpu_suite.weights import in_transformers, shape_of, some_tokens, some_weights  # noqa: PLC0415
    from guard.engine.kv import NOTHING  # noqa: PLC0415
    from guard.engine.model import Mistral, Part  # noqa: PLC0415

    sizes, network = bench.sizes, bench.sizes.network
    weights = some_weights(shape_of(network, layers=_LAYERS), bench.device, bench.dtype)
    ours = Mistral(weights)
    before, text = some_tokens(sizes.policy, network, 1), some_tokens(length, network, 2)
    questions = [some_tokens(count, network, 3 + count) for count in (1, sizes.question)]
    prefix = ours.extend(NOTHING, before)
    (ran,) = ours.run([Part(prefix, text, questions)])
    found = ours.logits(ran.hidden)
    errors, allowed = [], []
    exact = in_transformers(weights, dtype=torch.float32, attention="sdpa")
    usual = in_transformers(weights)
    for row, question in zip(found, questions, strict=True):
        ids = torch.tensor([[*before, *text, *question]], device=bench.device)
        wanted = exact(ids, logits_to_keep=1, use_cache=False).logits[0, -1]
        errors.append(_apart(row, wanted))
        allowed.append(2 * _apart(usual(ids, logits_to_keep=1, use_cache=False).logits[0, -1], wanted) + _FLOOR)
    return {
        "error": max(errors),
        "allowed": max(allowed),
        "right": all(e <= a for e, a in zip(errors, allowed, strict=True)),
    }


@torch.inference_mode()
def _on_cpu(bench: Bench) -> dict[str, Any]:
    """The same layers in float32 with the twins on the CPU: what there is to hold against where transformers is not."""
    from benchmarks.gpu_suite.weights import shape_of, some_tokens, some_weights  # noqa: PLC0415
    from guard.engine.checkpoint import Weights  # noqa: PLC0415
    from guard.engine.kv import NOTHING  # noqa: PLC0415
    from guard.engine.model import Mistral, Part  # noqa: PLC0415

    network = bench.sizes.network
    weights = some_weights(shape_of(network, layers=_LAYERS), bench.device, bench.dtype)

    def taken(layer: Any) -> Any:
        return type(layer)(**{name: getattr(layer, name).float().cpu() for name in layer.__struct_fields__})

    plain = Weights(
        weights.shape,
        weights.words.float().cpu(),
        tuple([taken(layer) for layer in weights.layers]),
        weights.norm.float().cpu(),
        weights.head.float().cpu(),
    )
    before, text = some_tokens(65, network, 1), some_tokens(33, network, 2)
    rows = []
    for made in (weights, plain):
        engine = Mistral(made)
        (ran,) = engine.run([Part(engine.extend(NOTHING, before), text, [[7], [8, 9]])])
        rows.append(engine.logits(ran.hidden).cpu())
    error = _apart(rows[0], rows[1])
    # bfloat16 keeps eight bits; a handful of roundings lie on the way.
    allowed = 3e-2 if bench.dtype == torch.bfloat16 else _FLOOR
    return {"error": error, "allowed": allowed, "right": error <= allowed}


@torch.inference_mode()
def _goes_on(bench: Bench) -> dict[str, Any]:
    """Tokens written one by one over a rolling buffer that has gone round, against the text read at once."""
    from benchmarks.gpu_suite.weights import shape_of, some_tokens, some_weights  # noqa: PLC0415
    from guard.engine.kv import NOTHING  # noqa: PLC0415
    from guard.engine.model import Mistral, Part  # noqa: PLC0415

    network = bench.sizes.network
    weights = some_weights(shape_of(network, layers=_LAYERS), bench.device, bench.dtype)
    engine = Mistral(weights)
    text = some_tokens(network.window + 40, network, 5)
    begun = len(text) - 4
    rings = engine.rings(slots=1, context=0)
    slot = rings.take()
    rings.fill(slot, engine.extend(NOTHING, text[:begun]))
    for place in range(begun, len(text)):
        hidden = engine.decode([text[place]], rings, [slot], [place])
    (ran,) = engine.run([Part(NOTHING, text)])
    error = _apart(engine.logits(hidden), engine.logits(ran.hidden))
    allowed = 3e-2 if bench.dtype == torch.bfloat16 else 1e-4
    return {"error": error, "allowed": allowed, "right": error <= allowed}


def _graphed(bench: Bench) -> dict[str, Any]:
    """Recorded with one text, replayed with another: the answer is that of the engine's ordinary way.

    Bit for bit on a CPU; on a GPU the library of matrix products may choose otherwise while it is recorded.
    """
    from benchmarks.gpu_suite.graphs import RequestGraph  # noqa: PLC0415
    from benchmarks.gpu_suite.weights import shape_of, some_tokens, some_weights  # noqa: PLC0415
    from guard.engine.kv import NOTHING  # noqa: PLC0415
    from guard.engine.model import Mistral, Part  # noqa: PLC0415

    sizes, network = bench.sizes, bench.sizes.network
    engine = Mistral(some_weights(shape_of(network, layers=_LAYERS), bench.device, bench.dtype))
    before = engine.extend(NOTHING, some_tokens(sizes.policy, network, 1))
    first, other = (Part(before, some_tokens(33, network, n), [some_tokens(4, network, n + 1)]) for n in (2, 4))
    graph = RequestGraph(engine, first, [(7, 8)])
    found = graph(other.text, other.branches)
    (ran,) = engine.run([other])
    wanted = engine.log_probabilities(ran.hidden, [(7, 8)])
    error = max(abs(a - b) for a, b in zip(found[0], wanted[0], strict=True))
    allowed = 2e-2 if bench.dtype == torch.bfloat16 else 0.0
    return {"error": error, "allowed": allowed, "right": error <= allowed, "same_bits": found == wanted}
