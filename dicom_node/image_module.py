"""The Image Pixel module: is what it says about the pixels possible, and may they be decoded?

In      elements and transfer syntax
Out     FrameLayout and number of frames
Refuses MalformedObject: missing, contradictory, or larger than is read
Source  PS3.3 C.7.6.3 and C.7.6.6
"""

from dicom_node.codecs import FrameLayout
from dicom_node.elements import Elements
from dicom_node.faults import Fault, malformed
from dicom_node.limits import Limits

__all__ = ["MAX_FRAME_PX", "layout_of"]

MAX_FRAME_PX = 80_000_000  # one decoded frame or picture: 240 MB of RGB
_PHOTOMETRIC = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}


def layout_of(
    elements: Elements, *, transfer_syntax: str, limits: Limits
) -> tuple[FrameLayout, int]:
    """How one frame is stored, and how many there are."""
    rows = _positive(elements, "Rows")
    columns = _positive(elements, "Columns")
    samples = _positive(elements, "SamplesPerPixel")
    allocated = _positive(elements, "BitsAllocated")
    stored = _positive(elements, "BitsStored")
    high = elements.integer("HighBit")
    signed = elements.integer("PixelRepresentation")
    planar = elements.integer("PlanarConfiguration") or 0
    frames = _positive(elements, "NumberOfFrames") if elements.has("NumberOfFrames") else 1
    photometric = elements.text("PhotometricInterpretation")

    if rows * columns > MAX_FRAME_PX:
        raise malformed(Fault.OVER_LIMIT, "a frame has more than 80 million pixels", "Rows")
    if frames > limits.frames:
        raise malformed(Fault.OVER_LIMIT, "the object has too many frames", "NumberOfFrames")
    if photometric not in _PHOTOMETRIC:
        raise _contradiction(
            "photometric interpretation is none that is read", "PhotometricInterpretation"
        )
    if samples != _PHOTOMETRIC[photometric]:
        raise _contradiction("samples per pixel do not fit the photometric interpretation", "")
    if allocated not in (8, 16, 32):
        raise _contradiction("bits allocated are not 8, 16 or 32", "BitsAllocated")
    if stored > allocated:
        raise _contradiction("more bits are stored than allocated", "BitsStored")
    if high != stored - 1:
        raise _contradiction("the high bit is not the highest of the stored ones", "HighBit")
    if signed not in (0, 1) or planar not in (0, 1):
        raise _contradiction("pixel representation or planar configuration is not 0 or 1", "")
    if photometric.startswith("YBR") and (allocated, stored) != (8, 8):
        raise _contradiction("YCbCr of other than 8 bits", "BitsAllocated")
    if photometric == "YBR_FULL_422" and (columns % 2 or planar):
        # of compressed frames the codestream says how chroma is shared
        photometric = "YBR_FULL"
    layout = FrameLayout(
        transfer_syntax=transfer_syntax,
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=bool(signed),
        planar=bool(planar),
    )
    return layout, frames


def _positive(elements: Elements, keyword: str) -> int:
    value = elements.integer(keyword)
    if value is None:
        raise malformed(Fault.ATTRIBUTE_MISSING, f"{keyword} is missing or empty", keyword)
    if value <= 0:
        raise malformed(Fault.IMAGE_CONTRADICTION, f"{keyword} is not positive", keyword)
    return value


def _contradiction(reason: str, keyword: str) -> Exception:
    return malformed(Fault.IMAGE_CONTRADICTION, reason, keyword)
