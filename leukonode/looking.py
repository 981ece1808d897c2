"""Run the cascade over the images of one case: sources from `dicom_node`, networks from `inference`.

In      opened sources in a fixed order, a bundle, options
Out     Reading: the Analysis, and the pictures a report shows of it
The command line calls it in its own process; the worker in a child (see child.py).
"""

from collections.abc import Sequence

from dicom_node.sources import PixelSource
from domain.analysis import Analysis
from domain.cells import Cell
from domain.image import Box, UnreadablePixels
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
    analysis = analyse(sources, bundle=bundle, options=options, progress=progress)
    shown = gallery_cells(analysis, limit=GALLERY_CELLS)
    return Reading(
        analysis=analysis,
        gallery=tuple(
            crop for cell in shown if (crop := _crop(sources[cell.image], cell, analysis))
        ),
        overviews=tuple(_overviews(sources, analysis)),
    )


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


def _overviews(sources: Sequence[PixelSource], analysis: Analysis) -> list[Overview]:
    shown: list[Overview] = []
    for index, (source, image) in enumerate(zip(sources, analysis.images, strict=True)):
        if len(shown) == OVERVIEWS:
            break
        if image.header.refusal:
            continue
        try:
            pixels, scale = source.overview(OVERVIEW_PX)
        except UnreadablePixels:
            continue
        shown.append(Overview(image=index, pixels=pixels, scale=scale))
    return shown
