"""What the host says once and the device does many times: CUDA graphs.

A layout is fixed when it is recorded (lengths of prefix, text and questions; number of sequences); what goes into it is
copied in before each replay. On a CPU there are no graphs: there the same calls run anew on the same memory, which is
what tests hold against the engine's ordinary way.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from guard.engine.kv import Rings
from guard.engine.model import ROWS, Mistral, Part

__all__ = ["DecodingGraph", "Recorded", "RequestGraph"]

T = TypeVar("T")


class Recorded(Generic[T]):
    """A call that works on memory of its own; `replay` does it again and gives what it gave, in the same memory."""

    def __init__(self, call: Callable[[], T], device: torch.device) -> None:
        self._call = call
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            # Before the recording, on a stream of its own: kernels are compiled, libraries take their memory.
            stream: Any = torch.cuda.Stream
            aside = stream(device)
            aside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(aside):
                for _ in range(2):
                    call()
            torch.cuda.current_stream(device).wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._given = call()

    def replay(self) -> T:
        """On the current stream; does not wait for it."""
        if self._graph is None:
            return self._call()
        self._graph.replay()
        return self._given


class RequestGraph:
    """One request, alone: texts of one length after one prefix, with questions of fixed lengths, and their labels."""

    def __init__(self, network: Mistral, part: Part, labels: Sequence[Sequence[int]]) -> None:
        self._network = network
        self._packed = network.pack([part])
        self._lengths = [len(part.text), *map(len, part.branches)]
        self._wanted = torch.tensor([list(own) for own in labels]).to(network.device)
        self._host = self._packed.tokens.cpu().clone()
        if network.device.type == "cuda":
            self._host = self._host.pin_memory()
        with torch.inference_mode():
            self._recorded = Recorded(self._answer, network.device)

    def __call__(self, text: Sequence[int], branches: Sequence[Sequence[int]]) -> list[list[float]]:
        """Each question's log-probabilities of its labels.

        Raises:
            ValueError: the lengths are not those that were recorded.
        """
        if [len(text), *map(len, branches)] != self._lengths:
            raise ValueError(f"recorded for lengths {self._lengths}")
        tokens = [token for run in (text, *branches) for token in run]
        # The filling rows, in between and behind, keep what they had.
        self._host[: len(tokens)] = torch.tensor(tokens)
        with torch.inference_mode():
            self._packed.tokens.copy_(self._host, non_blocking=True)
            return self._recorded.replay().tolist()

    def _answer(self) -> Tensor:
        hidden, _ = self._network.states(self._packed)
        return self._network.label_rows(hidden, self._wanted)


class DecodingGraph:
    """One more token for a fixed number of sequences: the likeliest one, which goes into the next step by itself.

    Attributes:
        numbers: int64 [3, rows]: last tokens, their positions, their slots; the device's own, changed by each step.
    """

    def __init__(
        self, network: Mistral, rings: Rings, tokens: Sequence[int], slots: Sequence[int], written: Sequence[int]
    ) -> None:
        self._network = network
        self._rings = rings
        self._count = len(tokens)
        fill = [0] * (-len(tokens) % ROWS)
        begun = torch.tensor([[*tokens, *fill], [*written, *fill], [*slots, *fill]]).to(network.device)
        with torch.inference_mode():
            self.numbers = begun.clone()
            self._recorded = Recorded(self._step, network.device)
            # Recording has already gone some steps on.
            self.numbers.copy_(begun)

    def step(self) -> Tensor:
        """int64 [sequences], the tokens; in memory that the next step overwrites. Does not wait for the device."""
        with torch.inference_mode():
            return self._recorded.replay()

    def _step(self) -> Tensor:
        hidden = self._network.next_states(self.numbers, self._rings, self._count)
        tokens = self._network.logits(hidden).argmax(-1)
        self.numbers[0, : self._count] = tokens
        self.numbers[1, : self._count] += 1
        return tokens
