"""Styles of the PDF: few sizes, one grid, one accent; and text made safe for reportlab's markup."""

from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Paragraph, Spacer, Table

from reporting.fonts import BOLD, REGULAR, drawable
from reporting.pdf_frame import GREY, INK, RULE
from reporting.words import short

__all__ = [
    "BIG",
    "BODY",
    "LABEL",
    "LEAD",
    "NOTE",
    "heading",
    "labelled",
    "layout",
    "rows_style",
    "table",
    "text",
]

BODY = ParagraphStyle("body", fontName=REGULAR, fontSize=9, leading=12, textColor=INK)
LEAD = ParagraphStyle("lead", parent=BODY, fontName=BOLD, fontSize=12, leading=15.5)
BIG = ParagraphStyle("big", parent=BODY, fontName=BOLD, fontSize=19, leading=22)
NOTE = ParagraphStyle("note", parent=BODY, fontSize=7.5, leading=9.6, textColor=GREY)
LABEL = ParagraphStyle("label", parent=BODY, fontSize=7, leading=8.6, textColor=GREY)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=10)
TINY = ParagraphStyle("tiny", parent=BODY, fontSize=6, leading=7.4)
_HEADING = ParagraphStyle("heading", parent=BODY, fontName=BOLD, fontSize=10.5, leading=13)


def text(value: str, style: ParagraphStyle = BODY, *, limit: int = 2000) -> Paragraph:
    """Text of any origin as a paragraph: markup is shown, not obeyed."""
    return Paragraph(escape(short(drawable(value), limit)), style)


def heading(words: str, *, needs: float = 30 * mm) -> list[Any]:
    """A section's heading, on a page that still has `needs` points for what follows."""
    rule = layout([[""]], ["100%"], padding=(0, 0), heights=[1])
    rule.setStyle([("LINEABOVE", (0, 0), (-1, 0), 0.6, INK)])
    return [CondPageBreak(needs), Spacer(0, 7), rule, text(words, _HEADING), Spacer(0, 2)]


def labelled(pairs: list[tuple[str, str]], *, columns: int, width: float) -> Table:
    """Label above value, `columns` to a row; an empty value is said to be not stated."""
    cells = [[text(label, LABEL), text(value or "not stated", SMALL)] for label, value in pairs]
    cells += [[]] * (-len(cells) % columns)
    return layout(
        [cells[i : i + columns] for i in range(0, len(cells), columns)],
        [width / columns] * columns,
        padding=(6, 1.5),
    )


def layout(
    rows: list[list[Any]],
    widths: list[Any],
    *,
    padding: tuple[float, float],
    heights: list[float] | None = None,
) -> Table:
    """A grid without rules; `padding` right of, and above and below, each cell."""
    made = Table(rows, colWidths=widths, rowHeights=heights, hAlign="LEFT")
    made.setStyle(
        [
            ("FONT", (0, 0), (-1, -1), REGULAR, 9),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), padding[0]),
            ("TOPPADDING", (0, 0), (-1, -1), padding[1]),
            ("BOTTOMPADDING", (0, 0), (-1, -1), padding[1]),
        ]
    )
    return made


def rows_style(*, numbers: tuple[int, ...] = (), head: bool = True) -> list[tuple[Any, ...]]:
    """A ruled table; `numbers` are the columns set flush right."""
    style: list[tuple[Any, ...]] = [
        ("FONT", (0, 0), (-1, -1), REGULAR, 9, 11),
        ("TEXTCOLOR", (0, 0), (-1, -1), INK),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.35, RULE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 5),
        ("TOPPADDING", (0, 0), (-1, -1), 1.7),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.1),
        *(("ALIGN", (c, 0), (c, -1), "RIGHT") for c in numbers),
    ]
    if head:
        style += [
            ("FONT", (0, 0), (-1, 0), REGULAR, 7.5, 9),
            ("TEXTCOLOR", (0, 0), (-1, 0), GREY),
            ("LINEBELOW", (0, 0), (-1, 0), 0.6, INK),
        ]
    return style


def table(rows: list[list[Any]], widths: list[float], style: list[tuple[Any, ...]]) -> Table:
    """Left aligned, its first row repeated after a page break."""
    made = Table(rows, colWidths=widths, repeatRows=1, hAlign="LEFT")
    made.setStyle(style)
    return made
