"""The structural scan: one defect, one status. The objects are written by pydicom."""

import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence

from dicom_node.errors import DicomNodeError, MalformedObject
from dicom_node.limits import Limits
from dicom_node.scan import Scan, scan_dataset
from dicom_node.statuses import StoreStatus
from tests import dicom_node_net as net

PIXELS = b"\xe0\x7f\x10\x00"


def scanned(
    tmp_path: Path, data: bytes, limits: Limits | None = None, syntax: str | None = None
) -> Scan:
    path = tmp_path / "object.dcm"
    path.write_bytes(data)
    return scan_dataset(path, syntax, limits or Limits())


def refused(tmp_path: Path, data: bytes, limits: Limits | None = None) -> MalformedObject:
    with pytest.raises(MalformedObject) as raised:
        scanned(tmp_path, data, limits)
    return raised.value


@pytest.mark.parametrize("syntax", [net.EXPLICIT, net.IMPLICIT])
def test_a_good_object(tmp_path: Path, syntax: str) -> None:
    ds = net.image()
    ds.ReferencedStudySequence = Sequence([Dataset(), Dataset()])
    ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2"
    scan = scanned(tmp_path, net.part10(ds, syntax))
    assert (scan.sop_class_uid, scan.sop_instance_uid) == (net.SECONDARY_CAPTURE, net.INSTANCE)
    assert (scan.study_uid, scan.series_uid) == ("2.25.1", "2.25.2")
    assert (scan.transfer_syntax, scan.frames) == (syntax, 1)
    assert scan.elements == len(ds) + 2 + 1


def test_compressed_frames(tmp_path: Path) -> None:
    ds = net.encapsulated([b"one!", b"two!", b"three!"])
    assert scanned(tmp_path, net.part10(ds, net.JPEG_BASELINE)).frames == 3


def test_an_extended_offset_table(tmp_path: Path) -> None:
    ds = net.encapsulated([b"one!", b"two!!!"])
    frames, offsets, lengths = encapsulate_extended([b"one!", b"two!!!"])
    ds.PixelData = frames
    ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    assert scanned(tmp_path, net.part10(ds, net.JPEG_BASELINE)).frames == 2
    ds.ExtendedOffsetTable = struct.pack("<QQ", 0, 4)
    error = refused(tmp_path, net.part10(ds, net.JPEG_BASELINE))
    assert (error.status, error.offending_tag) == (StoreStatus.BAD_OFFSETS, 0x7FE00001)
    ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, struct.pack("<QQ", 4, 8)
    assert refused(tmp_path, net.part10(ds, net.JPEG_BASELINE)).status == StoreStatus.BAD_OFFSETS


def test_an_object_without_pixels_is_judged_by_its_structure(tmp_path: Path) -> None:
    ds = net.image(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34", PixelData=None, Rows=None)
    assert scanned(tmp_path, net.part10(ds)).frames == 0


def test_a_private_sequence_under_un_is_walked(tmp_path: Path) -> None:
    """PS3.5 6.2.2: UN of undefined length is a sequence in Implicit VR Little Endian."""
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", 12) + b"\x08\x00\x60\x00\x04\0\0\0SM  "
    element = b"\x29\x00\x01\x10UN\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    good = net.part10(net.image())
    assert scanned(tmp_path, good.replace(PIXELS, element + PIXELS)).frames == 1
    broken = element.replace(b"\x04\0\0\0SM", b"\x40\0\0\0SM")
    error = refused(tmp_path, good.replace(PIXELS, broken + PIXELS))
    assert (error.status, error.offending_tag) == (StoreStatus.BEYOND_THE_END, 0x00080060)


def test_a_public_sequence_under_un_may_not_hide_its_depth(tmp_path: Path) -> None:
    inner = b""
    for _ in range(40):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        inner = b"\x08\x00\x15\x11" + struct.pack("<I", len(item)) + item
    value = inner[8:]
    element = b"\x08\x00\x15\x11UN\0\0" + struct.pack("<I", len(value)) + value
    good = net.part10(net.image())
    error = refused(tmp_path, good.replace(b"\x10\x00\x10\x00PN", element + b"\x10\x00\x10\x00PN"))
    assert error.status == StoreStatus.TOO_DEEP


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH", group, number) + vr + struct.pack("<HI", 0, len(value)) + value


def before_pixels(extra: bytes) -> Callable[[], bytes]:
    return lambda: net.part10(net.image()).replace(PIXELS, extra + PIXELS)


def changed(**changes: Any) -> Callable[[], bytes]:
    return lambda: net.part10(net.image(**changes))


def with_rows(value: bytes) -> Callable[[], bytes]:
    rows = b"\x28\x00\x10\x00US\x02\x00\x06\x00"
    return lambda: net.part10(net.image()).replace(rows, rows[:4] + value)


def compressed(pixel_data: bytes, frames: int = 2) -> Callable[[], bytes]:
    """Two frames of 4 and 6 bytes, their items replaced by `pixel_data`."""

    def made() -> bytes:
        ds = net.encapsulated([b"one!", b"two!!!"])
        ds.NumberOfFrames = frames
        good = encapsulate([b"one!", b"two!!!"])
        file = net.part10(ds, net.JPEG_BASELINE)
        assert good in file
        return file.replace(good, pixel_data)

    return made


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def table(*offsets: int) -> bytes:
    return item(struct.pack(f"<{len(offsets)}I", *offsets))


FRAMES = item(b"one!") + item(b"two!!!")

DEFECTS: dict[str, tuple[Callable[[], bytes], StoreStatus, int | None]] = {
    "cut in the pixels": (
        lambda: net.part10(net.image())[:-1],
        StoreStatus.BEYOND_THE_END,
        0x7FE00010,
    ),
    "cut in an element's head": (
        lambda: net.part10(net.image())[:-150],
        StoreStatus.BEYOND_THE_END,
        None,
    ),
    "odd length": (
        before_pixels(element(0x0029, 0x1001, b"OB", b"odd")),
        StoreStatus.ODD_LENGTH,
        0x00291001,
    ),
    "unknown VR": (
        before_pixels(element(0x0029, 0x1001, b"ZZ", b"even")),
        StoreStatus.NOT_AS_NEGOTIATED,
        0x00291001,
    ),
    "repeated element": (
        before_pixels(b"\x28\x00\x10\x00US\x02\x00\x06\x00"),
        StoreStatus.REPEATED_ELEMENT,
        0x00280010,
    ),
    "command group": (
        before_pixels(element(0x0000, 0x0100, b"OB", b"")),
        StoreStatus.FOREIGN_GROUP,
        0x00000100,
    ),
    "file meta again": (
        before_pixels(element(0x0002, 0x0010, b"OB", b"")),
        StoreStatus.FOREIGN_GROUP,
        0x00020010,
    ),
    "sequence delimiter": (
        before_pixels(b"\xfe\xff\xdd\xe0\0\0\0\0"),
        StoreStatus.STRAY_ITEM,
        0xFFFEE0DD,
    ),
    "item delimiter": (
        before_pixels(b"\xfe\xff\x0d\xe0\0\0\0\0"),
        StoreStatus.STRAY_ITEM,
        0xFFFEE00D,
    ),
    "no item in a sequence": (
        before_pixels(element(0x0029, 0x1001, b"SQ", element(0x0029, 0x1001, b"OB", b""))),
        StoreStatus.STRAY_ITEM,
        0x00291001,
    ),
    "item longer than its sequence": (
        before_pixels(element(0x0029, 0x1001, b"SQ", b"\xfe\xff\x00\xe0\x40\0\0\0")),
        StoreStatus.BEYOND_THE_END,
        0x00291001,
    ),
    "undefined length of a string": (
        before_pixels(b"\x29\x00\x01\x10UT\0\0\xff\xff\xff\xff"),
        StoreStatus.NOT_AS_NEGOTIATED,
        0x00291001,
    ),
    "undefined length of native pixels": (
        lambda: net.part10(net.image()).replace(
            PIXELS + b"OB\0\0\x90\0\0\0", PIXELS + b"OB\0\0\xff\xff\xff\xff"
        ),
        StoreStatus.NOT_AS_NEGOTIATED,
        0x7FE00010,
    ),
    "pixels too long": (changed(PixelData=bytes(146)), StoreStatus.PIXEL_LENGTH, 0x7FE00010),
    "pixels too short": (changed(PixelData=bytes(142)), StoreStatus.PIXEL_LENGTH, 0x7FE00010),
    "frames that are not there": (
        changed(NumberOfFrames=2),
        StoreStatus.PIXEL_LENGTH,
        0x7FE00010,
    ),
    "no pixels": (changed(PixelData=None), StoreStatus.ATTRIBUTE_MISSING, 0x7FE00010),
    "no rows": (changed(Rows=None), StoreStatus.ATTRIBUTE_MISSING, 0x00280010),
    "no instance": (changed(SOPInstanceUID=None), StoreStatus.ATTRIBUTE_MISSING, 0x00080018),
    "empty study": (changed(StudyInstanceUID=""), StoreStatus.ATTRIBUTE_MISSING, 0x0020000D),
    "malformed study": (
        lambda: net.part10(net.image(StudyInstanceUID="2.25.1234")).replace(
            b"2.25.1234", b"2.25..234"
        ),
        StoreStatus.MALFORMED_UID,
        0x0020000D,
    ),
    "rows of zero": (changed(Rows=0), StoreStatus.BAD_DIMENSION, 0x00280010),
    "rows as UL": (
        with_rows(b"UL\x04\x00\x06\x00\x00\x00"),
        StoreStatus.BAD_DIMENSION,
        0x00280010,
    ),
    "two rows": (with_rows(b"US\x04\x00\x06\x00\x06\x00"), StoreStatus.BAD_DIMENSION, 0x00280010),
    "bits of seven": (changed(BitsAllocated=7), StoreStatus.BAD_DIMENSION, 0x00280100),
    "frames of minus one": (
        changed(NumberOfFrames="-1"),
        StoreStatus.BAD_DIMENSION,
        0x00280008,
    ),
    "matrix of zero": (
        changed(TotalPixelMatrixColumns=0),
        StoreStatus.BAD_DIMENSION,
        0x00480006,
    ),
    "matrix of billions": (
        changed(TotalPixelMatrixRows=2**32 - 1),
        StoreStatus.TOO_LARGE_IMAGE,
        0x00480007,
    ),
    "pixel bomb": (
        changed(Rows=65535, Columns=65535),
        StoreStatus.TOO_LARGE_IMAGE,
        0x00280010,
    ),
    "no fragment": (compressed(table()), StoreStatus.BAD_FRAGMENTS, 0x7FE00010),
    "fewer fragments than frames": (
        compressed(table() + item(b"one!")),
        StoreStatus.BAD_FRAGMENTS,
        0x7FE00010,
    ),
    "empty fragment": (compressed(table() + item(b"")), StoreStatus.BAD_FRAGMENTS, 0x7FE00010),
    "element among fragments": (
        compressed(table() + element(0x0029, 0x1001, b"OB", b"") + FRAMES),
        StoreStatus.BAD_FRAGMENTS,
        0x7FE00010,
    ),
    "fragment of four gigabytes": (
        compressed(table() + b"\xfe\xff\x00\xe0\xfe\xff\xff\xff"),
        StoreStatus.BEYOND_THE_END,
        0x7FE00010,
    ),
    "fragments without end": (
        lambda: compressed(table(0, 12) + FRAMES)()[:-8],
        StoreStatus.NOT_TERMINATED,
        0x7FE00010,
    ),
    "offset backwards": (
        compressed(table(12, 0) + FRAMES),
        StoreStatus.BAD_OFFSETS,
        0x7FE00010,
    ),
    "offset twice": (
        compressed(table(0, 0) + FRAMES),
        StoreStatus.BAD_OFFSETS,
        0x7FE00010,
    ),
    "offset into a fragment": (
        compressed(table(0, 10) + FRAMES),
        StoreStatus.BAD_OFFSETS,
        0x7FE00010,
    ),
    "offset outside": (compressed(table(0, 4000) + FRAMES), StoreStatus.BAD_OFFSETS, 0x7FE00010),
    "one offset for two frames": (
        compressed(table(0) + FRAMES),
        StoreStatus.BAD_OFFSETS,
        0x7FE00010,
    ),
    "table of six bytes": (
        compressed(item(bytes(6)) + FRAMES),
        StoreStatus.BAD_OFFSETS,
        0x7FE00010,
    ),
    "native pixels under a compressed syntax": (
        lambda: net.part10(net.image()).replace(
            b"\x14\x00" + net.EXPLICIT.encode() + b"\0",
            b"\x16\x00" + net.JPEG_BASELINE.encode(),
        ),
        StoreStatus.NOT_AS_NEGOTIATED,
        0x7FE00010,
    ),
    "deflated": (
        lambda: net.part10(net.image()).replace(
            b"\x14\x00" + net.EXPLICIT.encode() + b"\0", b"\x16\x001.2.840.10008.1.2.1.99"
        ),
        StoreStatus.SYNTAX_UNKNOWN,
        0x00020010,
    ),
    "nothing": (lambda: b"", StoreStatus.NO_DATA_SET, None),
    "head only": (
        lambda: net.part10(net.image()).split(b"\x08\x00\x05\x00CS")[0],
        StoreStatus.NO_DATA_SET,
        None,
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_one_defect_one_status(tmp_path: Path, defect: str) -> None:
    made, status, tag = DEFECTS[defect]
    error = refused(tmp_path, made())
    assert error.status == status, error.reason
    if tag is not None:
        assert error.offending_tag == tag, error.reason


def test_the_reason_holds_no_value_of_the_object(tmp_path: Path) -> None:
    for made, _, _ in DEFECTS.values():
        error = refused(tmp_path, made())
        assert "Zzyzx" not in str(error)
        assert "2.25." not in str(error)
        assert "\n" not in str(error)


def test_another_instance_than_the_file_meta_says(tmp_path: Path) -> None:
    file = net.part10(net.image("2.25.1001"))
    other = file.replace(b"2.25.1001", b"2.25.1003", 1)
    assert refused(tmp_path, other).status == StoreStatus.UIDS_DIFFER


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (Limits(elements=5), StoreStatus.TOO_MANY_ELEMENTS),
        (Limits(object_bytes=100), StoreStatus.OBJECT_TOO_LARGE),
        (Limits(frame_bytes=143), StoreStatus.TOO_LARGE_IMAGE),
    ],
)
def test_limits(tmp_path: Path, limits: Limits, status: StoreStatus) -> None:
    assert refused(tmp_path, net.part10(net.image()), limits).status == status
    frames = net.part10(net.encapsulated([b"one!", b"two!"]), net.JPEG_BASELINE)
    for few in (Limits(fragments=1), Limits(frames=1)):
        assert refused(tmp_path, frames, few).status in (
            StoreStatus.BAD_FRAGMENTS,
            StoreStatus.TOO_LARGE_IMAGE,
        )


def test_bytes_beside_the_pixels_are_bounded(tmp_path: Path) -> None:
    big = before_pixels(element(0x0029, 0x1001, b"OB", bytes(5000)))()
    assert scanned(tmp_path, big, Limits(element_bytes=5012)).frames == 1
    error = refused(tmp_path, big, Limits(element_bytes=5000))
    assert (error.status, error.offending_tag) == (StoreStatus.TOO_LARGE_IMAGE, 0x00291001)
    many = b"".join(element(0x0029, 0x1001 + n, b"OB", bytes(500)) for n in range(10))
    for extra in (many, element(0x0029, 0x1001, b"SQ", item(many))):
        file = before_pixels(extra)()
        assert scanned(tmp_path, file, Limits(header_bytes=6000)).frames == 1
        error = refused(tmp_path, file, Limits(header_bytes=5000))
        assert error.status == StoreStatus.TOO_LARGE_IMAGE
    # the pixels themselves do not count
    assert scanned(tmp_path, net.part10(net.image()), Limits(element_bytes=100)).frames == 1


def test_pixels_of_an_icon_count_as_bytes_beside_the_pixels(tmp_path: Path) -> None:
    pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + table() + item(bytes(5000))
    icon = item(pixels + b"\xfe\xff\xdd\xe0\0\0\0\0")
    file = compressed(table() + FRAMES)().replace(
        PIXELS, element(0x0088, 0x0200, b"SQ", icon) + PIXELS, 1
    )
    assert scanned(tmp_path, file).frames == 2
    assert refused(tmp_path, file, Limits(element_bytes=5000)).status == StoreStatus.TOO_LARGE_IMAGE


@pytest.mark.parametrize("extended", [False, True])
def test_an_offset_table_of_another_length_is_not_unpacked(tmp_path: Path, extended: bool) -> None:
    """Two million offsets for two frames would be 70 MB of integers."""
    big = bytes(16_000_000)
    if extended:
        tables = element(0x7FE0, 1, b"OV", big) + element(0x7FE0, 2, b"OV", bytes(16))
        good = compressed(table() + FRAMES)()
        file = good.replace(PIXELS, tables + PIXELS, 1)
    else:
        file = compressed(item(big) + FRAMES)()
    path = tmp_path / "object.dcm"
    path.write_bytes(file)
    tracemalloc.start()
    with pytest.raises(MalformedObject) as raised:
        scan_dataset(path, None, Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raised.value.status == StoreStatus.BAD_OFFSETS
    assert peak < 4_000_000


def test_a_subsampled_native_image_has_two_bytes_a_pixel(tmp_path: Path) -> None:
    ds = net.image(PhotometricInterpretation="YBR_FULL_422", PixelData=bytes(96))
    assert scanned(tmp_path, net.part10(ds)).frames == 1


def test_a_space_as_padding_of_a_uid_is_borne(tmp_path: Path) -> None:
    file = net.part10(net.image()).replace(b"2.25.1001\0", b"2.25.1001 ")
    assert scanned(tmp_path, file).sop_instance_uid == "2.25.1001"


def test_pixels_are_not_read(tmp_path: Path) -> None:
    """A sparse file of 4 GiB: whoever read it would take minutes, whoever loaded it would fail."""
    side = 37800
    ds = net.image(Rows=side, Columns=side, PixelData=bytes(2))
    file = net.part10(ds)
    length = 3 * side * side
    path = tmp_path / "sparse.dcm"
    with path.open("wb") as out:
        out.write(file[:-6] + struct.pack("<I", length))
        out.truncate(out.tell() + length)
    assert scan_dataset(path, None, Limits(frame_bytes=2**33)).frames == 1


def test_the_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(MalformedObject(0xC001, "why", 0x7FE00010)))
    assert isinstance(error, DicomNodeError)
    assert (error.status, error.reason, error.offending_tag) == (0xC001, "why", 0x7FE00010)
