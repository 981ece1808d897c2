"""Labelled pictures: where they lie, what is known of them, and their pixels.

In      files of a user's folders
Out     Picture, a frozen value without pixels; `pixels_of` decodes, `readable` sorts out what cannot be
A picture is named by its set (a laboratory or a collection) and by the hash of its decoded pixels, so
that the same picture under another name or in another file format is still the same.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from domain.cells import CellClass
from domain.image import Box, Pixels

__all__ = [
    "LabelledBox",
    "Picture",
    "Shows",
    "Split",
    "digest_of",
    "pixels_of",
    "readable",
    "sets_of",
    "split_pictures",
]

MOST_PX = 100_000_000  # of one training picture: larger ones are slides, which are read elsewhere


class Split(StrEnum):
    """Which side of the line a picture is on. `gap` keeps neighbours of `val` out of both."""

    TRAIN = "train"
    VAL = "val"
    GAP = "gap"


class Shows(StrEnum):
    """What a picture is of."""

    FIELD = "field"
    CELL = "cell"  # one, in its middle


@dataclass(frozen=True, kw_only=True)
class LabelledBox:
    """One cell that somebody drew a box round, in pixels of the picture."""

    box: Box
    cell_class: CellClass


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One file.

    laboratory  the set it is of; classes are balanced over laboratories
    label       class name in the words of the stage, or of the set where a stage translates; "" none
    white_class class of the white cell nearest the middle of a field with boxes; "" unknown
    group       pictures of one group stay on one side of a split (slide, stain group, cell); "" alone
    um_per_px   (x, y) of its pixels, by the set's red cells; None where nothing is known
    covered_px  a part of the picture that tells the label and not the cell (a burnt-in scale bar)
    complete    every cell of the field has its box; else what has no box is no background
    """

    path: Path
    laboratory: str
    shows: Shows = Shows.FIELD
    label: str = ""
    split: Split = Split.TRAIN
    white_class: str = ""
    group: str = ""
    um_per_px: tuple[float, float] | None = None
    boxes: tuple[LabelledBox, ...] = ()
    covered_px: Box | None = None
    complete: bool = True


def pixels_of(picture: Picture) -> Pixels | None:
    """(H, W, 3) uint8 RGB with `covered_px` filled by the ground colour beside it; None where the
    file cannot be decoded."""
    try:
        data = np.frombuffer(picture.path.read_bytes(), np.uint8)
    except OSError:
        return None
    if not data.size:
        return None
    try:
        read = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if read is None or read.shape[0] * read.shape[1] > MOST_PX:
        return None
    pixels: Pixels = np.ascontiguousarray(read[:, :, ::-1])
    if picture.covered_px is not None:
        pixels = covered(pixels, picture.covered_px)
    return pixels


def covered(pixels: Pixels, part: Box) -> Pixels:
    """The same picture with `part` painted in the median of the light pixels: plain ground."""
    light = pixels.reshape(-1, 3)[
        pixels.reshape(-1, 3).sum(axis=1) >= np.median(pixels.sum(axis=2))
    ]
    painted = pixels.copy()
    x0, y0, x1, y1 = (round(v) for v in part)
    painted[y0:y1, x0:x1] = np.median(light, axis=0).astype(np.uint8)
    return painted


def digest_of(pixels: Pixels) -> str:
    """SHA-256 of the decoded RGB pixels and their size."""
    size = f"{pixels.shape[1]}x{pixels.shape[0]} RGB\n".encode()
    return hashlib.sha256(size + pixels.tobytes()).hexdigest()


def readable(pictures: Iterable[Picture]) -> tuple[list[tuple[Picture, Pixels]], list[Path]]:
    """Each picture with its pixels, and the files that could not be decoded."""
    good, bad = [], []
    for picture in pictures:
        pixels = pixels_of(picture)
        if pixels is None:
            bad.append(picture.path)
        else:
            good.append((picture, pixels))
    return good, bad


def split_pictures(pictures: Sequence[Picture], split: Split) -> list[Picture]:
    """Those of one side, in their order."""
    return [p for p in pictures if p.split is split]


def sets_of(pictures: Iterable[Picture]) -> tuple[str, ...]:
    """The laboratories, sorted."""
    return tuple(sorted({p.laboratory for p in pictures}))
