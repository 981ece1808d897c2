"""Open a DICOM file without believing it: its elements, and where its frames lie.

In      a path
Out     DicomFile: elements before the pixels, transfer syntax, the offset of Pixel Data; FramePlaces
Refuses MalformedObject
Memory  the header, and 17 bytes for each fragment; never the pixels. How large a header may be is
        the structural scan's to say (`scan`), which every file passes before it is opened here
Offset tables are hostile input: fragments are found by walking the items, a table only says which
of them begin a frame, where that is not plain already (PS3.5 A.4).
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicom_node.begin import EXPLICIT, IMPLICIT, LONG_VRS, data_set_begin
from dicom_node.codecs import FrameLayout
from dicom_node.elements import Elements
from dicom_node.faults import Fault, malformed
from dicom_node.limits import Limits

__all__ = [
    "DicomFile",
    "FramePlaces",
    "find_frames",
    "open_dicom",
]

_PER_FRAME = 0x52009230
_PIXEL_DATA = 0x7FE00010
_FIRST_PIXEL_TAG = 0x7FE00008  # float, double float and integer pixel data
_UNREAD = {  # parsed by nobody here: retired, or a few bytes that inflate to any size
    "1.2.840.10008.1.2.2": "Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated",
}
_UNDEFINED = 0xFFFFFFFF
_CODESTREAM_STARTS = (b"\xff\xd8", b"\xff\x4f")


@dataclass(frozen=True, kw_only=True)
class DicomFile:
    """A parsed file. `pixel_offset` is None when it has no Pixel Data. The per-frame functional
    groups, which may be larger than all the rest, are not in `elements`; see `per_frame`."""

    path: Path
    elements: Elements
    per_frame_offset: int | None
    transfer_syntax: str
    pixel_offset: int | None
    pixel_length: int  # 0xFFFFFFFF when undefined
    size_bytes: int
    warnings: tuple[str, ...]

    def per_frame(self) -> Iterator[Elements]:
        """The items of the Per-frame Functional Groups Sequence, parsed now."""
        if self.per_frame_offset is None:
            return iter(())
        with self.path.open("rb") as file:
            file.seek(self.per_frame_offset)
            implicit = self.transfer_syntax == IMPLICIT
            groups = _parse(file, implicit=implicit, before=_PER_FRAME + 1)
        return Elements(groups, parent=self.elements).items("PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True, kw_only=True)
class FramePlaces:
    """Where each frame's bytes lie: of the fragments, `first[i]` to `first[i + 1]` make frame i."""

    offsets: Sequence[int]
    lengths: Sequence[int]
    first: Sequence[int]

    def read(self, file: BinaryIO, index: int) -> bytes:
        """The stored bytes of frame `index`, counted from 0."""
        parts = []
        for n in range(self.first[index], self.first[index + 1]):
            file.seek(self.offsets[n])
            parts.append(file.read(self.lengths[n]))
        return b"".join(parts)


def open_dicom(path: Path, limits: Limits) -> DicomFile:
    """Parse everything before the pixels. A file without preamble or meta group is read with a
    warning, as imported files sometimes are; what comes from the network has both."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        begin = data_set_begin(file)
        syntax = begin.transfer_syntax
        if syntax in _UNREAD:
            raise malformed(
                Fault.SYNTAX_NOT_READ,
                f"transfer syntax {_UNREAD[syntax]} is not read; send it as "
                "Explicit VR Little Endian",
            )
        file.seek(begin.offset)
        implicit = syntax == IMPLICIT
        dataset = _parse(file, implicit=implicit, before=_PER_FRAME)
        per_frame = None
        at = file.tell()
        if file.read(4) == b"\x00\x52\x30\x92":
            per_frame = at
            file.seek(at)
            _skip(file, implicit=implicit, limits=limits)
        else:
            file.seek(at)
        _parse(file, implicit=implicit, before=_FIRST_PIXEL_TAG)
        offset, length = _pixel_element(file, implicit=implicit)
    return DicomFile(
        path=path,
        elements=Elements(dataset),
        per_frame_offset=per_frame,
        transfer_syntax=syntax,
        pixel_offset=offset,
        pixel_length=length,
        size_bytes=size,
        warnings=begin.warnings,
    )


def find_frames(opened: DicomFile, layout: FrameLayout, frames: int, limits: Limits) -> FramePlaces:
    """Where the frames lie; the lengths must be those that the image needs."""
    if opened.pixel_offset is None:
        raise malformed(Fault.ATTRIBUTE_MISSING, "the object has no Pixel Data", "PixelData")
    encapsulated = layout.transfer_syntax not in (IMPLICIT, EXPLICIT)
    if encapsulated != (opened.pixel_length == _UNDEFINED):
        raise malformed(
            Fault.PIXEL_LENGTH, "Pixel Data is not stored as its transfer syntax says", "PixelData"
        )
    if not encapsulated:
        each = layout.native_bytes
        if opened.pixel_length != each * frames + (each * frames) % 2:
            raise malformed(
                Fault.PIXEL_LENGTH,
                "Pixel Data has another length than the image needs",
                "PixelData",
            )
        if opened.pixel_offset + each * frames > opened.size_bytes:
            raise malformed(Fault.PIXEL_LENGTH, "Pixel Data is cut off", "PixelData")
        return FramePlaces(
            offsets=range(opened.pixel_offset, opened.pixel_offset + each * frames, each),
            lengths=_Same(each, frames),
            first=range(frames + 1),
        )
    with opened.path.open("rb") as file:
        table, offsets, lengths, starts = _walk_items(file, opened, frames, limits)
    first = _frame_starts(frames, table, offsets, starts)
    return FramePlaces(offsets=offsets, lengths=lengths, first=first)


class _Same(Sequence[int]):
    """`count` times the same number."""

    def __init__(self, number: int, count: int) -> None:
        self._number, self._count = number, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:  # type: ignore[override]  # slices are not used
        return self._number


def _parse(file: BinaryIO, *, implicit: bool, before: int) -> Dataset:
    """The elements from here on whose tags are lower; the file then stands at the next one."""
    try:
        return read_dataset(
            file,
            is_implicit_VR=implicit,
            is_little_endian=True,
            stop_when=lambda tag, _vr, _length: tag >= before,
        )
    except Exception as broken:  # the parser raises whatever broken bytes lead it to
        raise malformed(Fault.UNREADABLE, "the data set cannot be parsed") from broken


def _skip(file: BinaryIO, *, implicit: bool, limits: Limits) -> None:
    """Past one sequence, whatever is in it."""
    depth, seen = 0, 0
    while True:
        head = file.read(8)
        seen += 1
        if len(head) < 8 or seen > limits.elements or depth > limits.nesting:
            raise malformed(
                Fault.UNREADABLE,
                "the per-frame groups never end",
                "PerFrameFunctionalGroupsSequence",
            )
        length = struct.unpack_from("<I", head, 4)[0]
        is_item = head[:2] == b"\xfe\xff"
        if is_item and head[2:4] in (b"\x0d\xe0", b"\xdd\xe0"):
            depth -= 1
        else:
            if not implicit and not is_item:
                if head[4:6] in LONG_VRS:
                    length = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
                else:
                    length = struct.unpack_from("<H", head, 6)[0]
            if length == _UNDEFINED:
                depth += 1
            else:
                file.seek(length, 1)
        if depth <= 0:
            return


def _pixel_element(file: BinaryIO, *, implicit: bool) -> tuple[int | None, int]:
    head = file.read(12)
    if len(head) < 8:
        return None, 0
    group, element = struct.unpack_from("<HH", head)
    if group << 16 | element != _PIXEL_DATA:
        return None, 0
    if implicit:
        return file.tell() - 12 + 8, struct.unpack_from("<I", head, 4)[0]
    if len(head) < 12 or head[4:6] not in (b"OB", b"OW", b"UN"):
        raise malformed(
            Fault.UNREADABLE, "Pixel Data has a wrong value representation", "PixelData"
        )
    return file.tell(), struct.unpack_from("<I", head, 8)[0]


def _walk_items(
    file: BinaryIO, opened: DicomFile, frames: int, limits: Limits
) -> "tuple[bytes, array[int], array[int], array[int]]":
    """Basic offset table (empty when it has not one entry a frame), and of each fragment: offset, length, whether it begins a codestream."""
    at = opened.pixel_offset or 0
    table: bytes | None = None
    offsets, lengths, starts = array("Q"), array("Q"), array("B")
    while True:
        file.seek(at)
        head = file.read(10)
        if len(head) < 8:
            raise malformed(Fault.FRAGMENTS, "Pixel Data is cut off", "PixelData")
        length = struct.unpack_from("<I", head, 4)[0]
        if head[:4] == b"\xfe\xff\xdd\xe0":
            break
        if head[:4] != b"\xfe\xff\x00\xe0" or at + 8 + length > opened.size_bytes:
            raise malformed(Fault.FRAGMENTS, "Pixel Data has broken fragments", "PixelData")
        if table is None:
            file.seek(at + 8)
            table = file.read(length) if length == 4 * frames else b""
        else:
            if len(offsets) >= limits.fragments:
                raise malformed(Fault.OVER_LIMIT, "Pixel Data has too many fragments", "PixelData")
            offsets.append(at + 8)
            lengths.append(length)
            starts.append(head[8:10] in _CODESTREAM_STARTS)
        at += 8 + length
    if not offsets:
        raise malformed(Fault.FRAGMENTS, "Pixel Data has no frame", "PixelData")
    return table or b"", offsets, lengths, starts


def _frame_starts(
    frames: int, table: bytes, offsets: "array[int]", starts: "array[int]"
) -> Sequence[int]:
    """Index of each frame's first fragment, and the number of fragments at the end."""
    count = len(offsets)
    if count == frames:
        return range(count + 1)
    if frames == 1:
        return (0, count)
    base = offsets[0] - 8
    if len(table) == 4 * frames:
        index = {offset - 8 - base: n for n, offset in enumerate(offsets)}
        named = [index.get(o, -1) for o in struct.unpack(f"<{frames}I", table)]
        if named[0] == 0 and all(a < b for a, b in pairwise(named)):
            return array("Q", [*named, count])
        raise malformed(
            Fault.FRAGMENTS, "the offset table points beside the fragments", "PixelData"
        )
    begins = [n for n, is_start in enumerate(starts) if is_start]
    if len(begins) == frames and begins[0] == 0:
        return array("Q", [*begins, count])
    raise malformed(Fault.FRAGMENTS, "the frames cannot be told apart", "PixelData")
