"""A kernel with its grid and arguments: run on a GPU, or compiled for one that is not there."""

from typing import Any, NamedTuple

__all__ = ["Launch"]


class Launch(NamedTuple):
    """One kernel's call, so that what is measured without a GPU is what runs on one."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    num_warps: int
    num_stages: int = 1
    fused: bool = False
    """Whether a product and a sum may round once. Where they may not, the rounding is that of PyTorch's own steps."""

    @property
    def options(self) -> dict[str, Any]:
        """How Triton compiles it."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, "enable_fp_fusion": self.fused}

    def run(self) -> None:
        """Puts the kernel on the current stream; a grid without programs starts nothing."""
        if all(self.grid):
            self.kernel[self.grid](**self.arguments, **self.options)
