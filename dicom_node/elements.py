"""Elements of a data set by keyword, as plain values, taken from the bytes as received.

In      a pydicom Dataset that was just read (its elements still raw)
Out     str, int, float tuples; `None`, "" or () where absent
Refuses MalformedObject where a number is none, or has another value representation than the
        dictionary's (a UL that stands for a US breaks every size that follows)
Text    decoded from the data set's own Specific Character Set, inherited by items (PS3.5 7.5.3);
        bytes outside it become U+FFFD and are remembered in `damaged`
pydicom's own conversion would warn with the value in the warning; nothing of it is used here.
"""

import re
import struct
from collections.abc import Iterator
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes, default_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_node.faults import Fault, malformed

__all__ = ["Elements"]

_INTEGERS = {"US": "<H", "UL": "<I", "SS": "<h", "SL": "<i"}
_RESETS_ENCODING = {0x09, 0x0A, 0x0C, 0x0D, 0x3D, 0x5E}  # TAB LF FF CR = ^ (PS3.5 6.1.2.5.3)
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,11}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_ESCAPE = b"\x1b"
_MAX_TEXT_BYTES = 65_536
_BYTE_ENCODED = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")


class Elements:
    """Typed access to one data set or sequence item."""

    def __init__(self, dataset: Dataset, *, parent: "Elements | None" = None) -> None:
        self._dataset = dataset
        self.damaged: set[str] = parent.damaged if parent else set()  # keywords of broken text
        raw = self._raw("SpecificCharacterSet")
        if raw is None and parent is not None:
            self.encodings: list[str] = parent.encodings
        else:
            names = _charset_names(raw.value if raw is not None else None)
            self.encodings = list(convert_encodings(names))
            if any(_unknown(n, e) for n, e in zip(names, self.encodings, strict=False)):
                self.damaged.add("SpecificCharacterSet")

    def has(self, keyword: str) -> bool:
        """Present with a value."""
        raw = self._raw(keyword)
        return raw is not None and bool(raw.value)

    def text(self, keyword: str) -> str:
        """The whole value (all of its values, with `\\` between), decoded, padding removed."""
        data = self._bytes(keyword)
        if not data:
            return ""
        if len(data) > _MAX_TEXT_BYTES:
            raise malformed(Fault.OVER_LIMIT, f"{keyword} is longer than 64 KiB", keyword)
        if dictionary_VR(_tag(keyword)) in _BYTE_ENCODED:
            return data.decode("ascii", "replace").strip(" \0")
        return self._decoded(keyword, data).rstrip(" \0")

    def values(self, keyword: str) -> tuple[str, ...]:
        """The single values of a multi-valued text."""
        text = self.text(keyword)
        return tuple(v.strip(" \0") for v in text.split("\\")) if text else ()

    def integer(self, keyword: str) -> int | None:
        """A single US, UL, SS, SL or IS value."""
        data = self._bytes(keyword)
        if not data:
            return None
        vr = dictionary_VR(_tag(keyword))
        if vr == "IS":
            text = data.decode("ascii", "replace").strip(" \0")
            if not _WHOLE_NUMBER.fullmatch(text):
                raise malformed(Fault.UNREADABLE, f"{keyword} is no whole number", keyword)
            return int(text)
        layout = _INTEGERS[vr]
        raw = self._raw(keyword)
        declared = raw.VR if raw is not None else None
        if declared not in (None, "UN", vr) or len(data) != struct.calcsize(layout):
            raise malformed(Fault.UNREADABLE, f"{keyword} is not one {vr} value", keyword)
        number: int = struct.unpack(layout, data)[0]
        return number

    def integers(self, keyword: str) -> tuple[int, ...]:
        """All values of a binary integer element (US where the dictionary leaves US or SS)."""
        data = self._bytes(keyword) or b""
        layout = _INTEGERS[dictionary_VR(_tag(keyword)).split(" ")[0]]
        size = struct.calcsize(layout)
        if len(data) % size:
            raise malformed(Fault.UNREADABLE, f"{keyword} has a broken length", keyword)
        return tuple(v for (v,) in struct.iter_unpack(layout, data))

    def decimals(self, keyword: str) -> tuple[float, ...]:
        """All values of a DS or IS; one that is no number becomes NaN."""
        return tuple(_number(v) for v in self.values(keyword))

    def data(self, keyword: str) -> bytes:
        """The value's bytes."""
        return self._bytes(keyword) or b""

    def items(self, keyword: str) -> Iterator["Elements"]:
        """The items of a sequence."""
        tag = _tag(keyword)
        if tag not in self._dataset:
            return
        try:
            value = self._dataset[tag].value
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            EOFError,
            OSError,
            NotImplementedError,
            struct.error,
        ) as broken:
            raise malformed(Fault.UNREADABLE, f"{keyword} cannot be parsed", keyword) from broken
        if not isinstance(value, DicomSequence):
            if value:
                raise malformed(Fault.UNREADABLE, f"{keyword} is no sequence", keyword)
            return
        for item in value:
            yield Elements(item, parent=self)

    def first(self, keyword: str) -> "Elements | None":
        """The first item of a sequence."""
        return next(self.items(keyword), None)

    def private(self, group: int, creator: str, element: int) -> str:
        """A text value of a private block, found by its creator (PS3.5 7.8.1)."""
        for block in range(0x10, 0x100):
            if self._private_text(group, block) == creator:
                return self._private_text(group, block << 8 | element)
        return ""

    def _private_text(self, group: int, element: int) -> str:
        raw: Any = self._dataset.get_item((group, element))
        value = raw.value if raw is not None else b""
        return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else ""

    def _decoded(self, keyword: str, data: bytes) -> str:
        if self.encodings == [default_encoding]:
            # ISO_IR 6 holds 7 bits; pydicom would read any byte as Latin-1 and never notice
            text = data.decode("ascii", "replace")
        elif _ESCAPE in data:
            try:
                text = decode_bytes(data, self.encodings, _RESETS_ENCODING)
            except (LookupError, UnicodeError):
                text = data.decode("ascii", "replace")
        else:
            text = data.decode(self.encodings[0], "replace")
        if _REPLACED in text and _REPLACED.encode() not in data:
            self.damaged.add(keyword)
        return text

    def _raw(self, keyword: str) -> Any:
        return self._dataset.get_item(_tag(keyword))

    def _bytes(self, keyword: str) -> bytes | None:
        raw = self._raw(keyword)
        if raw is None:
            return None
        if isinstance(raw.value, bytes):
            return raw.value
        if raw.value is None or raw.value == "":
            return b""
        raise malformed(Fault.UNREADABLE, f"{keyword} is not a plain value", keyword)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def _charset_names(value: Any) -> list[str]:
    """pydicom has this one element converted already when it is at the top: str or several."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    several = [value] if isinstance(value, str) else list(value or [""])
    return [str(v).strip(" \0") for v in several]


def _number(text: str) -> float:
    return float(text) if _DECIMAL.fullmatch(text) else float("nan")


def _unknown(name: str, encoding: str) -> bool:
    return encoding == default_encoding and name not in ("", "ISO_IR 6", "ISO 2022 IR 6")
