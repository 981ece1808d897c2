"""What an instance says of itself: kept, refused with a status, or kept and not analysed."""

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.dicomize import Labels, PictureArray, dicomize, dicomize_slide
from dicom_node.domain_of import IFC_CREATOR, IFC_GROUP
from dicom_node.errors import MalformedObject
from dicom_node.faults import Fault
from dicom_node.headers import ImageRole, read_header
from domain.identities import Sha256
from domain.image import Domain

NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
LABELS = Labels(
    patient_id="ID-7",
    patient_name="Müller^Änne=山田^太郎=やまだ^たろう",
    accession="A-1",
    birth_date="20190305",
    sex="F",
)
DIGEST = Sha256("ab" * 32)
STORAGE = "1.2.840.10008.5.1.4.1.1"
SC, GREY_WORD, COLOUR_FRAMES = f"{STORAGE}.7", f"{STORAGE}.7.3", f"{STORAGE}.7.4"


def field(folder: Path, **changes) -> Path:
    """A good field with elements changed; None deletes."""
    pixels = np.full((6, 8, 3), 200, np.uint8)
    pixels[2:4] = (120, 60, 140)
    path = dicomize(
        [PictureArray(name="f", pixels=pixels)], out=folder, labels=LABELS, spacing_um=0.1, now=NOW
    )[0]
    return changed(path, **changes)


def slide(folder: Path, **changes) -> Path:
    path = dicomize_slide(
        lambda x, y, w, h: np.full((h, w, 3), 200, np.uint8),
        width_px=200,
        height_px=130,
        um_per_px=0.25,
        out=folder,
        labels=LABELS,
        now=NOW,
        tile_px=64,
    )
    return changed(path, **changes)


def changed(path: Path, **changes) -> Path:
    dataset = pydicom.dcmread(path)
    syntax = changes.pop("syntax", None)
    for keyword, value in changes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    with pydicom.config.disable_value_validation():
        dataset.save_as(path)
    return path


def header(path: Path):
    return read_header(path, sha256=DIGEST)


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def test_a_good_field_gives_all_that_a_result_repeats(tmp_path):
    path = field(tmp_path)
    found = header(path)
    context, image = found.context, found.image
    assert context.patient.name == "Müller^Änne=山田^太郎=やまだ^たろう"
    assert (context.patient.patient_id, context.patient.birth_date) == ("ID-7", "20190305")
    assert context.accession_number == "A-1"
    assert context.specimen is not None
    assert context.specimen.container_identifier == "A-1"
    assert context.specimen.stain == "May-Grunwald giemsa stain"
    assert context.specimen.type_code.value == "258433009"
    assert context.acquired_at == ""  # nothing says when; the moment of making is another
    assert context.timezone_offset == "+0000"
    (evidence,) = context.evidence
    assert evidence.instance_uid == image.source == found.instance_uid
    assert evidence.sha256 == image.sha256 == DIGEST
    assert (image.width_px, image.height_px, image.frames) == (8, 6, 1)
    assert image.um_per_px == pytest.approx((0.1, 0.1))
    assert (image.domain, image.refusal, image.monochrome) == (Domain.SMEAR, "", False)
    assert found.role is ImageRole.FIELD
    assert found.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"SOPInstanceUID": None}, Fault.ATTRIBUTE_MISSING),
        ({"StudyInstanceUID": ""}, Fault.ATTRIBUTE_MISSING),
        ({"SeriesInstanceUID": "1.02.3"}, Fault.MALFORMED_UID),
        ({"StudyInstanceUID": "../../etc/passwd"}, Fault.MALFORMED_UID),
        ({"SOPClassUID": f"{STORAGE}.2"}, Fault.CLASS_NOT_READ),
        ({"Rows": None}, Fault.ATTRIBUTE_MISSING),
        ({"Rows": 0}, Fault.IMAGE_CONTRADICTION),
        ({"Columns": 9}, Fault.PIXEL_LENGTH),
        ({"Rows": 65535, "Columns": 65535}, Fault.OVER_LIMIT),
        ({"NumberOfFrames": 0}, Fault.IMAGE_CONTRADICTION),
        ({"NumberOfFrames": 2}, Fault.PIXEL_LENGTH),
        ({"NumberOfFrames": 2_000_000_000}, Fault.OVER_LIMIT),
        ({"SamplesPerPixel": 1}, Fault.IMAGE_CONTRADICTION),
        ({"PhotometricInterpretation": "MONOCHROME2"}, Fault.IMAGE_CONTRADICTION),
        ({"PhotometricInterpretation": "CMYK"}, Fault.IMAGE_CONTRADICTION),
        ({"BitsAllocated": 48}, Fault.IMAGE_CONTRADICTION),
        ({"BitsStored": 12}, Fault.IMAGE_CONTRADICTION),
        ({"HighBit": 8}, Fault.IMAGE_CONTRADICTION),
        ({"PixelData": None}, Fault.ATTRIBUTE_MISSING),
        ({"PixelData": b"\0" * 10}, Fault.PIXEL_LENGTH),
        (
            {"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1, "Columns": 24},
            Fault.ATTRIBUTE_MISSING,
        ),
    ],
)
def test_missing_or_contradictory_is_refused_with_its_status(tmp_path, changes, fault):
    with pytest.raises(MalformedObject) as refused:
        header(field(tmp_path, **changes))
    assert refused.value.status == fault
    assert "\n" not in refused.value.reason
    assert "ID-7" not in refused.value.reason


def test_a_us_element_written_as_ul_is_refused(tmp_path):
    path = field(tmp_path)
    data = path.read_bytes()
    at = data.index(b"\x28\0\x10\0US")
    path.write_bytes(data[:at] + b"\x28\0\x10\0UL\x04\0\x06\0\0\0" + data[at + 10 :])
    with pytest.raises(MalformedObject) as refused:
        header(path)
    assert (refused.value.status, refused.value.offending_tag) == (Fault.UNREADABLE, 0x00280010)


@pytest.mark.parametrize("kind", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"])
def test_deflated_and_big_endian_are_refused_unparsed(tmp_path, kind):
    path = field(tmp_path)
    data = path.read_bytes()
    old = b"\x02\0\x10\0UI\x14\0" + b"1.2.840.10008.1.2.1\0"
    uid = kind.encode() + b"\0" * (len(kind) % 2)
    assert old in data
    path.write_bytes(data.replace(old, b"\x02\0\x10\0UI" + bytes([len(uid), 0]) + uid))
    with pytest.raises(MalformedObject) as refused:
        header(path)
    assert refused.value.status == Fault.SYNTAX_NOT_READ


@pytest.mark.parametrize("cut", [0, 3, 100, 131, 132, 300, 700])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path, cut):
    path = field(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(MalformedObject):
        header(path)


def test_pixels_cut_off_in_the_middle_are_refused(tmp_path):
    for made in (field(tmp_path), slide(tmp_path)):
        made.write_bytes(made.read_bytes()[:-30])
        with pytest.raises(MalformedObject) as refused:
            header(made)
        assert refused.value.status in (Fault.PIXEL_LENGTH, Fault.FRAGMENTS)


def test_without_preamble_or_meta_it_is_read_and_says_so(tmp_path):
    path = field(tmp_path)
    whole = path.read_bytes()
    for start in (132, whole.index(b"\x08\0\x05\0CS")):
        path.write_bytes(whole[start:])
        found = header(path)
        assert found.context.patient.patient_id == "ID-7"
        assert any("preamble" in w for w in found.image.warnings)


def test_implicit_vr_gives_the_same_header(tmp_path):
    explicit = header(field(tmp_path / "a"))
    path = field(tmp_path / "b", syntax=ImplicitVRLittleEndian)
    assert header(path).context == explicit.context
    assert header(path).image == explicit.image


def test_an_executable_preamble_is_remarked(tmp_path):
    path = field(tmp_path)
    path.write_bytes(b"MZ" + path.read_bytes()[2:])
    assert any("preamble" in w for w in header(path).image.warnings)


# --- scale


@pytest.mark.parametrize(
    "spacing",
    [["0", "0"], ["-1", "1"], ["nan", "nan"], ["1e400", "1"], ["0.0001"], ["0.000_1"] * 2],
)
def test_impossible_spacing_is_kept_and_not_analysed(tmp_path, spacing):
    image = header(field(tmp_path, PixelSpacing=spacing)).image
    assert "spacing" in image.refusal
    assert image.um_per_px is None


@pytest.mark.parametrize("um", [0.009, 2.1, 16.8, 51])
def test_absurd_spacing_is_kept_and_not_analysed(tmp_path, um):
    assert (
        "um is outside"
        in header(field(tmp_path, PixelSpacing=[f"{um / 1000:.6g}"] * 2)).image.refusal
    )


def test_row_spacing_comes_first(tmp_path):
    image = header(field(tmp_path, PixelSpacing=["0.0002", "0.0001"])).image
    assert image.um_per_px == pytest.approx((0.1, 0.2))


def test_pixel_aspect_ratio_tells_the_shape_without_a_scale(tmp_path):
    image = header(field(tmp_path, PixelSpacing=None, PixelAspectRatio=["3", "4"])).image
    assert image.um_per_px is None
    assert image.pixel_aspect == pytest.approx(0.75)
    image = header(field(tmp_path, PixelSpacing=None, PixelAspectRatio=["1", "1"])).image
    assert image.pixel_aspect == 1.0
    assert header(field(tmp_path, PixelSpacing=None)).image.pixel_aspect is None


def test_imager_pixel_spacing_is_the_cameras_and_gives_no_scale(tmp_path):
    path = field(tmp_path, PixelSpacing=None, ImagerPixelSpacing=["0.00345", "0.00345"])
    image = header(path).image
    assert (image.um_per_px, image.pixel_aspect) == (None, 1.0)
    assert any("camera" in w for w in image.warnings)


def test_a_slides_top_level_spacing_is_not_believed(tmp_path):
    path = slide(tmp_path, PixelSpacing=["0.001", "0.001"])
    assert header(path).image.um_per_px == pytest.approx((0.25, 0.25))


# --- slides


def test_a_slide_is_one_image_of_its_total_matrix(tmp_path):
    found = header(slide(tmp_path))
    image = found.image
    assert (image.width_px, image.height_px, image.frames) == (200, 130, 1)
    assert (found.role, found.image.refusal) == (ImageRole.VOLUME, "")
    assert found.pyramid_uid


@pytest.mark.parametrize(
    ("word", "role"),
    [
        ("LABEL", ImageRole.LABEL),
        ("OVERVIEW", ImageRole.OVERVIEW),
        ("LOCALIZER", ImageRole.OVERVIEW),
        ("THUMBNAIL", ImageRole.THUMBNAIL),
    ],
)
def test_what_is_no_volume_is_not_analysed(tmp_path, word, role):
    found = header(slide(tmp_path, ImageType=["ORIGINAL", "PRIMARY", word, "NONE"]))
    assert found.role is role
    assert "not analysed" in found.image.refusal


@pytest.mark.parametrize("tiling", [None, "TILED_SPARSE"])
def test_sparse_or_unsaid_tiling_is_kept_and_not_analysed(tmp_path, tiling):
    found = header(slide(tmp_path, DimensionOrganizationType=tiling))
    assert found.image.refusal == "sparse tiling is not read in this version"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"TotalPixelMatrixColumns": 300}, Fault.IMAGE_CONTRADICTION),
        ({"TotalPixelMatrixRows": None}, Fault.ATTRIBUTE_MISSING),
        ({"TotalPixelMatrixRows": 4_000_000_000}, Fault.OVER_LIMIT),
        ({"NumberOfFrames": 11}, Fault.IMAGE_CONTRADICTION),
    ],
)
def test_frames_must_be_the_tiles_of_the_matrix(tmp_path, changes, fault):
    with pytest.raises(MalformedObject) as refused:
        header(slide(tmp_path, **changes))
    assert refused.value.status == fault


def test_several_specimens_are_not_mixed(tmp_path):
    path = field(tmp_path)
    items = list(pydicom.dcmread(path).SpecimenDescriptionSequence)
    second = Dataset()
    second.SpecimenIdentifier, second.SpecimenUID = "other", "1.2.3"
    found = header(changed(path, SpecimenDescriptionSequence=[*items, second]))
    assert "several specimens" in found.image.refusal
    assert found.context.specimen is None


def test_without_a_specimen_it_says_so(tmp_path):
    found = header(field(tmp_path, SpecimenDescriptionSequence=None, ContainerIdentifier=None))
    assert found.context.specimen is None
    assert "specimen not identified" in found.image.warnings


# --- domain


@pytest.mark.parametrize(
    ("changes", "domain"),
    [
        ({"Modality": "SM", "SOPClassUID": SC}, Domain.SMEAR),
        ({"Modality": "OT", "SOPClassUID": COLOUR_FRAMES, "NumberOfFrames": 1}, Domain.SMEAR),
        ({"Modality": "CT"}, Domain.UNKNOWN),
        (
            {"ContainerTypeCodeSequence": [code("434746001", "Specimen vial")]},
            Domain.IFC_BRIGHTFIELD,
        ),
        (
            {"ContainerTypeCodeSequence": [code("434746001", "Vial")], "Modality": "SM"},
            Domain.UNKNOWN,
        ),
    ],
)
def test_domain_is_decided_by_what_the_object_says(tmp_path, changes, domain):
    assert header(field(tmp_path, **changes)).image.domain is domain


@pytest.mark.parametrize(
    ("marked", "domain"), [(True, Domain.IFC_BRIGHTFIELD), (False, Domain.UNKNOWN)]
)
def test_grey_frames_are_flow_cytometry_only_when_something_says_so(tmp_path, marked, domain):
    path = field(
        tmp_path,
        SOPClassUID=GREY_WORD,
        Modality="OT",
        ContainerTypeCodeSequence=None,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        PlanarConfiguration=None,
        Columns=24,
        SeriesDescription="imaging flow cytometry",
    )
    if marked:
        dataset = pydicom.dcmread(path)
        dataset.private_block(IFC_GROUP, IFC_CREATOR, create=True).add_new(1, "LO", "Brightfield")
        dataset.save_as(path)
    found = header(path)
    assert found.image.domain is domain
    assert found.image.monochrome is not marked


# --- text


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Buc^Jérôme"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 192", "王^小東"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_text_is_decoded_from_the_sources_character_set(tmp_path, charset, name):
    path = field(tmp_path, PatientName="x")
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = charset
    dataset.PatientName = pydicom.valuerep.PersonName(
        name, pydicom.charset.convert_encodings(charset)
    )
    dataset.StudyDescription = "blood"
    dataset.save_as(path)
    found = header(path)
    assert found.context.patient.name == name
    assert not any("character set" in w for w in found.context.warnings)


def test_bytes_outside_the_character_set_leave_a_mark(tmp_path):
    path = field(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace("Müller".encode(), b"M\xff\xffller"))
    found = header(path)
    assert found.context.patient.name.startswith("M\ufffd\ufffdller^Änne")
    assert any("PatientName" in w for w in found.context.warnings)
    path.write_bytes(whole.replace(b"ISO_IR 192", b"ISO_IR 6  "))
    found = header(path)
    assert "\ufffd" in found.context.patient.name


def test_the_rest_of_the_patient_module_is_carried(tmp_path):
    path = field(
        tmp_path,
        PatientAge="007Y",
        PatientSize="1.80 ",
        PatientWeight="7e1",
        EthnicGroup="",
        PatientIdentityRemoved="YES",
        DeidentificationMethod=["first", "second"],
        MedicalAlerts=["a", "b"],
        OtherPatientNames=["A^B", "C^D"],
        PatientComments="two\\lines of; DROP TABLE cells",
        Allergies="penicillin",
    )
    further = dict(header(path).context.patient.further)
    assert further == {
        "PatientAge": "007Y",
        "PatientSize": "1.80",
        "PatientWeight": "7e1",
        "OtherPatientNames": "A^B\\C^D",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "first\\second",
        "MedicalAlerts": "a\\b",
        "PatientComments": "two\\lines of; DROP TABLE cells",
        "Allergies": "penicillin",
    }


def test_a_method_told_in_codes_alone_is_carried_by_its_meanings(tmp_path):
    codes = [code("113100", "Basic Application"), code("", "of no value"), code("1", "Clean")]
    path = field(tmp_path, PatientIdentityRemoved="YES", DeidentificationMethodCodeSequence=codes)
    further = dict(header(path).context.patient.further)
    assert further["DeidentificationMethod"] == "Basic Application\\Clean"
    further = dict(header(changed(path, DeidentificationMethod="said")).context.patient.further)
    assert further["DeidentificationMethod"] == "said"


@pytest.mark.parametrize("lacks", ["CodeValue", "CodingSchemeDesignator", "CodeMeaning"])
def test_a_code_that_lacks_a_part_is_none(tmp_path, lacks):
    path = field(tmp_path)
    dataset = pydicom.dcmread(path)
    item = dataset.SpecimenDescriptionSequence[0]
    setattr(item.SpecimenTypeCodeSequence[0], lacks, "")
    dataset.save_as(path)
    assert header(path).context.specimen.type_code is None


def test_a_long_meaning_is_cut_to_what_its_element_holds(tmp_path):
    path = field(tmp_path)
    dataset = pydicom.dcmread(path)
    item = dataset.SpecimenDescriptionSequence[0]
    with pydicom.config.disable_value_validation():
        item.SpecimenTypeCodeSequence[0].CodeMeaning = "m" * 63 + " " + "m" * 40
        dataset.save_as(path)
    assert header(path).context.specimen.type_code.meaning == "m" * 63


def test_a_specimen_uid_that_is_none_is_dropped_and_said(tmp_path):
    path = field(tmp_path)
    dataset = pydicom.dcmread(path)
    assert header(path).context.specimen.uid
    with pydicom.config.disable_value_validation():
        dataset.SpecimenDescriptionSequence[0].SpecimenUID = "Zzyzx 1.02"
        dataset.save_as(path)
    context = header(path).context
    assert context.specimen.uid == ""
    assert context.specimen.identifier
    (said,) = [w for w in context.warnings if "Specimen UID" in w]
    assert "Zzyzx" not in said


@pytest.mark.parametrize("value", ["+-5", "1_0", "--1", "1" * 12, "+", "1.5", "0x1"])
def test_a_number_that_is_none_is_refused(tmp_path, value):
    path = field(tmp_path, NumberOfFrames="77")
    raw = path.read_bytes()
    old = b"\x28\0\x08\0IS\x02\x0077"
    assert old in raw
    text = value.encode().ljust(len(value) + len(value) % 2)
    path.write_bytes(raw.replace(old, old[:6] + struct.pack("<H", len(text)) + text))
    with pytest.raises(MalformedObject) as refused:
        header(path)
    assert refused.value.status == Fault.UNREADABLE


def test_concatenation_is_told(tmp_path):
    path = slide(
        tmp_path,
        ConcatenationUID="1.2.3",
        InConcatenationNumber=2,
        ConcatenationFrameOffsetNumber=0,
    )
    part = header(path).concatenation
    assert (part.uid, part.number, part.total) == ("1.2.3", 2, None)


def test_explicit_is_the_default_of_what_is_made(tmp_path):
    assert header(field(tmp_path)).transfer_syntax == ExplicitVRLittleEndian


def test_the_manual_lists_every_status():
    manual = (Path(__file__).parents[2] / "docs" / "images.md").read_text(encoding="utf-8")
    assert [f for f in Fault if f"| {f:04X} |" not in manual] == []
