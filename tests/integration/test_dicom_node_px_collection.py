"""Every DICOM file of the collection gives a source or one documented error."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_node.codecs import FrameLayout, decode_frame, proven_transfer_syntaxes
from dicom_node.elements import Elements
from dicom_node.errors import MalformedObject
from dicom_node.faults import Fault
from dicom_node.files import find_frames, open_dicom
from dicom_node.headers import InstanceHeader, read_header
from dicom_node.image_module import layout_of
from dicom_node.levels import choose_levels
from dicom_node.limits import Limits
from dicom_node.slide import SlideSource
from dicom_node.sources import NotAnImage, open_any
from dicom_node.statuses import StoreStatus
from domain.identities import Sha256
from domain.image import Domain, UnreadablePixels

pytestmark = pytest.mark.shared

DIGEST = Sha256("0" * 64)
STATUSES = {int(s) for s in StoreStatus} | {int(f) for f in Fault}


def files(*folders: Path) -> list[Path]:
    return sorted(p for f in folders for p in f.rglob("*") if p.is_file())


def tried(path: Path) -> MalformedObject | UnreadablePixels | None:
    """The error that reading the whole file gives; anything foreign passes through."""
    try:
        source = open_any(path, image=0)
        count = sum(1 for _ in source.fields())
        source.overview(200)
    except (MalformedObject, UnreadablePixels) as error:
        return error
    # nothing to read is nothing without a reason
    return None if bool(count) is not bool(source.header.refusal) else UnreadablePixels("")


def test_nothing_of_the_collection_raises_a_foreign_error(pictures):
    all_files = files(pictures / "dicom_other", pictures / "dicom_wsi", pictures / "ifc")
    told = {path: tried(path) for path in all_files}
    for error in filter(None, told.values()):
        assert str(error)
        assert "\n" not in str(error)
        assert not isinstance(error, MalformedObject) or error.status in STATUSES
    opened = [path for path, error in told.items() if error is None]
    assert len(opened) > 60
    assert len(told) - len(opened) > 120
    assert not [p for p in opened if "malformed" in p.parts]


def test_names_are_those_pydicom_reads(pictures):
    seen = 0
    for path in files(pictures / "dicom_other" / "charsets"):
        dataset = pydicom.dcmread(path)
        if "PatientName" not in dataset:
            continue
        mine = Elements(pydicom.dcmread(path)).text("PatientName")
        # pydicom drops an empty last group
        assert mine.rstrip("=") == str(dataset.PatientName).rstrip("=")
        seen += 1
    assert seen >= 14


def frame_of(path: Path) -> tuple[np.ndarray, FrameLayout]:
    opened = open_dicom(path, Limits())
    layout, frames = layout_of(
        opened.elements, transfer_syntax=opened.transfer_syntax, limits=Limits()
    )
    places = find_frames(opened, layout, frames, Limits())
    with path.open("rb") as file:
        return decode_frame(places.read(file, frames - 1), layout), layout


def worst(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_one_picture_in_several_syntaxes_is_one_picture(pictures):
    folder = pictures / "dicom_other" / "transfer_syntaxes"
    truth, _ = frame_of(folder / "SC_rgb.dcm")
    for name, tolerance in {
        "SC_rgb_rle.dcm": 0,
        "SC_rgb_jpeg_gdcm.dcm": 0,
        "SC_rgb_gdcm_KY.dcm": 4,
        "SC_rgb_dcmtk__eb_cr.dcm": 8,
        "SC_rgb_dcmtk__eb_cy_n1.dcm": 8,
        "SC_rgb_dcmtk__eb_cy_np.dcm": 8,
        "SC_rgb_dcmtk__eb_cy_s2.dcm": 8,
        "SC_rgb_jpeg_dcmtk.dcm": 8,
        "SC_ybr_full_uncompressed.dcm": 8,
        "SC_ybr_full_422_uncompressed.dcm": 8,
    }.items():
        assert worst(frame_of(folder / name)[0][5::10, 5::10], truth[5::10, 5::10]) <= tolerance, (
            name
        )
    grey, _ = frame_of(folder / "MR_small.dcm")
    for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        assert np.array_equal(frame_of(folder / name)[0], grey), name
    assert np.array_equal(
        frame_of(folder / "SC_rgb_rle_16bit.dcm")[0], frame_of(folder / "SC_rgb_16bit.dcm")[0]
    )


def test_every_proven_syntax_of_the_collection_decodes(pictures):
    broken = {
        "JPEG-lossy.dcm",  # no decoder here or in pydicom's list opens it
        "JPEG2000-embedded-sequence-delimiter.dcm",  # its codestream names another size
        "SC_rgb_jpeg.dcm",  # Pixel Data in a value representation that does not exist
        "MR_small_padded.dcm",  # longer than its image
    }
    decoded = set()
    unread = {}
    for path in files(pictures / "dicom_other" / "transfer_syntaxes"):
        try:
            syntax = open_dicom(path, Limits()).transfer_syntax
            if syntax in proven_transfer_syntaxes():
                frame_of(path)
                decoded.add(syntax)
        except (MalformedObject, UnreadablePixels) as error:
            unread[path.name] = getattr(error, "status", 0)
    no_image = (Fault.ATTRIBUTE_MISSING, Fault.SYNTAX_NOT_READ)
    assert {name for name, status in unread.items() if status not in no_image} == broken
    assert len(decoded) >= 10


def test_a_slide_that_says_rgb_and_stores_ycbcr_has_its_true_colours(pictures):
    folder = pictures / "dicom_wsi" / "cmu1_pyramid"
    picture, _ = open_any(folder / "level-2-frames-0-4.dcm", image=0).overview(400)
    # haematoxylin and eosin on white: no pixel is green, and the ground is bright
    red, green, blue = (picture[..., c].astype(int) for c in range(3))
    assert np.percentile(green - np.minimum(red, blue), 99) < 15
    assert np.median(picture) > 150
    # and no black bar where edge tiles are padded
    assert (picture[-3:].mean(axis=(1, 2)) > 60).all()
    assert (picture[:, -3:].mean(axis=(0, 2)) > 60).all()


def headers(folder: Path) -> list[InstanceHeader]:
    return [read_header(p, sha256=DIGEST) for p in files(folder)]


def test_of_the_pyramid_one_level_is_read(pictures):
    levels = headers(pictures / "dicom_wsi" / "cmu1_pyramid")
    assert len({h.frame_of_reference_uid for h in levels}) == 12
    analysed, left_out = choose_levels(levels)
    assert [h.image.width_px for h in analysed] == [2220]
    assert len(left_out) == 11


def test_the_converters_scale_is_absurd_and_refused(pictures):
    for path in files(pictures / "dicom_wsi" / "converter"):
        header = read_header(path, sha256=DIGEST)
        assert header.image.um_per_px is not None
        assert "or it is wrong" in header.image.refusal


def test_lossy_and_lossless_slide_of_one_picture_agree(pictures):
    folder = pictures / "dicom_wsi" / "converter"
    lossy, _ = open_any(folder / "jpeg.dicom", image=0).overview(480)
    lossless, _ = open_any(folder / "jpeg2000.dicom", image=0).overview(480)
    assert np.abs(lossy.astype(int) - lossless.astype(int)).mean() < 3


def test_complete_slide_headers_are_read(pictures):
    source = open_any(pictures / "dicom_wsi" / "small_sm" / "sm_image.dcm", image=0)
    assert isinstance(source, SlideSource)
    header = read_header(pictures / "dicom_wsi" / "small_sm" / "sm_image.dcm", sha256=DIGEST)
    assert header.context.specimen is not None
    assert header.image.domain is Domain.SMEAR
    assert header.image.refusal == "tiles of less than 16 px are not read"  # ten by ten
    level = pictures / "dicom_wsi" / "cmu1_pyramid" / "level-0-frames-0-30.dcm"
    assert any("ICC" in w for w in read_header(level, sha256=DIGEST).image.warnings)


def test_flow_cytometry_analysis_files_are_no_pictures(pictures):
    with pytest.raises(NotAnImage):
        open_any(pictures / "ifc" / "example.daf", image=0)
