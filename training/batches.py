"""Examples to tensors: tokens in the layout that the service sends, roughened texts, batches of like lengths.

`[CLS] role text [SEP]`, and with a context `[CLS] role text [SEP] context [SEP]`, types 0 and 1.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Sequence_
from torch import Tensor

from guard.text import spoken
from training.data import Example
from training.heads import Target
from training.model import CLS, ROLES, SEP, base_folder

__all__ = ["Batch", "Plan", "base_tokenizer", "epoch", "laid_out", "matrices", "padded", "roughened"]

POOL = 4_096
"""Examples that are sorted by length together."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How examples become batches: `budget` counts a batch's tokens, padding included."""

    heads: tuple[str, ...]
    max_tokens: int = 192
    context_tokens: int = 48
    budget: int = 3_072
    role_unknown: float = 0.35
    context_dropped: float = 0.5
    needed_context_dropped: float = 0.1
    roughen: float = 0.2


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded inputs [batch, tokens], and targets [batch, heads]: `known` is 1, 0 or -1."""

    input_ids: Tensor
    token_type_ids: Tensor
    mask: Tensor
    known: Tensor
    any_of: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`."""
        return Batch(*(getattr(self, name).to(device) for name in self.__slots__))

    def pieces(self, count: int) -> list["Batch"]:
        """The batch cut into at most `count` batches of about as many rows."""
        parts = [getattr(self, name).chunk(count) for name in self.__slots__]
        return [Batch(*piece) for piece in zip(*parts, strict=True)]


class Ids(NamedTuple):
    """One input: token ids and their types."""

    ids: list[int]
    types: list[int]


def base_tokenizer() -> Tokenizer:
    """The base model's tokenizer, cutting and padding nothing by itself, with words kept readable.

    WordPiece makes one unknown token of a whole word that holds a character it does not know, or has
    more than a hundred: an emoji glued between words would hide a sentence. So every character that
    is no letter, mark or digit stands alone, and a longer run is read in pieces of 64.
    """
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.pre_tokenizer = Sequence_(
        [
            Split(Regex(r"[^\p{L}\p{M}\p{N}\s]"), "isolated"),
            Split(Regex(r"[\p{L}\p{M}\p{N}]{64}"), "isolated"),
            BertPreTokenizer(),
        ]
    )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def laid_out(text: Sequence[int], role: str, context: Sequence[int], *, max_tokens: int, start: int = 0) -> Ids:
    """The input for the window of `text` from token `start` on.

    `laid_out([7, 8], "user", [9], max_tokens=192)` is ids `[101, 3, 7, 8, 102, 9, 102]` and types
    `[0, 0, 0, 0, 0, 1, 1]`.
    """
    window = text[start : start + room(context, max_tokens)]
    ids = [CLS, ROLES.get(role, ROLES["unknown"]), *window, SEP]
    types = [0] * len(ids)
    if len(context):
        ids += [*context, SEP]
        types += [1] * (len(context) + 1)
    return Ids(ids, types)


def room(context: Sequence[int], max_tokens: int) -> int:
    """Tokens that a window of text may have beside the markers and the context."""
    return max_tokens - 3 - (len(context) + 1 if len(context) else 0)


def epoch(found: Sequence[Example], tokenizer: Tokenizer, plan: Plan, *, seed: str) -> Iterator[Batch]:
    """One epoch in random order; an example comes `times` times on average. The same seed, the same batches."""
    rng = random.Random(seed)
    order = [i for i, example in enumerate(found) for _ in range(_copies(example.times, rng))]
    rng.shuffle(order)
    for start in range(0, len(order), POOL):
        pool = [found[i] for i in order[start : start + POOL]]
        inputs = _inputs(pool, tokenizer, plan, rng)
        groups = _cut(sorted(range(len(pool)), key=lambda i: len(inputs[i].ids)), inputs, plan.budget)
        rng.shuffle(groups)
        for group in groups:
            yield _batch([inputs[i] for i in group], [pool[i].target for i in group], plan.heads)


def _copies(times: float, rng: random.Random) -> int:
    return int(times) + (rng.random() < times - int(times))


def _inputs(pool: Sequence[Example], tokenizer: Tokenizer, plan: Plan, rng: random.Random) -> list[Ids]:
    """Tokenised with what training varies: roughened text, a role or context left out, a random window."""
    longest = 8 * plan.max_tokens
    texts = []
    for example in pool:
        start = rng.randrange(len(example.text) - longest) if len(example.text) > longest else 0
        text = example.text[start : start + longest]
        texts.append(spoken(roughened(text, rng) if rng.random() < plan.roughen else text).text)
    contexts = [
        ""
        if rng.random() < (plan.needed_context_dropped if example.in_context else plan.context_dropped)
        else spoken(example.context[-10 * plan.context_tokens :]).text
        for example in pool
    ]
    encoded = zip(
        tokenizer.encode_batch(texts, add_special_tokens=False),
        tokenizer.encode_batch(contexts, add_special_tokens=False),
        strict=True,
    )
    made = []
    for example, (tokens, before) in zip(pool, encoded, strict=True):
        role = "unknown" if rng.random() < plan.role_unknown else example.role
        context = before.ids[-plan.context_tokens :]
        spare = len(tokens.ids) - room(context, plan.max_tokens)
        start = rng.randrange(spare + 1) if spare > 0 and rng.random() < 0.5 else 0
        made.append(laid_out(tokens.ids, role, context, max_tokens=plan.max_tokens, start=start))
    return made


def roughened(text: str, rng: random.Random) -> str:
    """A careless copy: a slip or two of the keyboard, or the punctuation left out, or a shout."""
    kind = rng.random()
    if kind < 0.25:
        return "".join(c for c in text if c not in ".,;:!?'\"")
    if kind < 0.35:
        return text.rstrip(".!?") + rng.choice(("!!", "!!!", "...", " lol", " pls", "?!"))
    letters = list(text)
    for _ in range(1 + len(text) // 80):
        at = rng.randrange(len(letters)) if letters else 0
        if not letters or not letters[at].isalpha():
            continue
        match rng.randrange(3):
            case 0:
                letters[at] = ""
            case 1:
                letters[at] *= 2
            case _ if at + 1 < len(letters):
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters) or text


def _cut(order: Sequence[int], inputs: Sequence[Ids], budget: int) -> list[list[int]]:
    """Groups of rows whose padded size stays within `budget`; `order` rises in length."""
    groups: list[list[int]] = [[]]
    for i in order:
        if groups[-1] and (len(groups[-1]) + 1) * len(inputs[i].ids) > budget:
            groups.append([])
        groups[-1].append(i)
    return groups


def _batch(inputs: Sequence[Ids], targets: Sequence[Target], heads: Sequence[str]) -> Batch:
    known, any_of = matrices(targets, heads)
    return Batch(*padded(inputs), torch.from_numpy(known), torch.from_numpy(any_of))


class Padded(NamedTuple):
    """What the network reads, [batch, tokens] each; `mask` is 1 on tokens and 0 on padding."""

    input_ids: Tensor
    token_type_ids: Tensor
    mask: Tensor


def padded(inputs: Sequence[Ids]) -> Padded:
    """The inputs side by side, as wide as the longest."""
    width = max(len(row.ids) for row in inputs)
    ids = np.zeros((len(inputs), width), dtype=np.int64)
    types, mask = np.zeros_like(ids), np.zeros_like(ids)
    for r, row in enumerate(inputs):
        ids[r, : len(row.ids)], types[r, : len(row.ids)], mask[r, : len(row.ids)] = row.ids, row.types, 1
    return Padded(*map(torch.from_numpy, (ids, types, mask)))


class Matrices(NamedTuple):
    """Targets as arrays [rows, heads]."""

    known: npt.NDArray[np.int8]
    any_of: npt.NDArray[np.bool_]


def matrices(targets: Sequence[Target], heads: Sequence[str]) -> Matrices:
    """Targets for `heads`; other heads are ignored, and an `any_of` set with such a head is dropped."""
    column = {head: i for i, head in enumerate(heads)}
    known = np.full((len(targets), len(heads)), -1, dtype=np.int8)
    any_of = np.zeros((len(targets), len(heads)), dtype=bool)
    for row, target in enumerate(targets):
        for head, value in target.values.items():
            if head in column:
                known[row, column[head]] = value
        if target.any_of <= column.keys():
            for head in target.any_of:
                any_of[row, column[head]] = True
    return Matrices(known, any_of)
