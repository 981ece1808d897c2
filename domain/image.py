"""Pixels on their way into the networks, and what is known about them.

A source (picture, DICOM object, slide) gives an iterator of fields, never an array of the slide.
Coordinates: `*_px` are pixels of the image as it came (for a slide: of the total pixel matrix),
x to the right, y down, the origin at the outer corner of the top left pixel.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from domain.identities import Sha256

__all__ = [
    "OUTSIDE_RANGE",
    "OUTSIDE_STAIN",
    "UNKNOWN_SMEAR",
    "Box",
    "Domain",
    "Field",
    "ImageHeader",
    "ImageReading",
    "Pixels",
    "ScaleFrom",
    "UnreadablePixels",
    "Verdict",
    "Viability",
]

# how the warning of an ImageReading begins that raises the flag `scale_out_of_range`
OUTSIDE_RANGE = "scale outside the bundle's range"
# and of those that raise `stain_out_of_range`: fields that were read, and fields that were not
OUTSIDE_STAIN = "stain outside the bundle's range"
UNKNOWN_SMEAR = "no blood smear that this bundle knows"

Pixels: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) RGB


class Domain(StrEnum):
    """What kind of image it is; a bundle names those it was trained on (METHOD 3)."""

    SMEAR = "smear"
    IFC_BRIGHTFIELD = "ifc-brightfield"
    UNKNOWN = "unknown"


class ScaleFrom(StrEnum):
    """Where the physical scale was taken from."""

    SPACING = "spacing"
    RED_CELLS = "red-cells"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What became of an image at stage 1, or before it."""

    VIABLE = "viable"
    NON_VIABLE = "non-viable"
    NOT_ASSESSED = "not-assessed"  # refused before stage 1: other domain, unreadable, single cells


class Box(NamedTuple):
    """x0, y0, x1, y1 in pixels; x1 and y1 exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def holds(self, x: float, y: float) -> bool:
        return self.x0 <= x < self.x1 and self.y0 <= y < self.y1


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What is known of an image before a network sees it.

    `source` names it to a reader: a file's name, or an instance UID. `um_per_px` is (x, y).
    `refusal` is why it is not evaluable whatever the bundle, empty when it can be read.
    `pixel_aspect` is the height of a pixel over its width where only that is told, also where it is 1.
    """

    source: str
    sha256: Sha256
    width_px: int
    height_px: int
    frames: int
    domain: Domain
    um_per_px: tuple[float, float] | None = None
    pixel_aspect: float | None = None
    monochrome: bool = False
    refusal: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """One piece of an image that the cascade reads at once.

    pixels      (H, W, 3) uint8 RGB
    origin_px   where its top left pixel lies in the image
    core_px     the part of the image whose cells (by box centre) belong to this field, so that
                overlapping fields of a slide count no cell twice
    single_cell the field is one cell (flow cytometry, crops): stage 2 is the field itself
    """

    pixels: Pixels
    image: int  # index into Analysis.images
    frame: int  # 1-based frame number; 1 for a single picture and for a slide
    origin_px: tuple[int, int]
    core_px: Box
    um_per_px: tuple[float, float] | None
    domain: Domain
    single_cell: bool = False


@dataclass(frozen=True, kw_only=True)
class Viability:
    """Stage 1's answer for an image: `p` is the probability of *viable* (mean over its fields)."""

    p: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class ImageReading:
    """An image after the cascade."""

    header: ImageHeader
    viability: Viability
    um_per_px: tuple[float, float] | None  # the scale it was read at
    scale_from: ScaleFrom
    fields_read: int
    fields_refused: int  # not viable
    fields_left: int = 0  # not read, because enough leukocytes had been counted
    not_evaluable: str = ""  # why nothing could be counted on it; empty when it was
    warnings: tuple[str, ...] = ()

    @property
    def scale_out_of_range(self) -> bool:
        """Its scale is none of those that the bundle was made for."""
        return any(w.startswith(OUTSIDE_RANGE) for w in self.warnings)

    @property
    def stain_out_of_range(self) -> bool:
        """Some of its fields look unlike those that the bundle was made for."""
        return any(w.startswith((OUTSIDE_STAIN, UNKNOWN_SMEAR)) for w in self.warnings)

    @property
    def unknown_smear(self) -> bool:
        """It was not evaluable, and fields of it are no blood smear that the bundle knows."""
        return bool(self.not_evaluable) and any(w.startswith(UNKNOWN_SMEAR) for w in self.warnings)


class UnreadablePixels(ValueError):
    """An image's pixels cannot be had: cut off, broken, over a limit. The message says why in one
    line without any patient data; the image is reported as not evaluable, the others go on."""
