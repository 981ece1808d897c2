"""What a compressed frame says of itself in its first bytes, before anything is decoded.

In      the bytes of one frame (JPEG, JPEG-LS, JPEG 2000 and its high-throughput form)
Out     CodestreamHeader: size, components, precision, and what it says about colour
Refuses UnreadablePixels when there is no such header, or a JPEG without its end
Source  ITU-T T.81 annex B, T.87 annex C, T.800 annex A; the order of colour evidence is that of the
        IJG library (JFIF, Adobe, component ids), which writers rely on
"""

import struct
from dataclasses import dataclass
from enum import Enum, auto

from domain.image import UnreadablePixels

__all__ = ["CodestreamHeader", "StoredColour", "jpeg_2000_header", "jpeg_header"]


class StoredColour(Enum):
    """What the three components are, by the codestream's own evidence."""

    RGB = auto()
    YCBCR = auto()
    UNSAID = auto()  # the photometric interpretation decides


@dataclass(frozen=True, kw_only=True)
class CodestreamHeader:
    """Frame header of a codestream."""

    width: int
    height: int
    components: int
    precision: int
    colour: StoredColour
    process: int = 0  # JPEG: low nibble of the SOF marker; JPEG-LS: 0xF7


_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_SOS, _EOI, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE


def jpeg_header(data: bytes) -> CodestreamHeader:
    """Header of a JPEG or JPEG-LS frame, which must also have its end-of-image marker."""
    if data[:2] != b"\xff\xd8":
        raise UnreadablePixels("a frame is no JPEG codestream")
    if b"\xff\xd9" not in data[-64:] and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise UnreadablePixels("a JPEG is cut off before its end")
    at, jfif, adobe = 2, False, None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        body = data[at + 4 : at + 2 + length]
        if marker == _APP0 and body.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker in _SOF:
            return _frame_header(marker, body, jfif=jfif, adobe=adobe)
        elif marker in (_SOS, _EOI) or length < 2:
            break
        at += 2 + length
    raise UnreadablePixels("a JPEG has no frame header")


def _frame_header(marker: int, body: bytes, *, jfif: bool, adobe: int | None) -> CodestreamHeader:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise UnreadablePixels("a JPEG has a broken frame header")
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    ids = tuple(body[6 + 3 * i] for i in range(components))
    sampling = {body[7 + 3 * i] for i in range(components)}
    if components != 3:
        colour = StoredColour.UNSAID
    elif jfif or len(sampling) > 1:  # nobody subsamples red or blue
        colour = StoredColour.YCBCR
    elif adobe is not None:
        colour = StoredColour.RGB if adobe == 0 else StoredColour.YCBCR
    elif bytes(ids) == b"RGB":
        colour = StoredColour.RGB
    else:
        colour = StoredColour.UNSAID
    return CodestreamHeader(
        width=width,
        height=height,
        components=components,
        precision=precision,
        colour=colour,
        process=marker if marker == 0xF7 else marker & 0x0F,
    )


def jpeg_2000_header(data: bytes) -> CodestreamHeader:
    """Header of a JPEG 2000 codestream, bare as DICOM wants it or inside a JP2 file."""
    start = 0
    if data[4:8] == b"jP  ":
        start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise UnreadablePixels("a frame is no JPEG 2000 codestream")
    if len(data) < start + 44:
        raise UnreadablePixels("a JPEG 2000 codestream is cut off")
    (_, _, x1, y1, x0, y0, *_tiles, components) = struct.unpack_from(">HH8IH", data, start + 4)
    precision = (data[start + 42] & 0x7F) + 1
    return CodestreamHeader(
        width=x1 - x0,
        height=y1 - y0,
        components=components,
        precision=precision,
        colour=StoredColour.RGB if _has_colour_transform(data, start) else StoredColour.UNSAID,
    )


def _has_colour_transform(data: bytes, start: int) -> bool:
    """The codestream itself undoes its transform, so that what comes out is RGB (T.800 A.6.1)."""
    at = start + 2
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFF52:  # COD: Scod, progression, layers (2), then the component transform
            return len(data) > at + 8 and data[at + 8] == 1
        if marker == 0xFF90 or length < 2:  # first tile part
            return False
        at += 2 + length
    return False
