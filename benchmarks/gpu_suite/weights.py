"""Random weights, made on the device: normal, never zeros, for zeros multiply faster."""

import random
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_suite.sizes import Network
from guard.engine.checkpoint import Layer, Shape, Weights
from guard.engine.fp8 import plain
from guard.engine.kv import Rings

__all__ = ["filled_rings", "in_transformers", "shape_of", "some_tokens", "some_weights"]

_DEVIATION = 0.02
"""Of the matrices' numbers, as Mistral's own begin."""


def shape_of(network: Network, *, window: bool = True, layers: int | None = None) -> Shape:
    """The engine's sizes; without `window` every token sees all before it."""
    return Shape(
        layers=layers or network.layers,
        width=network.width,
        heads=network.heads,
        kv_heads=network.kv_heads,
        head_width=network.head_width,
        inner=network.inner,
        vocabulary=network.vocabulary,
        positions=network.positions,
        theta=10_000.0,
        epsilon=1e-5,
        window=network.window if window else None,
        tied=False,
    )


def some_weights(shape: Shape, device: torch.device, dtype: torch.dtype, *, seed: int = 0) -> Weights:
    """The same numbers for the same seed on the same kind of device."""
    generator = torch.Generator(device).manual_seed(seed)

    def matrix(rows: int, columns: int) -> Tensor:
        made = torch.empty(rows, columns, device=device, dtype=dtype)
        return made.normal_(0.0, _DEVIATION, generator=generator)

    def norm() -> Tensor:
        return torch.ones(shape.width, device=device, dtype=dtype)

    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    layers = [
        Layer(
            attention_norm=norm(),
            qkv=matrix(queries + 2 * keys, shape.width),
            out=matrix(shape.width, queries),
            mlp_norm=norm(),
            gate_up=matrix(2 * shape.inner, shape.width),
            down=matrix(shape.width, shape.inner),
        )
        for _ in range(shape.layers)
    ]
    words = matrix(shape.vocabulary, shape.width)
    return Weights(shape, words, tuple(layers), norm(), matrix(shape.vocabulary, shape.width))


def in_transformers(weights: Weights, *, dtype: torch.dtype | None = None, attention: str = "sdpa") -> Any:
    """The same network in transformers: in the weights' own memory, unless another `dtype` is asked for."""
    import transformers  # noqa: PLC0415 (slow to load, and it may be missing)

    shape = weights.shape
    build: Any = transformers
    config = build.MistralConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.positions,
        rms_norm_eps=shape.epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": shape.theta},
        sliding_window=shape.window,
        tie_word_embeddings=False,
        attn_implementation=attention,
    )
    with torch.device("meta"):
        model = build.MistralForCausalLM(config)
    model.load_state_dict(
        {name: x if dtype is None else x.to(dtype) for name, x in _named(weights).items()}, assign=True, strict=True
    )
    # The one thing that is no weight: it was made on `meta` too.
    with weights.device:
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval()


def filled_rings(shape: Shape, device: torch.device, dtype: torch.dtype, *, slots: int, context: int) -> Rings:
    """Rolling buffers whose every row holds random keys and values, all slots taken."""
    rings = Rings(shape, slots=slots, context=context, device=device, dtype=dtype)
    for slot in (*rings.keys, *rings.values):
        slot.normal_()
    for _ in range(slots):
        rings.take()
    return rings


def some_tokens(count: int, network: Network, seed: int) -> list[int]:
    """Tokens that are no control words."""
    luck = random.Random(seed)
    return [luck.randrange(10, network.vocabulary) for _ in range(count)]


def _named(weights: Weights) -> dict[str, Tensor]:
    """By their names on the hub."""
    shape = weights.shape
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    named = {"model.embed_tokens.weight": weights.words, "model.norm.weight": weights.norm}
    named["lm_head.weight"] = weights.head
    for number, layer in enumerate(weights.layers):
        at = f"model.layers.{number}"
        for name, part in zip("qkv", torch.split(plain(layer.qkv), [queries, keys, keys]), strict=True):
            named[f"{at}.self_attn.{name}_proj.weight"] = part
        named[f"{at}.self_attn.o_proj.weight"] = plain(layer.out)
        for name, part in zip(("gate", "up"), torch.split(plain(layer.gate_up), shape.inner), strict=True):
            named[f"{at}.mlp.{name}_proj.weight"] = part
        named[f"{at}.mlp.down_proj.weight"] = plain(layer.down)
        named[f"{at}.input_layernorm.weight"] = layer.attention_norm
        named[f"{at}.post_attention_layernorm.weight"] = layer.mlp_norm
    return named
