"""The next token of many sequences at once, each by its own rules and its own stream of random numbers."""

import random
from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

__all__ = ["Sampler", "Sampling", "choose"]

_COLDEST = 1e-4
"""Below it the likeliest token is as good as certain."""


class Sampling(msgspec.Struct, frozen=True):
    """How a sequence goes on.

    Attributes:
        temperature: what logits are divided by; 0, and what is hardly more, takes the likeliest token.
        top_p: only the likeliest tokens that together have this probability are drawn from.
        seed: the same seed draws the same numbers, whatever else runs; None draws anew each time.
        most: tokens at most.
        stop: texts before which the answer ends; they are no part of it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    most: int = 1_024
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise ValueError(f"temperature is {self.temperature}; it must be from 0 to 100")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.most < 1:
            raise ValueError(f"{self.most} tokens at most; it must be 1 or more")
        if "" in self.stop:
            raise ValueError("a stop text is empty")


class Sampler:
    """A `Sampling` and its random numbers."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = random.Random(sampling.seed)

    def draw(self) -> float:
        """The next number in [0, 1)."""
        return self._random.random()


def choose(logits: Tensor, samplers: Sequence[Sampler]) -> tuple[list[int], list[float]]:
    """A token for each row of float32 [sequences, vocabulary], and its log-probability before temperature and top_p."""
    plain = logits.log_softmax(-1)
    tokens = logits.argmax(-1)
    drawn = [row for row, sampler in enumerate(samplers) if sampler.sampling.temperature > _COLDEST]
    if drawn:
        rules = [
            (samplers[row].sampling.temperature, samplers[row].sampling.top_p, samplers[row].draw()) for row in drawn
        ]
        at = torch.tensor(drawn, device=logits.device)
        # float64: thirty thousand small numbers are summed up, and a rule may be a very small number itself.
        warm, most, luck = torch.tensor(rules, dtype=torch.float64).to(logits.device).T
        rows = logits[at].double()
        rows = (rows - rows.amax(-1, keepdim=True)) / warm[:, None]
        chances, order = torch.sort(rows.softmax(-1), dim=-1, descending=True, stable=True)
        summed = chances.cumsum(-1)
        kept = ((summed - chances) < most[:, None]).sum(-1, keepdim=True).clamp(min=1)
        place = luck[:, None] * summed.gather(1, kept - 1)
        index = torch.minimum((summed <= place).sum(-1, keepdim=True), kept - 1)
        tokens[at] = order.gather(1, index)[:, 0]
    return tokens.tolist(), plain.gather(1, tokens[:, None])[:, 0].tolist()
