"""Mistral's forward pass for a judge: texts after a shared prefix, questions as branches of a text, no logits but the
last rows'.

    prefix    the policy; its keys and values are kept for all layers (`KeyValues`)
    text      follows the prefix
    branches  the questions: each follows the text as if it were the only one

In one pass the text's keys and values live for one layer only. Positions go on from what stands before, so a branch
has the positions that it would have alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from guard.engine.attention import attend
from guard.engine.checkpoint import Layer, Shape, Weights

__all__ = ["KeyValues", "Mistral"]


class KeyValues(NamedTuple):
    """Keys and values of a run of tokens, for each layer [kept, kv_heads, head_width].

    `length` is how many tokens the run has; `kept` of them, the last ones, are still there: a window needs no more.
    """

    length: int
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def kept(self) -> int:
        """Tokens whose keys are still there."""
        return len(self.keys[0]) if self.keys else 0


NOTHING = KeyValues(0, (), ())


class Mistral:
    """The network. Every call is by itself: nothing is remembered between calls."""

    def __init__(self, weights: Weights) -> None:
        self.shape: Shape = weights.shape
        self._weights = weights
        half = torch.arange(0, self.shape.head_width, 2, dtype=torch.float64, device="cpu") / self.shape.head_width
        self._frequencies = (1.0 / self.shape.theta**half).to(weights.device, torch.float32)

    @torch.inference_mode()
    def extend(self, before: KeyValues, tokens: Sequence[int], *, chunk: int = 2_048) -> KeyValues:
        """The keys and values of `before` with those of `tokens` after it; of a window, the last `window - 1`."""
        for start in range(0, len(tokens), chunk):
            part = list(tokens[start : start + chunk])
            made: list[tuple[Tensor, Tensor]] = []
            self._run(before, part, (), keep=made)
            before = self._joined(before, made, len(part))
        return before

    @torch.inference_mode()
    def hidden(self, before: KeyValues, text: Sequence[int], branches: Sequence[Sequence[int]]) -> Tensor:
        """The last token's state of each branch, [branches, width], after the final norm.

        `before` is only read. With no text, branches follow `before` itself.
        """
        tokens = self._run(before, text, branches, keep=None)
        lengths = torch.tensor([len(text), *map(len, branches)])
        return tokens[(lengths.cumsum(0)[1:] - 1).to(tokens.device)]

    def logits(self, hidden: Tensor, labels: Sequence[int] | None = None) -> Tensor:
        """float32 [rows, labels]: only the rows of the vocabulary that are asked for; all where None."""
        head = self._weights.head
        rows = head if labels is None else head[torch.tensor(list(labels), device=head.device)]
        return functional.linear(hidden, rows).float()

    @torch.inference_mode()
    def log_probabilities(self, hidden: Tensor, labels: Sequence[Sequence[int]]) -> list[list[float]]:
        """Each row's log-probabilities of its own labels, over the whole vocabulary.

        The vocabulary's sum is made in slices, so that [rows, vocabulary] never stands in memory in float32.
        """
        head = self._weights.head
        total = torch.full((len(hidden),), -torch.inf, device=hidden.device)
        for part in torch.split(head, 8_192):
            total = torch.logaddexp(total, functional.linear(hidden, part).float().logsumexp(-1))
        return [
            (self.logits(row[None], own)[0] - one).tolist() for row, own, one in zip(hidden, labels, total, strict=True)
        ]

    def _run(
        self,
        before: KeyValues,
        text: Sequence[int],
        branches: Sequence[Sequence[int]],
        *,
        keep: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        """All tokens' last states, the text's first; `keep` gets each layer's keys and values of the text."""
        weights, device = self._weights, self._weights.device
        pieces = [list(text), *[list(branch) for branch in branches]]
        tokens = torch.tensor([token for piece in pieces for token in piece], device=device)
        end = before.length + len(text)
        starts = [before.length, *[end] * len(branches)]
        places = torch.cat([torch.arange(s, s + len(p), device=device) for s, p in zip(starts, pieces, strict=True)])
        angles = places[:, None].float() * self._frequencies
        cosine, sine = angles.cos(), angles.sin()
        x = weights.words[tokens]
        lengths = [len(piece) for piece in pieces]
        for number, layer in enumerate(weights.layers):
            earlier = [(before.keys[number], before.values[number])] if before.keys else []
            x = x + self._attention(layer, x, cosine, sine, earlier, lengths, starts, keep)
            x = x + self._mlp(layer, x)
        return functional.rms_norm(x, (self.shape.width,), weights.norm, self.shape.epsilon)

    def _attention(
        self,
        layer: Layer,
        x: Tensor,
        cosine: Tensor,
        sine: Tensor,
        earlier: list[tuple[Tensor, Tensor]],
        lengths: list[int],
        starts: list[int],
        keep: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        shape = self.shape
        normed = functional.rms_norm(x, (shape.width,), layer.attention_norm, shape.epsilon)
        mixed = functional.linear(normed, layer.qkv)
        mixed = mixed.view(len(x), shape.heads + 2 * shape.kv_heads, shape.head_width)
        queries, keys, values = torch.split(mixed, [shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
        queries, keys = _rotated(queries, cosine, sine), _rotated(keys, cosine, sine)
        if keep is not None:
            keep.append((keys[: lengths[0]], values[: lengths[0]]))
        q_parts, k_parts, v_parts = (torch.split(part, lengths) for part in (queries, keys, values))
        seen = earlier
        out = []
        for number, (q, k, v) in enumerate(zip(q_parts, k_parts, v_parts, strict=True)):
            if len(q):
                out.append(attend(q, seen, k, v, first=starts[number], window=shape.window))
            if number == 0 and len(k):
                # The branches follow the text.
                seen = [*earlier, (k, v)]
        return functional.linear(torch.cat(out).reshape(len(x), -1), layer.out)

    def _mlp(self, layer: Layer, x: Tensor) -> Tensor:
        normed = functional.rms_norm(x, (self.shape.width,), layer.mlp_norm, self.shape.epsilon)
        gate, up = functional.linear(normed, layer.gate_up).chunk(2, dim=-1)
        return functional.linear(functional.silu(gate) * up, layer.down)

    def _joined(self, before: KeyValues, made: list[tuple[Tensor, Tensor]], count: int) -> KeyValues:
        most = None if self.shape.window is None else self.shape.window - 1
        keys, values = [], []
        for number, (k, v) in enumerate(made):
            whole_k = torch.cat([before.keys[number], k]) if before.keys else k
            whole_v = torch.cat([before.values[number], v]) if before.values else v
            # Copies: a view would keep the whole projection of queries, keys and values alive.
            keys.append((whole_k if most is None else whole_k[-most:]).clone())
            values.append((whole_v if most is None else whole_v[-most:]).clone())
        return KeyValues(before.length + count, tuple(keys), tuple(values))


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """RoPE in the order of Hugging Face's checkpoints: the first half of a head turns with its second half."""
    first, second = x.float().chunk(2, dim=-1)
    c, s = cosine[:, None], sine[:, None]
    return torch.cat([first * c - second * s, second * c + first * s], dim=-1).to(x.dtype)
