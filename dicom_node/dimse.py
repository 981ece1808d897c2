"""DIMSE commands: what stands before a data set, read strictly and written.

In      the bytes of a command set, always Implicit VR Little Endian
Out     Command, or BrokenCommand when it can't be answered
Source  PS3.7 section 6.3 (structure), 9.3 (C-STORE, C-ECHO), annex C (statuses), annex E (fields)
pynetdicom decodes commands into its own objects and data sets into memory; this reads the few
elements that C-STORE and C-ECHO have and leaves the data set to whoever wants the bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from dicom_node.errors import DicomNodeError
from dicom_node.part10 import is_uid, uid_text
from dicom_node.statuses import COMMENT_LENGTH, Reply

__all__ = [
    "BrokenCommand",
    "Command",
    "CommandField",
    "fragments",
    "parse_command",
    "request",
    "response",
]

_SOP_CLASS, _FIELD, _MESSAGE, _RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATA_SET, _STATUS, _OFFENDING = 0x0700, 0x0800, 0x0900, 0x0901
_COMMENT, _SOP_INSTANCE = 0x0902, 0x1000
_NO_DATA_SET = 0x0101
_RESPONSE = 0x8000


class BrokenCommand(DicomNodeError):
    """A command that names no message to answer, or is no command at all."""


class CommandField(IntEnum):
    """The operations of this node (PS3.7 table E.1-1)."""

    STORE = 0x0001
    ECHO = 0x0030


@dataclass(frozen=True, kw_only=True)
class Command:
    """A request, or a response to ours (`is_response`, with `status`).

    `message_id` is the request's own, also in its response. `mistyped` is the first element at
    fault, as (gggg << 16) | eeee, None when all that this node needs are there and well formed.
    """

    field: int
    message_id: int
    is_response: bool
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str
    status: int | None
    comment: str
    mistyped: int | None


def parse_command(data: bytes) -> Command:
    """Raises BrokenCommand."""
    found: dict[int, bytes] = {}
    position, last = 0, -1
    while position < len(data):
        if position + 8 > len(data):
            raise BrokenCommand("a command element is cut off")
        group, element, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if group != 0 or element <= last or position + length > len(data):
            raise BrokenCommand("a command element has a wrong group, order or length")
        found[element] = data[position : position + length]
        position += length
        last = element
    field = _unsigned(found, _FIELD)
    is_response = field is not None and bool(field & _RESPONSE)
    message_id = _unsigned(found, _RESPONDED_TO if is_response else _MESSAGE)
    data_set = _unsigned(found, _DATA_SET)
    if field is None or message_id is None or data_set is None:
        raise BrokenCommand("a command without field, message id or data set type")
    status = _unsigned(found, _STATUS)
    if is_response and status is None:
        raise BrokenCommand("a response without status")
    return Command(
        field=field & ~_RESPONSE,
        message_id=message_id,
        is_response=is_response,
        has_data_set=data_set != _NO_DATA_SET,
        sop_class_uid=uid_text(found.get(_SOP_CLASS, b"")),
        sop_instance_uid=uid_text(found.get(_SOP_INSTANCE, b"")),
        status=status,
        comment=_line(found.get(_COMMENT, b"").decode("latin-1")),
        mistyped=_mistyped(found, field, len(data)),
    )


def _unsigned(found: dict[int, bytes], element: int) -> int | None:
    value = found.get(element)
    return None if value is None or len(value) != 2 else int.from_bytes(value, "little")


def _mistyped(found: dict[int, bytes], field: int, size: int) -> int | None:
    length = found.get(0x0000)
    if length is None or len(length) != 4 or int.from_bytes(length, "little") != size - 12:
        return 0x0000
    if field not in (CommandField.STORE, CommandField.ECHO):
        return None
    if not is_uid(uid_text(found.get(_SOP_CLASS, b""))):
        return _SOP_CLASS
    if field == CommandField.STORE and not found.get(_SOP_INSTANCE):
        return _SOP_INSTANCE
    return None


def _line(text: str) -> str:
    """One printable ASCII line of at most 64 characters without backslash."""
    return "".join(c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in text)[
        :COMMENT_LENGTH
    ].strip(" ?")


def request(
    field: CommandField, *, message_id: int, sop_class_uid: str, sop_instance_uid: str = ""
) -> bytes:
    """The command set of a C-ECHO-RQ, or of a C-STORE-RQ that a data set follows."""
    elements = [
        (_SOP_CLASS, _uid(sop_class_uid)),
        (_FIELD, _us(field)),
        (_MESSAGE, _us(message_id)),
    ]
    if field is CommandField.STORE:
        elements += [
            (_PRIORITY, _us(0)),  # medium
            (_DATA_SET, _us(0x0001)),
            (_SOP_INSTANCE, _uid(sop_instance_uid)),
        ]
    else:
        elements.append((_DATA_SET, _us(_NO_DATA_SET)))
    return _encoded(elements)


def response(command: Command, reply: Reply) -> bytes:
    """The command set that answers `command`. UIDs are echoed only where they are well formed."""
    elements = [
        (_FIELD, _us(command.field | _RESPONSE)),
        (_RESPONDED_TO, _us(command.message_id)),
        (_DATA_SET, _us(_NO_DATA_SET)),
        (_STATUS, _us(reply.status)),
    ]
    if is_uid(command.sop_class_uid):
        elements.insert(0, (_SOP_CLASS, _uid(command.sop_class_uid)))
    if reply.offending_tag is not None:
        tag = struct.pack("<HH", reply.offending_tag >> 16, reply.offending_tag & 0xFFFF)
        elements.append((_OFFENDING, tag))
    comment = _line(reply.comment).encode("ascii")
    if comment:
        elements.append((_COMMENT, comment + b" " * (len(comment) % 2)))
    if is_uid(command.sop_instance_uid):
        elements.append((_SOP_INSTANCE, _uid(command.sop_instance_uid)))
    return _encoded(elements)


def _encoded(elements: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<HHI", 0, e, len(v)) + v for e, v in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _us(value: int) -> bytes:
    return struct.pack("<H", value)


def _uid(text: str) -> bytes:
    value = text.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def fragments(data: bytes, *, is_command: bool, size: int) -> Iterator[bytes]:
    """Presentation data values of at most `size` bytes each, every one behind its message control
    header (PS3.8 E.2); `data` may be empty, which is one empty last fragment."""
    for start in range(0, max(len(data), 1), size):
        last = start + size >= len(data)
        yield bytes([is_command | last << 1]) + data[start : start + size]
