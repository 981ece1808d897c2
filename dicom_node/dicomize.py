"""Make DICOM objects of pictures, with everything a PACS and a validator ask of them.

In      picture files or arrays, and who and what they are of
Out     files of one study and one series, written to a folder
Source  PS3.3 A.32.2 (VL Microscopic), A.32.8 (whole slide), A.8.4 (multi-frame grayscale word)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from domain.identities import StudyUID
from domain.image import Pixels

__all__ = [
    "Labels",
    "PictureArray",
    "RegionReader",
    "SlideSyntax",
    "dicomize",
    "dicomize_flow_cytometry",
    "dicomize_slide",
]

RegionReader = Callable[[int, int, int, int], Pixels]  # x, y, width, height -> (height, width, 3)


@dataclass(frozen=True, kw_only=True)
class PictureArray:
    """A picture that is no file: (H, W, 3) uint8 RGB."""

    name: str
    pixels: Pixels


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Whom and what the pictures are of. Empty specimen and container identifiers are derived
    from the accession number and the study. Without `study_uid` every call makes a new study."""

    patient_id: str
    patient_name: str
    accession: str
    birth_date: str = ""
    sex: str = ""
    study_uid: StudyUID | None = None
    study_description: str = "Blood smear"
    container_identifier: str = ""
    specimen_identifier: str = ""
    stain: str = "May-Grünwald-Giemsa"


class SlideSyntax(StrEnum):
    """How the tiles of a slide are stored."""

    JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
    EXPLICIT = "1.2.840.10008.1.2.1"
    JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
    JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
    RLE = "1.2.840.10008.1.2.5"


def dicomize(
    pictures: Sequence[Path | PictureArray],
    *,
    out: Path,
    labels: Labels,
    spacing_um: float | None,
    now: datetime,
) -> list[Path]:
    """One VL Microscopic object for each picture, in order. `now` must be aware of its zone."""
    raise NotImplementedError


def dicomize_slide(
    read: RegionReader,
    *,
    width_px: int,
    height_px: int,
    um_per_px: float,
    out: Path,
    labels: Labels,
    now: datetime,
    tile_px: int = 256,
    syntax: SlideSyntax = SlideSyntax.JPEG_BASELINE,
) -> Path:
    """One TILED_FULL whole-slide object; tiles are asked for and written one at a time."""
    raise NotImplementedError


def dicomize_flow_cytometry(
    frames: Sequence[npt.NDArray[np.uint16]],
    *,
    um_per_px: float,
    out: Path,
    labels: Labels,
    now: datetime,
    bits_stored: int = 16,
    channels: Sequence[str] = ("Brightfield",),
) -> Path:
    """One multi-frame grayscale word object, frame = one cell x one channel, cell after cell."""
    raise NotImplementedError
