"""Where a network looked in one cell of a case, as a picture for the screen.

In      a case of the database, a cell's number as in its report, the bundle that read it
Out     PNG: the cell as the stage saw it, and beside it the same with the overlay
The overlay is no reason for the answer and says so; it stands in no report and is kept nowhere.
"""

import io
from math import ceil, floor

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from db import queries
from db.analysing import instances_of
from db.analysis_rows import load_analysis
from db.database import Database
from dicom_node.sources import PixelSource, open_source
from domain.analysis import Analysis
from domain.cells import Cell, Stage
from domain.identities import AnalysisId
from domain.image import Box, Pixels
from inference.bundle import Bundle
from inference.crops import background_of, square_crops
from inference.explanation import Saliency, explain
from inference.manifest import NamingStage
from leukonode.errors import CouldNotError
from leukonode.store import FolderStore
from reporting.report import RESEARCH_USE, UNTRAINED

__all__ = ["explained_png"]

_SIDE_PX = 448
_MARGIN_PX = 16
_LINE_PX = 20
_TINT = np.array([255, 140, 0], dtype=np.float32)
_STRONGEST = 0.7  # of the tint, where the map is 1


def explained_png(
    case_id: str,
    number: int,
    *,
    stage: Stage | None,
    database: Database,
    store: FolderStore,
    bundle: Bundle,
) -> bytes:
    """The picture of a cell of the case's latest analysis. `stage` None: the last one that named it.

    Raises CouldNotError, and inference's ExplanationWithheld."""
    with database.transaction() as tx:
        found = queries.case(tx.connection, case_id)
        finished = [a.analysis_id for a in found.analyses if a.leukocytes is not None]
        if not finished:
            raise CouldNotError("the case has no finished analysis; wait for its report")
        analysis = load_analysis(tx.connection, AnalysisId(finished[-1]))
        stored = {
            i.sha256: i.store_key for i in instances_of(tx.connection, AnalysisId(finished[-1]))
        }
    if analysis.bundle.manifest_sha256 != bundle.info.manifest_sha256:
        raise CouldNotError(
            f"the case was read by bundle {analysis.bundle.id} {analysis.bundle.version}; name that "
            "one in the setting `bundle`"
        )
    cell = next((c for c in analysis.cells if c.number == number), None)
    if cell is None:
        raise CouldNotError(
            f"the case has no cell {number}; its cells are 1 to {len(analysis.cells)}"
        )
    asked, class_name = _asked(cell, stage, bundle)
    digest = analysis.images[cell.image].header.sha256
    source = open_source(store.path(stored[digest]), image=cell.image, sha256=digest)
    entry = bundle.manifest.stages.of(asked)
    assert isinstance(entry, NamingStage)  # noqa: S101 stages 4 to 6 are; for the type alone
    crop = _as_seen(source, cell, analysis, entry)
    saliency = explain(
        crop, stage=asked, network=bundle.networks[asked], entry=entry, class_name=class_name
    )
    return _drawn(crop, saliency, cell, untrained=bundle.info.untrained)


def _asked(cell: Cell, stage: Stage | None, bundle: Bundle) -> tuple[Stage, str]:
    named = {
        Stage.WBC_CLASS: cell.wbc_class,
        Stage.MALIGNANCY: cell.malignancy,
        Stage.SUBTYPE: cell.subtype,
    }
    called = {s: name for s, name in named.items() if name in bundle.info.model(s).classes}
    if stage is None and called:
        stage = max(called, key=lambda s: s.number)
    if stage is None or stage not in called:
        which = "stages 4 to 6 have" if stage is None else f"stage {stage.number} has"
        raise CouldNotError(
            f"there is nothing to explain: {which} given cell {cell.number} no class"
        )
    return stage, str(called[stage])


def _as_seen(source: PixelSource, cell: Cell, analysis: Analysis, entry: NamingStage) -> Pixels:
    """The square that the stage saw: (S, S, 3) uint8 RGB. Only the ground outside the image may be
    of a slightly other shade, for it is taken from the cell's surroundings."""
    image = analysis.images[cell.image]
    um = image.um_per_px or (analysis.bundle.um_per_px,) * 2
    x, y = cell.box_px.centre
    reach = entry.field_um / um[0], entry.field_um / um[1]  # twice the square
    x0, y0 = max(0, floor(x - reach[0])), max(0, floor(y - reach[1]))
    x1 = min(image.header.width_px, ceil(x + reach[0]))
    y1 = min(image.header.height_px, ceil(y + reach[1]))
    pixels = source.region(Box(x0, y0, x1, y1), frame=cell.frame)
    box = cell.box_px
    seen: Pixels = square_crops(
        pixels,
        [Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0)],
        um_per_px=um,
        field_um=entry.field_um,
        size_px=entry.input_px,
        interpolation=entry.interpolation,
        background=background_of(pixels),
    ).pixels[0]
    return seen


def _drawn(crop: Pixels, saliency: Saliency, cell: Cell, *, untrained: bool) -> bytes:
    size = (_SIDE_PX, _SIDE_PX)
    plain = Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC)
    heat = Image.fromarray(saliency.values).resize(size, Image.Resampling.BICUBIC)
    strength = _STRONGEST * np.clip(np.asarray(heat), 0, 1)[..., np.newaxis]
    tinted = np.asarray(plain, dtype=np.float32) * (1 - strength) + _TINT * strength
    lines = _lines(saliency, cell, untrained=untrained)
    height = _SIDE_PX + 3 * _MARGIN_PX + _LINE_PX * len(lines)
    sheet = Image.new("RGB", (2 * _SIDE_PX + 3 * _MARGIN_PX, height), "white")
    sheet.paste(plain, (_MARGIN_PX, _MARGIN_PX))
    overlaid = Image.fromarray(np.rint(tinted).astype(np.uint8))
    sheet.paste(overlaid, (_SIDE_PX + 2 * _MARGIN_PX, _MARGIN_PX))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for n, line in enumerate(lines):
        pen.text((_MARGIN_PX, _SIDE_PX + 2 * _MARGIN_PX + n * _LINE_PX), line, "black", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _lines(saliency: Saliency, cell: Cell, *, untrained: bool) -> list[str]:
    how = "attention rollout" if saliency.stage is Stage.WBC_CLASS else "Grad-CAM"
    said = [
        f"Cell {cell.number}, stage {saliency.stage.number} ({saliency.stage.value}): "
        f"{saliency.class_name}",
        f"Orange: where the network looked ({how}). This is no reason for its answer.",
        f"Likeness to the overlays of shuffled networks: {saliency.likeness:.2f}",
        RESEARCH_USE,
    ]
    return [f"{UNTRAINED}: the overlay means nothing", *said] if untrained else said
