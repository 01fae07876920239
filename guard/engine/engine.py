"""A loaded model with all that runs it: one for a process, whoever asks it."""

from pathlib import Path

import torch

from guard.engine.checkpoint import folders_of, load
from guard.engine.hub import folder_of
from guard.engine.kv import NOTHING
from guard.engine.model import Mistral, Part
from guard.engine.scheduler import Scheduler, Sizes
from guard.engine.tokens import ModelTokens

__all__ = ["Engine"]


class Engine:
    """A model's tokenizer at once, and after `load` its weights and the thread that runs it.

    `guard.engine.hub.folder_of` says what names a model. On a CUDA device it computes in bfloat16, on a CPU in float32;
    with `fp8` its linear layers are rounded to that.

    Attributes:
        name: as verdicts and `/v1/models` show it.
        folders: the model's, and that of its base where it is an adapter.
        numbers: what it computes in; other numbers give other answers.
        longest: tokens that the model attends to at once, once it is loaded: its window, or all its positions.

    Raises:
        ModelError: there is no such folder, or it has no tokenizer.
    """

    def __init__(self, model: str, *, fp8: bool = False) -> None:
        folder = folder_of(model)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self._fp8 = fp8
        self.numbers = "fp8" if fp8 else str(self.dtype)
        self.folders = folders_of(folder)
        self.tokens = ModelTokens(*self.folders)
        self.name = model.partition("@")[0] if not Path(model).expanduser().is_dir() else folder.resolve().name
        self._scheduler: Scheduler | None = None
        self.longest = 0

    def load(self) -> None:
        """Loads the weights and starts; once.

        Raises:
            ModelError: the folder is not complete or is of another architecture, or memory does not suffice.
        """
        if self._scheduler is not None:
            return
        network = Mistral(load(self.folders[0], device=self.device, dtype=self.dtype, fp8=self._fp8))
        self.longest = min(network.shape.window or network.shape.positions, network.shape.positions)
        if self.device.type == "cpu":
            # With a power of two no thread ends in the middle of a vector, where the last bit may differ.
            torch.set_num_threads(1 << (torch.get_num_threads().bit_length() - 1))
        # Kernels are compiled now, not while the first text waits.
        (ran,) = network.run([Part(NOTHING, [0] * 20)])
        network.log_probabilities(ran.hidden, [(0,)])
        self._scheduler = Scheduler(network, Sizes(pause=0.002 if self.device.type == "cuda" else 0.0))
        self._scheduler.start()

    @property
    def scheduler(self) -> Scheduler:
        """Who reads and writes, once it is loaded."""
        assert self._scheduler is not None
        return self._scheduler
