"""What the first page of a TIFF says of itself, read without a decoder.

In      the bytes of a file
Out     TiffPage; zeros of what is no TIFF, or is broken: the decoder then says so
Source  TIFF 6.0 section 2; BigTIFF (the same with eight bytes for four)
A page chain may be as long as the file or run in a circle, so nothing past the first page is followed.
"""

import struct
from dataclasses import dataclass

__all__ = ["TiffPage", "first_page"]

_WIDTH, _LENGTH, _COMPRESSION, _SAMPLES = 256, 257, 259, 277
_WIDTHS_OF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MAX_ENTRIES = 65_535


@dataclass(frozen=True, kw_only=True)
class TiffPage:
    """Of a tag that stands twice, the larger value: readers differ in which they take."""

    width_px: int = 0
    height_px: int = 0
    compression: int = 0
    samples: int = 1
    has_next: bool = False


def first_page(data: bytes) -> TiffPage:
    """The first page, as far as it can be read."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return TiffPage()
    found: dict[int, int] = {}
    has_next = False
    try:
        version = struct.unpack_from(f"{order}H", data, 2)[0]
        if version == 42:
            start, count, size, word, value_at = 4, "H", 12, "I", 8
        elif version == 43:
            start, count, size, word, value_at = 8, "Q", 20, "Q", 12
        else:
            return TiffPage()
        at = struct.unpack_from(f"{order}{word}", data, start)[0]
        entries = struct.unpack_from(f"{order}{count}", data, at)[0]
        at += struct.calcsize(f"{order}{count}")
        for entry in range(at, at + size * min(entries, _MAX_ENTRIES), size):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            if tag in (_WIDTH, _LENGTH, _COMPRESSION, _SAMPLES) and kind in _WIDTHS_OF_TYPES:
                code = f"{order}{_WIDTHS_OF_TYPES[kind]}"
                value = struct.unpack_from(code, data, entry + value_at)[0]
                found[tag] = max(value, found.get(tag, 0))
        has_next = struct.unpack_from(f"{order}{word}", data, at + size * entries)[0] != 0
    except (struct.error, OverflowError):
        pass  # cut off: what was found stands
    return TiffPage(
        width_px=found.get(_WIDTH, 0),
        height_px=found.get(_LENGTH, 0),
        compression=found.get(_COMPRESSION, 0),
        samples=found.get(_SAMPLES, 1),
        has_next=has_next,
    )
