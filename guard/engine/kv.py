"""Keys and values that stay from one pass to the next: of prefixes, and of sequences that are being written.

KeyValues   of a run of tokens, as it was computed; only read afterwards, so many texts can follow it
Prefixes    the `KeyValues` of policies, those used last
Rings       rolling buffers of sequences that grow token by token: position p lies at p modulo the capacity
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor

from guard.engine.checkpoint import Shape

__all__ = ["NOTHING", "KeyValues", "Prefixes", "Rings"]


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


class Prefixes:
    """Prefixes by their tokens; of more than `most` tokens together, those used longest ago are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()
        self.tokens = 0

    def get(self, tokens: tuple[int, ...]) -> KeyValues | None:
        """What `put` was given for these tokens, if it is still there."""
        found = self._kept.get(tokens)
        if found is not None:
            self._kept.move_to_end(tokens)
        return found

    def put(self, tokens: tuple[int, ...], made: KeyValues) -> None:
        """Keeps them; the newest prefix stays even where it is longer than all that may be kept."""
        self._forget(tokens)
        self._kept[tokens] = made
        self.tokens += made.kept
        while self.tokens > self._most and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def _forget(self, tokens: tuple[int, ...]) -> None:
        gone = self._kept.pop(tokens, None)
        if gone is not None:
            self.tokens -= gone.kept

    def __len__(self) -> int:
        return len(self._kept)


class Rings:
    """Rolling buffers for `slots` sequences: keys and values of each layer [slots, capacity, kv_heads, head_width].

    With a window of W keys a buffer holds W positions, however long the sequence grows. Without a window it holds
    `context` positions, and a sequence ends there.
    """

    def __init__(self, shape: Shape, *, slots: int, context: int, device: torch.device, dtype: torch.dtype) -> None:
        self.capacity = shape.window or context
        self.most: int | None = None if shape.window else context
        size = (slots, self.capacity, shape.kv_heads, shape.head_width)
        self.keys = [torch.zeros(size, device=device, dtype=dtype) for _ in range(shape.layers)]
        self.values = [torch.zeros(size, device=device, dtype=dtype) for _ in range(shape.layers)]
        self._free = list(range(slots))

    @property
    def free(self) -> int:
        """Slots that nobody has."""
        return len(self._free)

    def take(self) -> int:
        """A slot; IndexError where all are taken."""
        return self._free.pop()

    def give(self, slot: int) -> None:
        """The slot is free again."""
        self._free.append(slot)

    def fill(self, slot: int, run: KeyValues) -> None:
        """The sequence in `slot` is this run so far; IndexError for a slot that nobody has."""
        if slot < 0 or slot in self._free:
            raise IndexError(f"slot {slot} is nobody's")
        kept = min(run.kept, self.capacity)
        places = torch.arange(run.length - kept, run.length, device=self.keys[0].device) % self.capacity
        for number, (keys, values) in enumerate(zip(run.keys, run.values, strict=True)):
            self.keys[number][slot, places] = keys[len(keys) - kept :]
            self.values[number][slot, places] = values[len(values) - kept :]
