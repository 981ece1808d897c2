"""What every page of the PDF carries: whose report it is, who has verified it or that nobody has,
page x of y.

With untrained models each page also has a black band that says so as text, and the words across
its whole width. On the first page the title, the status and the band are content; all else here is
repeated on every page and an artifact to a screen reader.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.colors import black, white
from reportlab.lib.pagesizes import A4, letter
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from reporting.fonts import face, text_width
from reporting.headers import moment
from reporting.pdf_archive import archival
from reporting.pdf_paragraph import draw_line, fitted
from reporting.pdf_tags import Structure, artifact, structure_of
from reporting.pdf_typography import GREY, INK, RULE
from reporting.persons import signed_words
from reporting.report import RESEARCH_USE, SUGGESTED, UNTRAINED, Report
from reporting.words import date_words, legible, person_words, short

__all__ = ["Paper", "Sheet", "numbered_canvas", "page_head", "sheet_of"]

TITLE = "Blood smear report"


class Paper(StrEnum):
    """The papers a laboratory prints on."""

    A4 = "a4"
    LETTER = "letter"


@dataclass(frozen=True)
class Sheet:
    """The paper, in points, and where text may stand on it."""

    width: float
    height: float
    margin: float
    top: float  # from the upper edge to where the text begins
    bottom: float

    @property
    def column(self) -> float:
        return self.width - 2 * self.margin


def sheet_of(report: Report, paper: Paper) -> Sheet:
    width, height = {Paper.A4: A4, Paper.LETTER: letter}[paper]
    return Sheet(
        width=width,
        height=height,
        margin=16 * mm,
        top=(36.5 if report.untrained else 26.5) * mm,
        bottom=15.5 * mm,
    )


def numbered_canvas(report: Report, sheet: Sheet) -> type[Canvas]:
    """A canvas that draws foot and watermark once the number of pages is known, and writes a file
    for the archive."""

    class FramedCanvas(Canvas):  # type: ignore[misc]  # reportlab has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **(kwargs | {"pdfVersion": (1, 7)}))
            self.structure = Structure()
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802  # reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, 1):
                self.__dict__.update(page)
                _over(self, report, sheet, number, len(self._pages))
                super().showPage()
            archival(self._doc, report, self.structure)
            super().save()

    return FramedCanvas


def page_head(report: Report, sheet: Sheet) -> Callable[[Canvas, object], None]:
    """What is drawn before a page's text, so that it is also read first."""

    def draw(canvas: Canvas, _document: object) -> None:
        canvas.saveState()
        _head(canvas, report, sheet)
        if report.untrained:
            _band(canvas, sheet)
        canvas.restoreState()

    return draw


def _over(canvas: Canvas, report: Report, sheet: Sheet, number: int, pages: int) -> None:
    canvas.saveState()
    with artifact(canvas, kind="Pagination"):
        _foot(canvas, report, sheet, number, pages)
        if report.untrained:
            _watermark(canvas, sheet)
    canvas.restoreState()


def _first(canvas: Canvas, role: str, key: str) -> AbstractContextManager[None]:
    """Content on the first page, an artifact on the others."""
    if canvas.getPageNumber() == 1:
        return structure_of(canvas).mark(canvas, ((role, key),))
    return artifact(canvas, kind="Pagination")


def _head(canvas: Canvas, report: Report, sheet: Sheet) -> None:
    left, right = sheet.margin, sheet.width - sheet.margin
    y = sheet.height - 14 * mm
    kind = "verified" if report.signature else "amended"
    amended = f", {kind} (revision {report.revision})" if report.predecessor else ""
    with _first(canvas, "H1", "title"):
        canvas.setFillColor(INK)
        draw_line(canvas, left, y, TITLE, 13, bold=True)
        canvas.setFillColor(GREY)
        made_by = f"{report.producer.model} {report.producer.version}{amended}"
        draw_line(canvas, left + text_width(TITLE, 13, bold=True) + 6, y, made_by, 9)
    status = report.verification
    box = text_width(status, 12, bold=True) + 12
    with _first(canvas, "P", "status"):
        canvas.setFillColor(INK)
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(1.4)
        canvas.rect(right - box, y - 5, box, 18)
        draw_line(canvas, right - box / 2, y, status, 12, bold=True, align="centre")
        said = fitted(f"{signed_words(report) or SUGGESTED}.", right - left - box - 8, 9, bold=True)
        draw_line(canvas, left, y - 13.5, said, 9, bold=True)
    with artifact(canvas, kind="Pagination"):
        _patient_line(canvas, report, left, y - 25.5, right - left)
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(0.8)
        canvas.line(left, y - 31, right, y - 31)


def _patient_line(canvas: Canvas, report: Report, x: float, y: float, width: float) -> None:
    """Each value is fitted and ordered for itself: a name can't move what stands beside it."""
    patient, context = report.context.patient, report.context
    accession = legible(context.accession_number)
    parts = (
        (short(person_words(patient.name), 60) or "Name not stated", 0.46),
        (f"born {date_words(patient.birth_date)}" if patient.birth_date else "", 0.18),
        (f"ID {legible(patient.patient_id)}" if patient.patient_id else "no patient ID", 0.3),
        (f"Accession {accession}" if accession else "", 0.25),
    )
    canvas.setFillColor(INK)
    end = x + width
    for words, share in parts:
        if words and x < end:
            shown = fitted(words, min(share * width, end - x), 9)
            draw_line(canvas, x, y, shown, 9)
            x += text_width(shown, 9) + 9


def _foot(canvas: Canvas, report: Report, sheet: Sheet, number: int, pages: int) -> None:
    left, right = sheet.margin, sheet.width - sheet.margin
    y = 9.5 * mm
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.5)
    canvas.line(left, y + 10, right, y + 10)
    canvas.setFillColor(INK)
    draw_line(canvas, left, y, RESEARCH_USE, 8, bold=True)
    draw_line(canvas, right, y, f"Page {number} of {pages}", 8, bold=True, align="right")
    canvas.setFillColor(GREY)
    draw_line(
        canvas,
        left,
        y - 9.5,
        f"Case {report.case_id} · analysis {report.analysis_ordinal} · revision "
        f"{report.revision} · issued {moment(report.issued_at)}",
        7,
    )


def _band(canvas: Canvas, sheet: Sheet) -> None:
    band = 7 * mm
    y = sheet.height - 34.5 * mm
    with _first(canvas, "P", "untrained"):
        canvas.setFillColor(black)
        canvas.rect(sheet.margin, y, sheet.column, band, stroke=0, fill=1)
        canvas.setFillColor(white)
        words = f"{UNTRAINED}: every number on this page is meaningless"
        draw_line(canvas, sheet.width / 2, y + 2.2 * mm, words, 12, bold=True, align="centre")


def _watermark(canvas: Canvas, sheet: Sheet) -> None:
    canvas.translate(sheet.width / 2, sheet.height / 2 - 8 * mm)
    canvas.rotate(52)
    words = _words_across()
    wide_px, tall_px = words.getSize()
    long = 0.88 * sheet.height
    tall = long * tall_px / wide_px
    canvas.drawImage(words, -long / 2, -tall / 2, long, tall, mask="auto")


@cache
def _words_across() -> Any:
    """The words as a picture with see-through ground: as text, single letters of the diagonal
    would be read between a row's label and its numbers. The band says the same as text."""
    font = ImageFont.truetype(str(face().bold), 200)
    left, top_, right, lower = font.getbbox(UNTRAINED)
    mask = Image.new("L", (round(right - left), round(lower - top_)))
    ImageDraw.Draw(mask).text((-left, -top_), UNTRAINED, fill=51, font=font)
    picture = Image.new("RGBA", mask.size, (176, 0, 0, 0))
    picture.putalpha(mask)
    return ImageReader(picture)
