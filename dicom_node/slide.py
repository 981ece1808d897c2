"""A TILED_FULL slide, read as overlapping fields put together from its tiles.

In      an opened whole-slide instance
Out     a pixel source (see `sources.PixelSource`)
Memory  one field and the cache of decoded tiles, whatever the size of the slide
Cores of fields tile the matrix without gap or overlap; around each lies a margin (20 um, at least
128 px), so that a cell at a core's edge is seen whole. Of a concatenation each part is read by its own tiles; what another part
holds is white.
"""

from collections.abc import Iterator
from itertools import product
from math import ceil

import numpy as np

from dicom_node.frame_pixels import frame_pixels
from dicom_node.geometry import clipped, fitting_factor, smaller
from dicom_node.headers import Instance
from dicom_node.tiling import Tiling
from domain.image import Box, Field, ImageHeader, Pixels, UnreadablePixels

__all__ = ["CORE_PX", "SlideSource"]

CORE_PX = 1024
_MARGIN_PX, _MARGIN_UM = 128, 20.0  # the larger of both; no cell of blood reaches farther
_WHITE = 255


class SlideSource:
    """One level of one slide."""

    def __init__(self, instance: Instance, *, image: int) -> None:
        self._instance = instance
        self._image = image
        self._header = instance.header.image

    @property
    def header(self) -> ImageHeader:
        return self._header

    def fields(self) -> Iterator[Field]:
        header = self._header
        if header.refusal:
            return
        tiling = self._tiling()
        width, height = header.width_px, header.height_px
        margin = _margin_px(header)
        for top, left in product(_core_tops(tiling), range(0, width, CORE_PX)):
            core = (left, top, min(left + CORE_PX, width), min(top + CORE_PX, height))
            if not any(f is not None for *_, f in _tiles(tiling, core)):
                continue
            whole = (
                max(0, left - margin),
                max(0, top - margin),
                min(width, core[2] + margin),
                min(height, core[3] + margin),
            )
            yield Field(
                pixels=self._assembled(tiling, whole),
                image=self._image,
                frame=1,
                origin_px=whole[:2],
                core_px=Box(*core),
                um_per_px=header.um_per_px,
                domain=header.domain,
            )

    def region(self, box: Box, *, frame: int) -> Pixels:
        if frame != 1:
            raise ValueError("a slide is one frame")
        tiling = self._tiling()
        return self._assembled(tiling, clipped(box, width=tiling.width_px, height=tiling.height_px))

    def overview(self, max_px: int) -> tuple[Pixels, float]:
        tiling = self._tiling()
        factor = fitting_factor(tiling.width_px, tiling.height_px, max_px)
        out_w = max(1, round(tiling.width_px * factor))
        out_h = max(1, round(tiling.height_px * factor))
        picture = np.full((out_h, out_w, 3), _WHITE, np.uint8)
        rows = tiling.own_rows
        top, bottom = rows.start * tiling.tile_height_px, rows.stop * tiling.tile_height_px
        own = (0, top, tiling.width_px, min(bottom, tiling.height_px))
        for x0, y0, x1, y1, frame in _tiles(tiling, own):
            # from edge to edge, so that neighbours meet without a seam
            left, right = round(x0 * factor), round(x1 * factor)
            top, bottom = round(y0 * factor), round(y1 * factor)
            if frame is None or left == right or top == bottom:
                continue
            tile = frame_pixels(self._instance, frame)[: y1 - y0, : x1 - x0]
            picture[top:bottom, left:right] = smaller(tile, right - left, bottom - top)
        return picture, factor

    def _tiling(self) -> Tiling:
        if self._instance.tiling is None:
            raise UnreadablePixels(self._header.refusal)
        return self._instance.tiling

    def _assembled(self, tiling: Tiling, box: tuple[int, int, int, int]) -> Pixels:
        left, top, right, bottom = box
        picture = np.full((bottom - top, right - left, 3), _WHITE, np.uint8)
        for x0, y0, x1, y1, frame in _tiles(tiling, box):
            if frame is None:
                continue
            a, b, c, d = max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)
            picture[b - top : d - top, a - left : c - left] = frame_pixels(self._instance, frame)[
                b - y0 : d - y0, a - x0 : c - x0
            ]
        return picture


def _margin_px(header: ImageHeader) -> int:
    """A cell whose centre lies in the core lies in the field with all of it, at any scale."""
    if header.um_per_px is None:
        return _MARGIN_PX
    return max(_MARGIN_PX, ceil(_MARGIN_UM / min(header.um_per_px)))


def _core_tops(tiling: Tiling) -> range:
    """Top edges of the cores that the instance's own tiles touch: a small part of a huge matrix
    must not cost a look at all of it."""
    rows, h = tiling.own_rows, tiling.tile_height_px
    first = rows.start * h // CORE_PX * CORE_PX
    return range(first, min(rows.stop * h, tiling.height_px), CORE_PX)


def _tiles(
    tiling: Tiling, box: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, int, int, int | None]]:
    """(x0, y0, x1, y1, frame) of the tiles under `box`, cropped to the matrix."""
    left, top, right, bottom = box
    w, h = tiling.tile_width_px, tiling.tile_height_px
    for row, column in product(range(top // h, -(-bottom // h)), range(left // w, -(-right // w))):
        x0, y0 = column * w, row * h
        x1, y1 = min(x0 + w, tiling.width_px), min(y0 + h, tiling.height_px)
        yield x0, y0, x1, y1, tiling.frame(column, row)
