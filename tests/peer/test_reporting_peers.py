"""Other people's programs read our reports: dciodvfy, dcmtk, poppler, qpdf."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.encapsulated import encapsulated_pdf
from reporting.figures import figures_of
from reporting.pdf import pdf_bytes
from reporting.readback import numbers_in_pdf_text
from reporting.report import RESEARCH_USE, SUGGESTED
from reporting.sr import sr_document
from tests import reporting_cases as cases

pytestmark = pytest.mark.peer
CASES = cases.all_cases()
DCIODVFY = Path(sys.executable).parent / "dciodvfy"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, check=False, text=True, errors="replace")
    return done.stdout + done.stderr


def text_of(program, folder: Path, pdf: bytes, *more: str) -> str:
    file = folder / "report.pdf"
    file.write_bytes(pdf)
    return run(program("pdftotext"), *more, str(file), "-")


@pytest.mark.parametrize("name", [n for n in CASES if n != "hostile"])
@pytest.mark.parametrize("kind", ["sr", "pdf"])
def test_reporting_dciodvfy_finds_no_error(name, kind, tmp_path):
    """The hostile case is left out: its invalid dates are the source's own, repeated verbatim."""
    report = CASES[name]
    made = sr_document(report) if kind == "sr" else encapsulated_pdf(report, pdf_bytes(report))
    file = tmp_path / "object.dcm"
    file.write_bytes(made)
    said = run(str(DCIODVFY), str(file))
    assert ("Comprehensive3DSR" if kind == "sr" else "EncapsulatedPDF") in said
    assert [line for line in said.splitlines() if "Error" in line] == []


@pytest.mark.parametrize("name", [n for n in CASES if n != "hostile"])
def test_reporting_dsrdump_reads_the_numbers(name, program, tmp_path):
    file = tmp_path / "sr.dcm"
    file.write_bytes(sr_document(CASES[name]))
    said = run(program("dsrdump"), "+Pc", str(file))
    assert not re.search(r"^[EF]: ", said, re.MULTILINE), said
    figures = figures_of(CASES[name])
    blasts = figures.get("blasts.percent")
    if blasts is not None:
        assert re.search(rf'26446-5[^\n]*"{blasts}"', said), said
    if "leukocytes" in figures:
        assert re.search(rf'11282-1[^\n]*"{figures["leukocytes"]}"', said)


@pytest.mark.parametrize("mode", ["-layout", "-raw"])
@pytest.mark.parametrize("name", CASES)
def test_reporting_pdf_text_says_the_numbers(name, mode, program, tmp_path):
    text = text_of(program, tmp_path, pdf_bytes(CASES[name]), mode)
    assert numbers_in_pdf_text(text) == figures_of(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_reporting_every_page_says_what_it_is(name, program, tmp_path):
    pages = text_of(program, tmp_path, pdf_bytes(CASES[name]), "-raw").split("\f")[:-1]
    assert pages
    for page in pages:
        signed = name == "signed"
        assert ("UNVERIFIED" in page, "VERIFIED" in page) == (not signed, True)
        assert (SUGGESTED in page) is not signed
        assert ("Verified by Müller, Anna, Prof. Dr., University Hospital" in page) is signed
        assert RESEARCH_USE in page
        assert f"of {len(pages)}" in page
        assert ("UNTRAINED MODELS: every number" in page) is (name == "untrained")


@pytest.mark.parametrize("name", CASES)
def test_reporting_pdf_says_the_finding_and_never_a_diagnosis(name, program, tmp_path):
    text = " ".join(text_of(program, tmp_path, pdf_bytes(CASES[name]), "-raw").split())
    for sentence in CASES[name].finding.sentences:
        assert sentence in text
    assert not re.search(r"diagnos|excluded", text, re.IGNORECASE)


def test_reporting_pdf_reads_in_the_order_of_the_page(program, tmp_path):
    text = text_of(program, tmp_path, pdf_bytes(CASES["blasts"]), "-raw")
    order = [
        "Blood smear report",
        "Müller, Anna, Dr.",
        "May-Grünwald-Giemsa",
        "Finding",
        "Blasts: lymphoid",
        "Differential",
        "confirm by flow cytometry",
        "what was not counted",
        "Image quality",
        "Gallery",
        "Overview of image 1",
        "Method and provenance",
        "12 cells were cut by the border",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_reporting_pdf_carries_provenance(program, tmp_path):
    report = CASES["blasts"]
    text = text_of(program, tmp_path, pdf_bytes(report), "-raw")
    joined = "".join(text.split())
    for model in report.analysis.bundle.models:
        assert model.sha256 in joined
        assert "".join(model.architecture.split()) in joined
    for said in (
        report.analysis.bundle.manifest_sha256,
        report.completed_by,
        report.analysis.engine,
        report.analysis.processor,
        report.context.evidence[0].sha256,
        report.context.specimen.identifier,
        report.context.accession_number,
    ):
        assert "".join(said.split()) in joined
    amended = text_of(program, tmp_path, pdf_bytes(CASES["amended"]), "-raw")
    assert "It replaces revision 1" in amended
    assert CASES["amended"].predecessor.pdf.instance_uid in "".join(amended.split())


def test_reporting_hostile_text_is_shown_and_not_obeyed(program, tmp_path):
    text = text_of(program, tmp_path, pdf_bytes(CASES["hostile"]), "-raw")
    joined = "".join(text.split())
    assert "<b>O'Neil</b>&amp;" in joined
    assert "[U+0000]" in joined
    assert "DROPTABLEcases" in joined
    assert "</para>" in joined
    assert "\u202e" not in text


@pytest.mark.parametrize("name", CASES)
def test_reporting_qpdf_finds_nothing(name, program, tmp_path):
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf_bytes(CASES[name]))
    done = subprocess.run(
        [program("qpdf"), "--check", str(file)], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_reporting_words_across_the_page_are_seen(program, tmp_path):
    """The diagonal colours pixels in the middle of each quarter of the page that is else white."""
    from PIL import Image

    for name, lowest, highest in (("untrained", 0.02, 1), ("amended", 0, 0.004)):
        file = tmp_path / f"{name}.pdf"
        file.write_bytes(pdf_bytes(CASES[name]))
        run(program("pdftoppm"), "-r", "40", "-png", "-singlefile", str(file), str(tmp_path / name))
        image = Image.open(tmp_path / f"{name}.png").convert("RGB")
        pixels = list(image.get_flattened_data())
        reddish = sum(r > 200 and r - g > 25 and r - b > 25 for r, g, b in pixels)
        assert lowest <= reddish / len(pixels) <= highest


def test_reporting_any_numbers_are_read_back_from_the_pdf(program, tmp_path):
    counts = st.integers(0, 250)

    @settings(max_examples=20, deadline=None)
    @given(counts, counts, counts, counts, counts)
    def check(blasts, benign, neutrophils, unclassified, red):
        plan = [
            {"n": red, "kind": "red_blood_cell"},
            {"n": blasts, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pro_b"},
            {"n": benign, "kind": "lymphocytes", "malignancy": "benign"},
            {"n": neutrophils, "kind": "neutrophil"},
            {"n": unclassified, "kind": "unclassified"},
        ]
        report = cases.report(cases.analysis_of(plan, confusion=((90, 10), (5, 95))))
        text = text_of(program, tmp_path, pdf_bytes(report), "-layout")
        assert numbers_in_pdf_text(text) == figures_of(report)

    check()
