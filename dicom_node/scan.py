"""Is a data set what its bytes claim? Checked before anything parses or decodes it.

In      a Part 10 file
Out     Scan: identities and size; MalformedObject with the status for the peer when it is not
Source  PS3.5 (encoding), PS3.3 C.7.6.3 (Image Pixel), C.7.6.17 (slides); PS3.4 B.2.3 (statuses)
Values are looked at only where a later step would trust them: UIDs, image size, offset tables.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from dicom_node.conformance import IMAGE_CLASSES, SYNTAXES
from dicom_node.errors import MalformedObject
from dicom_node.limits import Limits
from dicom_node.part10 import Bytes, FileHead, is_uid, read_file_head, uid_text
from dicom_node.statuses import StoreStatus
from dicom_node.walk import PIXEL_DATA, Place, Structure, walk
from domain.identities import InstanceUID, SeriesUID, SopClassUID, StudyUID

__all__ = ["Scan", "scan_dataset"]

_IMPLICIT = "1.2.840.10008.1.2"
_NATIVE = (_IMPLICIT, "1.2.840.10008.1.2.1")
_KNOWN = frozenset(entry.uid for entry in SYNTAXES)
_BITS = frozenset({1, 8, 16, 32, 64})
_SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Identities and size of a data set that holds together."""

    sop_class_uid: SopClassUID
    sop_instance_uid: InstanceUID
    study_uid: StudyUID
    series_uid: SeriesUID
    transfer_syntax: str
    dataset_offset: int  # where the data set begins in the file
    elements: int
    frames: int  # 0 without Pixel Data


def scan_dataset(
    path: Path, transfer_syntax: str | None, limits: Limits, *, dataset_offset: int | None = None
) -> Scan:
    """Walk the file; `transfer_syntax` None takes that of the file meta. `dataset_offset` is where
    the data set begins in a file that has no preamble, and so is no Part 10 file.

    Raises MalformedObject, and OSError when the file cannot be opened.
    """
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise MalformedObject(StoreStatus.NO_DATA_SET, "the file is empty")
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            head = (
                read_file_head(data)
                if dataset_offset is None
                else FileHead(
                    sop_class_uid="",
                    sop_instance_uid="",
                    transfer_syntax="",
                    dataset_offset=dataset_offset,
                )
            )
            return _scan(data, head, transfer_syntax, limits)


def _scan(data: Bytes, head: FileHead, transfer_syntax: str | None, limits: Limits) -> Scan:
    syntax = head.transfer_syntax if transfer_syntax is None else transfer_syntax
    if syntax not in _KNOWN:
        raise MalformedObject(
            StoreStatus.SYNTAX_UNKNOWN, "transfer syntax is not supported", 0x00020010
        )
    if len(data) - head.dataset_offset > limits.object_bytes:
        raise MalformedObject(StoreStatus.OBJECT_TOO_LARGE, "object is over the size limit")
    native = syntax in _NATIVE
    structure = walk(
        data,
        head.dataset_offset,
        explicit=syntax != _IMPLICIT,
        encapsulated=not native,
        limits=limits,
    )
    reader = _Reader(data, structure)
    sop_class = reader.uid("SOPClassUID", StoreStatus.MALFORMED_UID)
    sop_instance = reader.uid("SOPInstanceUID", StoreStatus.MALFORMED_INSTANCE_UID)
    for told, stands in (
        (head.sop_class_uid, sop_class),
        (head.sop_instance_uid, sop_instance),
    ):
        if told and told != stands:
            raise MalformedObject(
                StoreStatus.UIDS_DIFFER, "UIDs of command or file meta and data set differ"
            )
    scan = Scan(
        sop_class_uid=SopClassUID(sop_class),
        sop_instance_uid=InstanceUID(sop_instance),
        study_uid=StudyUID(reader.uid("StudyInstanceUID", StoreStatus.MALFORMED_UID)),
        series_uid=SeriesUID(reader.uid("SeriesInstanceUID", StoreStatus.MALFORMED_UID)),
        transfer_syntax=syntax,
        dataset_offset=head.dataset_offset,
        elements=structure.elements,
        frames=0,
    )
    if sop_class not in IMAGE_CLASSES and PIXEL_DATA not in structure.places:
        return scan
    return _with_pixels(scan, reader, native=native, limits=limits)


def _with_pixels(scan: Scan, reader: "_Reader", *, native: bool, limits: Limits) -> Scan:
    rows = reader.unsigned("Rows")
    columns = reader.unsigned("Columns")
    samples = reader.unsigned("SamplesPerPixel")
    bits = reader.unsigned("BitsAllocated")
    frames = reader.frames(required=scan.sop_class_uid.startswith(_SINGLE_FRAME + "."))
    if bits not in _BITS or samples > 4:
        raise MalformedObject(
            StoreStatus.BAD_DIMENSION, "bits or samples of a pixel that no image has", 0x00280100
        )
    frame_bits = rows * columns * samples * bits
    if frame_bits > 8 * limits.frame_bytes or frames > limits.frames:
        raise MalformedObject(StoreStatus.TOO_LARGE_IMAGE, "image is over a limit", 0x00280010)
    for keyword in ("TotalPixelMatrixColumns", "TotalPixelMatrixRows"):
        reader.matrix_side(keyword, limits.matrix_px)

    pixels = reader.place("PixelData")
    if native:
        subsampled = reader.text("PhotometricInterpretation") == "YBR_FULL_422"
        # PS3.3 C.7.6.3.1.2: two luma samples share one pair of chroma samples
        total_bits = frame_bits * frames * 2 // 3 if subsampled else frame_bits * frames
        expected = (total_bits + 7) // 8
        if pixels.length != expected + expected % 2:
            raise MalformedObject(
                StoreStatus.PIXEL_LENGTH,
                f"Pixel Data has {pixels.length} bytes, the image needs {expected}",
                PIXEL_DATA,
            )
    else:
        _check_fragments(reader, frames)
    return Scan(**{**scan.__dict__, "frames": frames})


def _check_fragments(reader: "_Reader", frames: int) -> None:
    """Each frame has a fragment, and what the offset tables point at is one."""
    fragments = reader.structure.fragments
    if len(fragments) < frames:
        raise MalformedObject(
            StoreStatus.BAD_FRAGMENTS,
            f"{len(fragments)} fragments for {frames} frames",
            PIXEL_DATA,
        )
    base = fragments[0][0]
    lengths = {start - base: length for start, length in fragments}
    basic = reader.structure.offset_table
    if (
        basic is not None
        and basic.length
        and not _all_hit(reader.integers(basic, "I", count=frames), lengths)
    ):
        raise MalformedObject(
            StoreStatus.BAD_OFFSETS, "Basic Offset Table does not fit", PIXEL_DATA
        )
    extended = reader.structure.places.get(_tag("ExtendedOffsetTable"))
    if extended is not None:
        offsets = reader.integers(extended, "Q", count=frames)
        sizes = reader.integers(reader.place("ExtendedOffsetTableLengths"), "Q", count=frames)
        if (
            (basic is not None and basic.length)
            or not _all_hit(offsets, lengths)
            or any(size > lengths[at] for at, size in zip(offsets, sizes, strict=True))
        ):
            raise MalformedObject(
                StoreStatus.BAD_OFFSETS,
                "Extended Offset Table does not fit",
                _tag("ExtendedOffsetTable"),
            )


def _all_hit(offsets: tuple[int, ...], lengths: dict[int, int]) -> bool:
    """The first frame begins with the first fragment, the others later, each in its own place."""
    return (
        offsets[0] == 0
        and all(a < b for a, b in pairwise(offsets))
        and all(offset in lengths for offset in offsets)
    )


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - keywords are literals of this file
    return tag


class _Reader:
    """Top-level values by keyword; every method raises MalformedObject with the element's tag."""

    def __init__(self, data: Bytes, structure: Structure) -> None:
        self.data = data
        self.structure = structure

    def place(self, keyword: str) -> Place:
        tag = _tag(keyword)
        place = self.structure.places.get(tag)
        if place is None:
            raise MalformedObject(StoreStatus.ATTRIBUTE_MISSING, f"{keyword} is missing", tag)
        return place

    def raw(self, place: Place) -> bytes:
        return self.data[place.start : place.start + place.length]

    def uid(self, keyword: str, status: StoreStatus) -> str:
        place = self.place(keyword)
        if not place.length:
            raise MalformedObject(
                StoreStatus.ATTRIBUTE_MISSING, f"{keyword} is empty", _tag(keyword)
            )
        # longer than any UID with its padding: not read at all
        text = uid_text(self.raw(place)) if place.length <= 66 else ""
        if not is_uid(text) or place.vr not in (b"", b"UI"):
            raise MalformedObject(status, f"{keyword} is malformed", _tag(keyword))
        return text

    def unsigned(self, keyword: str) -> int:
        """A US value of at least 1."""
        place = self.place(keyword)
        if place.length != 2 or place.vr not in (b"", b"US"):
            raise MalformedObject(
                StoreStatus.BAD_DIMENSION, f"{keyword} is no US of two bytes", _tag(keyword)
            )
        value = int(struct.unpack_from("<H", self.data, place.start)[0])
        if not value:
            raise MalformedObject(StoreStatus.BAD_DIMENSION, f"{keyword} is zero", _tag(keyword))
        return value

    def frames(self, *, required: bool) -> int:
        """Number of Frames; 1 where a class may leave it out."""
        tag = _tag("NumberOfFrames")
        if tag not in self.structure.places and not required:
            return 1
        place = self.place("NumberOfFrames")
        text = self.raw(place).decode("latin-1").strip(" ") if place.length <= 12 else ""
        if not (text.isascii() and text.isdigit()) or int(text) < 1 or place.vr not in (b"", b"IS"):
            raise MalformedObject(
                StoreStatus.BAD_DIMENSION, "Number of Frames is no positive number", tag
            )
        return int(text)

    def matrix_side(self, keyword: str, limit: int) -> None:
        """Total Pixel Matrix Columns or Rows, where the object has them."""
        tag = _tag(keyword)
        place = self.structure.places.get(tag)
        if place is None:
            return
        if place.length != 4 or place.vr not in (b"", b"UL"):
            raise MalformedObject(StoreStatus.BAD_DIMENSION, f"{keyword} is no UL", tag)
        side = struct.unpack_from("<I", self.data, place.start)[0]
        if not side:
            raise MalformedObject(StoreStatus.BAD_DIMENSION, f"{keyword} is zero", tag)
        if side > limit:
            raise MalformedObject(StoreStatus.TOO_LARGE_IMAGE, f"{keyword} is over {limit}", tag)

    def text(self, keyword: str) -> str:
        """A short string, "" when absent."""
        place = self.structure.places.get(_tag(keyword))
        if place is None or place.length > 64:
            return ""
        return self.raw(place).decode("latin-1").strip(" \0")

    def integers(self, place: Place, code: str, *, count: int) -> tuple[int, ...]:
        """A table of `count` little endian integers; `code` as in `struct`. The length is compared
        before anything is unpacked: it is the peer's to declare, up to 4 GiB."""
        if place.length != count * struct.calcsize(f"<{code}"):
            raise MalformedObject(
                StoreStatus.BAD_OFFSETS, "an offset table has an impossible length", PIXEL_DATA
            )
        return struct.unpack_from(f"<{count}{code}", self.data, place.start)
