"""The questions that belong to one stage alone.

Stage 3  sources weighing alike in every class; Dice of the masks against drawn smears
Stage 4  blasts seen in other marrow cells; what becomes of cells that nobody can name
Stage 5  normal lymphocytes of other laboratories; leukaemic cells of another laboratory, cut out on black
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Malignancy, Stage, WbcClass
from domain.image import Box, Pixels
from inference.bundle import Bundle
from inference.crops import Colour, Crops, background_of, square_crops
from inference.fusion import name_of
from inference.manifest import CellClassStage, NamingStage
from inference.stages.cell_class import cell_maps
from phantom.smear import Phantom
from training.cells import CellSource
from training.collection import NOT_IDENTIFIABLE
from training.drawings import VAL_SEED, drawn_smears
from training.evaluation.answers import answers_of
from training.evaluation.judged import Lot
from training.evaluation.workers import Progress, in_turn
from training.metrics import Estimate, estimated, share
from training.pictures import Picture, Shows, Split, readable

__all__ = ["extra_lots", "on_ground", "rejected_lots"]

Rows = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
MARROW = "munich"
FIELDS = "taleqani"  # whose cells inherit their field's label
DRAWN = 4
RED_OF_A_DRAWING = 6
LYMPHOBLAST_UM = 11.5  # taken for the median diameter of the cut-out leukaemic cells
BLACK = 24  # sum of the three channels up to which a pixel is cut-out ground


def extra_lots(
    stage: Stage,
    bundle: Bundle,
    cells: Sequence[CellSource],
    truth: Indices,
    p: Rows,
    root: Path,
    workers: int,
    tell: Progress,
) -> list[Lot]:
    """Of the judged cells and of others that only this stage is asked about."""
    match stage:
        case Stage.CELL_CLASS:
            return [_sources_alike(cells, truth, p), _masks(bundle, workers, tell)]
        case Stage.WBC_CLASS:
            return _marrow(bundle, cells, truth, p)
        case Stage.MALIGNANCY:
            return [
                *_other_lymphocytes(bundle, cells, truth, p),
                *_cut_out_cells(bundle, cells, root, workers, tell),
            ]
        case _:
            return []


def rejected_lots(
    stage: Stage,
    bundle: Bundle,
    every: Sequence[CellSource],
    classes: Sequence[str],
    workers: int,
    tell: Progress,
) -> list[Lot]:
    """Cells that should be named as nothing: nobody can identify them, or the bundle has no name."""
    groups: dict[str, list[CellSource]] = {}
    for cell in every:
        if not cell.allowed:
            groups.setdefault(NOT_IDENTIFIABLE, []).append(cell)
        elif len(cell.allowed) == 1 and cell.allowed[0] not in classes:
            groups.setdefault(f"{cell.allowed[0]}, no class of this bundle", []).append(cell)
    lots = []
    for name, cells in groups.items():
        found = answers_of(stage, bundle, cells, workers=workers, what="no class", tell=tell)
        told = _accepted(bundle, stage, found.p)
        shares = {"left unclassified": share(told.count(""), len(told))}
        shares |= {f"called {c}": share(told.count(c), len(told)) for c in classes if told.count(c)}
        lots.append(Lot(name=name, cells=len(cells), shares=shares))
    return lots


def on_ground(pixels: Pixels, ground: Colour) -> Pixels:
    """A cell that was cut out on black, laid on plain ground."""
    black = pixels.astype(int).sum(axis=2) <= BLACK
    laid = pixels.copy()
    laid[black] = np.clip(np.rint(ground), 0, 255).astype(np.uint8)
    return laid


def _accepted(bundle: Bundle, stage: Stage, p: Rows) -> list[str]:
    """The class told of each cell, empty where it is rejected."""
    entry = bundle.manifest.stages.of(stage)
    assert isinstance(entry, NamingStage)  # noqa: S101  # stages 4 to 6
    names = [name_of(row, classes=entry.classes, reject_below=entry.reject_below) for row in p]
    return [name if name in entry.classes else "" for name in names]


def _sources_alike(cells: Sequence[CellSource], truth: Indices, p: Rows) -> Lot:
    """Within each class every laboratory weighs the same, so that the largest set is not the figure."""
    labs = np.array([c.laboratory for c in cells])
    told, kinds = p.argmax(axis=1), tuple(CellClass)

    def weights(index: Indices) -> Rows:
        pairs = [(int(t), lab) for t, lab in zip(truth[index], labs[index], strict=True)]
        number = {pair: pairs.count(pair) for pair in set(pairs)}
        of_class = {t: sum(1 for pair in number if pair[0] == t) for t, _ in number}
        return np.array([1 / (number[pair] * of_class[pair[0]]) for pair in pairs])

    def accuracy(index: Indices) -> float:
        weight = weights(index)
        return float(weight @ (told[index] == truth[index]) / weight.sum())

    def precision(kind: int) -> Estimate:
        def of(index: Indices) -> float:
            weight = weights(index) * (told[index] == kind)
            total = weight.sum()
            return float(weight @ (truth[index] == kind) / total) if total else float("nan")

        return estimated(of, len(truth), rounds=200)

    estimates: dict[str, Estimate] = {"accuracy": estimated(accuracy, len(truth), rounds=200)}
    for i, kind in enumerate(kinds):
        estimates[f"precision of {kind.value}"] = precision(i)
    return Lot(name="sources weighing alike", cells=len(cells), estimates=estimates)


def _masks(bundle: Bundle, workers: int, tell: Progress) -> Lot:
    """Dice of the masks with the true ones of drawn smears, which no training has seen."""
    entry = bundle.manifest.stages.cell_class
    items = [
        (phantom.pixels, plane, box, kind, phantom.um_per_px)
        for phantom in drawn_smears(DRAWN, first_seed=VAL_SEED)
        for plane, box, kind in _true_masks(phantom)
    ]
    overlaps = in_turn(
        lambda one: _dice(bundle, entry, *one), items, workers=workers, what="masks", tell=tell
    )
    values = np.array(overlaps)
    kinds = np.array([kind for *_, kind, _ in items])
    return Lot(
        name="masks of drawn smears",
        cells=len(items),
        estimates={
            f"Dice, {kind.value}": estimated(
                lambda i, of=values[kinds == kind.value]: float(of[i].mean()),  # type: ignore[misc]
                int((kinds == kind.value).sum()),
            )
            for kind in CellClass
        },
    )


def _true_masks(phantom: Phantom) -> list[tuple[npt.NDArray[np.uint8], Box, str]]:
    """White cells, platelets and some red cells that lie whole in the picture."""
    found, red = [], 0
    for i, cell in enumerate(phantom.cells):
        is_red = cell.cell_class is CellClass.RED_BLOOD_CELL
        if cell.visible < 1 or (is_red and red == RED_OF_A_DRAWING):
            continue
        red += is_red
        plane = np.zeros(phantom.pixels.shape[:2], np.uint8)
        x0, y0, x1, y1 = (int(v) for v in cell.box_px)
        plane[y0:y1, x0:x1][phantom.mask(i)] = 255
        found.append((plane, cell.box_px, cell.cell_class.value))
    return found


def _dice(
    bundle: Bundle,
    entry: CellClassStage,
    pixels: Pixels,
    plane: npt.NDArray[np.uint8],
    box: Box,
    _kind: str,
    um_per_px: float,
) -> float:
    def cut(what: Pixels, size: int, ground: Colour) -> Crops:
        return square_crops(
            what,
            [box],
            um_per_px=(um_per_px, um_per_px),
            field_um=entry.field_um,
            size_px=size,
            interpolation=entry.interpolation,
            background=ground,
        )

    crops = cut(pixels, entry.input_px, background_of(pixels))
    found = cell_maps(crops, network=bundle.networks[Stage.CELL_CLASS], entry=entry).masks[0]
    true = cut(np.repeat(plane[:, :, None], 3, axis=2), found.shape[0], np.zeros(3, np.float32))
    wanted = true.pixels[0, :, :, 0] >= 128
    both = found.sum() + wanted.sum()
    return float(2 * (found & wanted).sum() / both) if both else 1.0


def _marrow(bundle: Bundle, cells: Sequence[CellSource], truth: Indices, p: Rows) -> list[Lot]:
    """Where blasts come from one laboratory's marrow alone, *blast* must not mean *marrow*."""
    classes = tuple(bundle.manifest.stages.wbc_class.classes)
    blast = classes.index(WbcClass.BLAST_CELLS)
    other = np.array([c.laboratory == MARROW for c in cells]) & (truth != blast)
    if not other.any():
        return []
    told = _accepted(bundle, Stage.WBC_CLASS, p[other])
    number = int(other.sum())
    return [
        Lot(
            name="other marrow cells",
            cells=number,
            shares={
                "called blast_cells": share(int((p[other].argmax(axis=1) == blast).sum()), number),
                "called so and accepted": share(told.count(WbcClass.BLAST_CELLS), number),
            },
        )
    ]


def _other_lymphocytes(
    bundle: Bundle, cells: Sequence[CellSource], truth: Indices, p: Rows
) -> list[Lot]:
    """Normal lymphocytes of laboratories that gave no leukaemia."""
    classes = tuple(bundle.manifest.stages.malignancy.classes)
    malignant = classes.index(Malignancy.MALIGNANT)
    labs = np.array([c.laboratory for c in cells])
    normal = (truth != malignant) & (labs != FIELDS)
    shares = {}
    for name in ("all together", *np.unique(labs[normal])):
        of = normal if name == "all together" else normal & (labs == name)
        if of.any():
            told = _accepted(bundle, Stage.MALIGNANCY, p[of])
            wrong = int((p[of].argmax(axis=1) == malignant).sum())
            shares[f"called malignant, {name}"] = share(wrong, int(of.sum()))
            shares[f"called so and accepted, {name}"] = share(
                told.count(Malignancy.MALIGNANT), int(of.sum())
            )
    if not shares:
        return []
    return [
        Lot(name="normal lymphocytes of other laboratories", cells=int(normal.sum()), shares=shares)
    ]


def _cut_out_cells(
    bundle: Bundle, cells: Sequence[CellSource], root: Path, workers: int, tell: Progress
) -> list[Lot]:
    """Cells of another laboratory that came on black. They are laid on the ground of the judged single
    cells first, because black ground is no smear; that the ground is made is said with the figure."""
    files = sorted((root / "all/cnmc_all_only").rglob("*.png"))
    files += sorted((root / "all/cnmc_ten").rglob("*.png"))
    pictures, _ = readable(Picture(path=f, laboratory="cnmc", shows=Shows.CELL) for f in files)
    if not pictures:
        return []
    single = [c.ground for c in cells if c.laboratory != FIELDS] or [c.ground for c in cells]
    ground = np.median(np.array(single), axis=0).astype(np.float32)
    seen = [(p, x, x.astype(int).sum(axis=2) > BLACK) for p, x in pictures]
    width = np.median([2 * np.sqrt(mask.sum() / np.pi) for _, _, mask in seen])
    scale = LYMPHOBLAST_UM / float(width)
    sources = []
    for number, (picture, pixels, mask) in enumerate(seen):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        leukaemic = picture.path.stem.endswith("_all")
        sources.append(
            CellSource(
                pixels=on_ground(pixels, ground),
                box=Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1),
                um_per_px=(scale, scale),
                ground=ground,
                allowed=(Malignancy.MALIGNANT if leukaemic else Malignancy.BENIGN,),
                laboratory="cnmc",
                split=Split.VAL,
                field=number,
                source=f"cnmc: {picture.path.name}",
                drawn_box=False,
            )
        )
    found = answers_of(
        Stage.MALIGNANCY, bundle, sources, workers=workers, what="cut-out cells", tell=tell
    )
    told = np.array(_accepted(bundle, Stage.MALIGNANCY, found.p))
    best = found.p.argmax(axis=1)
    malignant = tuple(bundle.manifest.stages.malignancy.classes).index(Malignancy.MALIGNANT)
    shares = {}
    for name, label in (("leukaemic", Malignancy.MALIGNANT), ("normal", Malignancy.BENIGN)):
        of = np.array([c.allowed == (label,) for c in sources])
        if of.any():
            number = int(of.sum())
            shares[f"{name}, called malignant"] = share(int((best[of] == malignant).sum()), number)
            shares[f"{name}, called so and accepted"] = share(
                int((told[of] == Malignancy.MALIGNANT).sum()), number
            )
    return [Lot(name="cnmc, on made ground at an assumed scale", cells=len(sources), shares=shares)]
