"""From pictures to single cells with labels, for the stages that see one cell.

In      pictures with pixels
Out     CellSources: where a cell lies, what it may be called; and their crops, cut as the service cuts
A label may be a set of classes (`allowed`): cells of a leukaemia field are blasts or lymphocytes, nobody
said which. An empty set means that the cell is to be recognised as nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from domain.cells import CellClass, Malignancy, Stage, WbcClass
from domain.image import Box, Pixels
from inference.crops import Colour, Crops, background_of, border_colour_of, square_crops
from inference.manifest import Interpolation
from phantom.smear import Phantom, PhantomCell
from training.collection import NOT_IDENTIFIABLE
from training.nuclei import nuclei_in, nucleus_in_the_middle, red_cells_in
from training.pictures import Picture, Shows, Split

__all__ = ["MARGIN", "CellSource", "cell_crops", "cells_for", "drawn_cells"]

MARGIN = 1.35  # a kept crop is wider than the network's, to turn and shift in
MOST_NUCLEI = 6  # of one field
MOST_RED = {Stage.CELL_CLASS: 5, Stage.WBC_CLASS: 1}  # of one field
UNKNOWN_UM_PER_PX = (0.1, 0.1)
LYMPHOID = (WbcClass.BLAST_CELLS, WbcClass.LYMPHOCYTES)
KIND_OF = {
    CellClass.RED_BLOOD_CELL: WbcClass.RED_BLOOD_CELL,
    CellClass.PLATELET: WbcClass.PLATELET,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSource:
    """A cell in its picture. `field` numbers the picture, so that cells of one are judged together."""

    pixels: Pixels
    box: Box
    um_per_px: tuple[float, float]
    ground: Colour
    allowed: tuple[str, ...]
    laboratory: str
    split: Split
    field: int
    source: str  # set and file, for people
    drawn_box: bool  # somebody drew the box; else it was found by its nucleus or is a guess


def cells_for(
    stage: Stage, pictures: Sequence[tuple[Picture, Pixels]], *, seed: int = 0
) -> list[CellSource]:
    """The cells of a stage, in order of the pictures."""
    found: list[CellSource] = []
    for number, (picture, pixels) in enumerate(pictures):
        if picture.split is Split.GAP:
            continue
        rng = np.random.default_rng([seed, number])
        scale = picture.um_per_px or UNKNOWN_UM_PER_PX
        single = picture.shows is Shows.CELL
        ground = border_colour_of(pixels) if single else background_of(pixels)
        for box, allowed, drawn in _labelled(stage, picture, pixels, scale, rng):
            found.append(
                CellSource(
                    pixels=pixels,
                    box=box,
                    um_per_px=scale,
                    ground=ground,
                    allowed=allowed,
                    laboratory=picture.laboratory,
                    split=picture.split,
                    field=number,
                    source=f"{picture.laboratory}: {picture.path.name}",
                    drawn_box=drawn,
                )
            )
    return found


def drawn_cells(stage: Stage, smears: Iterable[Phantom]) -> list[CellSource]:
    """White cells of drawn smears for stages 4 to 6, and for stage 4 a few others; all to train on.
    Each is a field of its own, numbered below zero: its label is certain."""
    found: list[CellSource] = []
    for smear in smears:
        ground, red = background_of(smear.pixels), 0
        for cell in smear.cells:
            red += cell.cell_class is CellClass.RED_BLOOD_CELL
            name = _drawn_name(stage, cell)
            if cell.visible < 0.95 or name is None:
                continue
            if cell.cell_class is CellClass.RED_BLOOD_CELL and red > 2:
                continue
            found.append(
                CellSource(
                    pixels=smear.pixels,
                    box=cell.box_px,
                    um_per_px=(smear.um_per_px, smear.um_per_px),
                    ground=ground,
                    allowed=(name,),
                    laboratory="drawn",
                    split=Split.TRAIN,
                    field=-1 - len(found),
                    source=f"drawn: {smear.spec.seed}",
                    drawn_box=True,
                )
            )
    return found


def _drawn_name(stage: Stage, cell: PhantomCell) -> str | None:
    match stage:
        case Stage.WBC_CLASS:
            return str(cell.wbc_class or KIND_OF[cell.cell_class])
        case Stage.MALIGNANCY:
            return str(cell.malignancy) if cell.wbc_class in LYMPHOID else None
        case _:
            return None if cell.subtype is None else str(cell.subtype)


def cell_crops(cells: Sequence[CellSource], *, field_um: float, size_px: int) -> Crops:
    """(N, S, S, 3) uint8 and each box in its crop."""
    pixels = np.empty((len(cells), size_px, size_px, 3), np.uint8)
    boxes = []
    for i, cell in enumerate(cells):
        one = square_crops(
            cell.pixels,
            [cell.box],
            um_per_px=cell.um_per_px,
            field_um=field_um,
            size_px=size_px,
            interpolation=Interpolation.AREA,
            background=cell.ground,
        )
        pixels[i] = one.pixels[0]
        boxes.append(one.boxes[0])
    return Crops(pixels=pixels, boxes=tuple(boxes))


Labelled = tuple[Box, tuple[str, ...], bool]


def _labelled(
    stage: Stage,
    picture: Picture,
    pixels: Pixels,
    scale: tuple[float, float],
    rng: np.random.Generator,
) -> list[Labelled]:
    if picture.shows is Shows.CELL:
        return [_single(stage, picture, pixels, scale)]
    if picture.boxes:
        return _boxed(stage, picture, pixels, rng)
    nuclei = nuclei_in(pixels, scale)
    if len(nuclei) > MOST_NUCLEI:
        nuclei = [nuclei[i] for i in sorted(rng.permutation(len(nuclei))[:MOST_NUCLEI])]
    allowed = _of_field(stage, picture.label)
    found: list[Labelled] = [(box, allowed, False) for box in nuclei]
    if stage in MOST_RED:  # else whatever comes from such a laboratory is a white cell
        red = red_cells_in(pixels, scale)
        chosen = sorted(rng.permutation(len(red))[: MOST_RED[stage]])
        name = KIND_OF[CellClass.RED_BLOOD_CELL].value
        found += [(red[i], (name,), False) for i in chosen]
    return found


def _single(stage: Stage, picture: Picture, pixels: Pixels, scale: tuple[float, float]) -> Labelled:
    height, width = pixels.shape[:2]
    middle = Box(width * 0.2, height * 0.2, width * 0.8, height * 0.8)
    if stage is Stage.CELL_CLASS:
        if picture.label == CellClass.WHITE_BLOOD_CELL:
            middle = _about(nucleus_in_the_middle(pixels, scale), 1.25) or middle
        else:
            side = {CellClass.PLATELET: 3.0}.get(CellClass(picture.label), 7.5)
            half = side / 2 / scale[0], side / 2 / scale[1]
            x, y = width / 2, height / 2
            middle = Box(x - half[0], y - half[1], x + half[0], y + half[1])
        middle = Box(
            width / 2 - middle.width / 2,
            height / 2 - middle.height / 2,
            width / 2 + middle.width / 2,
            height / 2 + middle.height / 2,
        )
    allowed = () if picture.label == NOT_IDENTIFIABLE else (picture.label,)
    return middle, allowed, False


def _boxed(
    stage: Stage, picture: Picture, pixels: Pixels, rng: np.random.Generator
) -> list[Labelled]:
    height, width = pixels.shape[:2]
    whole = [
        b
        for b in picture.boxes
        if b.box.x0 > 1 and b.box.y0 > 1 and b.box.x1 < width - 1 and b.box.y1 < height - 1
    ]
    red = [b for b in whole if b.cell_class is CellClass.RED_BLOOD_CELL]
    most = MOST_RED.get(stage, 0)
    chosen = [red[i] for i in rng.permutation(len(red))[:most]]
    chosen += [b for b in whole if b.cell_class is not CellClass.RED_BLOOD_CELL]
    if stage is Stage.CELL_CLASS:
        return [(b.box, (b.cell_class.value,), True) for b in chosen]
    if stage is not Stage.WBC_CLASS:
        return []
    named: list[Labelled] = [
        (b.box, (KIND_OF[b.cell_class].value,), True) for b in chosen if b.cell_class in KIND_OF
    ]
    white = [b.box for b in whole if b.cell_class is CellClass.WHITE_BLOOD_CELL]
    if picture.white_class and len(white) == 1:
        named.append((white[0], (picture.white_class,), True))
    return named


def _of_field(stage: Stage, label: str) -> tuple[str, ...]:
    """What a nucleus of a field with that label may be called."""
    if stage is Stage.CELL_CLASS:
        return (CellClass.WHITE_BLOOD_CELL.value,)
    if stage is Stage.WBC_CLASS:
        if label == Malignancy.BENIGN:  # whatever it is, it is no red cell and no platelet
            return tuple(
                c.value for c in WbcClass if c not in (WbcClass.RED_BLOOD_CELL, WbcClass.PLATELET)
            )
        return tuple(c.value for c in LYMPHOID)
    return (label,)


def _about(box: Box | None, wider: float) -> Box | None:
    if box is None:
        return None
    x, y = box.centre
    w, h = box.width * wider / 2, box.height * wider / 2
    return Box(x - w, y - h, x + w, y + h)
