"""Linear layers in fp8 (E4M3): each row over its own largest number, of the matrix and of what it is multiplied with.

On a GPU the product is `torch._scaled_mm` with a scale for each row and column (compute capability 9.0, Hopper).
Elsewhere the same rounded numbers are multiplied in float32: what the GPU is held against, and no faster than without.
A row is rounded by itself, so what is computed for it does not depend on the rows beside it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CAPABILITY", "Matrix", "Scaled", "linear", "plain", "scaled"]

CAPABILITY = (9, 0)
"""The least compute capability of a GPU."""
_TYPE = torch.float8_e4m3fn
_LARGEST = torch.finfo(_TYPE).max
_SMALLEST = 1e-12
"""Of scales, so that a row of zeros stays one."""


class Scaled(NamedTuple):
    """fp8 [rows, width], and what each row is to be multiplied with: float32 [rows, 1]."""

    values: Tensor
    scales: Tensor

    def back(self) -> Tensor:
        """The rounded numbers, float32 [rows, width]."""
        return self.values.float() * self.scales


Matrix = Tensor | Scaled
"""A linear layer's [out, in]."""


def scaled(x: Tensor) -> Scaled:
    """[rows, width] in fp8: three bits of fraction, relative to each row's largest number."""
    scales = (x.abs().amax(-1, keepdim=True).float() / _LARGEST).clamp(min=_SMALLEST)
    return Scaled((x / scales).to(_TYPE), scales)


def linear(x: Tensor, matrix: Matrix) -> Tensor:
    """`x @ matrix.T` in x's dtype, for x [rows, in]: in fp8 where the matrix is, as ever where it is not."""
    if isinstance(matrix, Tensor):
        return functional.linear(x, matrix)
    rows = scaled(x)
    if x.is_cuda:
        return torch._scaled_mm(
            rows.values, matrix.values.T, rows.scales, matrix.scales.T, out_dtype=x.dtype, use_fast_accum=True
        )
    return functional.linear(rows.back(), matrix.back()).to(x.dtype)


def plain(matrix: Matrix) -> Tensor:
    """A matrix that is not scaled.

    Raises:
        TypeError: it is.
    """
    if isinstance(matrix, Scaled):
        raise TypeError("a matrix in fp8 can be multiplied with, and nothing else")
    return matrix
