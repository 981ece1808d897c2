"""The whole fields that the cascade is judged on, with what is known of each.

In      a data folder: the public collection, or one set of boxed fields; drawn smears are added
Out     WholeFields: pixels as the service gets them (scale bars and all), the cells that are there
Errors  DataError as in training
Boxes were drawn by people. In fields that were labelled as a whole nobody drew any: their white cells are
those whose nuclei stand out by stain, single and whole ones only. Drawn smears know everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from domain.cells import CellClass, Malignancy, Stage, WbcClass
from domain.image import Box, Pixels
from phantom.smear import Phantom
from training.collection import is_collection, leukaemia_fields
from training.drawings import VAL_SEED, drawn_smears
from training.errors import DataError
from training.evaluation.judged import Sizes, sampled
from training.nuclei import nuclei_in
from training.pictures import Picture, Split, digest_of, pixels_of, readable, split_pictures
from training.stage_data import stage_data

__all__ = ["Kind", "TrueCell", "WholeField", "WholeFields", "whole_fields"]

LEAST_VISIBLE = 0.3  # share of a drawn cell that must lie in the picture to count


class Kind(StrEnum):
    """What is known of a field."""

    BOXED = "boxed"  # every cell has a box; people without leukaemia
    BENIGN = "benign"
    LEUKAEMIC = "leukaemic"
    DRAWN = "drawn"


@dataclass(frozen=True, kw_only=True)
class TrueCell:
    """`wbc_class` is empty where nobody named the cell, `blast` None where nobody knows."""

    box: Box
    cell_class: CellClass
    wbc_class: str = ""
    blast: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeField:
    """`um_per_px` is the known scale; the cascade is not told it, but for drawn smears, which carry
    theirs as objects do. Of `unjudged` kinds not every cell has a box."""

    name: str
    laboratory: str
    kind: Kind
    group: str
    pixels: Pixels
    um_per_px: tuple[float, float]
    cells: tuple[TrueCell, ...]
    unjudged: tuple[CellClass, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WholeFields:
    """`digests` are the content hashes of the pictures, as training records them."""

    fields: tuple[WholeField, ...]
    digests: tuple[str, ...]
    unreadable: tuple[Path, ...]


def whole_fields(
    data: Path,
    *,
    sizes: Sizes,
    um_per_px: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> WholeFields:
    """Fields of `val`, an even sample of each laboratory and kind, and the drawn ones."""
    read = stage_data(
        Stage.DETECTION,
        data,
        um_per_px=um_per_px,
        to_train=False,
        choose=lambda pictures: _per_laboratory(pictures, sizes.fields),
        progress=progress,
    )
    usable = [
        (d, p, x)
        for d, (p, x) in zip(read.digests, read.pictures, strict=True)
        if p.split is Split.VAL and p.boxes and p.um_per_px
    ]
    if not usable:
        raise DataError(
            f"{data} has no field with boxes and a known scale on the side of val; give --um-per-px"
        )
    fields = [_boxed(p, x) for _, p, x in usable]
    digests = [d for d, _, _ in usable]
    unreadable = list(read.unreadable)
    if is_collection(data):
        pictures, bad = readable(_labelled(data, sizes.fields))
        fields += [_of_label(p, x) for p, x in pictures]
        digests += [digest_of(x) for _, x in pictures]
        unreadable += bad
    fields += [_drawn(p, n) for n, p in enumerate(drawn_smears(sizes.drawn, first_seed=VAL_SEED))]
    return WholeFields(fields=tuple(fields), digests=tuple(digests), unreadable=tuple(unreadable))


def _per_laboratory(pictures: Sequence[Picture], most: int) -> list[Picture]:
    lots: dict[str, list[Picture]] = {}
    for picture in split_pictures(pictures, Split.VAL):
        lots.setdefault(picture.laboratory, []).append(picture)
    return [p for of in lots.values() for p in sampled(of, most)]


def _labelled(data: Path, most: int) -> list[Picture]:
    """Benign fields, and half as many of each pattern of leukaemia."""
    lots: dict[str, list[Picture]] = {}
    for picture in split_pictures(leukaemia_fields(data), Split.VAL):
        lots.setdefault(picture.label, []).append(picture)
    return [
        p
        for label, of in sorted(lots.items())
        for p in sampled(of, most if label == Malignancy.BENIGN else max(1, -(-most // 2)))
    ]


def _boxed(picture: Picture, pixels: Pixels) -> WholeField:
    white = [b for b in picture.boxes if b.cell_class is CellClass.WHITE_BLOOD_CELL]
    named = picture.white_class if len(white) == 1 else ""
    return WholeField(
        name=picture.path.name,
        laboratory=picture.laboratory,
        kind=Kind.BOXED,
        group=picture.group or picture.path.name,
        pixels=pixels,
        um_per_px=picture.um_per_px or (1.0, 1.0),
        cells=tuple(
            TrueCell(
                box=b.box,
                cell_class=b.cell_class,
                wbc_class=named if b.cell_class is CellClass.WHITE_BLOOD_CELL else "",
                blast=False,
            )
            for b in picture.boxes
        ),
        unjudged=() if picture.complete else (CellClass.RED_BLOOD_CELL,),
    )


def _of_label(picture: Picture, covered: Pixels) -> WholeField:
    """Nuclei are looked for with the scale bar covered; the cascade gets the field as it came."""
    scale = picture.um_per_px or (1.0, 1.0)
    raw = pixels_of(replace(picture, covered_px=None))
    benign = picture.label == Malignancy.BENIGN
    return WholeField(
        name=picture.path.name,
        laboratory=picture.laboratory,
        kind=Kind.BENIGN if benign else Kind.LEUKAEMIC,
        group=picture.group or picture.path.name,
        pixels=covered if raw is None else raw,
        um_per_px=scale,
        cells=tuple(
            TrueCell(
                box=box,
                cell_class=CellClass.WHITE_BLOOD_CELL,
                blast=False if benign else None,
            )
            for box in nuclei_in(covered, scale)
        ),
        unjudged=tuple(CellClass),
    )


def _drawn(phantom: Phantom, number: int) -> WholeField:
    return WholeField(
        name=f"drawn {number + 1}",
        laboratory="drawn",
        kind=Kind.DRAWN,
        group=str(number),
        pixels=phantom.pixels,
        um_per_px=(phantom.um_per_px, phantom.um_per_px),
        cells=tuple(
            TrueCell(
                box=c.box_px,
                cell_class=c.cell_class,
                wbc_class=c.wbc_class.value if c.wbc_class else "",
                blast=c.wbc_class is WbcClass.BLAST_CELLS,
            )
            for c in phantom.cells
            if c.visible >= LEAST_VISIBLE
        ),
    )
