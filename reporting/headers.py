"""The header that every result object shares: patient, study, series, equipment, SOP common.

Patient and study values go in verbatim, never repaired (PS3.3 C.7.1.1, C.7.2.1: the result lies in
the same study of the same patient). Text is UTF-8 (ISO_IR 192). Every date is the report's own
`issued_at`, in the source's offset from UTC where it states one, else in UTC.
"""

import io
import re
from datetime import UTC, datetime, timedelta, timezone

from highdicom.sr import CodedConcept
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from domain.identities import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from domain.study import Code, EvidenceRef
from reporting import codes
from reporting.report import ObjectRef, Report

__all__ = [
    "code_item",
    "concept",
    "evidence_sequence",
    "part10",
    "person_value",
    "predecessor_sequence",
    "reference",
    "result_header",
]

VALUE_CHARACTERS = 64  # of LO, and of a component group of PN
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_ASCII_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})


def result_header(
    report: Report, *, sop_class_uid: str, instance_uid: str, series_uid: str, modality: str
) -> Dataset:
    """A new data set with all modules that our result objects have in common."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = instance_uid
    _patient_and_study(dataset, report)
    dataset.Modality = modality
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = _series_number(report, modality)
    dataset.SeriesDescription = report.title
    dataset.InstanceNumber = 1
    _equipment(dataset, report)
    issued = report.issued_at.astimezone(_offset(report))
    dataset.TimezoneOffsetFromUTC = issued.strftime("%z")
    for kind in ("Series", "Content", "InstanceCreation"):
        setattr(dataset, f"{kind}Date", issued.strftime("%Y%m%d"))
        setattr(dataset, f"{kind}Time", issued.strftime("%H%M%S.%f"))
    dataset.ContentQualification = "RESEARCH"
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.LOCAL_SCHEME
    scheme.CodingSchemeName = codes.LOCAL_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = "LeukoNode"
    dataset.CodingSchemeIdentificationSequence = [scheme]
    return dataset


def _series_number(report: Report, modality: str) -> int:
    """In high blocks, apart from the scanner's own: even for SR, odd for PDF, and annotations."""
    if modality == "ANN":
        return 19000 + 100 * report.analysis_ordinal + report.revision
    return 9000 + 100 * report.analysis_ordinal + 2 * report.revision + (modality == "DOC")


def part10(dataset: Dataset) -> bytes:
    """The data set as a file in Explicit VR Little Endian, preamble of zeros (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    sink = io.BytesIO()
    file = FileDataset(sink, dataset, file_meta=meta, preamble=bytes(128))
    with config.disable_value_validation():  # values of the source are repeated as they came
        dcmwrite(sink, file, enforce_file_format=True)
    return sink.getvalue()


def code_item(code: Code) -> Dataset:
    """PS3.3 8.8, Code Sequence Macro."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def concept(code: Code) -> CodedConcept:
    """The same, as highdicom takes it."""
    return CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def reference(sop_class_uid: str, instance_uid: str, purpose: Code | None = None) -> Dataset:
    """PS3.3 10.8, SOP Instance Reference, with its purpose where one is said."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = instance_uid
    if purpose is not None:
        item.PurposeOfReferenceCodeSequence = [code_item(purpose)]
    return item


def evidence_sequence(evidence: tuple[EvidenceRef, ...], study_uid: str) -> list[Dataset]:
    """Hierarchical references to all instances that were analysed (PS3.3 C.17.2.1)."""
    by_series: dict[str, list[Dataset]] = {}
    for one in evidence:
        by_series.setdefault(one.series_uid, []).append(
            reference(one.sop_class_uid, one.instance_uid)
        )
    return [_study_references(study_uid, by_series)] if by_series else []


def predecessor_sequence(study_uid: str, replaced: ObjectRef) -> list[Dataset]:
    """PS3.3 C.17.2, Predecessor Documents Sequence: the object that this one replaces."""
    item = reference(replaced.sop_class_uid, replaced.instance_uid, codes.REPLACED_REPORT)
    return [_study_references(study_uid, {replaced.series_uid: [item]})]


def _study_references(study_uid: str, by_series: dict[str, list[Dataset]]) -> Dataset:
    study = Dataset()
    _put(study, "StudyInstanceUID", study_uid)
    study.ReferencedSeriesSequence = []
    for series_uid, items in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = items
        study.ReferencedSeriesSequence.append(series)
    return study


def _patient_and_study(dataset: Dataset, report: Report) -> None:
    context, patient = report.context, report.context.patient
    values = {
        "PatientName": patient.name,
        "PatientID": patient.patient_id,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex,
        "StudyInstanceUID": context.study_uid,
        "StudyID": context.study_id,
        "StudyDate": context.study_date,
        "StudyTime": context.study_time,
        "AccessionNumber": context.accession_number,
        "ReferringPhysicianName": context.referring_physician,
    }
    for keyword, value in values.items():  # all of type 1 or 2: present, empty when unknown
        _put(dataset, keyword, value)
    for keyword, value in (
        ("IssuerOfPatientID", patient.issuer),
        ("StudyDescription", context.study_description),
        *patient.further,
    ):
        tag = tag_for_keyword(keyword)
        # groups below 0008 are of commands and files, not of data sets (PS3.5 7.1)
        if value and tag is not None and tag >> 16 >= 8 and keyword not in dataset:
            _put(dataset, keyword, value)


def _put(dataset: Dataset, keyword: str, value: str) -> None:
    """Set a value as it came, whatever its form. Only what the file format cannot hold is changed:
    a lone surrogate, or a character outside ASCII in a VR that has no character set (PS3.5 6.1.2.3),
    becomes a question mark; a number that is no number, and a VR that is no text, is left out."""
    tag = tag_for_keyword(keyword)
    if tag is None or dictionary_VR(tag) not in _TEXT_VRS | _ASCII_VRS:
        return
    vr = dictionary_VR(tag)
    charset = "utf-8" if vr in _TEXT_VRS else "ascii"
    writable = value.encode(charset, "replace").decode(charset)
    with config.disable_value_validation():
        try:
            element = DataElement(tag, vr, writable, validation_mode=config.IGNORE)
        except (ValueError, OverflowError):
            return
    dataset[tag] = element


def person_value(keyword: str, value: str) -> DataElement:
    """A value that a person typed, in the form its VR can hold: no backslash, which would part it in
    two, no control character, at most 64 characters (PS3.5 6.2)."""
    plain = "".join(" " if c < " " or c in "\\\x7f" else c for c in value)
    kept = plain.encode("utf-8", "replace").decode("utf-8").strip()[:VALUE_CHARACTERS]
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no attribute of DICOM")
    return DataElement(tag, dictionary_VR(tag), kept, validation_mode=config.IGNORE)


def _equipment(dataset: Dataset, report: Report) -> None:
    producer = report.producer
    dataset.Manufacturer = producer.manufacturer
    dataset.ManufacturerModelName = producer.model
    dataset.DeviceSerialNumber = producer.serial_number
    dataset.SoftwareVersions = producer.version
    dataset.DeviceUID = producer.device_uid
    made = Dataset()
    made.Manufacturer = producer.manufacturer
    made.ManufacturerModelName = producer.model
    made.DeviceSerialNumber = producer.serial_number
    made.SoftwareVersions = producer.version
    made.PurposeOfReferenceCodeSequence = [code_item(codes.PROCESSING_EQUIPMENT)]
    contributing = [made]
    scanner = report.context.scanner
    if scanner is not None and scanner.manufacturer:  # Manufacturer is type 1 in the macro
        took = Dataset()
        for keyword, value in (
            ("Manufacturer", scanner.manufacturer),
            ("ManufacturerModelName", scanner.model),
            ("DeviceSerialNumber", scanner.serial_number),
            ("SoftwareVersions", scanner.software),
        ):
            if value:
                _put(took, keyword, value)
        took.PurposeOfReferenceCodeSequence = [code_item(codes.ACQUISITION_EQUIPMENT)]
        contributing.insert(0, took)
    dataset.ContributingEquipmentSequence = contributing


def _offset(report: Report) -> timezone:
    """The source's Timezone Offset From UTC (PS3.3 C.12.1.1.8), UTC when absent or impossible."""
    stated = re.fullmatch(r"([+-])(0\d|1[0-4])([0-5]\d)", report.context.timezone_offset.strip())
    if stated is None:
        return UTC
    sign, hours, minutes = stated.groups()
    span = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-span if sign == "-" else span)


def acquisition_datetime(report: Report) -> str:
    """DT of the source, empty when unknown or not of DT's form."""
    value = report.context.acquired_at.strip()
    return value if re.fullmatch(r"\d{4,14}(\.\d{1,6})?([+-]\d{4})?", value) else ""


def moment(issued_at: datetime) -> str:
    """A time for a reader.

    >>> from datetime import datetime, timezone
    >>> moment(datetime(2026, 11, 24, 9, 5, tzinfo=timezone.utc))
    '2026-11-24 09:05:00 UTC'
    """
    return issued_at.strftime("%Y-%m-%d %H:%M:%S UTC")
