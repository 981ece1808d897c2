"""An image in the PDF: a field with the boxes of its cells, or the map of a slide with the fields read.

Below each stands what the colours mean, as in `overview.png`.
"""

from reportlab.lib.colors import HexColor, white
from reportlab.platypus import Flowable

from domain.cells import Cell
from reporting.colours import GROUPS, Group
from reporting.fonts import text_width
from reporting.overview import boxes_on
from reporting.pdf_paragraph import draw_line
from reporting.pdf_parts import figure, frame, jpeg
from reporting.pdf_tags import structure_of
from reporting.pdf_typography import INK, RULE
from reporting.report import Overview

__all__ = ["OverviewPicture", "SlideMap"]

OVERVIEW_SIDE_PX = 1200
LEGEND_LINE = 10


class _Picture(Flowable):  # type: ignore[misc]  # reportlab has no types
    """An overview's pixels, as large as width and height allow, and below it what the colours mean."""

    def __init__(
        self, overview: Overview, cells: tuple[Cell, ...], *, width: float, tallest: float
    ) -> None:
        super().__init__()
        self.overview = overview
        self.boxes = boxes_on(overview, cells)
        rows, columns = overview.pixels.shape[:2]
        self.scale = min(width / columns, tallest / rows)
        self.shown = (columns * self.scale, rows * self.scale)
        self.entries = self._legend(width)
        self.below = LEGEND_LINE * (1 + max((row for _, _, row, _ in self.entries), default=0)) + 4
        self.width, self.height = width, rows * self.scale + self.below
        self.place = figure()

    def picture(self) -> None:
        wide, tall = self.shown
        pixels = jpeg(self.overview.pixels, OVERVIEW_SIDE_PX)
        self.canv.drawImage(pixels, 0, self.below, wide, tall)
        self.canv.setStrokeColor(RULE)
        self.canv.setLineWidth(0.5)
        self.canv.rect(0, self.below, wide, tall)

    def _legend(self, width: float) -> list[tuple[Group, str, int, float]]:
        """Group, words, row and x of each entry."""
        placed: list[tuple[Group, str, int, float]] = []
        x, row = 0.0, 0
        for group in GROUPS:
            count = sum(g is group for g, _, _ in self.boxes)
            if not count:
                continue
            words = f"{group.name} ({count})"
            need = text_width(words, 7) + 22
            if x + need > width:
                x, row = 0.0, row + 1
            placed.append((group, words, row, x))
            x += need
        return placed

    def legend(self) -> None:
        for group, words, row, x in self.entries:
            y = self.below - 12 - LEGEND_LINE * row
            frame(self.canv, group, x + 0.8, y, 7, 6, thinnest=0.8)
            self.canv.setFillColor(INK)
            draw_line(self.canv, x + 11, y + 0.5, words, 7)


class OverviewPicture(_Picture):
    """A field with its cells' boxes and numbers."""

    def draw(self) -> None:
        counts = ", ".join(words for _, words, _, _ in self.entries) or "no cells"
        said = f"Overview of image {self.overview.image + 1} with the boxes of its cells: {counts}"
        with structure_of(self.canv).mark(self.canv, self.place, alt=said):
            self.picture()
            numbered = sum(number is not None for _, _, number in self.boxes)
            for group, box, number in self.boxes:
                self._box(group, box, number, size=5.5 if numbered <= 150 else 3.8)
            self.legend()

    def _box(
        self,
        group: Group,
        box: tuple[float, float, float, float],
        number: int | None,
        *,
        size: float,
    ) -> None:
        canvas = self.canv
        above = self.below + self.shown[1]
        left, right = box[0] * self.scale, box[2] * self.scale
        upper, lower = above - box[1] * self.scale, above - box[3] * self.scale
        frame(canvas, group, left, lower, right - left, upper - lower, thinner=0.7)
        if number is None:
            return
        words = str(number)
        at = min(upper + 0.6, above - size)
        canvas.setFillColor(white)
        plate = text_width(words, size, bold=True) + 1.2
        canvas.rect(left, at - 0.6, plate, size, stroke=0, fill=1)
        canvas.setFillColor(INK)
        draw_line(canvas, left + 0.6, at, words, size, bold=True)


class SlideMap(_Picture):
    """An image of many fields: those that were read are framed, its white cells are dots."""

    def draw(self) -> None:
        fields = len(self.overview.fields_px)
        counts = ", ".join(words for _, words, _, _ in self.entries) or "no cells"
        said = f"Map of image {self.overview.image + 1}: {fields} fields read; {counts}"
        with structure_of(self.canv).mark(self.canv, self.place, alt=said):
            self.picture()
            above = self.below + self.shown[1]
            each = self.overview.scale * self.scale
            x, y = self.overview.origin_px
            canvas = self.canv
            canvas.setStrokeColor(INK)
            canvas.setLineWidth(0.7)
            for field in self.overview.fields_px:
                canvas.rect(
                    (field.x0 - x) * each,
                    above - (field.y1 - y) * each,
                    field.width * each,
                    field.height * each,
                )
            for group, box, number in self.boxes:
                if number is not None:
                    self._dot(group, box, above)
            self.legend()

    def _dot(self, group: Group, box: tuple[float, float, float, float], above: float) -> None:
        canvas = self.canv
        canvas.setFillColor(HexColor(group.hex))
        canvas.setStrokeColor(white)
        canvas.setLineWidth(0.3)
        x, y = (box[0] + box[2]) / 2 * self.scale, above - (box[1] + box[3]) / 2 * self.scale
        canvas.circle(x, y, 2.2 if group.width > 1.5 else 1.7, stroke=1, fill=1)
