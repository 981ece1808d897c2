"""Whom and what an instance is of, as text, for every result to repeat verbatim.

In      elements
Out     StudyContext
Source  PS3.3 C.7.1.1 (Patient), C.7.2.1 and C.7.2.2 (Study), C.7.6.22 (Specimen), C.7.5.1
"""

from dataclasses import replace

from dicom_node.elements import Elements
from dicom_node.part10 import is_uid
from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.study import Code, Equipment, EvidenceRef, Patient, Specimen, StudyContext

__all__ = ["several_specimens", "study_context_of"]

_FURTHER = (  # text of the Patient and Patient Study modules, the rest of them
    "TypeOfPatientID",
    "PatientBirthTime",
    "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar",
    "PatientAlternativeCalendar",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientSpeciesDescription",
    "PatientBreedDescription",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "AdmittingDiagnosesDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientBodyMassIndex",
    "MeasuredAPDimension",
    "MeasuredLateralDimension",
    "MedicalAlerts",
    "Allergies",
    "SmokingStatus",
    "LastMenstrualDate",
    "PatientState",
    "Occupation",
    "AdditionalPatientHistory",
    "AdmissionID",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
    "PatientSexNeutered",
    "ReasonForVisit",
)
_LO_CHARACTERS = 64
_STAINING = ("127790008", "P3-00003")  # (SCT, SRT) "Staining"
_USING = ("424361007", "G-C350")  # (SCT, SRT) "Using substance"


def study_context_of(
    elements: Elements,
    *,
    sha256: Sha256,
    frames: int,
    sop_class_uid: SopClassUID,
    instance_uid: InstanceUID,
    series_uid: SeriesUID,
    study_uid: StudyUID,
    warnings: tuple[str, ...],
) -> StudyContext:
    """The context with this one instance as its evidence."""
    further = tuple((k, elements.text(k)) for k in _FURTHER if elements.has(k))
    if not elements.has("DeidentificationMethod"):
        further += _deidentification(elements)
    patient = Patient(
        name=elements.text("PatientName"),
        patient_id=elements.text("PatientID"),
        issuer=elements.text("IssuerOfPatientID"),
        birth_date=elements.text("PatientBirthDate"),
        sex=elements.text("PatientSex"),
        further=further,
    )
    scanner = Equipment(
        manufacturer=elements.text("Manufacturer"),
        model=elements.text("ManufacturerModelName"),
        serial_number=elements.text("DeviceSerialNumber"),
        software=elements.text("SoftwareVersions"),
    )
    acquired = elements.text("AcquisitionDateTime") or (
        elements.text("AcquisitionDate") + elements.text("AcquisitionTime")
        if elements.has("AcquisitionDate")
        else ""
    )
    specimen, specimen_warnings = _specimen(elements)
    warnings = (*warnings, *specimen_warnings)
    context = StudyContext(
        patient=patient,
        study_uid=study_uid,
        study_id=elements.text("StudyID"),
        study_date=elements.text("StudyDate"),
        study_time=elements.text("StudyTime"),
        study_description=elements.text("StudyDescription"),
        accession_number=elements.text("AccessionNumber"),
        referring_physician=elements.text("ReferringPhysicianName"),
        acquired_at=acquired,
        timezone_offset=elements.text("TimezoneOffsetFromUTC"),
        specimen=specimen,
        scanner=scanner if scanner != Equipment() else None,
        evidence=(
            EvidenceRef(
                sop_class_uid=sop_class_uid,
                instance_uid=instance_uid,
                series_uid=series_uid,
                sha256=sha256,
                frames=frames,
                frame_of_reference_uid=_uid_or_none(elements, "FrameOfReferenceUID"),
                concatenation_source_uid=_uid_or_none(
                    elements, "SOPInstanceUIDOfConcatenationSource"
                ),
            ),
        ),
    )
    if elements.damaged:
        damaged = ", ".join(sorted(elements.damaged))
        warnings = (
            *warnings,
            f"text holds bytes outside its character set, shown as \N{REPLACEMENT CHARACTER}: "
            f"{damaged}",
        )
    return replace(context, warnings=warnings)


def _uid_or_none(elements: Elements, keyword: str) -> str:
    """Empty for what is no UID: a result could not repeat it."""
    uid = elements.text(keyword)
    return uid if is_uid(uid) else ""


def several_specimens(elements: Elements) -> bool:
    """More than one specimen in the container: results could not say whose they are."""
    return len(list(elements.items("SpecimenDescriptionSequence"))) > 1


def _deidentification(elements: Elements) -> tuple[tuple[str, str], ...]:
    """The meanings of the method's codes, where the method is told in codes alone: one of the two
    must stand beside Patient Identity Removed (PS3.3 C.7.1.1), and sequences are not carried."""
    items = elements.items("DeidentificationMethodCodeSequence")
    meanings = [code.meaning.replace("\\", "/") for code in map(_code, items) if code]
    return (("DeidentificationMethod", "\\".join(meanings)),) if meanings else ()


def _specimen(elements: Elements) -> tuple[Specimen | None, tuple[str, ...]]:
    container = elements.text("ContainerIdentifier")
    described = list(elements.items("SpecimenDescriptionSequence"))
    if len(described) != 1:
        return None, ()
    item = described[0]
    identifier, uid = item.text("SpecimenIdentifier"), item.text("SpecimenUID")
    if not identifier:
        return None, ()
    warnings: tuple[str, ...] = ()
    if uid and not is_uid(uid):
        uid, warnings = "", ("the Specimen UID is no UID and is not repeated in results",)
    code = item.first("SpecimenTypeCodeSequence")
    specimen = Specimen(
        identifier=identifier,
        uid=uid,
        container_identifier=container,
        type_code=_code(code) if code else None,
        stain=_stain(item),
    )
    return specimen, warnings


def _code(item: Elements) -> Code | None:
    """None unless all three are there (PS3.3 table 8.8-1); a meaning is cut to what LO holds."""
    code = Code(
        value=_value_of(item),
        scheme=item.text("CodingSchemeDesignator"),
        meaning=item.text("CodeMeaning")[:_LO_CHARACTERS].rstrip(),
    )
    return code if code.value and code.scheme and code.meaning else None


def _value_of(code: Elements) -> str:
    return code.text("CodeValue") or code.text("LongCodeValue")


def _stain(specimen: Elements) -> str:
    """Meanings of the substances of the staining steps, in order (TID 8003)."""
    stains: list[str] = []
    for step in specimen.items("SpecimenPreparationSequence"):
        content = list(step.items("SpecimenPreparationStepContentItemSequence"))
        values = [_value_of(c) for i in content for c in i.items("ConceptCodeSequence")]
        if not any(v in _STAINING for v in values):
            continue
        for item in content:
            name = item.first("ConceptNameCodeSequence")
            if name is None or name.text("CodeValue") not in _USING:
                continue
            value = item.first("ConceptCodeSequence")
            code = _code(value) if value else None
            stains.append(code.meaning if code else item.text("TextValue"))
    return "; ".join(s for s in stains if s)
