"""Stage 2: where are the cells of a field?

In      (H, W, 3) uint8 RGB of a whole field, micrometres per pixel
Out     Detections in pixels of that field, most confident first

The field is brought to the detector's own micrometres per pixel and read in tiles of its input
size, padded with background where it is smaller. Neighbouring tiles overlap, each keeps the boxes
whose centre lies on its side of the middle of the overlap, and what two of them still found twice
is merged. One cell gets one box, whatever classes were seen in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import nms

from domain.cells import CellClass
from domain.image import Box, Pixels
from inference.crops import Colour, at_scale
from inference.manifest import DetectionStage
from inference.tensors import DECIMALS, finite, tensor_of

__all__ = ["Detection", "detected"]

TILES_AT_ONCE = 4
MOST_CANDIDATES = 3000  # of a tile, before overlapping ones are merged


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One box, the probability of its best class, and that class."""

    box: Box
    p: float
    cell_class: CellClass


@dataclass(frozen=True)
class _Span:
    """One tile along one axis: its first pixel, and the range of centres that are its own.
    A centre outside the field, in what was padded, is nobody's."""

    start: int
    own_from: float
    own_to: float


def detected(
    field: Pixels,
    *,
    um_per_px: tuple[float, float],
    background: Colour,
    network: nn.Module,
    entry: DetectionStage,
) -> tuple[Detection, ...]:
    """Boxes of at least `entry.confidence`, of plausible size, at most `max_per_tile` a tile."""
    scaled = at_scale(
        field,
        um_per_px=um_per_px,
        wanted_um_per_px=entry.um_per_px,
        interpolation=entry.interpolation,
    )
    height, width = scaled.shape[:2]
    tiles = [
        (row, column)
        for row in _spans(height, entry.input_px, entry.overlap_px)
        for column in _spans(width, entry.input_px, entry.overlap_px)
    ]
    found: list[Tensor] = []  # each (n, 6): x0, y0, x1, y1 in pixels of `scaled`, p, class
    for i in range(0, len(tiles), TILES_AT_ONCE):
        batch = tiles[i : i + TILES_AT_ONCE]
        pixels = np.stack([_tile(scaled, r, c, entry.input_px, background) for r, c in batch])
        answers = finite(network(tensor_of(pixels, entry))[0])  # (n, 4 + 3, A)
        found += [
            _of_tile(a, *t, entry, limits=(width, height))
            for a, t in zip(answers, batch, strict=True)
        ]
    merged = _merged(torch.cat(found), iou=entry.iou)
    fx, fy = field.shape[1] / width, field.shape[0] / height
    return tuple(
        Detection(
            box=Box(x0 * fx, y0 * fy, x1 * fx, y1 * fy),
            p=round(p, DECIMALS),
            cell_class=CellClass(entry.classes[int(index)]),
        )
        for x0, y0, x1, y1, p, index in merged.tolist()
    )


def _spans(length: int, tile: int, overlap: int) -> Sequence[_Span]:
    """Tiles that cover `length` pixels; the last ends where the field does."""
    if length <= tile:
        return [_Span(0, 0, length)]
    starts = [*range(0, length - tile, tile - overlap), length - tile]
    middles = [(a + tile + b) / 2 for a, b in pairwise(starts)]
    edges = [0, *middles, length]
    return [_Span(s, a, b) for s, a, b in zip(starts, edges[:-1], edges[1:], strict=True)]


def _tile(scaled: Pixels, row: _Span, column: _Span, size: int, background: Colour) -> Pixels:
    part = scaled[row.start : row.start + size, column.start : column.start + size]
    if part.shape[:2] == (size, size):
        return part
    tile = np.empty((size, size, 3), dtype=np.uint8)
    tile[:] = np.clip(np.rint(background), 0, 255).astype(np.uint8)
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


def _of_tile(
    answer: Tensor,
    row: _Span,
    column: _Span,
    entry: DetectionStage,
    *,
    limits: tuple[int, int],
) -> Tensor:
    """(4 + 3, A) as the network gives it -> (n, 6) of the tile's own cells, clipped to the field
    of `limits` (width, height), so that overlap is measured on what can be seen of them."""
    x, y, width, height = answer[:4].double()
    p, index = answer[4:].double().max(dim=0)
    x, y = x + column.start, y + row.start
    smallest, largest = (side / entry.um_per_px for side in entry.size_um)
    keep = (
        (p >= entry.confidence)
        & (torch.minimum(width, height) >= smallest)
        & (torch.maximum(width, height) <= largest)
        & (x >= column.own_from)
        & (x < column.own_to)
        & (y >= row.own_from)
        & (y < row.own_to)
    )
    x0, x1 = (x - width / 2).clamp(0, limits[0]), (x + width / 2).clamp(0, limits[0])
    y0, y1 = (y - height / 2).clamp(0, limits[1]), (y + height / 2).clamp(0, limits[1])
    boxes = torch.stack([x0, y0, x1, y1, p, index.double()], dim=1)[keep]
    best = boxes[:, 4].argsort(descending=True, stable=True)[:MOST_CANDIDATES]
    return _merged(boxes[best], iou=entry.iou)[: entry.max_per_tile]


def _merged(boxes: Tensor, *, iou: float) -> Tensor:
    """(n, 6) -> those that no more confident one overlaps by more than `iou`, best first."""
    return boxes[nms(boxes[:, :4], boxes[:, 4], iou)]
