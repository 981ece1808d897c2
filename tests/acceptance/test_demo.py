"""`leukonode demo`: what it leaves, and what it leaves alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from db.embedded import EmbeddedServer
from phantom.smear import draw
from phantom.spec import normal_smear

pytestmark = pytest.mark.slow


def demo(folder: Path, bundle: Path, *words: str) -> subprocess.CompletedProcess:
    (folder / "leukonode.toml").write_text(f'bundle = "{bundle}"\n')
    return subprocess.run(
        [sys.executable, "-P", "-m", "leukonode", "demo", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


def test_demo_on_given_pictures(quick_bundle, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    pixels = draw(normal_smear(4, white_cells=2, width_px=480, height_px=360)).pixels
    Image.fromarray(pixels).save(images / "smear.png")
    (images / "notes.txt").write_text("no picture")
    run = demo(tmp_path, quick_bundle, "--images", "images", "--keep", "kept")
    try:
        assert run.returncode == 0, run.stderr
        assert "notes.txt" in run.stderr
        summary = json.loads((tmp_path / "kept" / "summary.json").read_text())
        (case,) = summary["cases"]
        assert case["state"] == "delivered"
        assert Path(case["pdf"]).read_bytes().startswith(b"%PDF-")
        assert Path(case["sr"]).is_file()
        assert "UNTRAINED MODELS" in run.stdout
    finally:
        EmbeddedServer(tmp_path / "kept" / "service").remove()


def test_demo_leaves_strange_folders_alone(quick_bundle, tmp_path):
    strange = tmp_path / "kept" / "returned"
    strange.mkdir(parents=True)
    (strange / "thesis.txt").write_text("years of work")
    run = demo(tmp_path, quick_bundle, "--keep", "kept")
    assert run.returncode == 1
    assert "name an empty folder" in run.stderr
    assert (strange / "thesis.txt").is_file()
