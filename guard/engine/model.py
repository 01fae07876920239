"""Mistral's forward pass, packed: many texts in one pass, each after its own prefix, with questions as its branches.

    before    what was computed earlier and is shared: a policy's prefix
    read      the part of the text that was read already: of a long one, or of one that has grown since
    text      follows it
    branches  the questions: each follows the text as if it were the only one

No padding between texts, no logits but those of last rows. A text's keys and values live for one layer only, unless it
is to be kept. Positions go on from what stands before, so a branch has the positions that it would have alone.

Rows are filled up to a multiple of `ROWS`: with so many rows the CPU's matrix products compute each row in one and the
same order, so a text has the same bits in any company (tests/engine/test_batches.py holds that).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from guard_kernels.pieces import Piece, pack
from torch import Tensor
from torch.nn import functional

from guard.engine.checkpoint import Layer, Shape, Weights
from guard.engine.fp8 import linear
from guard.engine.kv import NOTHING, KeyValues, Rings
from guard.engine.ops import ops_for

__all__ = ["ROWS", "Mistral", "Pack", "Part", "Ran"]

ROWS = 16
_SLICE = 8_192
"""Rows of the vocabulary whose logits stand in memory at once while their sum is made."""


class Part(NamedTuple):
    """One text of a pass. `keep` asks for the text's keys and values, those of `read` included: where the model has a
    window, as many as the next token sees, and `spare` more."""

    before: KeyValues
    text: Sequence[int]
    branches: Sequence[Sequence[int]] = ()
    keep: bool = False
    read: KeyValues = NOTHING
    spare: int = 0

    @property
    def first(self) -> int:
        """The text's first position."""
        return self.before.length + self.read.length

    @property
    def seen(self) -> tuple[KeyValues, ...]:
        """The runs that stand in front of the text without a gap."""
        runs = (self.read,) if self.read.kept < self.read.length else (self.before, self.read)
        return tuple([run for run in runs if run.kept])


class Ran(NamedTuple):
    """The last token's state of each branch, or of the text where there are none: [branches or 1, width], after the
    final norm. `after` are the keys and values of the text and of what was read of it, where they were to be kept."""

    hidden: Tensor
    after: KeyValues


class Mistral:
    """The network. Every call is by itself: nothing is remembered between calls.

    `states`, `next_states` and `label_rows` are the device's share of `run`, `decode` and `log_probabilities`: they
    read nothing from the host and do not wait for it, so a CUDA graph can hold them.
    """

    def __init__(self, weights: Weights) -> None:
        self.shape: Shape = weights.shape
        self._weights = weights
        self._ops = ops_for(weights.device)
        # A table, made once: what the same position gets must not follow from where it lies in a pass.
        half = torch.arange(0, self.shape.head_width, 2, dtype=torch.float64) / self.shape.head_width
        frequencies = (1.0 / self.shape.theta**half).to(torch.float32)
        angles = torch.arange(self.shape.positions)[:, None].float() * frequencies
        self._cosine, self._sine = angles.cos().to(weights.device), angles.sin().to(weights.device)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._weights.device

    def rings(self, *, slots: int, context: int) -> Rings:
        """Rolling buffers of this network's size."""
        return Rings(self.shape, slots=slots, context=context, device=self.device, dtype=self._weights.words.dtype)

    @torch.inference_mode()
    def extend(self, before: KeyValues, tokens: Sequence[int], *, chunk: int = 2_048) -> KeyValues:
        """The keys and values of `before` with those of `tokens` after it; of a window, the last `window - 1`."""
        for start in range(0, len(tokens), chunk):
            (ran,) = self.run([Part(NOTHING, tokens[start : start + chunk], keep=True, read=before)])
            before = ran.after
        return before

    @torch.inference_mode()
    def run(self, parts: Sequence[Part]) -> list[Ran]:
        """All parts in one pass. What stands before a part is only read; several parts may have the same."""
        packed = self.pack(parts)
        last, kept = self.states(packed)
        return [
            Ran(hidden, _as_run(part.read.length + len(part.text), mine))
            for part, hidden, mine in zip(parts, torch.split(last, packed.asked), kept, strict=True)
        ]

    def pack(self, parts: Sequence[Part]) -> "Pack":
        """Where everything lies in a pass over these parts."""
        return Pack(parts, self._weights)

    @torch.inference_mode()
    def states(self, packed: "Pack") -> tuple[Tensor, list[list[tuple[Tensor, Tensor]]]]:
        """What `run` computes: the states of the rows `packed.last`, [asked, width], after the final norm; and for each
        part that is to be kept its keys and values, layer by layer."""
        weights, shape, parts = self._weights, self.shape, packed.parts
        cosine, sine = self._cosine[packed.places], self._sine[packed.places]
        kept: list[list[tuple[Tensor, Tensor]]] = [[] for _ in parts]
        x = weights.words[packed.tokens]
        delta = torch.zeros_like(x)
        for number, layer in enumerate(weights.layers):
            normed, x = self._ops.add_rms_norm(delta, x, layer.attention_norm, shape.epsilon)
            queries, keys, values = self._projected(layer, normed, cosine, sine)
            pool_k, pool_v = packed.pool(number, keys, values)
            mixed, _ = self._ops.packed_attention(
                queries, keys, values, pool_k, pool_v, packed.pieces, window=shape.window
            )
            delta, x = self._after_attention(layer, mixed, x)
            for part, rows, mine in zip(parts, packed.texts, kept, strict=True):
                if part.keep:
                    mine.append(self._joined(part, number, keys[rows], values[rows]))
        last, _ = self._ops.add_rms_norm(delta[packed.last], x[packed.last], weights.norm, shape.epsilon)
        return last, kept

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int], rings: Rings, slots: Sequence[int], written: Sequence[int]) -> Tensor:
        """One more token for each sequence: its state [sequences, width]; its key and value go into its ring.

        `written[i]` is how many tokens the sequence in `slots[i]` has already, which is the new one's position.
        """
        fill = -len(tokens) % ROWS
        numbers = torch.tensor([[*tokens, *[0] * fill], [*written, *[0] * fill], [*slots, *[0] * fill]])
        return self.next_states(numbers.to(self.device, non_blocking=True), rings, len(tokens))

    @torch.inference_mode()
    def next_states(self, numbers: Tensor, rings: Rings, count: int) -> Tensor:
        """What `decode` computes. `numbers` is int64 [3, rows]: tokens, their positions, their slots; the first `count`
        rows are sequences, the others fill up to a multiple of `ROWS`."""
        weights, shape = self._weights, self.shape
        ids, places, at = numbers
        fill = len(ids) - count
        cosine, sine = self._cosine[places], self._sine[places]
        at, here, seen = at[:count], places[:count] % rings.capacity, places[:count] + 1
        at32, seen32 = at.to(torch.int32), seen.to(torch.int32)
        x = weights.words[ids]
        delta = torch.zeros_like(x)
        for number, layer in enumerate(weights.layers):
            normed, x = self._ops.add_rms_norm(delta, x, layer.attention_norm, shape.epsilon)
            queries, keys, values = self._projected(layer, normed, cosine, sine)
            rings.keys[number][at, here] = keys[:count]
            rings.values[number][at, here] = values[:count]
            mixed, _ = self._ops.rolling_attention(
                queries[:count], rings.keys[number], rings.values[number], at32, seen32
            )
            delta, x = self._after_attention(layer, functional.pad(mixed, (0, 0, 0, 0, 0, fill)), x)
        hidden, _ = self._ops.add_rms_norm(delta, x, weights.norm, shape.epsilon)
        return hidden[:count]

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [rows, vocabulary]; for a few rows only (a chat's next tokens)."""
        fill = -len(hidden) % ROWS
        return functional.linear(functional.pad(hidden, (0, 0, 0, fill)), self._weights.head)[: len(hidden)].float()

    @torch.inference_mode()
    def log_probabilities(self, hidden: Tensor, labels: Sequence[Sequence[int]]) -> list[list[float]]:
        """Each row's log-probabilities of its own labels, over the whole vocabulary.

        The vocabulary's sum is made in slices, so that [rows, vocabulary] never stands in memory in float32.
        """
        widest = max(map(len, labels))
        wanted = torch.tensor([[*own, *[0] * (widest - len(own))] for own in labels]).to(hidden.device)
        rows = self.label_rows(hidden, wanted).tolist()
        return [row[: len(own)] for row, own in zip(rows, labels, strict=True)]

    @torch.inference_mode()
    def label_rows(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        """What `log_probabilities` computes: float32 [rows, labels] of the tokens `wanted`, int64 [rows, labels]."""
        head = self._weights.head
        filled = functional.pad(hidden, (0, 0, 0, -len(hidden) % ROWS))
        total = torch.full((len(filled),), -torch.inf, device=hidden.device)
        found = torch.zeros(wanted.shape, device=hidden.device)
        for number, part in enumerate(torch.split(head, _SLICE)):
            logits = functional.linear(filled, part).float()
            total = torch.logaddexp(total, logits.logsumexp(-1))
            # From the same product as the sum: a label's share of it is never more than all.
            place = wanted - number * _SLICE
            inside = (place >= 0) & (place < len(part))
            own = logits[: len(hidden)].gather(1, place.clamp(0, len(part) - 1))
            found = torch.where(inside, own, found)
        return found - total[: len(hidden), None]

    def _projected(self, layer: Layer, normed: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.shape
        mixed = linear(normed, layer.qkv)
        mixed = mixed.view(len(mixed), shape.heads + 2 * shape.kv_heads, shape.head_width)
        queries, keys, values = torch.split(mixed, [shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
        queries, keys = self._ops.rotate(queries, keys, cosine, sine)
        return queries, keys, values

    def _after_attention(self, layer: Layer, mixed: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The perceptron's part, which is still to be added, and the state without it."""
        attended = linear(mixed.flatten(1), layer.out)
        normed, x = self._ops.add_rms_norm(attended, x, layer.mlp_norm, self.shape.epsilon)
        return linear(self._ops.swiglu(linear(normed, layer.gate_up)), layer.down), x

    def _joined(self, part: Part, number: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        read = part.read
        if self.shape.window is not None:
            most = self.shape.window - 1 + part.spare
            keys, values = keys[max(0, len(keys) - most) :], values[max(0, len(values) - most) :]
            over = max(0, read.kept + len(keys) - most)
        else:
            over = 0
        if read.kept > over:
            return torch.cat([read.keys[number][over:], keys]), torch.cat([read.values[number][over:], values])
        # Copies: a view would keep the whole pass alive.
        return keys.clone(), values.clone()


class Pack:
    """Where everything lies in one pass.

    Attributes:
        parts: what it was made of.
        tokens, places: int64 [rows], with their positions; filled up to a multiple of `ROWS`.
        pieces: where each text and branch lies, and what it sees, for attention.
        texts: each part's text as a slice of the rows.
        last: int64, the rows whose states are wanted; `asked[i]` of them are part i's.
    """

    def __init__(self, parts: Sequence[Part], weights: Weights) -> None:
        tokens: list[int] = []
        places: list[int] = []
        pieces: list[Piece] = []
        last: list[int] = []
        self.parts = tuple(parts)
        self.texts: list[slice] = []
        self.asked: list[int] = []
        self._pooled: list[KeyValues] = []
        starts: dict[tuple[int, ...], int] = {}
        pooled = 0

        def add(run: Sequence[int], first: int, pool: tuple[int, int], text: tuple[int, int]) -> None:
            if run:
                pieces.append(Piece(len(tokens), len(run), first, *pool, *text))
            places.extend(range(first, first + len(run)))
            tokens.extend(run)

        for part in parts:
            seen = part.seen
            runs = tuple([id(run) for run in seen])
            kept = sum(run.kept for run in seen)
            if seen and runs not in starts:
                starts[runs] = pooled
                pooled += kept
                self._pooled += seen
            pool = (starts.get(runs, 0), kept)
            text = (len(tokens), len(part.text))
            self.texts.append(slice(len(tokens), len(tokens) + len(part.text)))
            add(part.text, part.first, pool, (0, 0))
            if not part.branches:
                last.append(len(tokens) - 1)
            for branch in part.branches:
                add(branch, part.first + len(part.text), pool, text)
                last.append(len(tokens) - 1)
            self.asked.append(max(1, len(part.branches)))
        fill = -len(tokens) % ROWS
        shape, device = weights.shape, weights.device
        numbers = torch.tensor([[*tokens, *[0] * fill], [*places, *[0] * fill]])
        self.tokens, self.places = numbers.to(device, non_blocking=True)
        self.last = torch.tensor(last).to(device, non_blocking=True)
        self.pieces = pack(
            pieces,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_width,
            dtype=weights.words.dtype,
            device=device,
        )

    def pool(self, number: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """One layer's keys and values from before, all in one run of rows; empty ones like `keys` where none are."""
        runs = self._pooled
        if not runs:
            return keys[:0], values[:0]
        if len(runs) == 1:
            return runs[0].keys[number], runs[0].values[number]
        return torch.cat([run.keys[number] for run in runs]), torch.cat([run.values[number] for run in runs])


def _as_run(length: int, kept: list[tuple[Tensor, Tensor]]) -> KeyValues:
    return KeyValues(length, tuple([k for k, _ in kept]), tuple([v for _, v in kept])) if kept else NOTHING
