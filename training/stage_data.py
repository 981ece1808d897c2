"""The pictures that a stage learns from and is judged on.

In      a user's folder: the public collection (known by its sets), or one set in one of the usual forms
Out     StageData: pictures with pixels, the unreadable files, the content hashes
Errors  DataError, OverlapError; before anything is written
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domain.cells import (
    FURTHER_WBC_CLASSES,
    CellClass,
    Malignancy,
    Stage,
    Subtype,
    ViabilityClass,
    WbcClass,
)
from domain.image import Pixels
from training.collection import (
    NOT_IDENTIFIABLE,
    blurred_fields,
    boxed_fields,
    is_collection,
    leukaemia_fields,
    white_cells,
)
from training.duplicates import refuse_copies, thumbnail_of
from training.errors import DataError
from training.pictures import Picture, Shows, Split, digest_of, readable
from training.readers import image_folders, voc_boxes, yolo_boxes

__all__ = ["SHORT", "StageData", "classes_of", "stage_data"]

SHORT = 16  # hexadecimal digits of a content hash that are kept: enough to know a picture again


@dataclass(frozen=True, kw_only=True, eq=False)
class StageData:
    """`pictures` are those that can be read; `digests` their content hashes, in the same order."""

    pictures: tuple[tuple[Picture, Pixels], ...]
    digests: tuple[str, ...]
    unreadable: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """Of all pictures with label and side: part of a run's identity."""
        lines = sorted(
            f"{d} {p.laboratory} {p.label} {p.split} {len(p.boxes)}"
            for d, (p, _) in zip(self.digests, self.pictures, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def record(self) -> list[dict[str, Any]]:
        """For the manifest: each laboratory and side with the short hashes of its pictures."""
        sides: dict[tuple[str, str], list[str]] = {}
        for digest, (picture, _) in zip(self.digests, self.pictures, strict=True):
            sides.setdefault((picture.laboratory, picture.split.value), []).append(digest[:SHORT])
        return [
            {"set": lab, "split": split, "pictures": sorted(hashes)}
            for (lab, split), hashes in sorted(sides.items())
        ]

    def side(self, split: Split) -> list[tuple[Picture, Pixels]]:
        return [(p, x) for p, x in self.pictures if p.split is split]


def classes_of(stage: Stage) -> tuple[str, ...]:
    """The class folders that a stage knows."""
    match stage:
        case Stage.VIABILITY:
            return tuple(ViabilityClass)
        case Stage.DETECTION | Stage.CELL_CLASS:
            return tuple(CellClass)
        case Stage.WBC_CLASS:
            return tuple(WbcClass)
        case Stage.MALIGNANCY:
            return tuple(Malignancy)
        case Stage.SUBTYPE:
            return tuple(Subtype)


def stage_data(
    stage: Stage,
    folder: Path,
    *,
    um_per_px: float | None = None,
    leave_out: Collection[str] = (),
    to_train: bool = True,
    choose: Callable[[Sequence[Picture]], Sequence[Picture]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> StageData:
    """Read, decode, hash, and refuse near-copies across the split (unless it is only to be judged
    on, which also goes without some classes). `leave_out` names laboratories whose pictures all go to `val`;
    `choose` says which pictures are wanted at all, before any is decoded."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the one that holds the pictures")
    pictures = (
        _of_collection(stage, folder)
        if is_collection(folder)
        else _of_user(
            stage, folder, None if um_per_px is None else (um_per_px, um_per_px), to_train=to_train
        )
    )
    unknown = set(leave_out) - {p.laboratory for p in pictures}
    if unknown:
        raise DataError(f"no laboratory is called {', '.join(sorted(unknown))} in {folder}")
    pictures = [replace(p, split=Split.VAL) if p.laboratory in leave_out else p for p in pictures]
    if choose is not None:
        pictures = list(choose(pictures))
    if progress:
        progress("reading", 0, len(pictures))
    good, bad = readable(pictures)
    if progress:
        progress("reading", len(pictures), len(pictures))
    if not good:
        raise DataError(f"{folder} holds no picture for this stage that can be read")
    if to_train:
        refuse_copies([p for p, _ in good], [thumbnail_of(x) for _, x in good])
    return StageData(
        pictures=tuple(good),
        digests=tuple(digest_of(x) for _, x in good),
        unreadable=tuple(bad),
    )


def _of_collection(stage: Stage, root: Path) -> list[Picture]:
    match stage:
        case Stage.VIABILITY:
            bad = {p.path for p in blurred_fields(root)}
            good = [p for p in (*boxed_fields(root), *leukaemia_fields(root)) if p.path not in bad]
            pictures = [replace(p, label=ViabilityClass.VIABLE, boxes=()) for p in good]
        case Stage.DETECTION:
            pictures = boxed_fields(root)
        case Stage.CELL_CLASS:
            pictures = (
                boxed_fields(root)
                + [_as_kind(c) for c in white_cells(root)]
                + [replace(f, label="") for f in leukaemia_fields(root)]
            )
        case Stage.WBC_CLASS:
            pictures = white_cells(root) + boxed_fields(root) + leukaemia_fields(root)
        case Stage.MALIGNANCY:
            single = {
                WbcClass.LYMPHOCYTES: Malignancy.BENIGN,
                WbcClass.BLAST_CELLS: Malignancy.MALIGNANT,
            }
            pictures = [
                p if p.label == Malignancy.BENIGN else replace(p, label=Malignancy.MALIGNANT)
                for p in leukaemia_fields(root)
            ] + [
                replace(c, label=single[WbcClass(c.label)])
                for c in white_cells(root)
                if c.label in single
            ]
        case Stage.SUBTYPE:
            pictures = [p for p in leukaemia_fields(root) if p.label != Malignancy.BENIGN]
    if not pictures:
        raise DataError(f"{root} holds no set for stage {stage.number}; see the sets it needs")
    return pictures


def _as_kind(cell: Picture) -> Picture:
    """A single cell of stage 4 in the words of stage 3."""
    kinds = {
        WbcClass.PLATELET: CellClass.PLATELET,
        WbcClass.RED_BLOOD_CELL: CellClass.RED_BLOOD_CELL,
    }
    return replace(
        cell,
        label=kinds.get(WbcClass(cell.label), CellClass.WHITE_BLOOD_CELL)
        if cell.label != NOT_IDENTIFIABLE
        else CellClass.WHITE_BLOOD_CELL,
    )


def _of_user(
    stage: Stage, folder: Path, um_per_px: tuple[float, float] | None, *, to_train: bool
) -> Sequence[Picture]:
    classes = classes_of(stage)
    if stage in (Stage.DETECTION, Stage.CELL_CLASS):
        parts = [folder, *(folder / s for s in (Split.TRAIN, Split.VAL))]
        yolo = any((p / "images").is_dir() and (p / "labels").is_dir() for p in parts)
        found = yolo_boxes(folder) if yolo else voc_boxes(folder)
        return [replace(p, um_per_px=um_per_px or scale_of_boxes(found)) for p in found]
    needed = [c for c in classes if c not in FURTHER_WBC_CLASSES]
    found = image_folders(
        folder,
        classes=(*classes, *_further(stage)),
        um_per_px=um_per_px,
        shows=Shows.FIELD if stage is Stage.VIABILITY else Shows.CELL,
    )
    missing = [c for c in needed if c not in {p.label for p in found}]
    if missing and to_train and stage is not Stage.VIABILITY:
        raise DataError(f"{folder} has no picture of {', '.join(missing)}; every class needs some")
    return found


def _further(stage: Stage) -> tuple[str, ...]:
    return (NOT_IDENTIFIABLE,) if stage is Stage.WBC_CLASS else ()


def scale_of_boxes(pictures: Sequence[Picture]) -> tuple[float, float] | None:
    """Of all red cells of a set together."""
    from inference.scale import red_cell_scale

    red = [b.box for p in pictures for b in p.boxes if b.cell_class is CellClass.RED_BLOOD_CELL]
    scale = red_cell_scale(red, at_least=20)
    return scale.um_per_px if scale else None


def counts_of(pictures: Sequence[Picture]) -> dict[str, int]:
    """How many pictures each laboratory and side has, for people."""
    return {
        f"{lab} {side}": n
        for (lab, side), n in sorted(
            Counter((p.laboratory, p.split.value) for p in pictures).items()
        )
    }
