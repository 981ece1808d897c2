"""Who and what an image is of: patient, specimen, study, and the instances that are the evidence.

Values are as received, decoded to text from the source's character set, never repaired. They
go verbatim into every result object (PS3.3: same Patient and Study modules).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID

__all__ = [
    "Code",
    "Equipment",
    "EvidenceRef",
    "MixedStudyError",
    "Patient",
    "Specimen",
    "StudyContext",
    "merged_context",
]


class MixedStudyError(ValueError):
    """Two patients, studies or specimens in one run: nobody can say which header is right."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded term: value, coding scheme designator, meaning (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Patient module. DICOM's own forms: PN with `^` and `=`, DA `YYYYMMDD`, CS for sex.

    `further` holds the remaining text attributes of the Patient and Patient Study modules as
    (keyword, value), several values joined by a backslash, so that results carry the whole module.
    """

    name: str = ""
    patient_id: str = ""
    issuer: str = ""
    birth_date: str = ""
    sex: str = ""
    further: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """Specimen module (STANDARDS 2.2): one specimen in one container."""

    identifier: str
    uid: str
    container_identifier: str
    type_code: Code | None = None
    stain: str = ""


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """The device that acquired the images (General Equipment module)."""

    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    software: str = ""


@dataclass(frozen=True, kw_only=True)
class EvidenceRef:
    """One instance that the analysis looked at."""

    sop_class_uid: SopClassUID
    instance_uid: InstanceUID
    series_uid: SeriesUID
    sha256: Sha256
    frames: int = 1
    frame_of_reference_uid: str = ""
    # SOP Instance UID of Concatenation Source: what a part of a concatenation is referred to by
    concatenation_source_uid: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """All that a result must repeat about where it comes from. Dates are DA, times TM, as received."""

    patient: Patient
    study_uid: StudyUID
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    accession_number: str = ""
    referring_physician: str = ""
    acquired_at: str = ""  # DT, as received; empty when unknown
    timezone_offset: str = ""  # &ZZXX, as received
    specimen: Specimen | None = None
    scanner: Equipment | None = None
    evidence: tuple[EvidenceRef, ...] = ()
    warnings: tuple[str, ...] = ()


def merged_context(contexts: Sequence[StudyContext]) -> StudyContext:
    """One context for all instances of a study: the first one's header, everyone's evidence.

    Raises MixedStudyError when patient, study or specimen differ between them. Patients are told
    apart by their id; where an id is empty on both sides by name and birth date, without regard to
    case, blanks and empty parts. An empty issuer is one that was not stated.
    """
    if not contexts:
        raise ValueError("no instance, so no study context")
    first = contexts[0]
    for other in contexts[1:]:
        if other.study_uid != first.study_uid:
            raise MixedStudyError("images of two studies in one run; analyse them apart")
    issuers = {c.patient.issuer.strip() for c in contexts} - {""}
    if len({_identity(c.patient) for c in contexts}) > 1 or len(issuers) > 1:
        raise MixedStudyError("images of two patients in one study; correct them in the PACS")
    specimens = {c.specimen.identifier for c in contexts if c.specimen is not None}
    if len(specimens) > 1:
        raise MixedStudyError("images of two specimens in one study; send each as its own study")
    specimen = next((c.specimen for c in contexts if c.specimen is not None), None)
    evidence = {e.instance_uid: e for c in contexts for e in c.evidence}
    warnings = dict.fromkeys(w for c in contexts for w in c.warnings)
    return replace(
        first,
        specimen=specimen,
        acquired_at=min((c.acquired_at for c in contexts if c.acquired_at), default=""),
        evidence=tuple(evidence[uid] for uid in sorted(evidence)),
        warnings=tuple(warnings),
    )


def _identity(patient: Patient) -> tuple[str, ...]:
    if patient.patient_id.strip():
        return (patient.patient_id.strip(),)
    # only the first group of a PN (PS3.5 6.2.1.2): the others write the same name in other scripts
    parts = patient.name.casefold().split("=")[0].split("^")
    name = "^".join(" ".join(part.split()) for part in parts).rstrip("^")
    return name, "".join(c for c in patient.birth_date if c.isdigit())
