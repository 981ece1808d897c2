"""The pages of nine reports against kept pictures, as poppler draws them.

A change that is meant is kept by running this file with RENEW_PAGES=1, looking at every picture that git
then shows as changed, and committing them.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from reporting.pdf import pdf_bytes
from tests.golden.reports import reports

pytestmark = pytest.mark.peer
KEPT = Path(__file__).parent.parent / "golden" / "pages"
DPI = 36
LEVELS = 16  # grey levels of a kept picture
NAMES = (
    "normal",
    "blasts_35",
    "blasts_12_of_60",
    "no_cells",
    "non_viable",
    "wrong_domain",
    "slide_500",
    "scripts",
    "amended",
)


@pytest.fixture(scope="module")
def made():
    return reports()


def pages_of(program, folder: Path, pdf: bytes) -> Image.Image:
    """All pages of a PDF side by side, grey."""
    (folder / "report.pdf").write_bytes(pdf)
    subprocess.run(
        [program("pdftoppm"), "-r", str(DPI), "-png", "-gray", "report.pdf", "page"],
        cwd=folder,
        check=True,
    )
    pages = [Image.open(f).convert("L") for f in sorted(folder.glob("page*.png"))]
    sheet = Image.new("L", (sum(p.width for p in pages), pages[0].height), 255)
    for number, page in enumerate(pages):
        sheet.paste(page, (number * pages[0].width, 0))
    return sheet


@pytest.mark.parametrize("name", NAMES)
def test_reporting_pages_look_as_they_were_kept(name, made, program, tmp_path):
    sheet = pages_of(program, tmp_path, pdf_bytes(made[name]))
    file = KEPT / f"{name}.png"
    if os.environ.get("RENEW_PAGES"):
        file.parent.mkdir(exist_ok=True)
        levels = sheet.point(lambda v: round(v / 255 * (LEVELS - 1)) * 255 // (LEVELS - 1))
        levels.quantize(LEVELS).save(file, optimize=True)
        pytest.skip("renewed")
    kept = Image.open(file).convert("L")
    assert sheet.size == kept.size, "another number of pages, or another paper"
    share = differing(sheet, kept)
    assert share < 0.004, f"{100 * share:.2f} % of the picture differs from {file.name}"


def differing(one: Image.Image, other: Image.Image) -> float:
    """Share of the pixels that differ by much, after a blur that hides another version's hinting."""
    a, b = (np.asarray(i.filter(ImageFilter.GaussianBlur(1.5)), np.int16) for i in (one, other))
    return float((np.abs(a - b) > 24).mean())


def test_reporting_pages_of_two_reports_differ(made, program, tmp_path):
    """The tolerance is not so wide that anything passes: one number more or less is seen."""
    kept = Image.open(KEPT / "blasts_35.png").convert("L")
    other = Image.open(KEPT / "amended.png").convert("L")
    assert differing(other.crop((0, 0, 298, 421)), kept.crop((0, 0, 298, 421))) > 0.004
