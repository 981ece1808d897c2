"""Text on the page: a line on the canvas, and the paragraph that every other text of the PDF is.

Text of any origin is shown and not obeyed: markup, control and direction characters come out as what
they are. What no face has is a number. Right-to-left text is put in visual order line by line.
"""

from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph

from reporting.bidi import has_rtl, visual
from reporting.fonts import REGULAR, drawable, face, runs, text_width
from reporting.pdf_tags import Path, artifact, structure_of
from reporting.words import short

__all__ = ["Text", "draw_line", "fitted", "text"]


def draw_line(
    canvas: Any, x: float, y: float, words: str, size: float, *, bold: bool = False, align: str = ""
) -> None:
    """One line from `x`, ending there (align "right") or around it ("centre")."""
    seen = visual(drawable(words))
    if align:
        x -= text_width(seen, size, bold=bold) * (1 if align == "right" else 0.5)
    for name, run in runs(seen, bold=bold):
        canvas.setFont(name, size)
        canvas.drawString(x, y, run)
        x += canvas.stringWidth(run, name, size)


def fitted(words: str, width: float, size: float, *, bold: bool = False) -> str:
    """Text of no more than `width` points, an ellipsis where some was left out."""
    shown = drawable(words)
    while len(shown) > 1 and text_width(visual(shown), size, bold=bold) > width:
        shown = shown[:-2] + "…"
    return shown


class Text(Paragraph):  # type: ignore[misc]  # reportlab has no types
    """A paragraph that knows its place in the document's structure; without one it is an artifact."""

    path: Path | None = None
    logical = ""  # text of which some is written from right to left: its lines are ordered by us
    drawn = False
    once = False  # a table's head: what is repeated on a further page is an artifact there

    def split(self, width: float, height: float) -> list[Any]:
        parts: list[Any] = super().split(width, height)
        for part in parts:
            part.path = self.path
        return parts

    def wrap(self, width: float, height: float) -> Any:
        if self.logical:
            lines = [visual(line) for line in _lines(self.logical, width, self.style)]
            Paragraph.__init__(self, "<br/>".join(map(_marked_up, lines)), self.style)
            self.logical = ""
        return super().wrap(width, height)

    def draw(self) -> None:
        if self.path is None or (self.once and self.drawn):
            with artifact(self.canv):
                super().draw()
            return
        self.drawn = True
        with structure_of(self.canv).mark(self.canv, self.path):
            super().draw()


def text(value: str, style: ParagraphStyle, *, limit: int = 2000, path: Path | None = None) -> Text:
    """Text of any origin as a paragraph; `path` is its place in the structure, a P of its own unless
    given."""
    shown = short(drawable(value), limit)
    made = Text(_marked_up(shown), style)
    if has_rtl(shown):
        made.logical = shown
    made.path = (("P", object()),) if path is None else path
    return made


def _marked_up(shown: str) -> str:
    """reportlab's markup, with the further faces named where they are needed."""
    main = face()
    parts = []
    for name, run in runs(shown):
        safe = escape(run)
        parts.append(safe if name == main.regular_name else f'<font name="{name}">{safe}</font>')
    return "".join(parts)


def _lines(shown: str, width: float, style: ParagraphStyle) -> list[str]:
    """Lines in logical order that fit into the width; a longer word has a line of its own."""
    bold = style.fontName != REGULAR
    lines = [""]
    for word in shown.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(visual(longer), style.fontSize, bold=bold) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
