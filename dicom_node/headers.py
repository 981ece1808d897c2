"""Read what an instance says about itself, without decoding a pixel.

In      a DICOM file on disk and its digest
Out     InstanceHeader: identities, study context, the image as the cascade will see it
Refuses MalformedObject, with the C-STORE status, when mandatory things are missing or contradict
        each other. What is well formed but not to be analysed (a label, an absurd spacing, sparse
        tiling) is kept and carries its reason in `image.refusal`.
Source  PS3.3 C.7.1.1, C.7.2.1, C.7.6.3, C.7.6.22 (Specimen), C.8.12.4 (whole slide)
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.image import ImageHeader
from domain.study import StudyContext

__all__ = ["Concatenation", "ImageRole", "InstanceHeader", "read_header"]


class ImageRole(StrEnum):
    """What the instance shows. Of a slide, value 3 of Image Type says it (PS3.3 C.8.12.4.1.1)."""

    VOLUME = "volume"  # the slide's cells: to be analysed
    THUMBNAIL = "thumbnail"
    LABEL = "label"  # never analysed, never shown: may name the patient
    OVERVIEW = "overview"  # likewise
    FIELD = "field"  # no slide: a camera's field, or frames of single cells


@dataclass(frozen=True, kw_only=True)
class Concatenation:
    """The instance is one part of several (PS3.3 C.7.6.16.2.2.4). `total` may be unknown."""

    uid: str
    number: int  # 1-based
    total: int | None


@dataclass(frozen=True, kw_only=True)
class InstanceHeader:
    """All that the node knows of one received instance."""

    context: StudyContext  # its evidence is this one instance
    image: ImageHeader
    sop_class_uid: SopClassUID
    instance_uid: InstanceUID
    series_uid: SeriesUID
    study_uid: StudyUID
    transfer_syntax: str
    role: ImageRole
    concatenation: Concatenation | None
    size_bytes: int
    pyramid_uid: str = ""
    frame_of_reference_uid: str = ""


def read_header(path: Path, *, sha256: Sha256) -> InstanceHeader:
    """The header of the DICOM file at `path`, whose bytes have the digest `sha256`.

    Raises MalformedObject (one line, no patient data, a documented status).
    """
    raise NotImplementedError
