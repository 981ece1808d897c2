"""Walk over the structure of a data set: tags, lengths, nesting, fragments; values are skipped.

In      the bytes (mapped, so that skipping costs nothing), where the data set begins, its encoding
Out     Structure: where the top-level elements and the fragments of the pixels lie
Promises  no recursion, bounded work, nothing but MalformedObject
Source  PS3.5 7.1 (elements), 7.5 (sequences), 6.2.2 (UN), A.4 (encapsulation)
"""

import struct
from dataclasses import dataclass, field
from typing import NoReturn

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_dict

from dicom_node.errors import MalformedObject
from dicom_node.limits import Limits
from dicom_node.part10 import Bytes
from dicom_node.statuses import StoreStatus

__all__ = ["PIXEL_DATA", "Place", "Structure", "walk"]

PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SEQUENCE_TAGS = frozenset(tag for tag in keyword_dict.values() if dictionary_VR(tag) == "SQ")


@dataclass(frozen=True, slots=True)
class Place:
    """A value: its bytes begin at `start`; `vr` is empty in an implicit encoding."""

    start: int
    length: int
    vr: bytes


@dataclass(kw_only=True)
class Structure:
    """Top-level elements by tag; of encapsulated pixels also the offset table and the fragments,
    each (start of its item, length of its value)."""

    elements: int = 0
    places: dict[int, Place] = field(default_factory=dict)
    offset_table: Place | None = None
    fragments: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Level:
    """An open sequence, item, or the data set itself. `end` is None for an undefined length;
    `bound` is the innermost end that is known, which nothing inside may cross."""

    tag: int
    is_sequence: bool
    end: int | None
    bound: int
    explicit: bool
    seen: set[int] = field(default_factory=set)


def _fail(status: StoreStatus, reason: str, tag: int | None = None) -> NoReturn:
    raise MalformedObject(status, reason, tag)


def walk(
    data: Bytes, start: int, *, explicit: bool, encapsulated: bool, limits: Limits
) -> Structure:
    """`start` is the first byte of the data set, which goes to the end of `data`.

    Raises MalformedObject.
    """
    size = len(data)
    beside = 0  # bytes beside the pixels, which whoever parses the data set will hold in memory
    found = Structure()
    levels = [_Level(0, is_sequence=False, end=size, bound=size, explicit=explicit)]
    depth = 0
    position = start
    while levels:
        level = levels[-1]
        if position == level.bound:
            if level.end is None:
                _fail(StoreStatus.NOT_TERMINATED, "undefined length without delimiter", level.tag)
            depth -= level.is_sequence
            levels.pop()
            continue
        if position + 8 > level.bound:
            _fail(StoreStatus.BEYOND_THE_END, "bytes left over that are no element", level.tag)
        group, number, length = struct.unpack_from("<HHI", data, position)
        tag = group << 16 | number
        found.elements += 1
        if found.elements > limits.elements:
            _fail(StoreStatus.TOO_MANY_ELEMENTS, f"more than {limits.elements} elements", tag)

        if tag == (_SEQUENCE_END if level.is_sequence else _ITEM_END):
            if level.end is not None or length or len(levels) == 1:
                _fail(StoreStatus.STRAY_ITEM, "delimiter without an open undefined length", tag)
            depth -= level.is_sequence
            levels.pop()
            position += 8
            continue
        if level.is_sequence:
            if tag != _ITEM:
                _fail(StoreStatus.STRAY_ITEM, "a sequence holds something that is no item", tag)
            position += 8
            levels.append(_opened(level, level.tag, position, length, is_sequence=False))
            continue
        if group == 0xFFFE:
            _fail(StoreStatus.STRAY_ITEM, "item or delimiter outside of a sequence", tag)
        if group < 0x0008 or group == 0xFFFF:
            _fail(StoreStatus.FOREIGN_GROUP, "element of a group that no data set has", tag)
        if tag in level.seen:
            _fail(StoreStatus.REPEATED_ELEMENT, "an element occurs twice", tag)
        level.seen.add(tag)

        vr, length, head = _value_of(data, position, level, tag, length)
        position += head
        if length == _UNDEFINED:
            if tag == PIXEL_DATA and encapsulated and level.explicit:
                top = len(levels) == 1
                began = position
                position = _fragments(data, position, level.bound, found if top else None, limits)
                if top:
                    found.places[tag] = Place(position, 0, vr)
                else:
                    beside = _check_size(beside, position - began, tag, limits)
                continue
            if not (
                vr in (b"SQ", b"UN")
                or (not level.explicit and (tag in _SEQUENCE_TAGS or _is_unknown(tag)))
            ):
                _fail(StoreStatus.NOT_AS_NEGOTIATED, "undefined length where none may be", tag)
        elif tag == PIXEL_DATA and encapsulated and len(levels) == 1:
            _fail(StoreStatus.NOT_AS_NEGOTIATED, "Pixel Data is not encapsulated", tag)

        if length == _UNDEFINED or vr == b"SQ" or (vr in (b"", b"UN") and tag in _SEQUENCE_TAGS):
            depth += 1
            if depth > limits.nesting:
                _fail(StoreStatus.TOO_DEEP, f"nested deeper than {limits.nesting}", tag)
            opened = _opened(level, tag, position, length, is_sequence=True)
            # PS3.5 6.2.2: a sequence under UN is in Implicit VR Little Endian, all the way down
            opened.explicit = level.explicit and vr != b"UN"
            levels.append(opened)
            continue
        _check_length(position, length, level.bound, tag)
        if len(levels) == 1:
            found.places[tag] = Place(position, length, vr)
        if tag != PIXEL_DATA or len(levels) > 1:
            beside = _check_size(beside, head + length, tag, limits)
        position += length
    return found


def _is_unknown(tag: int) -> bool:
    """Private or newer than the dictionary: in an implicit encoding it may be a sequence."""
    return bool(tag >> 16 & 1) or not dictionary_has_tag(tag)


def _value_of(
    data: Bytes, position: int, level: _Level, tag: int, length: int
) -> tuple[bytes, int, int]:
    """VR ("" when implicit), declared length, and bytes of the element's head."""
    if not level.explicit:
        return b"", length, 8
    vr = data[position + 4 : position + 6]
    if vr in _SHORT_VRS:
        return vr, length >> 16, 8
    if vr not in _LONG_VRS:
        _fail(StoreStatus.NOT_AS_NEGOTIATED, "a value representation that does not exist", tag)
    if position + 12 > level.bound:
        _fail(StoreStatus.BEYOND_THE_END, "an element is cut off", tag)
    return vr, struct.unpack_from("<I", data, position + 8)[0], 12


def _check_length(position: int, length: int, bound: int, tag: int) -> None:
    if length % 2:
        _fail(StoreStatus.ODD_LENGTH, "odd length", tag)
    if position + length > bound:
        _fail(StoreStatus.BEYOND_THE_END, "a length runs past what was sent", tag)


def _check_size(beside: int, more: int, tag: int, limits: Limits) -> int:
    """The sum, when neither the element nor the sum is over its limit."""
    if more > limits.element_bytes or beside + more > limits.header_bytes:
        _fail(StoreStatus.TOO_LARGE_IMAGE, "too many bytes beside the pixels", tag)
    return beside + more


def _opened(level: _Level, tag: int, position: int, length: int, *, is_sequence: bool) -> _Level:
    """The level of a sequence or item whose content begins at `position`."""
    if length == _UNDEFINED:
        return _Level(tag, is_sequence, None, level.bound, level.explicit)
    _check_length(position, length, level.bound, tag)
    end = position + length
    return _Level(tag, is_sequence, end, end, level.explicit)


def _fragments(
    data: Bytes, position: int, bound: int, found: Structure | None, limits: Limits
) -> int:
    """Step over encapsulated Pixel Data; `found` gets its parts (None for an icon's)."""
    table_seen = False
    count = 0
    while True:
        if position == bound:
            _fail(StoreStatus.NOT_TERMINATED, "Pixel Data without delimiter", PIXEL_DATA)
        if position + 8 > bound:
            _fail(StoreStatus.BEYOND_THE_END, "a fragment is cut off", PIXEL_DATA)
        group, number, length = struct.unpack_from("<HHI", data, position)
        tag = group << 16 | number
        if tag == _SEQUENCE_END and length == 0:
            if not count:
                _fail(StoreStatus.BAD_FRAGMENTS, "Pixel Data without a fragment", PIXEL_DATA)
            return position + 8
        if tag != _ITEM or length == _UNDEFINED:
            _fail(StoreStatus.BAD_FRAGMENTS, "Pixel Data holds something else", PIXEL_DATA)
        _check_length(position + 8, length, bound, PIXEL_DATA)
        if not table_seen:
            table_seen = True
            if found is not None:
                found.offset_table = Place(position + 8, length, b"")
        else:
            count += 1
            if not length or count > limits.fragments:
                _fail(StoreStatus.BAD_FRAGMENTS, "an empty or one too many fragment", PIXEL_DATA)
            if found is not None:
                found.fragments.append((position, length))
        position += 8 + length
