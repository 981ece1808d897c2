"""Names of things: DICOM UIDs, our own ids, digests.

Swapping two of them is a type error. UIDs of results are derived, never drawn, so that a step
done twice makes the same object and not a twin.
"""

import uuid
from typing import NewType

__all__ = [
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "AnalysisId",
    "CaseId",
    "InstanceUID",
    "ReportId",
    "SeriesUID",
    "Sha256",
    "SopClassUID",
    "StudyUID",
    "derived_uid",
    "derived_uuid",
]

StudyUID = NewType("StudyUID", str)
SeriesUID = NewType("SeriesUID", str)
InstanceUID = NewType("InstanceUID", str)
SopClassUID = NewType("SopClassUID", str)
CaseId = NewType("CaseId", str)  # UUID text, drawn once when the case's first object is stored
AnalysisId = NewType("AnalysisId", str)  # UUID text, derived from case and ordinal
ReportId = NewType("ReportId", str)  # UUID text, derived from analysis and revision
Sha256 = NewType("Sha256", str)  # 64 lower-case hexadecimal digits

# PS3.7 D.3.3.2: constant for a release line; in every association and every file of ours
IMPLEMENTATION_CLASS_UID = "2.25.167417597454782709583470613457232958379"
IMPLEMENTATION_VERSION_NAME = "LEUKONODE_01"

_NAMESPACE = uuid.UUID("6f1d2b0e-6d3c-5e0b-9a39-1c7b5f0a7e11")


def derived_uuid(*parts: str) -> uuid.UUID:
    """A UUID (version 5) that is the same for the same parts, in order, and for no others."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join(parts))


def derived_uid(*parts: str) -> str:
    """A DICOM UID under 2.25 (PS3.5 B.2), at most 44 characters, from `derived_uuid`."""
    return f"2.25.{derived_uuid(*parts).int}"
