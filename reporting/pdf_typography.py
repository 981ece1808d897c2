"""Styles of the PDF: few sizes, one grid, one accent; headings, labelled values and tables."""

from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, Spacer, Table

from reporting.fonts import BOLD, REGULAR
from reporting.pdf_paragraph import Text
from reporting.pdf_paragraph import text as any_text
from reporting.pdf_tags import Path, artifact, structure_of

__all__ = [
    "ACCENT",
    "BIG",
    "BODY",
    "GREY",
    "INK",
    "LABEL",
    "LEAD",
    "NOTE",
    "RULE",
    "SMALL",
    "TINY",
    "heading",
    "labelled",
    "layout",
    "table",
    "text",
]

INK = HexColor("#16202B")
GREY = HexColor("#56616B")  # 6 : 1 on white
RULE = HexColor("#C6CCD2")
ACCENT = HexColor("#3E5F80")

BODY = ParagraphStyle("body", fontName=REGULAR, fontSize=9, leading=11.6, textColor=INK)
LEAD = ParagraphStyle("lead", parent=BODY, fontName=BOLD, fontSize=11.5, leading=14.5)
BIG = ParagraphStyle("big", parent=BODY, fontName=BOLD, fontSize=19, leading=22)
NOTE = ParagraphStyle("note", parent=BODY, fontSize=7.5, leading=9.2, textColor=GREY)
LABEL = ParagraphStyle("label", parent=BODY, fontSize=7, leading=8.4, textColor=GREY)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=9.8)
TINY = ParagraphStyle("tiny", parent=BODY, fontSize=6, leading=7.4)
_HEADING = ParagraphStyle("heading", parent=BODY, fontName=BOLD, fontSize=10.5, leading=12.5)
_CELL = ParagraphStyle("cell", parent=BODY, fontSize=8.5, leading=10.2)
_STRONG = ParagraphStyle("strong", parent=_CELL, fontName=BOLD)
_PALE = ParagraphStyle("pale", parent=_CELL, textColor=GREY)
_HEAD = ParagraphStyle("head", parent=BODY, fontSize=7, leading=8.4, textColor=GREY)


def text(
    value: str, style: ParagraphStyle = BODY, *, limit: int = 2000, path: Path | None = None
) -> Text:
    """Text of any origin as a paragraph, in the body's style unless told otherwise."""
    return any_text(value, style, limit=limit, path=path)


def heading(words: str, *, needs: float = 26 * mm) -> list[Any]:
    """A section's heading, on a page that still has `needs` points for what follows."""
    return [
        CondPageBreak(needs),
        Spacer(0, 4.5),
        _Rule(),
        Spacer(0, 1.5),
        any_text(words, _HEADING, path=(("H2", object()),)),
        Spacer(0, 1.5),
    ]


class _Rule(Flowable):  # type: ignore[misc]  # reportlab has no types
    """A line as wide as the column."""

    def wrap(self, width: float, height: float) -> tuple[float, float]:  # noqa: ARG002
        self.width = width
        return width, 1

    def draw(self) -> None:
        with artifact(self.canv):
            self.canv.setStrokeColor(INK)
            self.canv.setLineWidth(0.6)
            self.canv.line(0, 1, self.width, 1)


def labelled(pairs: list[tuple[str, str]], *, columns: int, width: float) -> Table:
    """Label above value, `columns` to a row; an empty value is said to be not stated."""
    cells = []
    for label, value in pairs:
        one = (("P", object()),)
        cells.append(
            [any_text(label, LABEL, path=one), any_text(value or "not stated", SMALL, path=one)]
        )
    cells += [[]] * (-len(cells) % columns)
    return layout(
        [cells[i : i + columns] for i in range(0, len(cells), columns)],
        [width / columns] * columns,
        padding=(6, 1.2),
    )


def layout(
    rows: list[list[Any]], widths: list[Any], *, padding: tuple[float, float], v: str = "TOP"
) -> Table:
    """A grid without rules, and no table to a screen reader; `padding` right of, and above and
    below, each cell."""
    made = Table(rows, colWidths=widths, hAlign="LEFT")
    made.setStyle(
        [
            ("FONTNAME", (0, 0), (-1, -1), REGULAR),
            ("VALIGN", (0, 0), (-1, -1), v),
            ("FONTSIZE", (0, 0), (-1, -1), 1),  # an empty cell has no height of its own
            ("LEADING", (0, 0), (-1, -1), 1),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), padding[0]),
            ("TOPPADDING", (0, 0), (-1, -1), padding[1]),
            ("BOTTOMPADDING", (0, 0), (-1, -1), padding[1]),
        ]
    )
    return made


class _Ruled(Table):  # type: ignore[misc]  # reportlab has no types
    """A table whose rules are artifacts, and whose cells are all in the structure, empty ones too."""

    def draw(self) -> None:
        structure = structure_of(self.canv)
        for row in self._cellvalues:
            for cell in row:
                if isinstance(cell, Text) and cell.path is not None:
                    structure.element(cell.path)
        super().draw()

    def _drawLines(self) -> None:  # noqa: N802  # reportlab's name
        with artifact(self.canv):
            super()._drawLines()


def table(
    rows: Sequence[Sequence[Any]],
    widths: Sequence[float],
    *,
    numbers: tuple[int, ...] = (),
    strong: tuple[int, ...] = (),
    pale: tuple[int, ...] = (),
    bars: tuple[int, ...] = (),
    head: bool = True,
    style: Sequence[tuple[Any, ...]] = (),
) -> Table:
    """A ruled table, its first row a head that is repeated after a page break.

    `numbers` are the columns set flush right; `strong` rows are bold; `pale` columns are grey below
    the head; `bars` columns repeat the numbers as pictures and are no part of the structure. Cells
    are text of any origin, or flowables (which are drawn as they are).
    """
    key = object()

    def cell(value: Any, row: int, column: int) -> Any:
        if not isinstance(value, str):
            if isinstance(value, Text) and value.path is not None:
                value.path = _place(key, row, column, head=head)
            return value
        if head and row == 0:
            base = _HEAD
        elif row in strong:
            base = _STRONG
        else:
            base = _PALE if column in pale else _CELL
        made = any_text(
            value,
            _flush_right(base) if column in numbers else base,
            path=_place(key, row, column, head=head),
        )
        made.once = head and row == 0
        if column in bars:
            made.path = None
        return made

    made = _Ruled(
        [[cell(v, r, c) for c, v in enumerate(row)] for r, row in enumerate(rows)],
        colWidths=list(widths),
        repeatRows=1 if head else 0,
        hAlign="LEFT",
    )
    made.setStyle(
        [
            ("FONTNAME", (0, 0), (-1, -1), REGULAR),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("LINEBELOW", (0, 0), (-1, -1), 0.35, RULE),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 5),
            ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 1.1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.7),
            *([("LINEBELOW", (0, 0), (-1, 0), 0.6, INK)] if head else []),
            *style,
        ]
    )
    return made


def _place(key: object, row: int, column: int, *, head: bool) -> tuple[tuple[str, object], ...]:
    kind = "TH" if head and row == 0 else "TD"
    return ("Table", key), ("TR", row), (kind, column)


_RIGHT: dict[str, ParagraphStyle] = {
    base.name: ParagraphStyle(f"{base.name} right", parent=base, alignment=TA_RIGHT)
    for base in (_CELL, _STRONG, _PALE, _HEAD)
}


def _flush_right(base: ParagraphStyle) -> ParagraphStyle:
    return _RIGHT[base.name]
