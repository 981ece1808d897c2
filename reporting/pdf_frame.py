"""What every page of the PDF carries: whose report it is, who has verified it or that nobody has,
page x of y.

With untrained models each page also has a black band that says so as text, and the words across
its whole width.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from reporting.fonts import BOLD, REGULAR, drawable, face
from reporting.headers import moment
from reporting.persons import signed_words
from reporting.report import RESEARCH_USE, SUGGESTED, UNTRAINED, Report
from reporting.words import date_words, legible, person_words, short

__all__ = [
    "GREY",
    "INK",
    "MARGIN",
    "RULE",
    "bottom",
    "fitted",
    "numbered_canvas",
    "page_head",
    "top",
]

INK = HexColor("#16202B")
GREY = HexColor("#5B6670")
RULE = HexColor("#C6CCD2")
MARGIN = 16 * mm
WIDTH, HEIGHT = A4


def top(report: Report) -> float:
    """Points from the page's upper edge to where the text begins."""
    return float((38.5 if report.untrained else 28) * mm)


def bottom() -> float:
    return float(18 * mm)


def numbered_canvas(report: Report) -> type[Canvas]:
    """A canvas that draws foot and watermark once the number of pages is known."""

    class FramedCanvas(Canvas):  # type: ignore[misc]  # reportlab has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802  # reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, 1):
                self.__dict__.update(page)
                _over(self, report, number, len(self._pages))
                super().showPage()
            super().save()

    return FramedCanvas


def page_head(report: Report) -> Callable[[Canvas, object], None]:
    """What is drawn before a page's text, so that it is also read first."""

    def draw(canvas: Canvas, _document: object) -> None:
        canvas.saveState()
        _head(canvas, report)
        if report.untrained:
            _band(canvas)
        canvas.restoreState()

    return draw


def _over(canvas: Canvas, report: Report, number: int, pages: int) -> None:
    canvas.saveState()
    _foot(canvas, report, number, pages)
    if report.untrained:
        _watermark(canvas)
    canvas.restoreState()


def _head(canvas: Canvas, report: Report) -> None:
    left, right = MARGIN, WIDTH - MARGIN
    y = HEIGHT - 15 * mm
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, 13)
    canvas.drawString(left, y, "Blood smear report")
    kind = "verified" if report.signature else "amended"
    amended = f", {kind} (revision {report.revision})" if report.predecessor else ""
    canvas.setFont(REGULAR, 9)
    canvas.setFillColor(GREY)
    canvas.drawString(
        left + stringWidth("Blood smear report", BOLD, 13) + 6,
        y,
        f"{report.producer.model} {report.producer.version}{amended}",
    )
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, 12)
    box = stringWidth(report.verification, BOLD, 12) + 12
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(1.4)
    canvas.rect(right - box, y - 5, box, 18)
    canvas.drawCentredString(right - box / 2, y, report.verification)
    canvas.setFont(BOLD, 9)
    status = drawable(f"{signed_words(report) or SUGGESTED}.")
    canvas.drawString(left, y - 14, fitted(status, right - left - box - 8, 9, BOLD))
    canvas.setFont(REGULAR, 9)
    patient, context = report.context.patient, report.context
    parts = (
        short(person_words(patient.name), 44) or "Name not stated",
        f"born {date_words(patient.birth_date)}" if patient.birth_date else "",
        f"ID {short(legible(patient.patient_id), 34)}" if patient.patient_id else "no patient ID",
        f"Accession {short(legible(context.accession_number), 20)}"
        if context.accession_number
        else "",
    )
    canvas.drawString(
        left, y - 26, fitted("   ".join(filter(None, map(drawable, parts))), right - left, 9)
    )
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(0.8)
    canvas.line(left, y - 32, right, y - 32)


def _foot(canvas: Canvas, report: Report, number: int, pages: int) -> None:
    left, right = MARGIN, WIDTH - MARGIN
    y = 10.5 * mm
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.5)
    canvas.line(left, y + 11, right, y + 11)
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, 8)
    canvas.drawString(left, y, RESEARCH_USE)
    canvas.drawRightString(right, y, f"Page {number} of {pages}")
    canvas.setFillColor(GREY)
    canvas.setFont(REGULAR, 7)
    canvas.drawString(
        left,
        y - 10,
        f"Case {report.case_id}   analysis {report.analysis_ordinal}   revision "
        f"{report.revision}   issued {moment(report.issued_at)}",
    )


def _band(canvas: Canvas) -> None:
    band = 7 * mm
    y = HEIGHT - 36.5 * mm
    canvas.setFillColor(black)
    canvas.rect(MARGIN, y, WIDTH - 2 * MARGIN, band, stroke=0, fill=1)
    canvas.setFillColor(white)
    canvas.setFont(BOLD, 12)
    canvas.drawCentredString(
        WIDTH / 2, y + 2.2 * mm, f"{UNTRAINED}: every number on this page is meaningless"
    )


def _watermark(canvas: Canvas) -> None:
    canvas.translate(WIDTH / 2, HEIGHT / 2 - 8 * mm)
    canvas.rotate(52)
    words = _words_across()
    wide_px, tall_px = words.getSize()
    long = 265 * mm
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


def fitted(text: str, width: float, size: float, font: str = REGULAR) -> str:
    """Text cut with an ellipsis to what a line can hold."""
    if stringWidth(text, font, size) <= width:
        return text
    while text and stringWidth(text + "…", font, size) > width:
        text = text[:-1]
    return text + "…"
