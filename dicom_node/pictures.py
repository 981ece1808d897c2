"""JPEG, PNG, BMP and TIFF files as pixel sources, told by their content.

In      a file
Out     a pixel source (see `sources.PixelSource`) of one field
Refuses NotAnImage
Decided here: a picture is turned as its EXIF orientation says, as every viewer does; transparency is
dropped; of several pages the first is read; 16-bit grey is brought to 8 by the smallest of 8, 10, 12,
14 or 16 bits that holds its brightest pixel; resolution tags are not believed (printers' dots), so the
scale is unknown.
"""

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dicom_node.frame_cache import DECODED
from dicom_node.geometry import clipped, fitting_factor, smaller
from dicom_node.image_module import MAX_FRAME_PX
from dicom_node.picture_origin import PictureOrigin, picture_origin
from dicom_node.pillow import BROKEN_PICTURE, PICTURE_FORMATS, load_whole
from dicom_node.tiff_page import TiffPage, first_page
from domain.identities import Sha256
from domain.image import Box, Domain, Field, ImageHeader, Pixels, UnreadablePixels

__all__ = ["NotAnImage", "PictureSource", "decode_picture", "is_picture", "origin_of", "read_bytes"]

MAX_FILE_BYTES = 1024**3
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FLOW_CYTOMETRY_COMPRESSIONS = (30817, 30818)  # of the maker of .cif and .rif files
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION = 0x0112
_MAX_SAMPLES = 4  # colour and transparency


class NotAnImage(UnreadablePixels):
    """The file holds no picture that is read: text, empty, cut off, too large, another format."""


class PictureSource:
    """One picture file. It is decoded once when opened, to know that it can be."""

    def __init__(self, path: Path, *, image: int, single_cell: bool) -> None:
        data = read_bytes(path)
        self._path = path
        self._image = image
        self._single_cell = single_cell
        self._sha256 = Sha256(hashlib.sha256(data).hexdigest())
        self._origin = origin_of(path, data)
        pixels, warnings = decode_picture(data)
        height, width = pixels.shape[:2]
        self._header = ImageHeader(
            source=path.name,
            sha256=self._sha256,
            width_px=width,
            height_px=height,
            frames=1,
            domain=Domain.SMEAR,
            monochrome=_is_grey(pixels),
            warnings=warnings,
        )
        DECODED.get(self._key, lambda: pixels)

    @property
    def header(self) -> ImageHeader:
        return self._header

    @property
    def origin(self) -> PictureOrigin:
        """When it was taken, and what was lost; for `dicomize_slide`."""
        return self._origin

    @property
    def _key(self) -> tuple[str, str, int]:
        return str(self._path), self._sha256, 0

    def fields(self) -> Iterator[Field]:
        header = self._header
        yield Field(
            pixels=self._pixels(),
            image=self._image,
            frame=1,
            origin_px=(0, 0),
            core_px=Box(0, 0, header.width_px, header.height_px),
            um_per_px=None,
            domain=header.domain,
            single_cell=self._single_cell,
        )

    def region(self, box: Box, *, frame: int) -> Pixels:
        if frame != 1:
            raise ValueError("a picture is one frame")
        x0, y0, x1, y1 = clipped(box, width=self._header.width_px, height=self._header.height_px)
        return self._pixels()[y0:y1, x0:x1]

    def overview(self, max_px: int) -> tuple[Pixels, float]:
        width, height = self._header.width_px, self._header.height_px
        factor = fitting_factor(width, height, max_px)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return smaller(self._pixels(), *size), factor

    def _pixels(self) -> Pixels:
        return DECODED.get(self._key, lambda: decode_picture(read_bytes(self._path))[0])


def is_picture(head: bytes) -> bool:
    """By its first bytes."""
    return head.startswith(_MAGIC)


def read_bytes(path: Path) -> bytes:
    """The whole file, within the limit."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NotAnImage("the file is larger than 1 GiB; make a slide of it")
        return path.read_bytes()
    except OSError as unreadable:
        raise NotAnImage(f"the file cannot be opened: {unreadable.strerror}") from unreadable


def origin_of(path: Path, data: bytes) -> PictureOrigin:
    """What the file at `path`, whose bytes are `data`, says of where it comes from."""
    try:
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        modified = None
    return picture_origin(data, modified=modified)


def decode_picture(data: bytes) -> tuple[Pixels, tuple[str, ...]]:
    """(H, W, 3) RGB and warnings."""
    if not data:
        raise NotAnImage("the file is empty")
    if not is_picture(data):
        raise NotAnImage("the file is no JPEG, PNG, BMP or TIFF picture and no DICOM object")
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise NotAnImage("the picture is cut off before its end")
    page = first_page(data)
    if page.compression in _FLOW_CYTOMETRY_COMPRESSIONS:
        raise NotAnImage(
            "no open reader for .cif and .rif files; export TIFFs from the instrument's program"
        )
    _check_size(page.width_px, page.height_px)
    warnings: list[str] = []
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            _check_size(image.width, image.height)
            if page.has_next:
                warnings.append("the file has several pages; the first is read")
            load_whole(image)
            if image.getexif().get(_ORIENTATION, 1) != 1:
                warnings.append("turned as its EXIF orientation says")
            upright = ImageOps.exif_transpose(image)
            return _eight_bit(upright), tuple(warnings)
    except NotAnImage:
        raise
    except UnidentifiedImageError:
        return _deep_colour_tiff(data, page), ()
    except BROKEN_PICTURE as broken:
        raise NotAnImage("the picture is broken or cut off") from broken


def _eight_bit(image: Image.Image) -> Pixels:
    if image.mode in _SIXTEEN_BITS:
        deep = np.asarray(image).astype(np.uint32)
        bits = next(b for b in (8, 10, 12, 14, 16) if deep.max() < 1 << b)
        grey = np.rint(deep * (255 / ((1 << bits) - 1))).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.mode in ("I", "F"):
        raise NotAnImage("pictures of 32 bits per pixel are not read; export 8 or 16 bits")
    return np.array(image.convert("RGB"), np.uint8)


def _deep_colour_tiff(data: bytes, page: TiffPage) -> Pixels:
    """TIFFs that are beyond Pillow, in 16-bit colour; the high bytes are kept. Their size is known,
    and allowed, before the decoder makes room for it."""
    if not data.startswith(_MAGIC[3:]) or not page.width_px or not page.height_px:
        raise NotAnImage("the picture is broken or cut off")
    if page.samples > _MAX_SAMPLES:
        raise NotAnImage("the TIFF has more than four samples per pixel")
    try:
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as broken:
        raise NotAnImage("the picture is broken or too large") from broken
    if deep is None or deep.ndim != 3 or deep.dtype != np.uint16 or deep.shape[2] < 3:
        raise NotAnImage("the TIFF is broken, cut off or of a kind that is not read")
    _check_size(deep.shape[1], deep.shape[0])
    return np.ascontiguousarray(np.asarray(deep[:, :, 2::-1], np.uint16) >> 8).astype(np.uint8)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_FRAME_PX:
        raise NotAnImage("the picture has more than 80 million pixels")


def _is_grey(pixels: Pixels) -> bool:
    return bool(
        np.array_equal(pixels[..., 0], pixels[..., 1])
        and np.array_equal(pixels[..., 1], pixels[..., 2])
    )
