"""The PDF as a file, and the overview picture."""

import io

import pikepdf
import pytest
from PIL import Image

from reporting.colours import BLAST
from reporting.overview import boxes_on, overview_png
from reporting.pdf import pdf_bytes
from reporting.readback import Ambiguous, numbers_in_pdf_text
from reporting.report import Overview
from tests import reporting_cases as cases

CASES = cases.all_cases()


@pytest.mark.parametrize("name", CASES)
def test_reporting_pdf_is_the_same_twice(name):
    assert pdf_bytes(CASES[name]) == pdf_bytes(CASES[name])


def test_reporting_pdf_holds_no_script_link_attachment_or_patient_metadata():
    with pikepdf.open(io.BytesIO(pdf_bytes(CASES["blasts"]))) as document:
        assert not {"/OpenAction", "/AA", "/AcroForm"} & set(document.Root.keys())
        assert not document.attachments
        names = document.Root.get("/Names", {})
        assert not {"/JavaScript", "/EmbeddedFiles"} & set(names.keys())
        assert all("/Annots" not in page for page in document.pages)
        assert str(document.Root.Lang) == "en-US"
        metadata = " ".join(str(v) for v in document.docinfo.values())
        for secret in ("ller", "PID-0042", "ACC-2026", "19790304", "SP-77"):
            assert secret not in metadata


def test_reporting_pdf_embeds_every_font():
    with pikepdf.open(io.BytesIO(pdf_bytes(CASES["hostile"]))) as document:
        fonts = [
            o
            for o in document.objects
            if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/Font"
        ]
        assert fonts
        assert all("/FontFile2" in font.FontDescriptor for font in fonts)
        assert all("/ToUnicode" in font for font in fonts)


def test_reporting_pdf_of_many_cells_and_images_is_bounded():
    images = tuple(cases.reading(n) for n in range(1, 121))
    report = cases.with_pictures(cases.analysis_of(cases.FIVE_HUNDRED, images=images))
    assert len(report.overviews) == 120
    document = pdf_bytes(report)
    with pikepdf.open(io.BytesIO(document)) as opened:
        assert len(opened.pages) <= 10
    assert len(document) < 3_000_000


def test_reporting_number_said_twice_is_ambiguous():
    line = "Neutrophil 62 30.4 24.2 to 37.2"
    assert numbers_in_pdf_text(f"{line}\n{line}")["differential.neutrophil.count"] == "62"
    with pytest.raises(Ambiguous, match="neutrophil"):
        numbers_in_pdf_text(f"{line} Neutrophil 61 30.4 24.2 to 37.2")


def test_reporting_labels_are_not_found_inside_other_labels():
    said = numbers_in_pdf_text("Early Pre-B 8 11.3 5.0 to 21.0 Promyelocyte 2 1.0 0.1 to 3.5")
    assert set(said) == {
        f"{name}.{part}"
        for name in ("subtype.early_pre_b", "differential.promyelocyte")
        for part in ("count", "percent", "low", "high")
    }


def _overview(untrained=False):
    cells = cases.cells_of(cases.BLASTS_35)
    overview = Overview(image=0, pixels=cases.picture(0, 600, 800), scale=0.5)
    encoded = overview_png(overview, cells, untrained=untrained)
    assert encoded == overview_png(overview, cells, untrained=untrained)
    return cells, overview, Image.open(io.BytesIO(encoded)).convert("RGB")


def test_reporting_overview_draws_each_box_in_its_groups_colour():
    cells, overview, image = _overview()
    assert image.width == 800
    assert image.height > 600
    boxes = boxes_on(overview, cells)
    assert len(boxes) == len(cells)
    blast = next(c for c in cells if c.is_blast)
    x, y = int(blast.box_px.x1 * 0.5), int((blast.box_px.y0 + 40) * 0.5)
    assert BLAST.rgb in {image.getpixel((x + d, y)) for d in (-2, -1, 0)}


def test_reporting_overview_says_untrained():
    *_, plain = _overview()
    *_, marked = _overview(untrained=True)
    assert marked.height > plain.height
    assert marked.getpixel((790, 602)) == (0, 0, 0)


def test_reporting_overview_of_a_part_shows_the_cells_there():
    cells = [cases.cell(1, "neutrophil"), cases.cell(2, "neutrophil", image=1)]
    part = Overview(image=0, pixels=cases.picture(0, 50, 50), scale=1.0, origin_px=(150.0, 10.0))
    ((group, box, number),) = boxes_on(part, cells)  # cell 1 lies at x 110 to 190, y 20 to 100
    assert (group.name, number) == ("Granulocyte or precursor", 1)
    assert box == (0.0, 10.0, 40.0, 49.0)
