"""The head of a Part 10 file: written by us for what we receive, read from what we send or import.

Source  PS3.10 section 7.1; PS3.5 9.1 (UIDs)
Reading copies no preamble: what stands in the first 128 bytes of a foreign file goes nowhere.
"""

import re
import struct
from dataclasses import dataclass
from mmap import mmap
from typing import TypeAlias

from dicom_node.conformance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.errors import MalformedObject
from dicom_node.statuses import StoreStatus

__all__ = ["Bytes", "FileHead", "file_head", "is_uid", "read_file_head", "uid_text"]

Bytes: TypeAlias = bytes | mmap

_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*", re.ASCII)
_LONG_VRS = frozenset({b"OB", b"OW", b"UN", b"UT", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR"})
_HEAD_BYTES = 64 * 1024  # private information of writers included, real heads are below 1 KiB


@dataclass(frozen=True, kw_only=True)
class FileHead:
    """The three UIDs of the file meta, "" where one is absent, and where the data set begins."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    dataset_offset: int


def is_uid(text: str) -> bool:
    """Digits and dots, no empty component, no leading zero, at most 64 characters (PS3.5 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def uid_text(raw: bytes) -> str:
    """A UI value without its padding. Bytes outside ASCII stay visible, so that `is_uid` fails."""
    text = raw.decode("latin-1")
    # NULL is the padding of the standard, the space that of many devices
    return text[:-1] if text.endswith(("\0", " ")) else text


def file_head(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> bytes:
    """Zero preamble, DICM and file meta in Explicit VR Little Endian, the same for the same UIDs
    whoever sent the object. A malformed UID is left empty: such a file goes to quarantine only."""
    meta = _element(0x0001, b"OB", b"\0\1")
    for element, uid in (
        (0x0002, sop_class_uid),
        (0x0003, sop_instance_uid),
        (0x0010, transfer_syntax),
        (0x0012, IMPLEMENTATION_CLASS_UID),
    ):
        value = uid.encode("ascii") if is_uid(uid) else b""
        meta += _element(element, b"UI", value + b"\0" * (len(value) % 2))
    version = IMPLEMENTATION_VERSION_NAME.encode("ascii")
    meta += _element(0x0013, b"SH", version + b" " * (len(version) % 2))
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(meta))) + meta


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH", 0x0002, element) + vr
    if vr in _LONG_VRS:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def read_file_head(data: Bytes) -> FileHead:
    """`data` is the file, or enough of its beginning.

    Raises MalformedObject when it is no Part 10 file or its file meta is broken.
    """
    if data[128:132] != b"DICM":
        raise MalformedObject(
            StoreStatus.NOT_AS_NEGOTIATED, "no DICOM file: DICM is missing at byte 128"
        )
    found = {0x0002: "", 0x0003: "", 0x0010: ""}
    position = 132
    end = min(len(data), _HEAD_BYTES)
    while position + 8 <= end:
        group, element = struct.unpack_from("<HH", data, position)
        if group != 0x0002:
            return FileHead(
                sop_class_uid=found[0x0002],
                sop_instance_uid=found[0x0003],
                transfer_syntax=found[0x0010],
                dataset_offset=position,
            )
        vr = data[position + 4 : position + 6]
        if vr in _LONG_VRS:
            if position + 12 > end:
                break
            (length,) = struct.unpack_from("<I", data, position + 8)
            position += 12
        else:
            (length,) = struct.unpack_from("<H", data, position + 6)
            position += 8
        if position + length > end:
            break
        if element in found:
            found[element] = uid_text(data[position : position + length])
        position += length
    if position == len(data):
        raise MalformedObject(StoreStatus.NO_DATA_SET, "the file ends after its file meta")
    raise MalformedObject(StoreStatus.BEYOND_THE_END, "file meta is cut off or too long")
