"""What is made here, judged by others: dciodvfy, dcmtk, pydicom."""

import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_node.dicomize import (
    Labels,
    PictureArray,
    PictureOrigin,
    SlideSyntax,
    dicomize,
    dicomize_flow_cytometry,
    dicomize_slide,
)

pytestmark = pytest.mark.peer

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LABELS = Labels(
    patient_id="ID 7",
    patient_name="Müller^Änne=山田^太郎",
    accession="A-1",
    birth_date="20190305",
    sex="F",
)


def stained(height: int = 150, width: int = 211) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([200 + x % 50, 100 + y % 50, 150 + (x + y) % 30], axis=-1).astype(np.uint8)


def errors_of(path: Path) -> list[str]:
    validator = Path(sys.executable).with_name("dciodvfy")
    done = subprocess.run([validator, path], capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    assert "VL" in report or "Multiframe" in report, report
    return [line for line in report.splitlines() if line.startswith("Error")]


def slide(folder: Path, syntax: SlideSyntax) -> Path:
    pixels = stained()
    return dicomize_slide(
        lambda x, y, w, h: pixels[y : y + h, x : x + w],
        width_px=211,
        height_px=150,
        um_per_px=0.25,
        out=folder,
        labels=LABELS,
        now=NOW,
        tile_px=64,
        syntax=syntax,
        origin=PictureOrigin(acquired="20260228101500+0100"),
    )


def jpegs(folder: Path) -> list[Path]:
    made = []
    for name, options in {
        "420": {"subsampling": "4:2:0"},
        "444": {"subsampling": "4:4:4"},
        "progressive": {"progressive": True},
        "grey": {},
        "turned": {"exif": turned()},
    }.items():
        image = Image.fromarray(stained()[..., 0] if name == "grey" else stained())
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=92, **options)
        made.append(folder / f"{name}.jpg")
        made[-1].write_bytes(buffer.getvalue())
    return made


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


def test_fields_have_no_error(tmp_path):
    pictures = [*jpegs(tmp_path), PictureArray(name="array", pixels=stained())]
    made = dicomize(pictures, out=tmp_path / "out", labels=LABELS, spacing_um=0.1, now=NOW)
    assert len(made) == len(pictures)
    for path in made:
        assert errors_of(path) == []
    stored = [pydicom.dcmread(p) for p in made]
    assert (
        len({d.StudyInstanceUID for d in stored}) == len({d.SeriesInstanceUID for d in stored}) == 1
    )
    assert len({d.SOPInstanceUID for d in stored}) == len(stored)
    kept = [d.file_meta.TransferSyntaxUID.name for d in stored]
    assert [k.startswith("JPEG Baseline") for k in kept] == [True, True, False, True, False, False]
    assert [d.PhotometricInterpretation for d in stored] == [
        "YBR_FULL_422",
        "YBR_FULL_422",
        "RGB",
        "MONOCHROME2",
        "RGB",
        "RGB",
    ]
    frame = next(pydicom.encaps.generate_frames(stored[0].PixelData, number_of_frames=1))
    assert frame.rstrip(b"\0") == (tmp_path / "420.jpg").read_bytes()


def test_a_field_without_scale_has_no_error(tmp_path):
    labels = Labels(patient_id="", patient_name="", accession="")
    (path,) = dicomize(
        [PictureArray(name="x", pixels=stained())],
        out=tmp_path,
        labels=labels,
        spacing_um=None,
        now=NOW,
    )
    assert errors_of(path) == []
    assert "PixelSpacing" not in pydicom.dcmread(path)


@pytest.mark.parametrize("syntax", list(SlideSyntax))
def test_slides_have_no_error_and_pydicom_sees_the_same_tiles(tmp_path, syntax):
    path = slide(tmp_path, syntax)
    assert errors_of(path) == []
    tiles = pydicom.dcmread(path).pixel_array
    assert tiles.shape == (12, 64, 64, 3)
    if syntax is not SlideSyntax.JPEG_BASELINE:
        assert np.array_equal(tiles[5], stained()[64:128, 64:128])


def test_flow_cytometry_has_no_error(tmp_path):
    frames = [np.full((40, 40), 100 * n, np.uint16) for n in range(6)]
    path = dicomize_flow_cytometry(
        frames,
        um_per_px=0.5,
        out=tmp_path,
        labels=LABELS,
        now=NOW,
        bits_stored=12,
        channels=("Brightfield", "DNA"),
    )
    assert errors_of(path) == []
    content = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence[3].FrameContentSequence[0]
    assert (content.StackID, content.InStackPositionNumber) == ("2", 2)
    assert content.FrameComments == "DNA"


def test_dcmtk_reads_all_of_it(tmp_path, program):
    dump = program("dcmdump")
    made = [slide(tmp_path, s) for s in SlideSyntax]
    made += dicomize(jpegs(tmp_path), out=tmp_path, labels=LABELS, spacing_um=0.1, now=NOW)
    for path in made:
        done = subprocess.run([dump, "-q", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "ID 7" in done.stdout


def test_dcmtk_decodes_the_same_picture_from_the_jpeg(tmp_path, program):
    decoder = program("dcmdjpeg")
    (path,) = dicomize(jpegs(tmp_path)[1:2], out=tmp_path, labels=LABELS, spacing_um=0.1, now=NOW)
    plain = tmp_path / "plain.dcm"
    subprocess.run([decoder, "+cn", path, plain], check=True, capture_output=True)
    from dicom_node.sources import open_any

    theirs, ours = (next(open_any(p, image=0).fields()).pixels for p in (plain, path))
    assert np.abs(theirs.astype(int) - ours.astype(int)).max() <= 4
    assert np.abs(ours.astype(int) - stained().astype(int)).mean() < 4
