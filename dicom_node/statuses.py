"""Every C-STORE and C-ECHO status this node answers with: one sub-code for each cause.

In      nothing
Out     StoreStatus: code, the Error Comment a peer reads, and the sentence of the conformance
        statement. Codes from C100 on belong to the content of images, see `faults.Fault`.
Source  PS3.7 annex C; PS3.4 table B.2-1 (A7xx, A9xx, Cxxx)
"""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["COMMENT_LENGTH", "Category", "Reply", "StoreStatus", "category_of", "is_retryable"]

COMMENT_LENGTH = 64  # LO, PS3.5 table 6.2-1


class StoreStatus(IntEnum):
    """The value is the status; `comment` goes out as Error Comment, `meaning` into the statement."""

    comment: str
    meaning: str

    def __new__(cls, code: int, comment: str, meaning: str) -> "StoreStatus":
        status = int.__new__(cls, code)
        status._value_ = code
        status.comment = comment
        status.meaning = meaning
        return status

    SUCCESS = (
        0x0000,
        "",
        "The object is durable and indexed; also for a byte-identical repeat.",
    )
    PROCESSING_FAILURE = (
        0x0110,
        "internal failure, send again later",
        "A failure of this node, such as a database that is down. Nothing is kept.",
    )
    MALFORMED_INSTANCE_UID = (
        0x0117,
        "SOP Instance UID is malformed",
        "The SOP Instance UID of command or data set breaks PS3.5 section 9.1.",
    )
    CLASS_NOT_IN_CONTEXT = (
        0x0122,
        "SOP Class differs from the presentation context",
        "The Affected SOP Class UID is not the abstract syntax that was accepted.",
    )
    UNRECOGNISED_OPERATION = (
        0x0211,
        "operation is not supported",
        "A command other than C-ECHO-RQ and C-STORE-RQ.",
    )
    MISTYPED_ARGUMENT = (
        0x0212,
        "command element is missing or mistyped",
        "A mandatory element of the command is missing, empty or of another type or length.",
    )
    OUT_OF_DISK = (
        0xA700,
        "out of disk space, send again later",
        "Free disk is below the configured mark, or writing failed.",
    )
    UIDS_DIFFER = (
        0xA900,
        "SOP Class or Instance UID differs from the command",
        "SOP Class or Instance UID of the data set differ from those of the command.",
    )
    ATTRIBUTE_MISSING = (
        0xA901,
        "a Type 1 attribute of the SOP Class is missing",
        "An attribute that every image must have is missing or empty (identities, size, pixels).",
    )
    BEYOND_THE_END = (
        0xC001,
        "element is longer than what was sent",
        "A declared length runs past the end of the data set or of its item: a cut-off value.",
    )
    NOT_TERMINATED = (
        0xC002,
        "undefined length without delimiter",
        "A sequence, item or Pixel Data of undefined length never ends.",
    )
    TOO_DEEP = (
        0xC003,
        "sequences are nested too deeply",
        "Sequences are nested deeper than the limit.",
    )
    STRAY_ITEM = (
        0xC004,
        "item or delimiter outside of a sequence",
        "An item or delimiter stands where none may, or a sequence holds something else.",
    )
    ODD_LENGTH = (
        0xC005,
        "element has an odd length",
        "A value, item or fragment has an odd length.",
    )
    NOT_AS_NEGOTIATED = (
        0xC006,
        "data set is not encoded as negotiated",
        "A value representation that does not exist, or an undefined length where none may be: "
        "the data set is in another encoding than the transfer syntax says.",
    )
    REPEATED_ELEMENT = (
        0xC007,
        "an element occurs twice",
        "An element occurs twice in a data set or item.",
    )
    FOREIGN_GROUP = (
        0xC008,
        "element of a group that may not be in a data set",
        "An element of a group below 0008, or of group FFFF, is in the data set.",
    )
    TOO_MANY_ELEMENTS = (
        0xC009,
        "too many elements",
        "More elements and items than the limit.",
    )
    BAD_DIMENSION = (
        0xC00A,
        "image dimension is zero or unreadable",
        "Rows, Columns, Samples per Pixel, Bits Allocated or Number of Frames is zero, is no "
        "number or has another value representation.",
    )
    TOO_LARGE_IMAGE = (
        0xC00B,
        "image is larger than this node accepts",
        "The size of a frame, the number of frames, the total pixel matrix, or what is beside the "
        "pixels exceeds the limit.",
    )
    PIXEL_LENGTH = (
        0xC00C,
        "Pixel Data length does not fit the image size",
        "Native Pixel Data is longer or shorter than rows x columns x samples x bits x frames.",
    )
    BAD_FRAGMENTS = (
        0xC00D,
        "Pixel Data fragments are unusable",
        "Encapsulated Pixel Data has no or too many fragments, or fewer than frames.",
    )
    BAD_OFFSETS = (
        0xC00E,
        "offset table does not fit the fragments",
        "A Basic or Extended Offset Table points elsewhere than at the start of a fragment.",
    )
    MALFORMED_UID = (
        0xC00F,
        "Study, Series or SOP Class UID is malformed",
        "A Study Instance, Series Instance or SOP Class UID breaks PS3.5 section 9.1.",
    )
    OBJECT_TOO_LARGE = (
        0xC010,
        "object is larger than this node accepts",
        "The data set has more bytes than the limit.",
    )
    UID_REUSED = (
        0xC011,
        "SOP Instance UID is known with other content",
        "An object with this SOP Instance UID and other content is stored already. The first is "
        "kept, this one goes to quarantine.",
    )
    NO_DATA_SET = (
        0xC012,
        "no data set was sent",
        "The C-STORE request came without a data set, or with an empty one.",
    )
    SYNTAX_UNKNOWN = (
        0xC013,
        "transfer syntax is not supported",
        "A file in a transfer syntax that this node does not read (imported files only).",
    )
    OTHER_PATIENT = (
        0xC014,
        "study is known under another patient",
        "The study holds objects of another Patient ID already. The object goes to quarantine.",
    )


@dataclass(frozen=True)
class Reply:
    """What a peer is told about one object; the comment is cut to what LO may hold."""

    status: int
    comment: str = ""
    offending_tag: int | None = None

    @classmethod
    def of(cls, status: StoreStatus, offending_tag: int | None = None) -> "Reply":
        return cls(int(status), status.comment, offending_tag)


class Category(IntEnum):
    """What a peer's status means for the sender (PS3.7 annex C)."""

    SUCCESS = 0
    WARNING = 1
    FAILURE = 2
    NOT_SENT = 3


def category_of(status: int) -> Category:
    """PS3.7 C.1: 0000 is success; 0001, 0107, 0116 and Bxxx are warnings; all others failures."""
    if status == 0:
        return Category.SUCCESS
    if status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF:
        return Category.WARNING
    return Category.FAILURE


def is_retryable(status: int) -> bool:
    """A failure that the same bytes may not meet later: out of resources, processing failure."""
    return status in (0x0110, 0x0210, 0x0213) or 0xA700 <= status <= 0xA7FF
