"""Drawn parts of the PDF: the blast bar, the small bars of a table, a cell of the gallery, the
overview with boxes. Each is a flowable with a size of its own.
"""

import io
from typing import Any

from PIL import Image
from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from domain.cells import Cell
from domain.counts import Proportion
from domain.image import Pixels
from reporting.colours import GROUPS, group_of
from reporting.fonts import BOLD, REGULAR
from reporting.overview import boxes_on
from reporting.pdf_frame import GREY, INK, RULE, fitted
from reporting.report import GalleryCrop, Overview

__all__ = ["BlastBar", "CellPicture", "OverviewPicture", "SmallBar"]

BAR = HexColor("#4A6A8A")
PALE = HexColor("#E4E8EC")
PALE_BAR = HexColor("#A9BDD1")
CROP_SIDE_PX = 220
OVERVIEW_SIDE_PX = 1400


class BlastBar(Flowable):  # type: ignore[misc]  # reportlab has no types
    """The blast fraction on 0 to 100 %: bar, interval as whisker, review threshold as dashed line."""

    def __init__(self, fraction: Proportion, *, threshold: float, width: float) -> None:
        super().__init__()
        self.fraction, self.threshold = fraction, threshold
        self.width, self.height = width, 15 * mm

    def draw(self) -> None:
        canvas, width = self.canv, self.width
        percent, low, high = self.fraction.percent, self.fraction.low, self.fraction.high
        base, tall = 5 * mm, 6.5 * mm
        canvas.setFillColor(PALE)
        canvas.rect(0, base, width, tall, stroke=0, fill=1)
        if percent is not None and low is not None and high is not None:
            canvas.setFillColor(BAR)
            canvas.rect(0, base, width * percent / 100, tall, stroke=0, fill=1)
            middle = base + tall / 2
            for colour, line in ((white, 3.2), (INK, 1.6)):  # seen on the bar and beside it
                canvas.setStrokeColor(colour)
                canvas.setLineWidth(line)
                canvas.line(width * low / 100, middle, width * high / 100, middle)
                for end in (low, high):
                    canvas.line(width * end / 100, middle - 5, width * end / 100, middle + 5)
        x = width * min(max(self.threshold, 0), 100) / 100
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(1.1)
        canvas.setDash(3, 2)
        canvas.line(x, base - 1.5, x, base + tall + 3)
        canvas.setDash()
        canvas.setFillColor(INK)
        canvas.setFont(REGULAR, 7.5)
        words = f"review threshold {self.threshold:g} %"
        if x + stringWidth(words, REGULAR, 7.5) + 3 < width:
            canvas.drawString(x + 3, base + tall + 1.5, words)
        else:
            canvas.drawRightString(x - 3, base + tall + 1.5, words)
        canvas.setFillColor(GREY)
        canvas.setFont(REGULAR, 7)
        for tick in range(0, 101, 10):
            at = width * tick / 100
            canvas.setStrokeColor(RULE)
            canvas.setLineWidth(0.5)
            canvas.line(at, base - 2.5, at, base)
            place = {0: canvas.drawString, 100: canvas.drawRightString}.get(
                tick, canvas.drawCentredString
            )
            place(at, base - 10, f"{tick} %")


class SmallBar(Flowable):  # type: ignore[misc]  # reportlab has no types
    """One row's fraction and interval, in a table's cell; pale when the count does not carry it."""

    def __init__(self, fraction: Proportion, *, width: float, pale: bool) -> None:
        super().__init__()
        self.fraction, self.pale = fraction, pale
        self.width, self.height = width, 7

    def draw(self) -> None:
        canvas, width = self.canv, self.width
        percent, low, high = self.fraction.percent, self.fraction.low, self.fraction.high
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.4)
        canvas.line(0, 0, width, 0)
        if percent is None or low is None or high is None:
            return
        canvas.setFillColor(PALE if self.pale else PALE_BAR)
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
        probability: str,
        uncertain: bool,
        side: float,
    ) -> None:
        super().__init__()
        self.crop, self.cell = crop, cell
        self.words, self.probability, self.uncertain = words, probability, uncertain
        self.side = side
        self.width, self.height = side, side + 30

    def draw(self) -> None:
        canvas, side = self.canv, self.side
        canvas.setFillColor(INK)
        canvas.setFont(BOLD, 7.5)
        canvas.drawString(0, side + 22, f"#{self.cell.number}")
        if self.uncertain:
            canvas.setFont(REGULAR, 6.5)
            canvas.drawRightString(side, side + 22, "least certain")
        group = group_of(self.cell)
        height, width = self.crop.pixels.shape[:2]
        scale = side / max(height, width)
        wide, tall = width * scale, height * scale
        x, y = (side - wide) / 2, 20 + (side - tall) / 2 - 2
        canvas.drawImage(_jpeg(self.crop.pixels, CROP_SIDE_PX), x, y, wide, tall)
        canvas.setStrokeColor(HexColor(group.hex))
        canvas.setLineWidth(max(group.width, 0.8))
        canvas.setDash(*([list(group.dash)] if group.dash else []))
        canvas.rect(x, y, wide, tall)
        canvas.setDash()
        if self.crop.um_per_px is not None:
            self._scale_bar(x, y, wide, scale / self.crop.um_per_px)
        canvas.setFillColor(INK)
        canvas.setFont(REGULAR, 7)
        canvas.drawString(0, 9, fitted(self.words, side + 5, 7))
        canvas.drawString(0, 1, self.probability)

    def _scale_bar(self, x: float, y: float, wide: float, points_per_um: float) -> None:
        """The longest of 2, 5, 10, 20 um that fits half of the picture."""
        lengths = [um for um in (2, 5, 10, 20, 50) if um * points_per_um <= wide / 2]
        if not lengths:
            return
        canvas, um = self.canv, lengths[-1]
        long = um * points_per_um
        right = x + wide - 3
        words = f"{um} µm"
        plate = max(long, stringWidth(words, REGULAR, 5.5)) + 3
        canvas.setFillColor(Color(1, 1, 1, alpha=0.8))
        canvas.rect(right - plate + 1.5, y + 1.5, plate, 10, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.rect(right - long, y + 3, long, 1.4, stroke=0, fill=1)
        canvas.setFont(REGULAR, 5.5)
        canvas.drawRightString(right, y + 6, words)


class OverviewPicture(Flowable):  # type: ignore[misc]  # reportlab has no types
    """An image with its cells' boxes and numbers, and below it what the colours mean."""

    def __init__(
        self, overview: Overview, cells: tuple[Cell, ...], *, width: float, tallest: float
    ) -> None:
        super().__init__()
        self.overview = overview
        self.boxes = boxes_on(overview, cells)
        rows, columns = overview.pixels.shape[:2]
        self.scale = min(width / columns, tallest / rows)
        self.shown = (columns * self.scale, rows * self.scale)
        self.width, self.height = width, rows * self.scale + 26

    def draw(self) -> None:
        canvas = self.canv
        wide, tall = self.shown
        base = 26
        canvas.drawImage(_jpeg(self.overview.pixels, OVERVIEW_SIDE_PX), 0, base, wide, tall)
        numbered = sum(number is not None for _, _, number in self.boxes)
        size = 5.5 if numbered <= 150 else 3.8
        for group, (x0, y0, x1, y1), number in self.boxes:
            left, right = x0 * self.scale, x1 * self.scale
            upper, lower = base + tall - y0 * self.scale, base + tall - y1 * self.scale
            canvas.setStrokeColor(HexColor(group.hex))
            canvas.setLineWidth(group.width * 0.7)
            canvas.setDash(*([list(group.dash)] if group.dash else []))
            canvas.rect(left, lower, right - left, upper - lower)
            canvas.setDash()
            if number is not None:
                words = str(number)
                at = min(upper + 0.6, base + tall - size)
                canvas.setFillColor(Color(1, 1, 1, alpha=0.85))
                canvas.rect(
                    left, at - 0.6, stringWidth(words, BOLD, size) + 1.2, size, stroke=0, fill=1
                )
                canvas.setFillColor(INK)
                canvas.setFont(BOLD, size)
                canvas.drawString(left + 0.6, at, words)
        self._legend()

    def _legend(self) -> None:
        canvas = self.canv
        x, y = 0.0, 15.0
        canvas.setFont(REGULAR, 7)
        for group in GROUPS:
            count = sum(g is group for g, _, _ in self.boxes)
            if not count:
                continue
            words = f"{group.name} ({count})"
            need = stringWidth(words, REGULAR, 7) + 22
            if x + need > self.width:
                x, y = 0.0, y - 10
            canvas.setStrokeColor(HexColor(group.hex))
            canvas.setLineWidth(max(group.width, 0.8))
            canvas.setDash(*([list(group.dash)] if group.dash else []))
            canvas.rect(x + 0.8, y, 7, 6)
            canvas.setDash()
            canvas.setFillColor(INK)
            canvas.drawString(x + 11, y + 0.5, words)
            x += need


def _jpeg(pixels: Pixels, longest: int) -> Any:
    """(H, W, 3) uint8 RGB -> an image for the canvas, no side longer than `longest`."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=90, subsampling=0)
    return ImageReader(io.BytesIO(sink.getvalue()))
