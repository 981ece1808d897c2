"""From the boxes of one lot of fields to its cells: stages 3 to 6.

A lot is one field with its detected cells, or several single-cell fields together, so that their
crops share a batch. Crops are cut batch by batch and never kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Stage
from domain.image import Box, Field
from inference.bundle import Bundle
from inference.crops import Colour, Crops, square_crops
from inference.fusion import name_of, sees_malignancy, sees_subtype, sees_wbc
from inference.manifest import CellClassStage, CropStage, NamingStage
from inference.outlines import outline_of
from inference.recorder import Recorder
from inference.stages.cell_class import cell_maps
from inference.stages.malignancy import malignancy_p
from inference.stages.subtype import subtype_p
from inference.stages.wbc_class import wbc_class_p
from inference.tensors import Rows

__all__ = ["Found", "Named", "named"]

BATCH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A cell that stage 2 found: `box` in pixels of the field, and what those pixels are taken
    for. `p` is the detector's; 1 where the field is the cell."""

    field: Field
    um_per_px: tuple[float, float]
    background: Colour
    box: Box
    p: float


@dataclass(frozen=True, kw_only=True)
class Named:
    """What stages 3 to 6 say of one cell; see domain.cells.Cell for None and ()."""

    cell_class: CellClass
    cell_class_p: tuple[float, ...]
    wbc_class: str | None = None
    wbc_class_p: tuple[float, ...] = ()
    malignancy: str | None = None
    malignancy_p: tuple[float, ...] = ()
    subtype: str | None = None
    subtype_p: tuple[float, ...] = ()
    outline: tuple[float, ...] = ()  # of white cells, in pixels of the field


def named(found: Sequence[Found], *, bundle: Bundle, recorder: Recorder) -> list[Named] | None:
    """One Named for each of `found`; None when stage 3 failed, without which there is no cell."""
    stages = bundle.manifest.stages
    kinds = _cell_classes(found, bundle, recorder)
    if kinds is None:
        return None
    cells = kinds

    chosen = [i for i, c in enumerate(cells) if sees_wbc(c.cell_class)]
    rows = _rows(Stage.WBC_CLASS, stages.wbc_class, wbc_class_p, found, chosen, bundle, recorder)
    for i, p in rows:
        cells[i] = replace(cells[i], wbc_class=_name(p, stages.wbc_class), wbc_class_p=p)

    chosen = [i for i, c in enumerate(cells) if sees_malignancy(c.wbc_class)]
    rows = _rows(Stage.MALIGNANCY, stages.malignancy, malignancy_p, found, chosen, bundle, recorder)
    for i, p in rows:
        cells[i] = replace(cells[i], malignancy=_name(p, stages.malignancy), malignancy_p=p)

    chosen = [i for i, c in enumerate(cells) if sees_subtype(c.malignancy)]
    rows = _rows(Stage.SUBTYPE, stages.subtype, subtype_p, found, chosen, bundle, recorder)
    for i, p in rows:
        cells[i] = replace(cells[i], subtype=_name(p, stages.subtype), subtype_p=p)
    return cells


def _cell_classes(found: Sequence[Found], bundle: Bundle, recorder: Recorder) -> list[Named] | None:
    entry = bundle.manifest.stages.cell_class
    network = bundle.networks[Stage.CELL_CLASS]
    cells: list[Named] = []
    for start in range(0, len(found), BATCH):
        crops = _crops(found[start : start + BATCH], entry)
        maps = recorder.attempt(
            Stage.CELL_CLASS,
            lambda crops=crops: cell_maps(crops, network=network, entry=entry),  # type: ignore[misc]
            items=len(crops.boxes),
        )
        if maps is None:
            return None
        lot = found[start : start + BATCH]
        cells += [_kind_of(*one, entry) for one in zip(lot, maps.p, maps.masks, strict=True)]
    return cells


def _kind_of(
    found: Found, p: tuple[float, ...], mask: npt.NDArray[np.bool_], entry: CellClassStage
) -> Named:
    """Red cells and platelets go without an outline: a smear has thousands, and their boxes tell
    as much."""
    kind = _kind(p)
    outline: tuple[float, ...] = ()
    if kind is CellClass.WHITE_BLOOD_CELL:
        outline = outline_of(
            mask, box=found.box, um_per_px=found.um_per_px, field_um=entry.field_um
        )
    return Named(cell_class=kind, cell_class_p=p, outline=outline)


def _rows(
    stage: Stage,
    entry: NamingStage,
    read: Callable[..., Rows],
    found: Sequence[Found],
    chosen: Sequence[int],
    bundle: Bundle,
    recorder: Recorder,
) -> list[tuple[int, tuple[float, ...]]]:
    """Each chosen cell's index and its row; those of a batch that failed are left out."""
    rows: list[tuple[int, tuple[float, ...]]] = []
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        crops = _crops([found[i] for i in batch], entry)
        read_rows = recorder.attempt(
            stage,
            lambda crops=crops: read(crops, network=bundle.networks[stage], entry=entry),  # type: ignore[misc]
            items=len(batch),
        )
        rows += zip(batch, read_rows or (), strict=False)
    return rows


def _crops(found: Sequence[Found], entry: CropStage) -> Crops:
    each = [
        square_crops(
            f.field.pixels,
            [f.box],
            um_per_px=f.um_per_px,
            field_um=entry.field_um,
            size_px=entry.input_px,
            interpolation=entry.interpolation,
            background=f.background,
        )
        for f in found
    ]
    return Crops(
        pixels=np.concatenate([c.pixels for c in each]),
        boxes=tuple(box for c in each for box in c.boxes),
    )


def _kind(p: tuple[float, ...]) -> CellClass:
    return tuple(CellClass)[max(range(len(p)), key=lambda i: p[i])]


def _name(p: tuple[float, ...], entry: NamingStage) -> str:
    return name_of(p, classes=entry.classes, reject_below=entry.reject_below)
