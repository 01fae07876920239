"""Keys and values that stay from one pass to the next: of prefixes, and of sequences that are being written.

KeyValues   of a run of tokens, as it was computed; only read afterwards, so many texts can follow it
Prefixes    the `KeyValues` of policies, those used last
Sessions    those of texts that are read again and again while they grow
Rings       rolling buffers of sequences that grow token by token: position p lies at p modulo the capacity
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from guard.engine.checkpoint import Shape

__all__ = ["NOTHING", "SPARE", "KeyValues", "Prefixes", "Rings", "Sessions"]

SPARE = 256
"""Tokens by which a kept text can be gone back where a window has left its beginning behind: what stands after a text
is read anew whenever the text has grown, and its last words may be other tokens then."""


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

    def first(self, count: int, window: int | None) -> "KeyValues | None":
        """The run's first `count` tokens, as views; None where keys are gone that a token after them would see."""
        dropped = self.length - self.kept
        if dropped and (window is None or count - (window - 1) < dropped):
            return None
        left = count - dropped
        return KeyValues(count, tuple([k[:left] for k in self.keys]), tuple([v[:left] for v in self.values]))


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


class _Session(NamedTuple):
    """Tokens of a text, and their keys and values."""

    text: Sequence[int]
    read: KeyValues


class Sessions:
    """Texts that grow, by the name of their session and the prefix that they follow; of more than `most` tokens
    together, those read longest ago are forgotten. A text that is longer than that by itself is not kept.

    The tokens are compared one by one: a name alone never decides what is taken for read.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Hashable, tuple[int, ...]], _Session] = OrderedDict()
        self.tokens = 0

    def common(self, session: Hashable, prefix: tuple[int, ...], text: Sequence[int]) -> int:
        """How many tokens the text and the one that is kept begin with alike."""
        known = self._kept.get((session, prefix))
        return 0 if known is None else _alike(known.text, text)

    def begin(
        self, session: Hashable, prefix: tuple[int, ...], text: Sequence[int], *, most: int, window: int | None
    ) -> KeyValues:
        """What is kept of the text's beginning, `most` tokens of it at most; `NOTHING` where nothing can be used."""
        known = self._kept.get((session, prefix))
        if known is None:
            return NOTHING
        self._kept.move_to_end((session, prefix))
        count = min(most, _alike(known.text, text))
        return (known.read.first(count, window) if count else None) or NOTHING

    def put(self, session: Hashable, prefix: tuple[int, ...], text: Sequence[int], read: KeyValues) -> None:
        """Keeps the text in the place of what the session had."""
        gone = self._kept.pop((session, prefix), None)
        self.tokens -= gone.read.kept if gone is not None else 0
        if read.kept > self._most:
            return
        self._kept[session, prefix] = _Session(text, read)
        self.tokens += read.kept
        while self.tokens > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.tokens -= oldest.read.kept

    def clear(self) -> None:
        """Forgets all of them."""
        self._kept.clear()
        self.tokens = 0

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

    def fill(self, slot: int, *runs: KeyValues) -> None:
        """The sequence in `slot` is these runs so far, one after the other; IndexError for a slot that nobody has."""
        if slot < 0 or slot in self._free:
            raise IndexError(f"slot {slot} is nobody's")
        end = 0
        for run in runs:
            end += run.length
            kept = min(run.kept, self.capacity)
            places = torch.arange(end - kept, end, device=self.keys[0].device) % self.capacity
            for number, (keys, values) in enumerate(zip(run.keys, run.values, strict=True)):
                self.keys[number][slot, places] = keys[len(keys) - kept :]
                self.values[number][slot, places] = values[len(values) - kept :]


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
