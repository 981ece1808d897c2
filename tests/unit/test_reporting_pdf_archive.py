"""PDF/A-2u and tagging, by our own reading of the file: ISO 19005-2 and ISO 14289-1 by clause.

No validator of PDF/A is to be had for Python. What these rules do not look at is not claimed to be shown.
"""

import io
import re
from collections import Counter

import pikepdf
import pytest
from fontTools.ttLib import TTFont

from reporting.pdf import Paper, pdf_bytes
from tests import reporting_cases as cases

CASES = cases.all_cases()
NAMES = ("beside", "scripts", "untrained", "non_viable")
MADE = {name: pdf_bytes(CASES[name]) for name in NAMES}
PAINTING = {"Tj", "TJ", "'", '"', "f", "F", "f*", "S", "s", "B", "B*", "b", "b*", "Do", "sh"}
every_case = pytest.mark.parametrize("name", NAMES)


def opened(name: str) -> pikepdf.Pdf:
    return pikepdf.open(io.BytesIO(MADE[name]))


@every_case
def test_reporting_pdfa_header_and_trailer(name):
    """6.1.2, 6.1.3: the header, bytes above 127 behind it, a file identifier, no encryption."""
    first, second, *_ = MADE[name].split(b"\n")
    assert first.strip() == b"%PDF-1.7"
    assert second.startswith(b"%")
    assert all(byte > 127 for byte in second[1:5])
    with opened(name) as document:
        one, two = document.trailer.ID
        assert bytes(one) == bytes(two)
        assert len(bytes(one)) == 16
        assert not document.is_encrypted


@every_case
def test_reporting_pdfa_streams_end_with_a_line(name):
    """6.1.7.1: an end of line before `endstream`, and Length tells what stands between."""
    ends = [m.start() for m in re.finditer(rb"endstream\s+endobj", MADE[name])]
    assert len(ends) > 5
    assert all(MADE[name][at - 1 : at] == b"\n" for at in ends)
    with opened(name) as document:
        assert not document.check_pdf_syntax()


@every_case
def test_reporting_pdfa_metadata_say_the_same_twice(name):
    """6.6.2, 6.6.4: XMP, readable without decoding, equal to the document information."""
    with opened(name) as document:
        stream = document.Root.Metadata
        assert "/Filter" not in stream
        assert (stream.Type, stream.Subtype) == ("/Metadata", "/XML")
        meta, info = document.open_metadata(), document.docinfo
        assert (meta["pdfaid:part"], meta["pdfaid:conformance"]) == ("2", "U")
        assert meta["pdfuaid:part"] == "1"
        assert meta["dc:title"] == str(info["/Title"]) == CASES[name].title
        assert meta["dc:creator"] == [str(info["/Author"])]
        assert meta["dc:description"] == str(info["/Subject"])
        assert meta["pdf:Keywords"] == str(info["/Keywords"])
        assert meta["pdf:Producer"] == str(info["/Producer"])
        assert meta["xmp:CreatorTool"] == str(info["/Creator"])
        assert meta["xmp:CreateDate"] == "2026-11-24T09:30:15+00:00"
        assert str(info["/CreationDate"]) == "D:20261124093015+00'00'"


@every_case
def test_reporting_pdfa_output_intent_is_srgb(name):
    """6.2.3: one output intent; 6.2.4.3: device RGB only with it."""
    with opened(name) as document:
        (intent,) = document.Root.OutputIntents
        assert intent.S == "/GTS_PDFA1"
        profile = intent.DestOutputProfile.read_bytes()
        assert intent.DestOutputProfile.N == 3
        assert int.from_bytes(profile[:4], "big") == len(profile)
        assert (profile[12:16], profile[16:20], profile[36:40]) == (b"mntr", b"RGB ", b"acsp")
        assert profile[8] < 5


@every_case
def test_reporting_pdfa_has_nothing_that_acts_or_hides(name):
    """6.5.1, 6.8, 6.9, 6.2.5, 6.2.9, 6.2.10: no action, file, layer, form, halftone, odd blend mode."""
    with opened(name) as document:
        root = document.Root
        for key in ("/OpenAction", "/AA", "/AcroForm", "/OCProperties", "/Requirements", "/Perms"):
            assert key not in root
        assert not document.attachments
        for page in document.pages:
            assert "/Annots" not in page
            assert "/AA" not in page
            for state in page.Resources.get("/ExtGState", {}).values():
                assert str(state.get("/BM", "/Normal")) == "/Normal"
                assert not {"/TR", "/TR2", "/HTP"} & set(state.keys())
            for image in page.Resources.get("/XObject", {}).values():
                assert image.Subtype == "/Image"
                assert not image.get("/Interpolate", False)
                assert not {"/Alternates", "/OPI"} & set(image.keys())
                assert str(image.ColorSpace) in {"/DeviceRGB", "/DeviceGray"}


@every_case
def test_reporting_pdfa_fonts_are_embedded_and_speak_unicode(name):
    """6.2.11: every glyph that is shown is in the embedded program, with the same width, is not
    .notdef, and has a Unicode value that is none of U+0000, U+FEFF, U+FFFE."""
    with opened(name) as document:
        shown = codes_shown(document)
        assert shown
        for font, codes in shown.items():
            program = TTFont(
                io.BytesIO(font_of(document, font).FontDescriptor.FontFile2.read_bytes())
            )
            check_font(font_of(document, font), program, codes)


def font_of(document, identity):
    return document.get_object(identity)


def codes_shown(document) -> dict[tuple[int, int], set[int]]:
    shown: dict[tuple[int, int], set[int]] = {}
    for page in document.pages:
        font = None
        for operands, operator in pikepdf.parse_content_stream(page):
            if str(operator) == "Tf":
                font = page.Resources.Font[str(operands[0])].objgen
            elif str(operator) in {"Tj", "TJ", "'"}:
                parts = operands[0] if str(operator) == "TJ" else [operands[-1]]
                for part in parts:
                    if isinstance(part, pikepdf.String):
                        shown.setdefault(font, set()).update(bytes(part))
    return shown


def check_font(font, program: TTFont, codes: set[int]) -> None:
    assert re.fullmatch(r"/[A-Z]{6}\+.+", str(font.BaseFont))
    assert font.FontDescriptor.Flags & 4  # symbolic
    assert not font.FontDescriptor.Flags & 32
    assert "/Encoding" not in font
    tables = program["cmap"].tables
    assert len(tables) == 1 or any((t.platformID, t.platEncID) == (3, 0) for t in tables)
    cmap, hmtx = tables[0].cmap, program["hmtx"]
    per_em = program["head"].unitsPerEm
    letters = to_unicode(font)
    for code in codes:
        glyph = cmap.get(code) or cmap.get(0xF000 + code)
        assert glyph is not None
        assert program.getGlyphID(glyph) != 0
        told = float(font.Widths[code - int(font.FirstChar)])
        assert abs(told - 1000 * hmtx[glyph][0] / per_em) <= 1
        assert letters[code]
    assert not {"\x00", "\ufeff", "\ufffe"} & set("".join(letters.values()))


def to_unicode(font) -> dict[int, str]:
    text = font.ToUnicode.read_bytes().decode()
    blocks = re.findall(r"(\d+) beginbfchar\n(.*?)\nendbfchar", text, re.DOTALL)
    assert all(int(count) == len(b.splitlines()) <= 100 for count, b in blocks)
    pairs = (line.split() for _, block in blocks for line in block.splitlines())
    return {int(c[1:-1], 16): bytes.fromhex(u[1:-1]).decode("utf-16-be") for c, u in pairs}


@every_case
def test_reporting_pdf_marks_all_that_is_drawn(name):
    """ISO 14289-1, 7.1: what is drawn is content in the structure tree, or an artifact."""
    with opened(name) as document:
        assert document.Root.MarkInfo.Marked
        assert document.Root.ViewerPreferences.DisplayDocTitle
        assert str(document.Root.Lang) == "en-US"
        parents = numbered(document.Root.StructTreeRoot.ParentTree)
        for page in document.pages:
            elements = parents[int(page.StructParents)]
            assert page.Tabs == "/S"
            seen = check_marks(page)
            assert seen == list(range(len(elements)))
            for number, element in enumerate(elements):
                assert (page.objgen, number) in content_of(element)


def numbered(tree) -> dict[int, list]:
    numbers = list(tree.Nums)
    return {int(n): list(e) for n, e in zip(numbers[::2], numbers[1::2], strict=True)}


def content_of(element) -> list[tuple[tuple[int, int], int]]:
    """(page, MCID) of an element's own content."""
    found = []
    for kid in element.K:
        if isinstance(kid, int):
            found.append((element.Pg.objgen, kid))
        elif kid.get("/Type") == "/MCR":
            found.append((kid.Pg.objgen, int(kid.MCID)))
    return found


def check_marks(page) -> list[int]:
    """The MCIDs in the order of drawing; nothing painted outside a mark, no mark inside another."""
    inside, seen = False, []
    for operands, operator in pikepdf.parse_content_stream(page):
        if str(operator) == "BDC":
            assert not inside
            inside = True
            if operands[0] != "/Artifact":
                seen.append(int(operands[1]["/MCID"]))
        elif str(operator) == "EMC":
            assert inside
            inside = False
        elif str(operator) in PAINTING:
            assert inside, f"{operator} outside"
    assert not inside
    return seen


@every_case
def test_reporting_pdf_structure_is_well_formed(name):
    """ISO 14289-1, 7.2 to 7.5: headings in order, pictures described, tables regular with heads."""
    with opened(name) as document:
        (root,) = document.Root.StructTreeRoot.K
        assert root.S == "/Document"
        kinds = [str(kid.S) for kid in root.K]
        assert kinds[0] == "/H1"
        assert Counter(kinds)["/H1"] == 1
        assert set(kinds) <= {"/H1", "/H2", "/P", "/Figure", "/Table"}
        for kid in root.K:
            assert kid.P.objgen == root.objgen
            if kid.S == "/Figure":
                assert len(str(kid.Alt)) > 20
            if kid.S == "/Table":
                check_table(kid)


def check_table(element) -> None:
    rows = [[str(cell.S) for cell in row.K] for row in element.K]
    assert {str(row.S) for row in element.K} == {"/TR"}
    assert set(rows[0]) == {"/TH"}
    assert all(set(row) == {"/TD"} for row in rows[1:])
    assert len({len(row) for row in rows}) == 1
    assert all(cell.A.Scope == "/Column" for cell in element.K[0].K)


def test_reporting_pdf_of_each_paper_has_its_size():
    sizes = {}
    for paper in Paper:
        made = pdf_bytes(CASES["few"], paper=paper)
        assert made == pdf_bytes(CASES["few"], paper=paper)
        with pikepdf.open(io.BytesIO(made)) as document:
            sizes[paper] = {tuple(round(float(v)) for v in p.MediaBox) for p in document.pages}
    assert sizes == {Paper.A4: {(0, 0, 595, 842)}, Paper.LETTER: {(0, 0, 612, 792)}}


@every_case
def test_reporting_pdf_has_no_finding_of_pdfua(name, tmp_path):
    """The rules that `pdfua` implements; one of them (empty headings) cannot run on pikepdf 10."""
    from pdfua import validate

    file = tmp_path / "report.pdf"
    file.write_bytes(MADE[name])
    judged = validate(str(file))
    assert judged.findings == ()
    assert {o.rule_id for o in judged.skipped} <= {"UA-14-001"}
