"""The numbers in the PDF: blasts, differential, pattern, other cells and what was not counted.

A section whose numbers were not measured says so in its place. Every number is printed in the form
that `reporting.readback` reads again.
"""

from typing import Any

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import KeepTogether, Spacer

from domain.cells import CellClass, Stage, WbcClass
from domain.counts import Adequacy, Against, ClassCount, Corrected, Proportion, against
from reporting.beside import Range, range_of
from reporting.figures import one_decimal, ratio
from reporting.pdf_parts import BlastBar, SmallBar
from reporting.pdf_typography import (
    BIG,
    GREY,
    LABEL,
    NOTE,
    SMALL,
    heading,
    layout,
    table,
    text,
)
from reporting.report import Report
from reporting.words import class_words

__all__ = [
    "NOT_MEASURED",
    "NO_PATTERN",
    "PATTERN_HEADING",
    "ROW",
    "blasts_section",
    "counts_section",
    "differential_section",
    "pattern_section",
]

DASH = "–"
NO_PATTERN = "No blasts were counted, so no pattern is given."
PATTERN_HEADING = "Morphological pattern of the blasts: confirm by flow cytometry"
NOT_MEASURED = "Not measured: no number is given."
BELOW_RESOLUTION = (
    "Below the classifier's resolution: so few blasts may all be its false positives, and none need "
    "be there."
)
_BAR = 46 * mm
_NARROW_BAR = 32 * mm  # beside reference ranges

# labels of rows, as `reporting.readback` finds them
ROW = {
    "blasts": "Blasts: lymphoid cells called malignant",
    "morphological_blasts": "Morphological blasts: white-cell class alone",
    "bounds": "If none, or all, of the unclassified cells were blasts",
    "corrected": "Corrected for the classifier's own error",
    "leukocytes": "Leukocytes counted",
    "cells": "Cells detected",
    "red_cells": "Red blood cells",
    "platelets": "Platelets",
    "platelets_per_red_cell": "Platelets per red cell",
    "platelets_per_field": "Platelets per field read",
    "nucleated_red.count": "Nucleated red cells",
    "nucleated_red.per_100": "Nucleated red cells per 100 leukocytes",
    "unclassified.wbc_class": "Unclassified at white-cell class",
    "unclassified.malignancy": "Unclassified at malignancy",
    "unclassified.subtype": "Blasts without a pattern",
    "overruled": "White-cell class overrules cell class",
    "disagreements": "Morphology and malignancy disagree",
}
_CELLS_OF_KINDS = (
    "cells",
    "red_cells",
    "platelets",
    "platelets_per_red_cell",
    "platelets_per_field",
    "nucleated_red.count",
    "nucleated_red.per_100",
)
_BIG_PALE = ParagraphStyle("big pale", parent=BIG, textColor=GREY)


def blasts_section(report: Report, width: float) -> list[Any]:
    numbers = report.numbers
    title = heading("Blasts", needs=60 * mm)
    if not report.measured(Stage.WBC_CLASS):
        return [*title, text(NOT_MEASURED)]
    said: list[Any] = []
    rows: list[list[Any]] = [["", "Count", "%", "95 % interval"]]
    if report.measured(Stage.MALIGNANCY):
        if numbers.leukocytes:
            said += _big_fraction(report, width)
        rows.append([ROW["blasts"], *_cells(numbers.blasts)])
    else:
        said.append(text(f"The blast fraction: {NOT_MEASURED.lower()}"))
    rows.append([ROW["morphological_blasts"], *_cells(numbers.morphological_blasts)])
    if report.measured(Stage.MALIGNANCY):
        if numbers.blast_bounds is not None and numbers.white_unclassified:
            low, high = map(one_decimal, numbers.blast_bounds)
            rows.append([ROW["bounds"], "", "", f"{low} to {high}"])
        if numbers.corrected is not None:
            rows.append([ROW["corrected"], "", *_corrected(numbers.corrected)])
    rows[0][0] = "Fraction of the leukocytes counted"
    widths = [width - 82 * mm, 20 * mm, 22 * mm, 40 * mm]
    said.append(table(rows, widths, numbers=(1, 2, 3), pale=_pale(report)))
    said += _below(report)
    return [*title, KeepTogether(said)]


def _below(report: Report) -> list[Any]:
    """What is to be said of the rows above."""
    numbers = report.numbers
    measured = report.measured(Stage.MALIGNANCY)
    said: list[Any] = [Spacer(0, 1)]
    corrected = numbers.corrected if measured else None
    if corrected is not None and corrected.below_resolution:
        said.append(text(BELOW_RESOLUTION, style=SMALL))
    note = (
        "Morphological blasts are of the leukocytes counted and of the lymphoid cells unclassified "
        "at malignancy."
    )
    if corrected is not None:
        note += (
            " Corrected: Rogan-Gladen estimate with the sensitivity "
            f"{corrected.sensitivity:.3f} and specificity {corrected.specificity:.3f} of the "
            "bundle's own evaluation; its interval holds the error of both."
        )
    said.append(text(note, style=NOTE))
    return said


def _big_fraction(report: Report, width: float) -> list[Any]:
    fraction = report.numbers.blasts
    percent, low, high = fraction.percent, fraction.low, fraction.high
    if percent is None or low is None or high is None:
        return []
    review = report.review_threshold_percent
    further = tuple(t for t in report.thresholds_percent if t != review)
    pale = report.numbers.adequacy is Adequacy.INSUFFICIENT
    big = _BIG_PALE if pale else BIG
    shown = layout(
        [
            [
                _big(f"{one_decimal(percent)} %", "of the leukocytes counted", big),
                _big(
                    f"{one_decimal(low)} % to {one_decimal(high)} %",
                    "95 % interval of the count, exact binomial",
                    big,
                ),
                _big(*_verdict(fraction, review), BIG),
            ]
        ],
        [0.21 * width, 0.35 * width, 0.44 * width],
        padding=(0, 0),
    )
    said = [
        shown,
        BlastBar(fraction, review=review, further=further, width=width),
        Spacer(0, 2),
    ]
    if further:
        others = "; ".join(f"{t:g} %: {against(fraction, t)}" for t in further)
        said.append(text(f"Further thresholds, by the whole interval: {others}.", style=SMALL))
    return said


def _big(words: str, label: str, style: ParagraphStyle) -> list[Any]:
    """Number and label, one paragraph to a screen reader."""
    place = (("P", object()),)
    return [text(words, style=style, path=place), text(label, style=LABEL, path=place)]


def _verdict(fraction: Proportion, threshold: float) -> tuple[str, str]:
    """The statement on the review threshold, and why."""
    said = against(fraction, threshold)
    if said is Against.UNTOLD or said is None:
        return (
            f"{threshold:g} %: cannot be told",
            "from this count: the interval holds the threshold",
        )
    return f"{said} {threshold:g} %", "the whole interval lies there"


def differential_section(report: Report, width: float) -> list[Any]:
    numbers = report.numbers
    title = heading("Differential", needs=50 * mm)
    if not report.measured(Stage.WBC_CLASS):
        return [*title, text(NOT_MEASURED)]
    with_ranges = bool(report.beside.reference_ranges)
    extra = ["Reference, %", "Flag"] if with_ranges else []
    rows: list[list[Any]] = [["Class", "Count", "%", "95 % interval", *extra, "0 to 100 %"]]
    rows += [_class_row(report, row, with_ranges=with_ranges) for row in numbers.differential]
    rows.append([ROW["leukocytes"], str(numbers.leukocytes), *[""] * (len(rows[0]) - 2)])
    taken = [16 * mm, 16 * mm, 30 * mm, *([26 * mm, 16 * mm] if with_ranges else [])]
    bar = (_NARROW_BAR if with_ranges else _BAR) + 6 * mm
    widths = [width - sum(taken) - bar, *taken, bar]
    last = len(rows[0]) - 1
    made = table(
        rows,
        widths,
        numbers=tuple(range(1, 5 if with_ranges else 4)),
        strong=(len(rows) - 1,),
        pale=_pale(report),
        bars=(last,),
        style=[
            ("LEFTPADDING", (last, 0), (last, -1), 6 * mm),
            *([("LEFTPADDING", (5, 0), (5, -1), 3 * mm)] if with_ranges else []),
        ],
    )
    note = f"{_adequacy(report)} {report.leukocytes_wanted} were wanted. Unclassified cells and "
    note += "nucleated red cells are outside the differential. Intervals are the sampling error of "
    note += "the count alone."
    if with_ranges:
        note += " Reference ranges are the laboratory's own; a flag is by the printed percentage."
    return [*title, made, Spacer(0, 1), text(note, style=NOTE)]


def _class_row(report: Report, row: ClassCount, *, with_ranges: bool) -> list[Any]:
    pale = report.numbers.adequacy is Adequacy.INSUFFICIENT
    reference = report.beside.reference_of(row.name)
    band = (reference.low, reference.high) if reference else None
    bar = _NARROW_BAR if with_ranges else _BAR
    said: list[Any] = [class_words(row.name), *_cells(row.proportion)]
    if with_ranges:
        flag = range_of(row.proportion, reference) if reference else None
        said += [
            f"{reference.low:.1f} to {reference.high:.1f}" if reference else DASH,
            flag.value.upper() if flag in (Range.LOW, Range.HIGH) else "",
        ]
    return [*said, SmallBar(row.proportion, width=bar, pale=pale, band=band)]


def _adequacy(report: Report) -> str:
    return {
        Adequacy.ADEQUATE: f"Adequate: {report.limits.adequate} or more leukocytes were counted.",
        Adequacy.LIMITED: f"Limited: fewer than {report.limits.adequate} leukocytes were counted.",
        Adequacy.INSUFFICIENT: f"Insufficient: fewer than {report.limits.limited} leukocytes were "
        "counted; percentages are greyed and carry little.",
        Adequacy.NONE: "No leukocytes were found: no percentage exists.",
    }[report.numbers.adequacy]


def pattern_section(report: Report, width: float) -> list[Any]:
    title = heading(PATTERN_HEADING, needs=35 * mm)
    if not report.measured(Stage.SUBTYPE):
        return [*title, text(NOT_MEASURED)]
    if not report.numbers.blasts.count:
        return [*title, text(NO_PATTERN)]
    rows: list[list[Any]] = [["Pattern", "Count", "%", "95 % interval", "0 to 100 %"]]
    rows += [
        [
            class_words(row.name),
            *_cells(row.proportion),
            SmallBar(row.proportion, width=_BAR, pale=False),
        ]
        for row in report.numbers.subtypes
    ]
    widths = [width - 62 * mm - _BAR - 6 * mm, 16 * mm, 16 * mm, 30 * mm, _BAR + 6 * mm]
    made = table(
        rows,
        widths,
        numbers=(1, 2, 3),
        bars=(4,),
        style=[("LEFTPADDING", (4, 0), (4, -1), 6 * mm)],
    )
    note = "Of the blasts that have a pattern. A pattern is a likeness of form, no immunophenotype."
    return [*title, made, Spacer(0, 1), text(note, style=NOTE)]


def counts_section(report: Report, width: float) -> list[Any]:
    """Other cells, and what is outside the differential and why."""
    title = heading("Other cells, and what was not counted", needs=38 * mm)
    if not report.measured(Stage.DETECTION):
        return [*title, text(NOT_MEASURED)]
    said = _other_counts(report)
    left = [key for key in ROW if key in said and key in _CELLS_OF_KINDS]
    right = [key for key in ROW if key in said and key not in _CELLS_OF_KINDS]
    rows: list[list[Any]] = []
    for i in range(max(len(left), len(right))):
        row: list[Any] = []
        for keys in (left, right):
            if i < len(keys):
                place = (("P", object()),)
                row += [
                    text(ROW[keys[i]], style=SMALL, path=place),
                    text(said[keys[i]], style=_VALUE, path=place),
                ]
            else:
                row += ["", ""]
        rows.append([row[0], row[1], "", row[2], row[3]])
    half = (width - 10 * mm) / 2
    made = layout(
        rows, [half - 16 * mm, 16 * mm, 10 * mm, half - 16 * mm, 16 * mm], padding=(0, 0.5)
    )
    return [*title, made]


_VALUE = ParagraphStyle("value", parent=SMALL, alignment=2)


def _other_counts(report: Report) -> dict[str, str]:
    numbers = report.numbers
    said = {"cells": str(len(report.analysis.cells))}
    if report.measured(Stage.CELL_CLASS):
        said["red_cells"] = str(numbers.count(CellClass.RED_BLOOD_CELL))
        said["platelets"] = str(numbers.count(CellClass.PLATELET))
        if numbers.platelets_per_red_cell is not None:
            said["platelets_per_red_cell"] = ratio(numbers.platelets_per_red_cell)
        if report.platelets_per_field is not None:
            said["platelets_per_field"] = ratio(report.platelets_per_field)
    if report.measured(Stage.WBC_CLASS):
        nucleated = dict(numbers.counts).get(WbcClass.NUCLEATED_RED_BLOOD_CELLS)
        if nucleated is not None:
            said["nucleated_red.count"] = str(nucleated)
            if numbers.nucleated_red_per_100 is not None:
                said["nucleated_red.per_100"] = one_decimal(numbers.nucleated_red_per_100)
        said["overruled"] = str(numbers.overruled)
    if report.measured(Stage.MALIGNANCY):
        said["disagreements"] = str(numbers.disagreements)
    for stage, count in numbers.unclassified:
        if report.measured(stage):
            said[f"unclassified.{stage.value}"] = str(count)
    return said


def _cells(fraction: Proportion) -> list[str]:
    percent, low, high = fraction.percent, fraction.low, fraction.high
    if percent is None or low is None or high is None:
        return [str(fraction.count), DASH, DASH]
    return [
        str(fraction.count),
        one_decimal(percent),
        f"{one_decimal(low)} to {one_decimal(high)}",
    ]


def _corrected(corrected: Corrected) -> list[str]:
    return [
        one_decimal(corrected.percent),
        f"{one_decimal(corrected.low)} to {one_decimal(corrected.high)}",
    ]


def _pale(report: Report) -> tuple[int, ...]:
    """Percentages and intervals of an insufficient count are grey."""
    return (2, 3) if report.numbers.adequacy is Adequacy.INSUFFICIENT else ()
