"""Weights and configuration of a Mistral, from a folder as Hugging Face keeps them.

    config.json                       sizes; anything that this engine would compute wrongly is refused
    model.safetensors or shards       read one tensor at a time, straight to the device
    adapter_config.json               a LoRA fine-tune: its base is loaded, and its matrices are added

Pickled weights (`.bin`, `.pt`) are not read: they can run code.
"""

import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from guard.engine.fp8 import CAPABILITY, Matrix, plain, scaled
from guard.errors import ModelError

__all__ = ["Shape", "Weights", "assembled", "folders_of", "in_fp8", "load", "shape_of"]

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_ARCHITECTURES = ("MistralForCausalLM",)
_SPARE = 1.1
"""Memory beyond the weights that loading and a step need, as a factor."""
_KEPT_TOKENS = 32_768
"""Tokens of prefixes whose keys and values are kept (`Sizes.prefix_tokens`)."""


class Shape(msgspec.Struct, frozen=True):
    """Sizes of a Mistral.

    `window` is the number of keys that a query sees, itself included; None is full attention. `theta` is RoPE's base.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    positions: int
    theta: float
    epsilon: float
    window: int | None
    tied: bool

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        attention = (
            self.width * self.head_width * (self.heads + 2 * self.kv_heads) + self.heads * self.head_width * self.width
        )
        layer = attention + 3 * self.width * self.inner + 2 * self.width
        return self.layers * layer + self.width + self.vocabulary * self.width * (1 if self.tied else 2)


class Layer(msgspec.Struct, frozen=True):
    """One block's weights. Matrices are [out, in], as checkpoints keep them."""

    attention_norm: Tensor
    qkv: Matrix
    out: Matrix
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix


class Weights(msgspec.Struct, frozen=True):
    """All weights, on one device, in one type, but for layers' matrices in fp8. `head` has a row for each token."""

    shape: Shape
    words: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Tensor

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.words.device


def shape_of(folder: Path) -> Shape:
    """The sizes that `config.json` tells.

    Raises:
        ModelError: the file is missing or of another architecture, or asks for something that is not built in.
    """
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as exc:
        raise ModelError(f"{path} cannot be read ({exc.strerror}): give the folder of a Mistral model") from exc
    except ValueError as exc:
        raise ModelError(f"{path} is not JSON: {exc}") from exc
    found = config.get("architectures") or ["unknown"]
    if not set(found) & set(_ARCHITECTURES):
        raise ModelError(
            f"{path}: architecture {found[0]}; the local judge runs {', '.join(_ARCHITECTURES)}. Serve other models "
            "with vLLM and give GUARD_JUDGE_URL"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    for name, given, built_in in (
        ("rope_type", kind, "default"),
        ("hidden_act", config.get("hidden_act", "silu"), "silu"),
        ("quantization_config", config.get("quantization_config"), None),
    ):
        if given != built_in:
            raise ModelError(f"{path}: {name} {given!r} is not built in, only {built_in!r}")
    try:
        heads, width = config["num_attention_heads"], config["hidden_size"]
        return Shape(
            layers=config["num_hidden_layers"],
            width=width,
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_width=config.get("head_dim") or width // heads,
            inner=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            positions=config.get("max_position_embeddings", 32_768),
            theta=float(config.get("rope_theta") or rope.get("rope_theta") or 10_000.0),
            epsilon=float(config.get("rms_norm_eps", 1e-6)),
            window=config.get("sliding_window"),
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except KeyError as exc:
        raise ModelError(f"{path} has no {exc.args[0]}") from exc


def load(folder: Path, *, device: torch.device, dtype: torch.dtype, fp8: bool = False) -> Weights:
    """The weights of `folder`, on `device` as `dtype`; those of a LoRA adapter with their base; the layers' matrices in
    fp8 where that is asked for.

    Raises:
        ModelError: a file is missing or damaged, a tensor is missing or of another size, memory does not suffice, or
            the GPU has no fp8.
    """
    *_, base = folders_of(folder)
    shape = shape_of(base)
    if fp8 and device.type == "cuda" and torch.cuda.get_device_capability(device) < CAPABILITY:
        raise ModelError(
            f"GUARD_JUDGE_DTYPE=fp8 needs a GPU of compute capability {CAPABILITY[0]}.{CAPABILITY[1]}: leave it at bf16"
        )
    _check_memory(shape, device, dtype, beside=0.5 if fp8 else 0.0)
    try:
        weights = assembled(shape, _tensors(base, device, dtype), base)
    except torch.OutOfMemoryError as exc:
        raise ModelError(
            f"{base}: the weights need {_gigabytes(shape, dtype):.1f} GB, which {device} does not have"
        ) from exc
    if base != folder:
        _add_adapter(weights, folder)
    return in_fp8(weights) if fp8 else weights


def in_fp8(weights: Weights) -> Weights:
    """The same with the layers' matrices in fp8; words, norms and head stay as they are."""
    layers = [
        Layer(
            attention_norm=layer.attention_norm,
            qkv=scaled(plain(layer.qkv)),
            out=scaled(plain(layer.out)),
            mlp_norm=layer.mlp_norm,
            gate_up=scaled(plain(layer.gate_up)),
            down=scaled(plain(layer.down)),
        )
        for layer in weights.layers
    ]
    return Weights(weights.shape, weights.words, tuple(layers), weights.norm, weights.head)


def _check_memory(shape: Shape, device: torch.device, dtype: torch.dtype, *, beside: float = 0.0) -> None:
    """`beside`: another form of the weights that is there for a while, as a share of them."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _available()
    kept = 2 * shape.layers * shape.kv_heads * shape.head_width * dtype.itemsize * _KEPT_TOKENS / 1e9
    needed = _gigabytes(shape, dtype) * (_SPARE + beside) + (kept if device.type == "cuda" else 0.0)
    if free is not None and free / 1e9 < needed:
        raise ModelError(
            f"the model needs {needed:.1f} GB on {device}, of which {free / 1e9:.1f} GB are free; use a machine with "
            "more, or serve a quantised model elsewhere and give GUARD_JUDGE_URL"
        )


def _available() -> int | None:
    """Bytes of memory that programs may still take, where the system says so."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1_024
    except (OSError, ValueError):
        pass
    return None


def _gigabytes(shape: Shape, dtype: torch.dtype) -> float:
    return shape.parameters * dtype.itemsize / 1e9


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as exc:
            raise ModelError(f"{index} is no index of safetensors shards") from exc
        files = [folder / name for name in names]
    else:
        files = [folder / "model.safetensors"]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        pickled = " (pickled weights are not read: convert them to safetensors)" if any(folder.glob("*.bin")) else ""
        raise ModelError(f"missing: {', '.join(missing)}{pickled}")
    return files


def _tensors(folder: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in _files(folder):
        try:
            with safe_open(path, framework="pt", device=str(device)) as shard:
                for name in shard.keys():  # noqa: SIM118 (no mapping)
                    found[name] = shard.get_tensor(name).to(dtype)
        except (SafetensorError, OSError) as exc:
            raise ModelError(f"{path} is damaged or incomplete: {exc}") from exc
    return found


def assembled(shape: Shape, tensors: MutableMapping[str, Tensor], folder: Path) -> Weights:
    """The weights out of a checkpoint's tensors, by their names on the hub; `folder` is for messages.

    Tensors are taken out of the mapping as they are used: what is joined does not stay in memory twice.

    Raises:
        ModelError: a tensor is missing or of another size.
    """
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width

    def take(name: str, *size: int) -> Tensor:
        tensor = tensors.pop(name, None)
        if tensor is None:
            raise ModelError(f"{folder}: the weights have no {name}")
        if tuple(tensor.shape) != size:
            raise ModelError(f"{folder}: {name} is {tuple(tensor.shape)}, config.json means {size}")
        return tensor

    layers = []
    for number in range(shape.layers):
        at = f"model.layers.{number}"
        qkv = [
            take(f"{at}.self_attn.{name}_proj.weight", rows, shape.width)
            for name, rows in (("q", queries), ("k", keys), ("v", keys))
        ]
        gate_up = [take(f"{at}.mlp.{name}_proj.weight", shape.inner, shape.width) for name in ("gate", "up")]
        layers.append(
            Layer(
                attention_norm=take(f"{at}.input_layernorm.weight", shape.width),
                qkv=torch.cat(qkv),
                out=take(f"{at}.self_attn.o_proj.weight", shape.width, queries),
                mlp_norm=take(f"{at}.post_attention_layernorm.weight", shape.width),
                gate_up=torch.cat(gate_up),
                down=take(f"{at}.mlp.down_proj.weight", shape.width, shape.inner),
            )
        )
    words = take("model.embed_tokens.weight", shape.vocabulary, shape.width)
    head = words if shape.tied else take("lm_head.weight", shape.vocabulary, shape.width)
    return Weights(shape, words, tuple(layers), take("model.norm.weight", shape.width), head)


def folders_of(folder: Path) -> list[Path]:
    """The folder, and that of its base where it is a LoRA adapter.

    Raises:
        ModelError: the adapter's configuration is missing something or names a base that is not here.
    """
    adapter = folder / "adapter_config.json"
    return [folder, _base_of(adapter)] if adapter.exists() else [folder]


def _base_of(adapter: Path) -> Path:
    config = _adapter(adapter)
    plain = config.get("peft_type") == "LORA" and config.get("bias", "none") == "none"
    if not plain or any(
        config.get(name) for name in ("use_dora", "rank_pattern", "alpha_pattern", "layer_replication")
    ):
        raise ModelError(
            f"{adapter}: only plain LoRA adapters can be added (no bias, no DoRA, one rank for all matrices); merge it "
            "into its base with peft's merge_and_unload and load that"
        )
    base = Path(config.get("base_model_name_or_path") or "")
    base = base if base.is_absolute() else adapter.parent / base
    if not (base / "config.json").exists():
        raise ModelError(
            f"{adapter}: its base model {config.get('base_model_name_or_path')!r} is no folder here; download it, "
            "and write its path into base_model_name_or_path"
        )
    return base


def _adapter(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
        int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise ModelError(f"{path} is no configuration of a LoRA adapter ({exc})") from exc
    return config


def _add_adapter(weights: Weights, folder: Path) -> None:
    """Adds `B @ A * alpha / r` to every matrix that the adapter names, in place."""
    config = _adapter(folder / "adapter_config.json")
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
    path = folder / "adapter_model.safetensors"
    try:
        with safe_open(path, framework="pt", device=str(weights.device)) as kept:
            matrices = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path} cannot be read: {exc}") from exc
    for name, target in _adaptable(weights):
        down = matrices.pop(f"base_model.model.{name}.lora_A.weight", None)
        up = matrices.pop(f"base_model.model.{name}.lora_B.weight", None)
        if down is not None and up is not None:
            target.add_((up.float() @ down.float() * scale).to(target.dtype))
    if matrices:
        raise ModelError(f"{path}: nothing to add {sorted(matrices)[0]} to")


def _adaptable(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The matrices that an adapter may name, as views into ours."""
    shape = weights.shape
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    for number, layer in enumerate(weights.layers):
        at = f"model.layers.{number}"
        for name, view in zip("qkv", torch.split(plain(layer.qkv), [queries, keys, keys]), strict=True):
            yield f"{at}.self_attn.{name}_proj", view
        yield f"{at}.self_attn.o_proj", plain(layer.out)
        for name, view in zip(("gate", "up"), torch.split(plain(layer.gate_up), shape.inner), strict=True):
            yield f"{at}.mlp.{name}_proj", view
        yield f"{at}.mlp.down_proj", plain(layer.down)
