"""What a picture file says of where it comes from: when it was taken, and what was lost since.

In      the bytes of a picture file
Out     PictureOrigin; empty where the file says nothing, or what cannot be true
Source  Exif 2.32, 4.6.5 (DateTimeOriginal and its offset); PS3.3 C.7.6.1.1.5 (once lossy, always lossy)
"""

import contextlib
import io
import re
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import Image

from dicom_node.pillow import BROKEN_PICTURE, PICTURE_FORMATS
from dicom_node.tiff_page import first_page

__all__ = ["PictureOrigin", "picture_origin"]

_EXIF_IFD, _ORIGINAL, _ORIGINAL_OFFSET = 0x8769, 0x9003, 0x9011
_JPEG_IN_TIFF = (6, 7)
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PictureOrigin:
    """`acquired` (DT) is when the picture was taken, "" when nothing says it. `modified` (DT) is the
    file's own date, "" when it is no file. `jpeg_ratio` is how far JPEG has compressed the pixels,
    None when they were never lossy."""

    acquired: str = ""
    modified: str = ""
    jpeg_ratio: float | None = None


def picture_origin(data: bytes, *, modified: datetime | None = None) -> PictureOrigin:
    """Of a picture that can be read. The moment an object is made is none of these."""
    acquired, samples, size = "", 3, 0
    with (
        contextlib.suppress(*BROKEN_PICTURE, struct.error),
        Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image,
    ):
        size, samples = image.width * image.height, len(image.getbands())
        exif = image.getexif().get_ifd(_EXIF_IFD)
        acquired = _taken(exif.get(_ORIGINAL), exif.get(_ORIGINAL_OFFSET))
    is_jpeg = data.startswith(b"\xff\xd8") or first_page(data).compression in _JPEG_IN_TIFF
    return PictureOrigin(
        acquired=acquired,
        modified=f"{modified:%Y%m%d%H%M%S%z}" if modified else "",
        jpeg_ratio=max(1.0, size * samples / len(data)) if is_jpeg else None,
    )


def _taken(moment: Any, offset: Any) -> str:
    """Exif's date as DT."""
    if not isinstance(moment, str):
        return ""
    try:
        taken = datetime.strptime(moment.strip(" \0"), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
    except ValueError:
        return ""
    told = offset.strip(" \0") if isinstance(offset, str) else ""
    zone = told.replace(":", "") if _OFFSET.fullmatch(told) else ""
    return f"{taken:%Y%m%d%H%M%S}".rjust(14, "0") + zone
