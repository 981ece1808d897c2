"""Pixels into a network, probabilities out of it.

Probabilities are rounded to six decimals before anything is decided on them: the record and the
decision are the same number, and the last bits of a sum of products decide nothing.
"""

from typing import TypeAlias

import torch
from torch import Tensor

from domain.image import Pixels
from inference.errors import NotFinite
from inference.manifest import StageEntry

__all__ = ["DECIMALS", "Rows", "finite", "rows_of", "softened", "tensor_of"]

DECIMALS = 6

Rows: TypeAlias = tuple[tuple[float, ...], ...]  # one row of probabilities a cell, in class order


def tensor_of(pixels: Pixels, entry: StageEntry) -> Tensor:
    """(N, S, S, 3) uint8 RGB -> (N, 3, S, S) float32, normalised as the manifest says."""
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255
    mean = torch.tensor(entry.mean).view(1, 3, 1, 1)
    deviation = torch.tensor(entry.deviation).view(1, 3, 1, 1)
    return (scaled - mean) / deviation


def softened(logits: Tensor, *, temperature: float) -> Tensor:
    """(N, K) logits -> (N, K) calibrated probabilities, float64."""
    return (finite(logits).double() / temperature).softmax(dim=1)


def rows_of(p: Tensor) -> Rows:
    """(N, K) probabilities -> N rows of K numbers, rounded."""
    return tuple(tuple(round(v, DECIMALS) for v in row) for row in finite(p).tolist())


def finite(values: Tensor) -> Tensor:
    """The same values. Raises NotFinite."""
    if not bool(values.isfinite().all()):
        raise NotFinite("the network answered with NaN or infinity")
    return values
