"""Read the images of one case: sources from `dicom_node`, networks from `inference`.

In      files in a fixed order, a bundle, options
Out     Reading: the Analysis, and the pictures a report shows of it
The command line calls `read_images` in its own process; the worker in a child (see child.py).
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicom_node.sources import PixelSource
from domain.analysis import Analysis
from domain.cells import Cell
from domain.image import Box, UnreadablePixels
from reporting.gallery import gallery_cells
from reporting.report import GalleryCrop, Overview

if TYPE_CHECKING:
    from inference.bundle import Bundle
    from inference.cascade import Options

__all__ = ["Progress", "Reading", "pictures_from", "pictures_to_bytes", "read_images"]

Progress = Callable[[str, int, int], None]  # what, done, of how many

GALLERY_CELLS = 60
OVERVIEWS = 6
OVERVIEW_PX = 1400
_CONTEXT = 1.5  # side of a gallery crop over the longer side of the cell's box


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """An analysis, and the crops and overviews that its report shows."""

    analysis: Analysis
    gallery: tuple[GalleryCrop, ...]
    overviews: tuple[Overview, ...]


def read_images(
    sources: Sequence[PixelSource],
    *,
    bundle: "Bundle",
    options: "Options",
    progress: Progress | None = None,
) -> Reading:
    """Run the cascade over `sources` and cut out what the report will show."""
    from inference.cascade import analyse

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


def pictures_to_bytes(reading: Reading) -> bytes:
    """The gallery and overviews as one compressed NumPy archive, the same for the same pictures."""
    arrays: dict[str, Any] = {f"crop{i}": crop.pixels for i, crop in enumerate(reading.gallery)}
    arrays |= {f"overview{i}": o.pixels for i, o in enumerate(reading.overviews)}
    index = {
        "crops": [[c.cell_number, c.um_per_px] for c in reading.gallery],
        "overviews": [[o.image, o.scale, *o.origin_px] for o in reading.overviews],
    }
    buffer = io.BytesIO()
    words = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, index=words, **arrays)
    return buffer.getvalue()


def pictures_from(file: Path) -> tuple[tuple[GalleryCrop, ...], tuple[Overview, ...]]:
    """What `pictures_to_bytes` wrote."""
    with np.load(file, allow_pickle=False) as archive:
        index = json.loads(archive["index"].tobytes())
        gallery = tuple(
            GalleryCrop(cell_number=number, pixels=archive[f"crop{i}"], um_per_px=scale)
            for i, (number, scale) in enumerate(index["crops"])
        )
        overviews = tuple(
            Overview(image=image, pixels=archive[f"overview{i}"], scale=scale, origin_px=(x, y))
            for i, (image, scale, x, y) in enumerate(index["overviews"])
        )
    return gallery, overviews
