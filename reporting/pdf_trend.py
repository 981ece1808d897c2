"""The blast fraction beside that of the patient's earlier cases: a small chart, and its numbers."""

from itertools import pairwise
from typing import Any

from reportlab.lib.colors import white
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether

from domain.cells import Stage
from domain.counts import Proportion
from reporting.beside import EarlierCase
from reporting.figures import one_decimal
from reporting.pdf_paragraph import draw_line
from reporting.pdf_parts import figure
from reporting.pdf_tags import structure_of
from reporting.pdf_typography import ACCENT, GREY, INK, NOTE, RULE, heading, text
from reporting.report import Report

__all__ = ["trend_section"]

CASES_SHOWN = 7


def trend_section(report: Report, width: float) -> list[Any]:
    """Empty where there is no earlier case, or no blast fraction to compare."""
    earlier = report.beside.earlier[-CASES_SHOWN:]
    if not earlier or not report.measured(Stage.MALIGNANCY) or not report.numbers.leukocytes:
        return []
    now = EarlierCase(analysed_on=f"{report.issued_at:%Y-%m-%d}", blasts=report.numbers.blasts)
    left_out = len(report.beside.earlier) - len(earlier)
    note = (
        "Blast fractions with their 95 % intervals by day of analysis; the last is this report's. "
        "The cases are those of the same patient ID on this node."
    )
    if left_out:
        note += f" {left_out} older cases are not shown."
    return [
        KeepTogether(
            [
                *heading("Earlier cases of this patient", needs=50 * mm),
                Trend((*earlier, now), threshold=report.review_threshold_percent, width=width),
                text(note, style=NOTE),
            ]
        )
    ]


class Trend(Flowable):  # type: ignore[misc]  # reportlab has no types
    """One point a case, evenly spaced, its date below and its percentage beside it."""

    def __init__(self, cases: tuple[EarlierCase, ...], *, threshold: float, width: float) -> None:
        super().__init__()
        self.cases, self.threshold = cases, threshold
        self.width, self.height = width, 34 * mm
        self.place = figure()

    def draw(self) -> None:
        said = "; ".join(f"{c.analysed_on}: {c.blasts.text}" for c in self.cases)
        with structure_of(self.canv).mark(
            self.canv, self.place, alt=f"Chart of the blast fractions of this patient. {said}"
        ):
            self._axis()
            step = (self.width - 14 * mm) / len(self.cases)
            points = [(14 * mm + step * (i + 0.5), c) for i, c in enumerate(self.cases)]
            self._line([(x, c.blasts.percent) for x, c in points])
            for x, case in points:
                self._point(x, case, last=case is self.cases[-1])

    def _y(self, percent: float) -> float:
        return float(7 * mm + (self.height - 12 * mm) * percent / 100)

    def _axis(self) -> None:
        canvas = self.canv
        canvas.setLineWidth(0.4)
        for tick in (0, 50, 100):
            canvas.setStrokeColor(RULE)
            canvas.line(12 * mm, self._y(tick), self.width, self._y(tick))
            canvas.setFillColor(GREY)
            draw_line(canvas, 11 * mm, self._y(tick) - 2.4, f"{tick} %", 7, align="right")
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(0.8)
        canvas.setDash(3, 2)
        canvas.line(12 * mm, self._y(self.threshold), self.width, self._y(self.threshold))
        canvas.setDash()

    def _line(self, points: list[tuple[float, float | None]]) -> None:
        known = [(x, self._y(p)) for x, p in points if p is not None]
        self.canv.setStrokeColor(ACCENT)
        self.canv.setLineWidth(1)
        for (x0, y0), (x1, y1) in pairwise(known):
            self.canv.line(x0, y0, x1, y1)

    def _point(self, x: float, case: EarlierCase, *, last: bool) -> None:
        canvas = self.canv
        canvas.setFillColor(INK if last else GREY)
        draw_line(canvas, x, 1.2 * mm, case.analysed_on, 7, bold=last, align="centre")
        percent, low, high = _limits(case.blasts)
        if percent is None:
            draw_line(canvas, x, self._y(0) + 2, "nothing counted", 6.5, align="centre")
            return
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(0.9)
        canvas.line(x, self._y(low), x, self._y(high))
        for end in (low, high):
            canvas.line(x - 2.5, self._y(end), x + 2.5, self._y(end))
        canvas.setFillColor(ACCENT if last else white)
        canvas.circle(x, self._y(percent), 2.4, stroke=1, fill=1)
        canvas.setFillColor(INK)
        words = f"{one_decimal(percent)} %"
        draw_line(canvas, x, self._y(high) + 3, words, 7.5, bold=last, align="centre")


def _limits(fraction: Proportion) -> tuple[float | None, float, float]:
    return fraction.percent, fraction.low or 0.0, fraction.high or 0.0
