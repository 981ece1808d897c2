"""The sections of the PDF, in reading order: who, finding, blasts, differential, pattern, what else
was counted and what was not, image quality; then the evidence and the provenance.

A section whose numbers were not measured says so in its place. Every number is printed in the form
that `reporting.readback` reads again.
"""

from typing import Any

from reportlab.lib.colors import white
from reportlab.lib.units import mm
from reportlab.platypus import KeepTogether, Spacer, Table

from domain.cells import CellClass, Stage, WbcClass
from domain.counts import Adequacy, Proportion
from domain.image import ImageReading, ScaleFrom, Verdict
from reporting.figures import one_decimal, ratio
from reporting.fonts import BOLD
from reporting.headers import moment
from reporting.pdf_evidence import gallery_section, overview_section
from reporting.pdf_frame import GREY
from reporting.pdf_parts import BlastBar, SmallBar
from reporting.pdf_persons import persons_section
from reporting.pdf_provenance import provenance_section
from reporting.pdf_typography import (
    BIG,
    BODY,
    LABEL,
    LEAD,
    NOTE,
    SMALL,
    heading,
    labelled,
    layout,
    rows_style,
    table,
    text,
)
from reporting.persons import status_sentences
from reporting.report import Report
from reporting.words import (
    FLAG_WORDS,
    class_words,
    date_words,
    person_words,
    short,
)

__all__ = ["NO_PATTERN", "PATTERN_HEADING", "ROW", "story"]

DASH = "–"
NO_PATTERN = "No blasts were counted, so no pattern is given."
PATTERN_HEADING = "Morphological pattern of the blasts: confirm by flow cytometry"
MORPHOLOGICAL_OF = (
    "Morphological blasts are of the leukocytes counted and of the lymphoid cells unclassified at "
    "malignancy."
)
NOT_MEASURED = "Not measured: no number is given."
IMAGES_LISTED = 40

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


def story(report: Report, *, width: float) -> list[Any]:
    """All flowables of the report, for a column of this width."""
    return [
        *_who(report, width),
        *_finding(report),
        *_blasts(report, width),
        *_differential(report, width),
        *_pattern(report, width),
        *_counts(report, width),
        *_quality(report, width),
        *gallery_section(report, width),
        *overview_section(report, width),
        *persons_section(report, width),
        *provenance_section(report, width),
    ]


def _who(report: Report, width: float) -> list[Any]:
    context, patient, specimen = report.context, report.context.patient, report.context.specimen
    scanner = context.scanner
    pairs = [
        ("Patient", short(person_words(patient.name), 90)),
        ("Patient ID", " / ".join(filter(None, (patient.patient_id, patient.issuer)))),
        ("Born", date_words(patient.birth_date) if patient.birth_date else ""),
        ("Sex", patient.sex),
        ("Accession", context.accession_number),
        ("Specimen", specimen.identifier if specimen else "not identified"),
        ("Container", specimen.container_identifier if specimen else ""),
        ("Stain", specimen.stain if specimen else ""),
        (
            "Study",
            date_words(context.study_date, context.study_time) if context.study_date else "",
        ),
        ("Referred by", short(person_words(context.referring_physician), 90)),
        (
            "Scanner",
            " ".join(filter(None, (scanner.manufacturer, scanner.model))) if scanner else "",
        ),
        ("Issued", moment(report.issued_at)),
    ]
    return [
        labelled([(label, short(value, 120)) for label, value in pairs], columns=4, width=width)
    ]


def _finding(report: Report) -> list[Any]:
    said: list[Any] = heading("Finding")
    said += [text(sentence, BODY) for sentence in status_sentences(report)]
    first, *others = report.finding.sentences
    said.append(text(first, LEAD))
    if others:
        said += [Spacer(0, 2), text(" ".join(others), BODY)]
    if report.finding.flags:
        flags = "; ".join(FLAG_WORDS[f] for f in report.finding.flags)
        said += [Spacer(0, 2), text(f"Flags: {flags}.", SMALL)]
    return said


def _blasts(report: Report, width: float) -> list[Any]:
    numbers = report.numbers
    title = heading("Blasts", needs=60 * mm)
    if not report.measured(Stage.WBC_CLASS):
        return [*title, text(NOT_MEASURED)]
    said: list[Any] = []
    rows: list[list[Any]] = [["", "Count", "%", "95 % interval"]]
    if report.measured(Stage.MALIGNANCY):
        if numbers.leukocytes:
            said += _big_fraction(numbers.blasts, report.review_threshold_percent, width)
        rows.append([ROW["blasts"], *_cells(numbers.blasts)])
    else:
        said.append(text(f"The blast fraction: {NOT_MEASURED.lower()}"))
    rows.append([ROW["morphological_blasts"], *_cells(numbers.morphological_blasts)])
    if report.measured(Stage.MALIGNANCY):
        if numbers.blast_bounds is not None and numbers.white_unclassified:
            low, high = map(one_decimal, numbers.blast_bounds)
            rows.append([ROW["bounds"], "", "", f"{low} to {high}"])
        if numbers.corrected is not None:
            c = numbers.corrected
            rows.append(
                [
                    ROW["corrected"],
                    "",
                    one_decimal(c.percent),
                    f"{one_decimal(c.low)} to {one_decimal(c.high)}",
                ]
            )
    widths = [width - 82 * mm, 20 * mm, 22 * mm, 40 * mm]
    said.append(table(rows, widths, rows_style(numbers=(1, 2, 3)) + _greyed(report)))
    said.append(text(MORPHOLOGICAL_OF, NOTE))
    if numbers.corrected is not None and report.measured(Stage.MALIGNANCY):
        said.append(
            text(
                "Corrected: Rogan-Gladen estimate with the sensitivity "
                f"{numbers.corrected.sensitivity:.3f} and specificity "
                f"{numbers.corrected.specificity:.3f} of the bundle's own evaluation.",
                NOTE,
            )
        )
    return [*title, KeepTogether(said)]


def _big_fraction(fraction: Proportion, threshold: float, width: float) -> list[Any]:
    percent, low, high = fraction.percent, fraction.low, fraction.high
    if percent is None or low is None or high is None:
        return []
    shown = layout(
        [
            [
                [text(f"{one_decimal(percent)} %", BIG), text("of the leukocytes counted", LABEL)],
                [
                    text(f"{one_decimal(low)} % to {one_decimal(high)} %", BIG),
                    text("95 % interval of the count, exact binomial", LABEL),
                ],
            ]
        ],
        [45 * mm, width - 45 * mm],
        padding=(0, 0),
    )
    return [shown, BlastBar(fraction, threshold=threshold, width=width), Spacer(0, 3)]


def _differential(report: Report, width: float) -> list[Any]:
    numbers = report.numbers
    title = heading("Differential", needs=50 * mm)
    if not report.measured(Stage.WBC_CLASS):
        return [*title, text(NOT_MEASURED)]
    pale = numbers.adequacy is Adequacy.INSUFFICIENT
    bar = 52 * mm
    rows: list[list[Any]] = [["Class", "Count", "%", "95 % interval", "0 to 100 %"]]
    rows += [
        [
            class_words(row.name),
            *_cells(row.proportion),
            SmallBar(row.proportion, width=bar, pale=pale),
        ]
        for row in numbers.differential
    ]
    rows.append([ROW["leukocytes"], str(numbers.leukocytes), "", "", ""])
    last = len(rows) - 1
    style = [
        *rows_style(numbers=(1, 2, 3)),
        *_greyed(report),
        ("FONT", (0, last), (1, last), BOLD, 9, 11),
        ("SPAN", (2, last), (4, last)),
        ("LEFTPADDING", (4, 0), (4, -1), 8),
    ]
    widths = [width - bar - 80 * mm, 16 * mm, 20 * mm, 36 * mm, bar + 8 * mm]
    adequacy = {
        Adequacy.ADEQUATE: f"Adequate: {report.limits.adequate} or more leukocytes were counted.",
        Adequacy.LIMITED: f"Limited: fewer than {report.limits.adequate} leukocytes were counted.",
        Adequacy.INSUFFICIENT: f"Insufficient: fewer than {report.limits.limited} leukocytes were "
        "counted; percentages are greyed and carry little.",
        Adequacy.NONE: "No leukocytes were found: no percentage exists.",
    }[numbers.adequacy]
    wanted = f" {report.leukocytes_wanted} were wanted."
    note = (
        f"{adequacy}{wanted} Unclassified cells and nucleated red cells are outside the "
        "differential. Intervals are the sampling error of the count alone."
    )
    return [*title, table(rows, widths, style), Spacer(0, 1.5), text(note, NOTE)]


def _pattern(report: Report, width: float) -> list[Any]:
    title = heading(PATTERN_HEADING, needs=35 * mm)
    if not report.measured(Stage.SUBTYPE):
        return [*title, text(NOT_MEASURED)]
    if not report.numbers.blasts.count:
        return [*title, text(NO_PATTERN)]
    bar = 52 * mm
    rows: list[list[Any]] = [["Pattern", "Count", "%", "95 % interval", "0 to 100 %"]]
    rows += [
        [
            class_words(row.name),
            *_cells(row.proportion),
            SmallBar(row.proportion, width=bar, pale=False),
        ]
        for row in report.numbers.subtypes
    ]
    widths = [width - bar - 80 * mm, 16 * mm, 20 * mm, 36 * mm, bar + 8 * mm]
    style = [*rows_style(numbers=(1, 2, 3)), ("LEFTPADDING", (4, 0), (4, -1), 8)]
    note = "Of the blasts that have a pattern. A pattern is a likeness of form, no immunophenotype."
    return [*title, table(rows, widths, style), Spacer(0, 1.5), text(note, NOTE)]


def _counts(report: Report, width: float) -> list[Any]:
    """Other cells, and what is outside the differential and why."""
    numbers = report.numbers
    title = heading("Other cells, and what was not counted", needs=40 * mm)
    if not report.measured(Stage.DETECTION):
        return [*title, text(NOT_MEASURED)]
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
    left = [key for key in ROW if key in said and key in _CELLS_OF_KINDS]
    right = [key for key in ROW if key in said and key not in _CELLS_OF_KINDS]
    rows: list[list[Any]] = []
    for i in range(max(len(left), len(right))):
        row: list[Any] = []
        for keys in (left, right):
            row += [ROW[keys[i]], said[keys[i]]] if i < len(keys) else ["", ""]
        rows.append([row[0], row[1], "", row[2], row[3]])
    half = (width - 10 * mm) / 2
    widths = [half - 16 * mm, 16 * mm, 10 * mm, half - 16 * mm, 16 * mm]
    style = [
        ("LINEBELOW", (2, 0), (2, -1), 1, white),
        ("FONTSIZE", (0, 0), (-1, -1), 8.5),
    ]
    made = Table(rows, colWidths=widths, hAlign="LEFT")
    made.setStyle([*rows_style(numbers=(1, 4), head=False), *style])
    return [*title, made]


def _quality(report: Report, width: float) -> list[Any]:
    rows: list[list[Any]] = [
        ["Image", "Viability", "Probability", "Scale, µm per pixel", "Fields read", "Remarks"]
    ]
    for number, image in enumerate(report.analysis.images[:IMAGES_LISTED], 1):
        p = image.viability.p
        rows.append(
            [
                str(number),
                {
                    Verdict.VIABLE: "viable",
                    Verdict.NON_VIABLE: "not viable",
                    Verdict.NOT_ASSESSED: "not assessed",
                }[image.viability.verdict],
                DASH if p is None else f"{p:.2f}",
                text(_scale(image), SMALL),
                str(image.fields_read),
                text(_remarks(image), SMALL, limit=400),
            ]
        )
    widths = [12 * mm, 22 * mm, 20 * mm, 40 * mm, 20 * mm, width - 114 * mm]
    said = [*heading("Image quality"), table(rows, widths, rows_style(numbers=()))]
    left_out = len(report.analysis.images) - IMAGES_LISTED
    if left_out > 0:
        said.append(text(f"{left_out} further images are not listed here.", NOTE))
    return said


def _scale(image: ImageReading) -> str:
    if image.um_per_px is None or image.scale_from is ScaleFrom.UNKNOWN:
        return "unknown"
    x, y = image.um_per_px
    size = f"{x:.4f}" if abs(x - y) < 1e-4 else f"{x:.4f} x {y:.4f}"
    return f"{size} (from {'spacing' if image.scale_from is ScaleFrom.SPACING else 'red cells'})"


def _remarks(image: ImageReading) -> str:
    said = [f"not evaluable: {image.not_evaluable}"] if image.not_evaluable else []
    if image.fields_refused:
        said.append(f"{image.fields_refused} fields not viable")
    if image.fields_left:
        said.append(f"{image.fields_left} fields not read, enough leukocytes counted")
    said += dict.fromkeys((*image.header.warnings, *image.warnings))
    return "; ".join(said) or "none"


def _cells(fraction: Proportion) -> list[str]:
    percent, low, high = fraction.percent, fraction.low, fraction.high
    if percent is None or low is None or high is None:
        return [str(fraction.count), DASH, DASH]
    return [
        str(fraction.count),
        one_decimal(percent),
        f"{one_decimal(low)} to {one_decimal(high)}",
    ]


def _greyed(report: Report) -> list[tuple[Any, ...]]:
    """Percentages and intervals of an insufficient count are grey."""
    if report.numbers.adequacy is not Adequacy.INSUFFICIENT:
        return []
    return [("TEXTCOLOR", (2, 1), (3, -1), GREY)]
