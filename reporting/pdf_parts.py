"""Drawn parts of the PDF: the blast bar, the small bars of a table, a cell of the gallery. Each is a
flowable with a size of its own, and a figure with a description to a screen reader, unless it only
repeats the numbers beside it. Overviews  reporting.pdf_overviews
"""

import io
from typing import Any

from PIL import Image
from reportlab.lib.colors import HexColor, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable

from domain.cells import Cell
from domain.counts import Proportion
from domain.image import Pixels
from reporting.colours import Group, group_of
from reporting.figures import one_decimal
from reporting.fonts import text_width
from reporting.gallery import certainty
from reporting.pdf_paragraph import draw_line, fitted
from reporting.pdf_tags import Path, artifact, structure_of
from reporting.pdf_typography import ACCENT, GREY, INK, RULE
from reporting.report import GalleryCrop

__all__ = ["BlastBar", "CellPicture", "SmallBar", "figure", "frame", "jpeg"]

PALE = HexColor("#E4E8EC")
PALE_BAR = HexColor("#A9BDD1")
CROP_SIDE_PX = 180


def figure() -> Path:
    """The place of one more figure."""
    return (("Figure", object()),)


class BlastBar(Flowable):  # type: ignore[misc]  # reportlab has no types
    """The blast fraction on 0 to 100 %: bar, interval as whisker, thresholds as dashed lines."""

    def __init__(
        self, fraction: Proportion, *, review: float, further: tuple[float, ...], width: float
    ) -> None:
        super().__init__()
        self.fraction, self.review, self.further = fraction, review, further
        self.width, self.height = width, 14.6 * mm
        self.place = figure()

    def draw(self) -> None:
        percent, low, high = self.fraction.percent, self.fraction.low, self.fraction.high
        said = "Bar from 0 to 100 %"
        if percent is not None and low is not None and high is not None:
            said += (
                f": blast fraction {one_decimal(percent)} %, interval {one_decimal(low)} % to "
                f"{one_decimal(high)} %, review threshold {self.review:g} %"
            )
        with structure_of(self.canv).mark(self.canv, self.place, alt=said):
            self._bar(percent, low, high)
            for threshold in self.further:  # told in words below the bar
                self._line_at(threshold, dash=(1, 1.5))
            self._review()
            self._axis()

    def _bar(self, percent: float | None, low: float | None, high: float | None) -> None:
        canvas, width = self.canv, self.width
        base, tall = 4.6 * mm, 6.2 * mm
        canvas.setFillColor(PALE)
        canvas.rect(0, base, width, tall, stroke=0, fill=1)
        if percent is None or low is None or high is None:
            return
        canvas.setFillColor(ACCENT)
        canvas.rect(0, base, width * percent / 100, tall, stroke=0, fill=1)
        middle = base + tall / 2
        for colour, line in ((white, 3.2), (INK, 1.6)):  # seen on the bar and beside it
            canvas.setStrokeColor(colour)
            canvas.setLineWidth(line)
            canvas.line(width * low / 100, middle, width * high / 100, middle)
            for end in (low, high):
                canvas.line(width * end / 100, middle - 5, width * end / 100, middle + 5)

    def _line_at(self, threshold: float, *, dash: tuple[float, float]) -> float:
        canvas = self.canv
        x = self.width * threshold / 100
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(1.1)
        canvas.setDash(*dash)
        canvas.line(x, 4.6 * mm - 1.5, x, 10.8 * mm + 2.5)
        canvas.setDash()
        return x

    def _review(self) -> None:
        x = self._line_at(self.review, dash=(3, 2))
        words = f"review threshold {self.review:g} %"
        right = x + text_width(words, 7.5) + 3 < self.width
        self.canv.setFillColor(INK)
        at = x + 3 if right else x - 3
        draw_line(self.canv, at, 10.8 * mm + 1.8, words, 7.5, align="" if right else "right")

    def _axis(self) -> None:
        canvas, base = self.canv, 4.6 * mm
        canvas.setFillColor(GREY)
        for tick in range(0, 101, 10):
            at = self.width * tick / 100
            canvas.setStrokeColor(RULE)
            canvas.setLineWidth(0.5)
            canvas.line(at, base - 2.5, at, base)
            place = {0: "", 100: "right"}.get(tick, "centre")
            draw_line(canvas, at, base - 9.5, f"{tick} %", 7, align=place)


class SmallBar(Flowable):  # type: ignore[misc]  # reportlab has no types
    """One row's fraction and interval, in a table's cell; pale when the count does not carry it.
    A reference range is a band behind it. It repeats the row's numbers, so it is an artifact."""

    def __init__(
        self,
        fraction: Proportion,
        *,
        width: float,
        pale: bool,
        band: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.fraction, self.pale, self.band = fraction, pale, band
        self.width, self.height = width, 7

    def draw(self) -> None:
        with artifact(self.canv):
            self._draw()

    def _draw(self) -> None:
        canvas, width = self.canv, self.width
        percent, low, high = self.fraction.percent, self.fraction.low, self.fraction.high
        if self.band is not None:
            start, end = self.band
            canvas.setFillColor(PALE)
            canvas.rect(
                width * start / 100, -0.6, width * (end - start) / 100, 7.8, stroke=0, fill=1
            )
        if percent is None or low is None or high is None:
            return
        canvas.setFillColor(RULE if self.pale else PALE_BAR)
        canvas.rect(0, 0.6, width * percent / 100, 5.4, stroke=0, fill=1)
        canvas.setStrokeColor(GREY if self.pale else INK)
        canvas.setLineWidth(0.8)
        canvas.line(width * low / 100, 3.3, width * high / 100, 3.3)
        for end in (low, high):
            canvas.line(width * end / 100, 1.9, width * end / 100, 4.7)


class CellPicture(Flowable):  # type: ignore[misc]  # reportlab has no types
    """One cell of the gallery: number, picture with a scale bar, class, probability."""

    def __init__(
        self,
        crop: GalleryCrop,
        cell: Cell,
        *,
        words: str,
        uncertain: bool,
        by_person: bool,
        side: float,
    ) -> None:
        super().__init__()
        self.crop, self.cell = crop, cell
        self.words, self.uncertain, self.by_person = words, uncertain, by_person
        self.side = side
        self.width, self.height = side, side + 27
        self.place = figure()

    def draw(self) -> None:
        doubt = " It is among the least certain." if self.uncertain else ""
        how = "by a person" if self.by_person else f"with probability {certainty(self.cell):.2f}"
        said = (
            f"Picture of cell number {self.cell.number}, classified as {self.words} {how}.{doubt}"
        )
        with structure_of(self.canv).mark(self.canv, self.place, alt=said):
            self._draw()

    def _draw(self) -> None:
        canvas, side = self.canv, self.side
        canvas.setFillColor(INK)
        draw_line(canvas, 0, side + 20.5, f"#{self.cell.number}", 7.5, bold=True)
        if self.uncertain:
            self._doubt(side)
        height, width = self.crop.pixels.shape[:2]
        scale = side / max(height, width)
        wide, tall = width * scale, height * scale
        x, y = (side - wide) / 2, 18 + (side - tall) / 2
        canvas.drawImage(jpeg(self.crop.pixels, CROP_SIDE_PX), x, y, wide, tall)
        frame(canvas, group_of(self.cell), x, y, wide, tall, thinnest=0.8)
        if self.crop.um_per_px is not None:
            self._scale_bar(x, y, wide, scale / self.crop.um_per_px)
        canvas.setFillColor(INK)
        how = "by a person" if self.by_person else f"p {certainty(self.cell):.2f}"
        draw_line(canvas, 0, 9, fitted(self.words, side + 6, 6.7), 6.7)
        draw_line(canvas, 0, 1, how, 6.7)

    def _doubt(self, side: float) -> None:
        """A black plate: seen on any paper."""
        canvas, words = self.canv, "uncertain"
        long = text_width(words, 6.5, bold=True) + 5
        canvas.setFillColor(INK)
        canvas.rect(side - long, side + 19, long, 8, stroke=0, fill=1)
        canvas.setFillColor(white)
        draw_line(canvas, side - long / 2, side + 20.8, words, 6.5, bold=True, align="centre")

    def _scale_bar(self, x: float, y: float, wide: float, points_per_um: float) -> None:
        """The longest of 2, 5, 10, 20, 50 um that fits half of the picture."""
        lengths = [um for um in (2, 5, 10, 20, 50) if um * points_per_um <= wide / 2]
        if not lengths:
            return
        canvas, um = self.canv, lengths[-1]
        long = um * points_per_um
        right = x + wide - 3
        words = f"{um} µm"
        plate = max(long, text_width(words, 5.5)) + 3
        canvas.setFillColor(white)
        canvas.rect(right - plate + 1.5, y + 1.5, plate, 10, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.rect(right - long, y + 3, long, 1.4, stroke=0, fill=1)
        draw_line(canvas, right, y + 6, words, 5.5, align="right")


def frame(
    canvas: Any,
    group: Group,
    x: float,
    y: float,
    wide: float,
    tall: float,
    *,
    thinnest: float = 0.0,
    thinner: float = 1.0,
) -> None:
    """A rectangle in the line of a group."""
    canvas.setStrokeColor(HexColor(group.hex))
    canvas.setLineWidth(max(group.width * thinner, thinnest))
    canvas.setDash(*([list(group.dash)] if group.dash else []))
    canvas.rect(x, y, wide, tall)
    canvas.setDash()


def jpeg(pixels: Pixels, longest: int) -> Any:
    """(H, W, 3) uint8 RGB -> an image for the canvas, no side longer than `longest`."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=88, subsampling=0)
    return ImageReader(io.BytesIO(sink.getvalue()))
