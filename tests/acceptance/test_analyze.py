"""`leukonode analyze` as a person calls it: results that validate, one line for what is no image."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from phantom.smear import draw
from phantom.spec import leukaemic_smear
from reporting.result_json import validate

pytestmark = pytest.mark.slow


def analyze(folder: Path, bundle: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LEUKONODE_")}
    run = subprocess.run(
        [sys.executable, "-P", "-m", "leukonode", "analyze", "--bundle", str(bundle), *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert "Traceback" not in run.stderr + run.stdout
    return run


def result_in(folder: Path) -> dict:
    result = json.loads((folder / "result.json").read_text())
    validate(result)
    return result


def changed(bundle: Path, folder: Path, *path_and_value: object) -> Path:
    """The bundle with one value of its manifest changed."""
    *path, key, value = path_and_value
    folder.mkdir()
    for file in bundle.iterdir():
        os.link(file, folder / file.name)
    manifest = json.loads((bundle / "manifest.json").read_text())
    place = manifest
    for name in path:
        place = place[name]
    assert key in place
    place[key] = value
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def smear(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("smear") / "smear.png"
    pixels = draw(leukaemic_smear(2, white_cells=5, width_px=640, height_px=480)).pixels
    Image.fromarray(pixels).save(file)
    return file


def test_good_and_bad_files_in_one_call(quick_bundle, smear, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    Image.open(smear).convert("RGB").save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    shutil.copy(smear, tmp_path / "smear.png")
    bad = ["notes.txt", "empty.jpg", "cut.jpg", "absent.png"]

    run = analyze(tmp_path, quick_bundle, *bad, "smear.png", "--out", "out")

    assert run.returncode == 1
    lines = run.stderr.splitlines()
    for name in bad:
        assert sum(line.startswith(f"leukonode: {name}: ") for line in lines) == 1, lines
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["smear"]
    assert sorted(p.name for p in (tmp_path / "out" / "smear").iterdir()) == [
        "overview.png",
        "report.dcm",
        "report.pdf",
        "result.json",
        "run.json",
    ]
    result = result_in(tmp_path / "out" / "smear")
    assert result["bundle"]["untrained"]
    assert result["images"][0]["source"] == "smear.png"
    assert len(result["cells"]) == sum(result["counts"].values())


def test_same_bytes_give_the_same_result(quick_bundle, smear, tmp_path):
    for out in ("first", "second"):
        run = analyze(tmp_path, quick_bundle, str(smear), "--out", out, "--no-report")
        assert run.returncode == 0, run.stderr
    first, second = (
        (tmp_path / o / "smear" / "result.json").read_bytes() for o in ("first", "second")
    )
    assert first == second
    assert not (tmp_path / "first" / "smear" / "report.pdf").exists()


def test_thesis_shape_and_summary_as_json(quick_bundle, smear, tmp_path):
    run = analyze(
        tmp_path, quick_bundle, str(smear), "--format", "thesis", "--single-cell", "--json"
    )
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    folder = tmp_path / "leukonode-results" / "smear"
    assert summary[0]["result"] == str(Path("leukonode-results") / "smear" / "result.json")
    assert json.loads((folder / "thesis.json").read_text())
    result = result_in(folder)
    assert len(result["cells"]) == 1
    assert result["cells"][0]["box_px"] == [0, 0, 640, 480]


def test_dicom_file_named_by_its_uid_keeps_its_patient(quick_bundle, smear, tmp_path):
    made = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "leukonode",
            "dicomize",
            str(smear),
            "--out",
            "d",
            "--patient-id",
            "P-1",
            "--accession",
            "A-1",
            "--spacing-um",
            "0.1",
            "--json",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    file = tmp_path / json.loads(made.stdout)[0]
    named = file.with_name(str(dcmread(file).SOPInstanceUID))
    file.rename(named)
    run = analyze(tmp_path, quick_bundle, str(named), "--out", "out")
    assert run.returncode == 0, run.stderr
    (folder,) = (tmp_path / "out").iterdir()
    sr = dcmread(folder / "report.dcm")
    assert (sr.PatientID, sr.AccessionNumber) == ("P-1", "A-1")
    again = analyze(tmp_path, quick_bundle, str(named), "--out", "out", "--no-report")
    assert again.returncode == 0
    assert not (folder / "report.pdf").exists()


@pytest.mark.parametrize(
    ("path_and_value", "said"),
    [
        (("stages", "viability", "threshold", 1.0), "Not evaluable"),
        (("stages", "detection", "confidence", 1.0), "No leukocytes were found"),
        (("domains", ["ifc-brightfield"]), "Not evaluable"),
    ],
    ids=["not-viable", "no-cells", "other-domain"],
)
def test_what_cannot_be_counted_is_reported_plainly(
    quick_bundle, smear, tmp_path, path_and_value, said
):
    bundle = changed(quick_bundle, tmp_path / "bundle", *path_and_value)
    run = analyze(tmp_path, bundle, str(smear), "--out", "out")
    assert run.returncode == 0, run.stderr
    result = result_in(tmp_path / "out" / "smear")
    assert said in result["finding"]
    assert result["cells"] == []
    assert result["blasts"]["percent"] is None
    assert (tmp_path / "out" / "smear" / "report.pdf").stat().st_size > 1000
    assert (tmp_path / "out" / "smear" / "report.dcm").stat().st_size > 1000


def test_monochrome_picture_is_not_evaluable(quick_bundle, tmp_path):
    grey = np.tile(np.linspace(90, 220, 320, dtype=np.uint8), (240, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    run = analyze(tmp_path, quick_bundle, "grey.png", "--out", "out", "--no-report")
    assert run.returncode == 0, run.stderr
    result = result_in(tmp_path / "out" / "grey")
    assert result["evaluable"] is False
    assert "not_evaluable" in result["flags"]


@pytest.mark.parametrize(
    ("path_and_value", "said"),
    [
        (("stages", "malignancy", "classes", ["malignant", "benign"]), "classes"),
        (("stages", "subtype", "sha256", "0" * 64), "sha256"),
        (("stages", "detection", "architecture", "yolov5s"), "stage 2"),
        (("format", "2.0"), "2.0"),
    ],
    ids=["class-order", "hash", "shape", "format"],
)
def test_wrong_bundle_is_one_line(quick_bundle, smear, tmp_path, path_and_value, said):
    bundle = changed(quick_bundle, tmp_path / "bundle", *path_and_value)
    run = analyze(tmp_path, bundle, str(smear), "--out", "out")
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1
    assert said in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.shared
def test_every_malformed_file_has_a_line_or_a_result(quick_bundle, pictures, tmp_path):
    files = sorted(p for p in (pictures / "dicom_other" / "malformed").rglob("*.dcm"))
    assert len(files) > 90
    run = analyze(tmp_path, quick_bundle, *map(str, files), "--out", "out", "--no-report")
    lines = run.stderr.splitlines()
    for file in files:
        lined = sum(line.startswith(f"leukonode: {file.name}: ") for line in lines)
        made = (tmp_path / "out" / file.stem / "result.json").is_file()
        assert lined + made == 1, (file.name, lines)
        if made:
            result_in(tmp_path / "out" / file.stem)
    assert len(lines) < len(files) + 1


SETS = [
    "detection/bccd",
    "detection/bionet",
    "all/taleqani_full",
    "wbc/mll_bone_marrow",
    "ifc",
    "viability",
]


@pytest.mark.shared
def test_real_pictures_validate(quick_bundle, pictures, tmp_path):
    suffixes = {".jpg", ".png", ".tif"}
    chosen = []
    for name in SETS:
        found = sorted(p for p in (pictures / name).rglob("*") if p.suffix in suffixes)
        chosen.append(found[len(found) // 2])
    run = analyze(tmp_path, quick_bundle, *map(str, chosen), "--out", "out", "--no-report")
    assert run.returncode == 0, run.stderr
    for file in chosen:
        result_in(tmp_path / "out" / file.stem)
