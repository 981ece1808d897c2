"""Stage 3: red cell, platelet or white cell, and the cell's mask.

In      crops (N, 224, 224, 3) uint8 RGB, and where each cell's box lies in its crop
Out     CellMaps: N rows of three probabilities, and N masks (112, 112)

The network gives a map for each class. The class is the softmax of the map pooled over the cell,
that is over its box (never the arg-max of a flattened map, which is an index of a pixel); the mask
is where the winning class's map is positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from domain.image import Box
from inference.crops import Crops
from inference.manifest import CellClassStage
from inference.tensors import Rows, finite, rows_of, softened, tensor_of

__all__ = ["CellMaps", "cell_maps"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CellMaps:
    """`masks` (N, 112, 112) bool, over the crops at half their size."""

    p: Rows
    masks: npt.NDArray[np.bool_]


def cell_maps(crops: Crops, *, network: nn.Module, entry: CellClassStage) -> CellMaps:
    """Classes in the order of CellClass."""
    maps = finite(network(tensor_of(crops.pixels, entry)))  # (N, 3, 112, 112)
    logits = pooled(maps, crops.boxes, shrunk=maps.shape[-1] / entry.input_px)  # (N, 3)
    winning = maps[torch.arange(len(maps)), logits.argmax(dim=1)]  # (N, 112, 112)
    return CellMaps(
        p=rows_of(softened(logits, temperature=entry.temperature)),
        masks=(winning > 0).numpy(),
    )


def pooled(maps: Tensor, boxes: Sequence[Box], *, shrunk: float) -> Tensor:
    """(N, K, h, w) -> (N, K): the mean over the box, at least one pixel of the map."""
    height, width = maps.shape[-2:]
    rows = []
    for one, box in zip(maps, boxes, strict=True):
        x0 = min(max(floor(box.x0 * shrunk), 0), width - 1)
        y0 = min(max(floor(box.y0 * shrunk), 0), height - 1)
        x1, y1 = max(ceil(box.x1 * shrunk), x0 + 1), max(ceil(box.y1 * shrunk), y0 + 1)
        rows.append(one[:, y0:y1, x0:x1].mean(dim=(1, 2)))
    return torch.stack(rows)
