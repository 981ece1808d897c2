"""Made objects say when a picture was taken and what was lost, and nothing that nobody knows."""

import io
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_node.dicomize import (
    Labels,
    PictureArray,
    SlideSyntax,
    dicomize,
    dicomize_flow_cytometry,
    dicomize_slide,
)
from dicom_node.sources import open_picture
from domain.image import Box

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LABELS = Labels(patient_id="1", patient_name="A^B", accession="A")
STAINED = np.random.default_rng(3).integers(90, 220, (70, 90, 3)).astype(np.uint8)


def picture(folder, kind="JPEG", *, taken=None, zone=None, turned=False, **options):
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    inner = exif.get_ifd(0x8769)
    if taken is not None or zone is not None:
        exif[0x8769] = 0  # else PNG and TIFF leave the inner directory out
    if taken is not None:
        inner[0x9003] = taken
    if zone is not None:
        inner[0x9011] = zone
    buffer = io.BytesIO()
    Image.fromarray(STAINED).save(buffer, kind, exif=exif, **options)
    path = folder / "picture"
    path.write_bytes(buffer.getvalue())
    return path


def field(folder, path):
    (made,) = dicomize([path], out=folder, labels=LABELS, spacing_um=0.1, now=NOW)
    return pydicom.dcmread(made)


def slide(folder, path, syntax=SlideSyntax.JPEG_BASELINE):
    source = open_picture(path, image=0)
    made = dicomize_slide(
        lambda x, y, w, h: source.region(Box(x, y, x + w, y + h), frame=1),
        width_px=source.header.width_px,
        height_px=source.header.height_px,
        um_per_px=0.1,
        out=folder,
        labels=LABELS,
        now=NOW,
        tile_px=64,
        syntax=syntax,
        origin=source.origin,
    )
    return pydicom.dcmread(made)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_the_moment_of_taking_is_that_of_exif(tmp_path, kind):
    path = picture(tmp_path, kind, taken="2025:12:24 18:30:05")
    assert field(tmp_path, path).AcquisitionDateTime == "20251224183005"
    path = picture(tmp_path, kind, taken="2025:12:24 18:30:05", zone="-05:00")
    assert field(tmp_path, path).AcquisitionDateTime == "20251224183005-0500"
    assert slide(tmp_path, path).AcquisitionDateTime == "20251224183005-0500"


@pytest.mark.parametrize("taken", [None, "0000:00:00 00:00:00", "yesterday", "2025:13:01 00:00:00"])
def test_a_moment_that_nobody_knows_is_not_said(tmp_path, taken):
    path = picture(tmp_path, taken=taken)
    assert "AcquisitionDateTime" not in field(tmp_path, path)
    # a slide must have one: the file's own date
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    assert slide(tmp_path, path).AcquisitionDateTime == f"{written:%Y%m%d%H%M%S}+0000"


def test_cells_and_arrays_have_no_moment_either(tmp_path):
    cells = dicomize_flow_cytometry(
        [np.zeros((20, 20), np.uint16)], um_per_px=0.5, out=tmp_path, labels=LABELS, now=NOW
    )
    assert "AcquisitionDateTime" not in pydicom.dcmread(cells)
    made = field(tmp_path, PictureArray(name="a", pixels=STAINED))
    assert "AcquisitionDateTime" not in made
    assert made.LossyImageCompression == "00"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"turned": True}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_what_was_jpeg_is_marked_as_lossy_however_it_is_stored(tmp_path, kind, options):
    path = picture(tmp_path, kind, **options)
    made = field(tmp_path, path)
    assert made.LossyImageCompression == "01"
    assert made.LossyImageCompressionMethod == "ISO_10918_1"
    expected = STAINED.size / path.stat().st_size
    assert float(made.LossyImageCompressionRatio) == pytest.approx(max(1, expected), abs=0.02)
    kept = slide(tmp_path, path, SlideSyntax.EXPLICIT)
    assert kept.LossyImageCompression == "01"
    twice = slide(tmp_path, path)
    assert list(twice.LossyImageCompressionMethod) == ["ISO_10918_1"] * 2
    assert len(twice.LossyImageCompressionRatio) == 2


def test_what_was_never_lossy_is_not_marked(tmp_path):
    path = picture(tmp_path, "PNG")
    assert field(tmp_path, path).LossyImageCompression == "00"
    assert slide(tmp_path, path, SlideSyntax.EXPLICIT).LossyImageCompression == "00"
    assert slide(tmp_path, path).LossyImageCompressionMethod == "ISO_10918_1"
