"""Make a whole-slide object of a picture of any size, tile by tile.

In      a function that reads a region, and the size of the whole
Out     one TILED_FULL instance, a single level
Memory  one tile
Source  PS3.3 A.32.8 and C.8.12.4; C.7.6.17 (tiles); PS3.5 A.4 (encapsulation, empty offset table)
"""

import hashlib
import io
import shutil
import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import product
from math import isfinite
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.pixels.encoders.base import get_encoder

from dicom_node.made_objects import BadLabelError, Labels, code, new_object, tell_losses, write
from dicom_node.picture_origin import PictureOrigin
from domain.identities import derived_uid
from domain.image import Pixels

__all__ = ["RegionReader", "SlideSyntax", "dicomize_slide"]

RegionReader = Callable[[int, int, int, int], Pixels]  # x, y, width, height -> (height, width, 3)

_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
_JPEG_QUALITY = 90
_WHITE = 255
_MAX_NATIVE_BYTES = 0xFFFFFFFE


class SlideSyntax(StrEnum):
    """How the tiles of a slide are stored."""

    JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
    EXPLICIT = "1.2.840.10008.1.2.1"
    JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
    JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
    RLE = "1.2.840.10008.1.2.5"


_PHOTOMETRIC = {
    SlideSyntax.JPEG_BASELINE: "YBR_FULL_422",
    SlideSyntax.EXPLICIT: "RGB",
    SlideSyntax.JPEG_2000_LOSSLESS: "YBR_RCT",
    SlideSyntax.JPEG_LS_LOSSLESS: "RGB",
    SlideSyntax.RLE: "RGB",
}
_PLUGINS = {
    SlideSyntax.JPEG_2000_LOSSLESS: "pylibjpeg",
    SlideSyntax.JPEG_LS_LOSSLESS: "pyjpegls",
    SlideSyntax.RLE: "pydicom",
}


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
    origin: PictureOrigin = PictureOrigin(),  # noqa: B008  frozen
) -> Path:
    """One TILED_FULL whole-slide object; tiles are asked for and written one at a time. Edge
    tiles are asked for without their padding, which is white.

    `origin` is that of the picture the regions come from (`PictureSource.origin`). The class wants
    an Acquisition DateTime: the date of the file stands for one that is not told, and without
    either the object goes without, which a validator will remark."""
    if not (isfinite(um_per_px) and um_per_px > 0):
        raise BadLabelError("a slide needs a positive number of micrometres per pixel")
    if width_px < 1 or height_px < 1 or not 64 <= tile_px <= 4096:
        raise BadLabelError("a slide needs a size, and tiles of 64 to 4096 pixels")
    frames = -(-width_px // tile_px) * -(-height_px // tile_px)
    raw_bytes = frames * tile_px * tile_px * 3
    if syntax is SlideSyntax.EXPLICIT and raw_bytes > _MAX_NATIVE_BYTES:
        raise BadLabelError("the slide is over 4 GiB uncompressed; choose a compressed syntax")
    digest = hashlib.sha256()
    with TemporaryFile() as tiles:
        for tile in _tiles(read, width_px, height_px, tile_px):
            digest.update(tile.tobytes())
            _append(tiles, _encoded(tile, syntax), encapsulated=syntax is not SlideSyntax.EXPLICIT)
        stored_bytes = tiles.tell()
        made = _header(
            labels,
            now=now,
            digest=digest.hexdigest(),
            size=(width_px, height_px),
            um_per_px=um_per_px,
            tile_px=tile_px,
            frames=frames,
            syntax=syntax,
            ratio=raw_bytes / stored_bytes,
            origin=origin,
        )
        path = out / f"{made.SOPInstanceUID}.dcm"
        write(made, path, transfer_syntax=syntax.value)
        tiles.seek(0)
        with path.open("ab") as file:
            _append_pixel_data(file, tiles, stored_bytes, native=syntax is SlideSyntax.EXPLICIT)
    return path


def _tiles(read: RegionReader, width: int, height: int, tile_px: int) -> Iterator[Pixels]:
    for top, left in product(range(0, height, tile_px), range(0, width, tile_px)):
        w, h = min(tile_px, width - left), min(tile_px, height - top)
        region = read(left, top, w, h)
        if region.shape != (h, w, 3):
            raise ValueError(f"asked for {w} x {h} pixels, was given {region.shape}")
        tile = np.full((tile_px, tile_px, 3), _WHITE, np.uint8)
        tile[:h, :w] = region
        yield tile


def _encoded(tile: Pixels, syntax: SlideSyntax) -> bytes:
    if syntax is SlideSyntax.EXPLICIT:
        return tile.tobytes()
    if syntax is SlideSyntax.JPEG_BASELINE:
        buffer = io.BytesIO()
        Image.fromarray(tile).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:2")
        return buffer.getvalue()
    rows, columns = tile.shape[:2]
    options: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "number_of_frames": 1,
        "samples_per_pixel": 3,
        "bits_allocated": 8,
        "bits_stored": 8,
        "pixel_representation": 0,
        "planar_configuration": 0,
        "photometric_interpretation": _PHOTOMETRIC[syntax],
    }
    return bytes(
        get_encoder(syntax.value).encode(tile, encoding_plugin=_PLUGINS[syntax], **options)
    )


def _append(tiles: IO[bytes], data: bytes, *, encapsulated: bool) -> None:
    if encapsulated:
        data += b"\0" * (len(data) % 2)
        tiles.write(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)))
    tiles.write(data)


def _append_pixel_data(file: IO[bytes], tiles: IO[bytes], length: int, *, native: bool) -> None:
    padding = length % 2 if native else 0
    told = length + padding if native else 0xFFFFFFFF
    file.write(b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<I", told))
    if not native:
        file.write(b"\xfe\xff\x00\xe0\0\0\0\0")  # an empty basic offset table
    shutil.copyfileobj(tiles, file)
    file.write(b"\0" * padding if native else b"\xfe\xff\xdd\xe0\0\0\0\0")


def _header(
    labels: Labels,
    *,
    now: datetime,
    digest: str,
    size: tuple[int, int],
    um_per_px: float,
    tile_px: int,
    frames: int,
    syntax: SlideSyntax,
    ratio: float,
    origin: PictureOrigin,
) -> Dataset:
    made = new_object(
        labels,
        sop_class=_WSI,
        modality="SM",
        now=now,
        content=[digest, syntax.value, f"{size} {um_per_px} {tile_px}"],
        acquired=origin.acquired or origin.modified,
    )
    made.AcquisitionContextSequence = []
    series = str(made.SeriesInstanceUID)
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.FrameOfReferenceUID = derived_uid("dicomize frame of reference", series)
    made.PositionReferenceIndicator = "SLIDE_CORNER"
    made.PyramidUID = derived_uid("dicomize pyramid", series)
    made.VolumetricProperties = "VOLUME"
    made.SpecimenLabelInImage = "NO"
    made.FocusMethod = "AUTO"
    made.ExtendedDepthOfField = "NO"
    made.ImagedVolumeWidth = size[0] * um_per_px / 1000
    made.ImagedVolumeHeight = size[1] * um_per_px / 1000
    made.ImagedVolumeDepth = 1.0
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows = size
    made.TotalPixelMatrixFocalPlanes = 1
    corner = Dataset()
    corner.XOffsetInSlideCoordinateSystem = 20.0
    corner.YOffsetInSlideCoordinateSystem = 40.0
    made.TotalPixelMatrixOriginSequence = [corner]
    made.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    _add_dimensions(made, series)
    _add_optical_path(made)
    _add_groups(made, um_per_px)
    made.NumberOfFrames = frames
    made.Rows = made.Columns = tile_px
    made.SamplesPerPixel = 3
    made.PhotometricInterpretation = _PHOTOMETRIC[syntax]
    made.PlanarConfiguration = 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    before = [] if origin.jpeg_ratio is None else [origin.jpeg_ratio]
    tell_losses(made, [*before, ratio] if syntax is SlideSyntax.JPEG_BASELINE else before)
    return made


def _add_dimensions(made: Dataset, series: str) -> None:
    organization = Dataset()
    organization.DimensionOrganizationUID = derived_uid("dicomize dimensions", series)
    made.DimensionOrganizationSequence = [organization]
    made.DimensionOrganizationType = "TILED_FULL"


def _add_optical_path(made: Dataset) -> None:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = [code(("111744", "DCM", "Brightfield illumination"))]
    path.IlluminationColorCodeSequence = [code(("414298005", "SCT", "Full Spectrum"))]
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # else the hour of writing is in it
    path.ICCProfile = bytes(profile) + b"\0" * (len(profile) % 2)
    made.OpticalPathSequence = [path]
    made.NumberOfOpticalPaths = 1


def _add_groups(made: Dataset, um_per_px: float) -> None:
    groups, measures, kind, path = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [f"{um_per_px / 1000:.10g}"] * 2
    measures.SliceThickness = "0.001"
    groups.PixelMeasuresSequence = [measures]
    kind.FrameType = made.ImageType
    groups.WholeSlideMicroscopyImageFrameTypeSequence = [kind]
    path.OpticalPathIdentifier = "1"
    groups.OpticalPathIdentificationSequence = [path]
    made.SharedFunctionalGroupsSequence = [groups]
