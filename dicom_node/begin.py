"""Where the data set of a file begins, whether or not the file has preamble and meta group.

In      an open file
Out     Begin: offset and transfer syntax, named or guessed
Refuses MalformedObject
Source  PS3.10 7.1
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from dicom_node.faults import Fault, malformed

__all__ = ["EXPLICIT", "IMPLICIT", "LONG_VRS", "Begin", "data_set_begin", "looks_like_dicom"]

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
LONG_VRS = {
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
}
_MAX_META_BYTES = 65_536


def looks_like_dicom(head: bytes) -> bool:
    """By the first 132 bytes: the prefix, or elements of group 0002 or 0008 without one."""
    if head[128:132] == b"DICM":
        return True
    return head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0" and len(head) >= 8


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Where a file's data set begins, and in which transfer syntax: the named one, else a guess."""

    transfer_syntax: str
    offset: int
    warnings: tuple[str, ...]


def data_set_begin(file: BinaryIO) -> Begin:
    """With or without preamble and meta group. Raises MalformedObject."""
    warnings: list[str] = []
    file.seek(0)
    head = file.read(132)
    if not looks_like_dicom(head):
        raise malformed(Fault.UNREADABLE, "the file is no DICOM object")
    start = 132
    if head[128:132] != b"DICM":
        start = 0
        warnings.append("the file has no DICOM preamble")
    elif head[:128].strip(b"\0") and head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        warnings.append("the file's preamble holds bytes that are neither zero nor a TIFF header")
    syntax, start = _meta(file, start)
    if not syntax:
        file.seek(start)
        syntax = EXPLICIT if file.read(6)[4:6].isalpha() else IMPLICIT
        warnings.append("the file does not name its transfer syntax; read as Little Endian")
    return Begin(transfer_syntax=syntax, offset=start, warnings=tuple(warnings))


def _meta(file: BinaryIO, start: int) -> tuple[str, int]:
    """Transfer syntax ("" when not named) and where the data set begins (PS3.10 7.1)."""
    syntax = ""
    at = start
    while at - start < _MAX_META_BYTES:
        file.seek(at)
        head = file.read(12)
        if len(head) < 8 or head[:2] != b"\x02\0":
            return syntax, at
        length, header = struct.unpack_from("<H", head, 6)[0], 8
        if head[4:6] in LONG_VRS:
            if len(head) < 12:
                break
            length, header = struct.unpack_from("<I", head, 8)[0], 12
        if head[2:4] == b"\x10\0":
            file.seek(at + header)
            syntax = file.read(min(length, 64)).decode("ascii", "replace").strip(" \0")
        at += header + length
    raise malformed(Fault.UNREADABLE, "the file's meta information never ends")
