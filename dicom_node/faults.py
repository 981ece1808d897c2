"""Why an object's content is refused: one status for each cause.

In      nothing
Out     Fault: C-STORE statuses of the object side (PS3.4 table B.2-1, PS3.7 annex C); the network
        side has its own below 0xC100
"""

from enum import IntEnum

from pydicom.datadict import tag_for_keyword

from dicom_node.errors import MalformedObject

__all__ = ["Fault", "malformed"]


class Fault(IntEnum):
    """The value is the status; the comment is the cause as the conformance statement lists it."""

    MALFORMED_UID = 0x0117  # a UID that is none (PS3.5 9.1)
    CLASS_NOT_READ = 0x0122  # SOP class outside the accept list
    ATTRIBUTE_MISSING = 0xA901  # a Type 1 attribute of the class is missing or empty
    UNREADABLE = 0xC101  # no DICOM data set, or one that cannot be parsed
    SYNTAX_NOT_READ = 0xC102  # stored in a transfer syntax without a proven decoder
    IMAGE_CONTRADICTION = 0xC103  # rows, bits, samples, photometric or tiling contradict each other
    PIXEL_LENGTH = 0xC104  # Pixel Data is longer or shorter than the image needs
    FRAGMENTS = 0xC105  # encapsulated frames cannot be told apart
    OVER_LIMIT = 0xC106  # larger than this node reads


def malformed(fault: Fault, reason: str, keyword: str = "") -> MalformedObject:
    """The error to raise; `keyword` names the element at fault."""
    return MalformedObject(int(fault), reason, tag_for_keyword(keyword) if keyword else None)
