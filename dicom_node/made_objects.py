"""What every DICOM object that is made here has in common: whom, what, when, by which program.

In      Labels and a moment
Out     a data set with the Patient, Study, Series, Equipment, Specimen and SOP Common modules, and its
        writing as a file
Source  PS3.3 C.7.1 to C.7.5, C.7.6.22 (Specimen), C.12.1; PS3.16 TID 8001 and 8003 (preparation),
        CID 8101, 8103 and 8112
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from dicom_node.conformance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.errors import DicomNodeError
from domain.identities import StudyUID, derived_uid

__all__ = [
    "SLIDE_CONTAINER",
    "VIAL_CONTAINER",
    "BadLabelError",
    "Labels",
    "code",
    "new_object",
    "tell_losses",
    "write",
]

SLIDE_CONTAINER = ("433466003", "SCT", "Microscope slide")
VIAL_CONTAINER = ("434746001", "SCT", "Specimen vial")
_SMEAR = ("258433009", "SCT", "Smear sample")
_STAINS = {
    "May-Grünwald-Giemsa": ("255803006", "SCT", "May-Grunwald giemsa stain"),
    "Wright": ("373682001", "SCT", "Wright stain"),
    "Giemsa": ("373646006", "SCT", "Giemsa stain"),
    "Romanowsky": ("255810000", "SCT", "Romanowsky stain"),
    "Leishman": ("255802001", "SCT", "Leishman stain"),
}
_LENGTHS = {
    "patient_id": 64,
    "accession": 16,
    "container_identifier": 64,
    "specimen_identifier": 64,
}


class BadLabelError(DicomNodeError, ValueError):
    """A label that no DICOM element can hold."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Whom and what the pictures are of. Empty specimen and container identifiers are derived
    from the accession number and the study. Without `study_uid` every call makes a new study.

    Raises BadLabelError for values that do not fit their elements (PS3.5 table 6.2-1).
    """

    patient_id: str
    patient_name: str
    accession: str
    birth_date: str = ""
    sex: str = ""
    study_uid: StudyUID | None = None
    study_description: str = "Blood smear"
    container_identifier: str = ""
    specimen_identifier: str = ""
    stain: str = "May-Grünwald-Giemsa"

    def __post_init__(self) -> None:
        for name, limit in _LENGTHS.items():
            value = getattr(self, name)
            if len(value) > limit or not value.isprintable() or "\\" in value:
                raise BadLabelError(
                    f"{name.replace('_', ' ')} has more than {limit} characters, a backslash or a "
                    "control character; shorten or correct it"
                )
        groups = self.patient_name.split("=")
        if len(groups) > 3 or any(len(g) > 64 for g in groups) or "\\" in self.patient_name:
            raise BadLabelError("patient name is longer than 64 characters or has a backslash")
        if self.sex not in ("", "M", "F", "O"):
            raise BadLabelError("sex is one of M, F, O or empty")
        if self.birth_date and not (len(self.birth_date) == 8 and self.birth_date.isdecimal()):
            raise BadLabelError("birth date is written YYYYMMDD")


def code(triple: tuple[str, str, str]) -> Dataset:
    """A code sequence item from (value, scheme, meaning)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = triple
    return item


def new_object(
    labels: Labels,
    *,
    sop_class: str,
    modality: str,
    now: datetime,
    content: Sequence[str],
    number: int = 1,
    container: tuple[str, str, str] = SLIDE_CONTAINER,
    acquired: str = "",
) -> Dataset:
    """A data set without pixels. UIDs are derived from labels, moment and `content` (digests of
    all pictures of the call, and how they are stored), so that the same call gives the same object and any other another.
    `acquired` (DT) is when the picture was taken; nothing is said where nobody knows."""
    if now.tzinfo is None:
        raise ValueError("now must know its time zone")
    study_uid = labels.study_uid or StudyUID(
        derived_uid(
            "dicomize study", labels.patient_id, labels.accession, now.isoformat(), *content
        )
    )
    series_uid = derived_uid(
        "dicomize series", study_uid, sop_class, now.isoformat(), repr(labels), *content
    )
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = derived_uid("dicomize instance", series_uid, str(number))
    made.TimezoneOffsetFromUTC = now.strftime("%z")[:5]
    made.PatientName = labels.patient_name
    made.PatientID = labels.patient_id
    made.PatientBirthDate = labels.birth_date
    made.PatientSex = labels.sex
    made.StudyInstanceUID = study_uid
    made.StudyDate = made.SeriesDate = made.ContentDate = f"{now:%Y%m%d}"
    made.StudyTime = made.SeriesTime = made.ContentTime = f"{now:%H%M%S}"
    if acquired:
        made.AcquisitionDateTime = acquired
    made.StudyID = labels.accession
    made.AccessionNumber = labels.accession
    made.ReferringPhysicianName = ""
    made.StudyDescription = labels.study_description[:64]
    made.Modality = modality
    made.SeriesInstanceUID = series_uid
    made.SeriesNumber = 1
    made.InstanceNumber = number
    made.PatientOrientation = None
    made.Manufacturer = "LeukoNode"
    made.ManufacturerModelName = "leukonode dicomize"
    made.DeviceSerialNumber = "0"
    made.SoftwareVersions = version("leukonode")
    made.BurnedInAnnotation = "NO"
    _add_specimen(made, labels, container)
    return made


def tell_losses(made: Dataset, ratios: Sequence[float]) -> None:
    """Lossy Image Compression and what belongs to it; one ratio for each time JPEG was applied."""
    made.LossyImageCompression = "01" if ratios else "00"
    if ratios:
        made.LossyImageCompressionRatio = [f"{ratio:.2f}" for ratio in ratios]
        made.LossyImageCompressionMethod = ["ISO_10918_1"] * len(ratios)


def write(made: Dataset, path: Path, *, transfer_syntax: str) -> None:
    """As a Part 10 file. `made` may lack Pixel Data, which then is appended by the caller."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    made.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, made, enforce_file_format=True, overwrite=True)


def _add_specimen(made: Dataset, labels: Labels, container: tuple[str, str, str]) -> None:
    study_tail = str(made.StudyInstanceUID)[-12:]
    container_id = labels.container_identifier or labels.accession or f"C{study_tail}"
    specimen_id = labels.specimen_identifier or f"{container_id}-1"[:64]
    made.ContainerIdentifier = container_id
    made.IssuerOfTheContainerIdentifierSequence = []
    made.ContainerTypeCodeSequence = [code(container)]
    specimen = Dataset()
    specimen.SpecimenIdentifier = specimen_id
    specimen.SpecimenUID = derived_uid("dicomize specimen", made.StudyInstanceUID, specimen_id)
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    if container == SLIDE_CONTAINER:
        specimen.SpecimenShortDescription = "Blood smear"
        specimen.SpecimenTypeCodeSequence = [code(_SMEAR)]
        specimen.SpecimenPreparationSequence = [_staining(specimen_id, labels.stain)]
    made.SpecimenDescriptionSequence = [specimen]


def _staining(specimen_id: str, stain: str) -> Dataset:
    step = Dataset()
    items = [
        _item(("121041", "DCM", "Specimen Identifier"), text=specimen_id),
        _item(("111701", "DCM", "Processing type"), value=("127790008", "SCT", "Staining")),
    ]
    using = ("424361007", "SCT", "Using substance")
    if stain in _STAINS:
        items.append(_item(using, value=_STAINS[stain]))
    elif stain:
        items.append(_item(using, text=stain[:64]))
    step.SpecimenPreparationStepContentItemSequence = items
    return step


def _item(
    name: tuple[str, str, str], *, text: str = "", value: tuple[str, str, str] | None = None
) -> Dataset:
    item = Dataset()
    item.ConceptNameCodeSequence = [code(name)]
    if value is not None:
        item.ValueType = "CODE"
        item.ConceptCodeSequence = [code(value)]
    else:
        item.ValueType = "TEXT"
        item.TextValue = text
    return item
