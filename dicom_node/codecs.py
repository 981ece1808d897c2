"""Which transfer syntaxes can be decoded here, proven at start-up, and the decoding of one frame.

Each syntax has one pinned decoder; there is no second try with another one, which might give
other pixels. JPEG of 8 bits is decoded by Pillow, because there the codestream, and not the
photometric interpretation, has to say what the components are; 12 bits and lossless JPEG by
libjpeg, JPEG-LS by CharLS, JPEG 2000 by OpenJPEG, RLE by pydicom.
Source  PS3.5 A.4 and 8.2; PS3.3 C.7.6.3.1.2 (photometric interpretation)
"""

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space

from dicom_node.codec_samples import SAMPLES
from dicom_node.codestream import StoredColour, jpeg_2000_header, jpeg_header
from dicom_node.pillow import BROKEN_PICTURE, load_whole
from domain.image import UnreadablePixels

__all__ = ["FrameLayout", "decode_frame", "proven_transfer_syntaxes"]

Samples = npt.NDArray[np.generic]

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_NATIVE = (_IMPLICIT, _EXPLICIT, _ENCAPSULATED_UNCOMPRESSED)
_JPEG_DCT = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_RLE = "1.2.840.10008.1.2.5"
_PINNED = {  # pydicom's names of the decoders
    "1.2.840.10008.1.2.4.51": "pylibjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    _RLE: "pydicom",
}
_LOSSY = {
    "1.2.840.10008.1.2.4.50": 8,
    "1.2.840.10008.1.2.4.51": 32,
    "1.2.840.10008.1.2.4.81": 2,
    "1.2.840.10008.1.2.4.91": 2,
}  # largest difference to the sample's pixels, in its own units


@dataclass(frozen=True, kw_only=True)
class FrameLayout:
    """How the pixels of one frame are stored (Image Pixel module)."""

    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool = False
    planar: bool = False

    @property
    def native_bytes(self) -> int:
        """Bytes of one uncompressed frame; YBR_FULL_422 shares its chroma between two pixels."""
        per_pixel = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * per_pixel * self.bits_allocated // 8


@cache
def proven_transfer_syntaxes() -> tuple[str, ...]:
    """UIDs that the installed codecs decode a known sample of to its known pixels, tried once.

    The uncompressed syntaxes need no codec. Deflated and Big Endian are never among them, nor is
    any syntax without a sample here (high-throughput JPEG 2000).
    """
    return (*_NATIVE, *(uid for uid in SAMPLES if _is_proven(uid)))


def decode_frame(data: bytes, layout: FrameLayout) -> Samples:
    """One frame's stored bytes to (rows, columns) grey or indices, or (rows, columns, 3) RGB.

    Values as stored: no window, no palette. Raises UnreadablePixels.
    """
    if layout.transfer_syntax in _NATIVE:
        return _in_rgb(_native(data, layout), layout)
    if layout.transfer_syntax not in (*_JPEG_DCT, *_PINNED):
        raise UnreadablePixels("the transfer syntax has no proven decoder")
    colour = StoredColour.UNSAID
    if layout.transfer_syntax != _RLE:
        of = jpeg_2000_header if layout.transfer_syntax in _JPEG_2000 else jpeg_header
        header = of(data)
        if (header.width, header.height) != (layout.columns, layout.rows):
            raise UnreadablePixels("a frame's codestream has another size than the image")
        if header.components != layout.samples or header.precision > layout.bits_allocated:
            raise UnreadablePixels("a frame's codestream has other components than the image")
        colour = header.colour
        if layout.transfer_syntax in _JPEG_DCT and header.precision == 8:
            return _eight_bit_jpeg(data, layout, colour)
        if layout.transfer_syntax not in _PINNED:
            raise UnreadablePixels("JPEG Baseline with more than 8 bits")
    decoded = _by_plugin(data, layout)
    if layout.transfer_syntax in _JPEG_2000 and colour is StoredColour.RGB:
        return decoded
    return _in_rgb(decoded, layout)


def _native(data: bytes, layout: FrameLayout) -> Samples:
    if len(data) < layout.native_bytes:
        raise UnreadablePixels("a frame is shorter than its rows and columns need")
    size = layout.bits_allocated // 8
    kind = np.dtype(f"<{'i' if layout.signed else 'u'}{size}")
    flat = np.frombuffer(data, kind, count=layout.native_bytes // size)
    rows, columns = layout.rows, layout.columns
    if layout.photometric == "YBR_FULL_422":
        # Y1 Y2 Cb Cr for each pair of pixels (PS3.3 C.7.6.3.1.2)
        quads = flat.reshape(rows, columns // 2, 4)
        full = np.empty((rows, columns, 3), kind)
        full[:, 0::2, 0], full[:, 1::2, 0] = quads[..., 0], quads[..., 1]
        full[..., 1] = np.repeat(quads[..., 2], 2, axis=1)
        full[..., 2] = np.repeat(quads[..., 3], 2, axis=1)
        return full
    if layout.samples == 1:
        pixels: Samples = flat.reshape(rows, columns)
    elif layout.planar:
        pixels = flat.reshape(3, rows, columns).transpose(1, 2, 0)
    else:
        pixels = flat.reshape(rows, columns, 3)
    if not layout.signed and layout.bits_stored < layout.bits_allocated:
        # retired overlays may live in the unused bits
        mask = kind.type((1 << layout.bits_stored) - 1)
        return np.asarray(np.bitwise_and(pixels, mask))
    return pixels


def _eight_bit_jpeg(data: bytes, layout: FrameLayout, colour: StoredColour) -> Samples:
    """8-bit sequential JPEG. Whether the components are YCbCr is the codestream's to say; where
    it does not, the photometric interpretation's."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if colour is StoredColour.UNSAID and layout.photometric == "RGB":
                # Pillow would take unmarked components for YCbCr; this keeps them as they are
                image.draft("YCbCr", image.size)
            load_whole(image)
            pixels = np.asarray(image)
    except BROKEN_PICTURE as broken:
        raise UnreadablePixels("a JPEG frame cannot be decoded") from broken
    expected = (layout.rows, layout.columns) + ((3,) if layout.samples == 3 else ())
    if pixels.shape != expected:
        raise UnreadablePixels("a JPEG frame decodes to another shape than the image")
    return pixels


def _by_plugin(data: bytes, layout: FrameLayout) -> Samples:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "planar_configuration": int(layout.planar),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        pixels, _ = get_decoder(layout.transfer_syntax).as_array(
            encapsulate([data], has_bot=False),
            index=0,
            raw=True,
            decoding_plugin=_PINNED[layout.transfer_syntax],
            **options,
        )
    except Exception as broken:  # codecs raise what they like; any of it means this
        raise UnreadablePixels("a frame cannot be decoded") from broken
    expected = (layout.rows, layout.columns) + ((3,) if layout.samples == 3 else ())
    if pixels.shape != expected:
        raise UnreadablePixels("a frame decodes to another shape than the image")
    return np.asarray(pixels)


def _in_rgb(pixels: Samples, layout: FrameLayout) -> Samples:
    if layout.photometric not in ("YBR_FULL", "YBR_FULL_422"):
        return pixels
    if pixels.dtype != np.uint8:
        raise UnreadablePixels("YCbCr of more than 8 bits is not read")
    converted: Any = convert_color_space(pixels, "YBR_FULL", "RGB")
    return np.asarray(converted)


def _is_proven(uid: str) -> bool:
    y, x = np.mgrid[0:32, 0:32]
    grey = uid == "1.2.840.10008.1.2.4.51"
    red = 4 * x + 2 * y
    truth = 100 * x + 25 * y if grey else np.stack([red, 255 - red, x + 5 * y], axis=-1)
    layout = FrameLayout(
        transfer_syntax=uid,
        rows=32,
        columns=32,
        samples=1 if grey else 3,
        photometric="MONOCHROME2" if grey else "RGB",
        bits_allocated=16 if grey else 8,
        bits_stored=12 if grey else 8,
    )
    try:
        decoded = decode_frame(SAMPLES[uid], layout)
    except UnreadablePixels:
        return False
    worst = int(np.abs(decoded.astype(np.int64) - truth).max())
    return worst <= _LOSSY.get(uid, 0)
