"""Make DICOM objects of pictures, with everything a PACS and a validator ask of them.

In      picture files or arrays, and who and what they are of
Out     files of one study and one series, written to a folder under their instance UIDs
Refuses NotAnImage
Source  PS3.3 A.32.2 (VL Microscopic); PS3.5 8.2.1 (a JPEG Baseline file goes in as it is)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom_node.codestream import CodestreamHeader, StoredColour, jpeg_header
from dicom_node.dicomize_flow import dicomize_flow_cytometry
from dicom_node.dicomize_slide import RegionReader, SlideSyntax, dicomize_slide
from dicom_node.made_objects import BadLabelError, Labels, new_object, tell_losses, write
from dicom_node.picture_origin import PictureOrigin
from dicom_node.pictures import decode_picture, origin_of, read_bytes
from domain.image import Pixels

__all__ = [
    "BadLabelError",
    "Labels",
    "PictureArray",
    "PictureOrigin",
    "RegionReader",
    "SlideSyntax",
    "dicomize",
    "dicomize_flow_cytometry",
    "dicomize_slide",
]

_VL_MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"
_EXPLICIT, _JPEG_BASELINE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
_BASELINE_PROCESS = 0


@dataclass(frozen=True, kw_only=True)
class PictureArray:
    """A picture that is no file: (H, W, 3) uint8 RGB."""

    name: str
    pixels: Pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class _Picture:
    """Read and checked. `jpeg` is its file where that can go in as it is."""

    digest: str
    pixels: Pixels
    jpeg: bytes | None
    origin: PictureOrigin


def dicomize(
    pictures: Sequence[Path | PictureArray],
    *,
    out: Path,
    labels: Labels,
    spacing_um: float | None,
    now: datetime,
) -> list[Path]:
    """One VL Microscopic object for each picture, in order. `now` must be aware of its zone."""
    if spacing_um is not None and not (isfinite(spacing_um) and spacing_um > 0):
        raise BadLabelError("the spacing is no positive number of micrometres")
    digests = [_digest(p) for p in pictures]
    made_paths = []
    for number, picture in enumerate(pictures, start=1):
        read = _read(picture, digests[number - 1])
        made = new_object(
            labels,
            sop_class=_VL_MICROSCOPIC,
            modality="GM",
            now=now,
            content=[*digests, str(spacing_um)],
            number=number,
            acquired=read.origin.acquired,
        )
        made.AcquisitionContextSequence = []
        made.ImageType = ["ORIGINAL", "PRIMARY"]
        if spacing_um is not None:
            made.PixelSpacing = [f"{spacing_um / 1000:.10g}"] * 2
        syntax = _add_pixels(made, read)
        path = out / f"{made.SOPInstanceUID}.dcm"
        write(made, path, transfer_syntax=syntax)
        made_paths.append(path)
    return made_paths


def _digest(picture: Path | PictureArray) -> str:
    if isinstance(picture, PictureArray):
        shape = "x".join(map(str, picture.pixels.shape))
        return hashlib.sha256(shape.encode() + picture.pixels.tobytes()).hexdigest()
    return hashlib.sha256(read_bytes(picture)).hexdigest()


def _read(picture: Path | PictureArray, digest: str) -> _Picture:
    if isinstance(picture, PictureArray):
        return _Picture(digest=digest, pixels=picture.pixels, jpeg=None, origin=PictureOrigin())
    data = read_bytes(picture)
    pixels, warnings = decode_picture(data)
    # a turned picture would be shown unturned by readers that do not look into EXIF
    as_it_is = data.startswith(b"\xff\xd8") and not warnings
    return _Picture(
        digest=digest,
        pixels=pixels,
        jpeg=data if as_it_is else None,
        origin=origin_of(picture, data),
    )


def _add_pixels(made: Dataset, picture: _Picture) -> str:
    """Image Pixel module; returns the transfer syntax."""
    height, width = picture.pixels.shape[:2]
    made.Rows, made.Columns = height, width
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    if picture.jpeg is not None:
        jpeg = picture.jpeg[: picture.jpeg.rfind(b"\xff\xd9") + 2]
        header = jpeg_header(jpeg)
        if (
            header.process == _BASELINE_PROCESS
            and header.precision == 8
            and header.components in (1, 3)
        ):
            _describe_jpeg(made, header, ratio=width * height * header.components / len(jpeg))
            made.PixelData = encapsulate([jpeg], has_bot=False)
            made["PixelData"].VR = "OB"
            made["PixelData"].is_undefined_length = True
            return _JPEG_BASELINE
    first = picture.pixels[..., :1]
    if np.array_equal(np.broadcast_to(first, picture.pixels.shape), picture.pixels):
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        data = np.ascontiguousarray(first).tobytes()
    else:
        made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
        made.PlanarConfiguration = 0
        data = np.ascontiguousarray(picture.pixels).tobytes()
    ratio = picture.origin.jpeg_ratio
    tell_losses(made, [] if ratio is None else [ratio])
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB"
    return _EXPLICIT


def _describe_jpeg(made: Dataset, header: CodestreamHeader, *, ratio: float) -> None:
    made.SamplesPerPixel = header.components
    if header.components == 1:
        made.PhotometricInterpretation = "MONOCHROME2"
    else:
        made.PlanarConfiguration = 0
        # VL objects know no YBR_FULL; how chroma is shared is the codestream's to say anyway
        is_rgb = header.colour is StoredColour.RGB
        made.PhotometricInterpretation = "RGB" if is_rgb else "YBR_FULL_422"
    tell_losses(made, [ratio])
