"""Run the cascade over the images of one case: sources from `dicom_node`, networks from `inference`.

In      opened sources in a fixed order, a bundle, options
Out     Reading: the Analysis, and the pictures a report shows of it
The command line calls it in its own process; the worker in a child (see child.py).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from dicom_node.sources import PixelSource
from domain.analysis import Analysis
from domain.cells import Cell
from domain.image import Box, Field, ImageHeader, Pixels, UnreadablePixels
from inference.bundle import Bundle
from inference.cascade import Options, analyse
from leukonode.reading import Progress, Reading
from reporting.gallery import gallery_cells
from reporting.report import GalleryCrop, Overview

__all__ = ["read_images"]

GALLERY_CELLS = 60
OVERVIEWS = 6
OVERVIEW_PX = 1400
_CONTEXT = 1.5  # side of a gallery crop over the longer side of the cell's box


def read_images(
    sources: Sequence[PixelSource],
    *,
    bundle: Bundle,
    options: Options,
    progress: Progress | None = None,
) -> Reading:
    """Run the cascade over `sources` and cut out what the report will show."""
    watched = [_Watched(source) for source in sources]
    analysis = analyse(watched, bundle=bundle, options=options, progress=progress)
    shown = gallery_cells(analysis, limit=GALLERY_CELLS)
    return Reading(
        analysis=analysis,
        gallery=tuple(
            crop for cell in shown if (crop := _crop(sources[cell.image], cell, analysis))
        ),
        overviews=tuple(_overviews(watched, analysis)),
    )


class _Watched:
    """A source that remembers which parts of its image were asked for."""

    def __init__(self, source: PixelSource) -> None:
        self.source = source
        self.cores: list[Box] = []

    @property
    def header(self) -> ImageHeader:
        return self.source.header

    def fields(self) -> Iterator[Field]:
        for field in self.source.fields():
            self.cores.append(field.core_px)
            yield field

    @property
    def parts(self) -> tuple[Box, ...]:
        """Fields of an image that is more than one field; none where each frame is a field."""
        return tuple(self.cores) if len(set(self.cores)) > 1 else ()


def _crop(source: PixelSource, cell: Cell, analysis: Analysis) -> GalleryCrop | None:
    x, y = cell.box_px.centre
    half = max(cell.box_px.width, cell.box_px.height) * _CONTEXT / 2
    try:
        pixels = source.region(Box(x - half, y - half, x + half, y + half), frame=cell.frame)
    except UnreadablePixels:
        return None
    scale = analysis.images[cell.image].um_per_px
    return GalleryCrop(
        cell_number=cell.number, pixels=pixels, um_per_px=scale[0] if scale else None
    )


def _overviews(watched: Sequence[_Watched], analysis: Analysis) -> list[Overview]:
    """Each image small; of a slide the map with the fields that were read, and one field of it."""
    shown: list[Overview] = []
    for index, (looked, image) in enumerate(zip(watched, analysis.images, strict=True)):
        if len(shown) >= OVERVIEWS:
            break
        if image.header.refusal:
            continue
        try:
            pixels, scale = looked.source.overview(OVERVIEW_PX)
            shown.append(Overview(image=index, pixels=pixels, scale=scale, fields_px=looked.parts))
            if looked.parts:
                shown.append(_telling_field(index, looked, analysis))
        except UnreadablePixels:
            continue
    return shown


def _telling_field(index: int, looked: _Watched, analysis: Analysis) -> Overview:
    """The field with the most blasts, or else with the most leukocytes; the first of equals."""
    cells = [c for c in analysis.cells if c.image == index]

    def weight(field: Box) -> tuple[int, int]:
        here = [c for c in cells if field.holds(*c.box_px.centre)]
        return sum(c.is_blast for c in here), sum(c.is_leukocyte for c in here)

    field = max(looked.parts, key=weight)
    pixels = looked.source.region(field, frame=1)
    small = _small(pixels)
    return Overview(
        image=index,
        pixels=small,
        scale=small.shape[1] / pixels.shape[1],
        origin_px=(field.x0, field.y0),
    )


def _small(pixels: Pixels) -> Pixels:
    """No side longer than OVERVIEW_PX."""
    image = Image.fromarray(pixels)
    image.thumbnail((OVERVIEW_PX, OVERVIEW_PX), Image.Resampling.BOX)
    return np.asarray(image)
