"""The tables of the conformance statement: what is accepted, what is sent, what is refused and why.

The node offers exactly what stands here, and docs/conformance.md is tested against it.
Source  PS3.2; UIDs of PS3.6 annex A
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dicom_node.peers import Service
from domain.identities import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = [
    "IMAGE_CLASSES",
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "INPUT_CLASSES",
    "MAX_PDU_BYTES",
    "OUTPUT_CLASSES",
    "REFUSED_CLASSES",
    "REFUSED_SYNTAXES",
    "SYNTAXES",
    "UNCOMPRESSED",
    "VERIFICATION",
    "Entry",
    "accepted_syntaxes",
    "input_classes_for",
]

MAX_PDU_BYTES = 131_072

_STORAGE = "1.2.840.10008.5.1.4.1.1"
_SYNTAX = "1.2.840.10008.1.2"


@dataclass(frozen=True)
class Entry:
    """A UID of the standard with its name there; `note` is the use, or the reason of a refusal."""

    uid: str
    name: str
    note: str = ""


VERIFICATION = Entry("1.2.840.10008.1.1", "Verification SOP Class", "C-ECHO")

_PHOTOGRAPHIC = Entry(
    f"{_STORAGE}.77.1.4",
    "VL Photographic Image Storage",
    "only from peers that are configured for it; a magnification is never inferred",
)
INPUT_CLASSES = (
    Entry(
        f"{_STORAGE}.77.1.6",
        "VL Whole Slide Microscopy Image Storage",
        "scanned smears; labels and overviews are kept and never analysed",
    ),
    Entry(f"{_STORAGE}.77.1.2", "VL Microscopic Image Storage", "single fields of a camera"),
    Entry(
        f"{_STORAGE}.77.1.3",
        "VL Slide-Coordinates Microscopic Image Storage",
        "fields with their place on the slide",
    ),
    _PHOTOGRAPHIC,
    Entry(
        f"{_STORAGE}.7.4",
        "Multi-frame True Color Secondary Capture Image Storage",
        "galleries and crops in colour",
    ),
    Entry(
        f"{_STORAGE}.7.2",
        "Multi-frame Grayscale Byte Secondary Capture Image Storage",
        "channels of imaging flow cytometry, 8 bit",
    ),
    Entry(
        f"{_STORAGE}.7.3",
        "Multi-frame Grayscale Word Secondary Capture Image Storage",
        "channels of imaging flow cytometry, 9 to 16 bit",
    ),
    Entry(f"{_STORAGE}.7", "Secondary Capture Image Storage", "fields of older systems"),
)
IMAGE_CLASSES = frozenset(entry.uid for entry in INPUT_CLASSES)

OUTPUT_CLASSES = (
    Entry(f"{_STORAGE}.104.1", "Encapsulated PDF Storage", "the report"),
    Entry(f"{_STORAGE}.88.34", "Comprehensive 3D SR Storage", "the numbers, coded"),
    Entry(
        f"{_STORAGE}.91.1",
        "Microscopy Bulk Simple Annotations Storage",
        "the cells on their image, where the setting `annotations` is true",
    ),
)

REFUSED_CLASSES = (
    Entry(f"{_STORAGE}.77.1.7", "Dermoscopic Photography Image Storage", "no blood smear"),
    Entry(f"{_STORAGE}.77.1.2.1", "Video Microscopic Image Storage", "video is not read"),
    Entry(f"{_STORAGE}.77.1.8", "Confocal Microscopy Image Storage", "no stained smear"),
    Entry(
        f"{_STORAGE}.77.1.9",
        "Confocal Microscopy Tiled Pyramidal Image Storage",
        "no stained smear",
    ),
    Entry(f"{_STORAGE}.66", "Raw Data Storage", "content is private to its maker"),
    Entry(
        f"{_STORAGE}.7.1",
        "Multi-frame Single Bit Secondary Capture Image Storage",
        "one bit holds no stain",
    ),
)

# What the node speaks of, where its codecs are proven on it. The first two need none.
UNCOMPRESSED = (
    Entry(f"{_SYNTAX}.1", "Explicit VR Little Endian"),
    Entry(_SYNTAX, "Implicit VR Little Endian"),
)
SYNTAXES = (
    *UNCOMPRESSED,
    Entry(f"{_SYNTAX}.1.98", "Encapsulated Uncompressed Explicit VR Little Endian"),
    Entry(f"{_SYNTAX}.5", "RLE Lossless"),
    Entry(f"{_SYNTAX}.4.50", "JPEG Baseline (Process 1)"),
    Entry(f"{_SYNTAX}.4.51", "JPEG Extended (Process 2 and 4)"),
    Entry(f"{_SYNTAX}.4.57", "JPEG Lossless, Non-Hierarchical (Process 14)"),
    Entry(
        f"{_SYNTAX}.4.70",
        "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])",
    ),
    Entry(f"{_SYNTAX}.4.80", "JPEG-LS Lossless Image Compression"),
    Entry(f"{_SYNTAX}.4.81", "JPEG-LS Lossy (Near-Lossless) Image Compression"),
    Entry(f"{_SYNTAX}.4.90", "JPEG 2000 Image Compression (Lossless Only)"),
    Entry(f"{_SYNTAX}.4.91", "JPEG 2000 Image Compression"),
)

_JPIP = "the receiver would fetch an address that the peer supplies"
_VIDEO = "video is not read"
_UNPROVEN = "no proven decoder"
REFUSED_SYNTAXES = (
    Entry(f"{_SYNTAX}.2", "Explicit VR Big Endian", "retired"),
    Entry(
        f"{_SYNTAX}.1.99",
        "Deflated Explicit VR Little Endian",
        "a few bytes may inflate to any size",
    ),
    Entry(f"{_SYNTAX}.4.94", "JPIP Referenced", _JPIP),
    Entry(f"{_SYNTAX}.4.95", "JPIP Referenced Deflate", _JPIP),
    Entry(f"{_SYNTAX}.4.204", "JPIP HTJ2K Referenced", _JPIP),
    Entry(f"{_SYNTAX}.4.205", "JPIP HTJ2K Referenced Deflate", _JPIP),
    *(Entry(f"{_SYNTAX}.4.{n}", f"MPEG and HEVC video (.4.{n})", _VIDEO) for n in range(100, 109)),
    Entry(
        f"{_SYNTAX}.4.201",
        "High-Throughput JPEG 2000 Image Compression (Lossless Only)",
        _UNPROVEN,
    ),
    Entry(
        f"{_SYNTAX}.4.202",
        "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)",
        _UNPROVEN,
    ),
    Entry(f"{_SYNTAX}.4.203", "High-Throughput JPEG 2000 Image Compression", _UNPROVEN),
    Entry(f"{_SYNTAX}.4.110", "JPEG XL Lossless", _UNPROVEN),
    Entry(f"{_SYNTAX}.4.111", "JPEG XL JPEG Recompression", _UNPROVEN),
    Entry(f"{_SYNTAX}.4.112", "JPEG XL", _UNPROVEN),
    Entry(f"{_SYNTAX}.8.1", "Deflated Image Frame Compression", _UNPROVEN),
)


def accepted_syntaxes(proven: Iterable[str]) -> tuple[str, ...]:
    """UIDs to accept, in this table's order: the uncompressed two, and of the others those the
    installed codecs are proven on. A syntax that the table does not know is never accepted."""
    able = {entry.uid for entry in UNCOMPRESSED} | set(proven)
    return tuple(entry.uid for entry in SYNTAXES if entry.uid in able)


def input_classes_for(services: frozenset[Service]) -> tuple[Entry, ...]:
    """The Storage classes a caller with these services is offered."""
    if Service.STORE not in services:
        return ()
    return tuple(
        entry
        for entry in INPUT_CLASSES
        if entry is not _PHOTOGRAPHIC or Service.PHOTOGRAPHIC in services
    )
