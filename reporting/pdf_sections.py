"""The sections of the PDF, in reading order: who, finding, blasts, differential, pattern, what else
was counted and what was not, image quality; then the evidence and the provenance.
"""

from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Spacer

from domain.cells import Stage
from domain.counts import Adequacy
from domain.finding import Flag
from domain.image import ImageReading, ScaleFrom, Verdict
from reporting.headers import moment
from reporting.pdf_evidence import gallery_section, overview_section
from reporting.pdf_frame import Sheet
from reporting.pdf_numbers import (
    NO_PATTERN,
    NOT_MEASURED,
    PATTERN_HEADING,
    ROW,
    blasts_section,
    counts_section,
    differential_section,
    pattern_section,
)
from reporting.pdf_persons import persons_section
from reporting.pdf_provenance import provenance_section
from reporting.pdf_trend import trend_section
from reporting.pdf_typography import BODY, LEAD, NOTE, SMALL, heading, labelled, table, text
from reporting.persons import status_sentences
from reporting.report import Report
from reporting.words import FLAG_WORDS, date_words, person_words, short

__all__ = ["NO_PATTERN", "PATTERN_HEADING", "ROW", "story"]

DASH = "–"
IMAGES_LISTED = 40

# what a laboratory can do about it; said under the finding
ADVICE = {
    Flag.IMAGE_NOT_VIABLE: "Focus, light and stain of the images named below are to be looked at; "
    "take the fields again and send the study again.",
    Flag.DOMAIN_NOT_COVERED: "These models were not made for such images; they can be read once a "
    "bundle for them is installed.",
    Flag.STAGE_FAILED: "What failed is on the last page; the case can be analysed again.",
    Flag.IMAGE_UNREADABLE: "What could not be read is on the last page; send those images again.",
}
NO_LEUKOCYTES_ADVICE = (
    "The fields hold no cell that is classified as a leukocyte; choose fields where leukocytes lie."
)


def story(report: Report, sheet: Sheet) -> list[Any]:
    """All flowables of the report, for this paper's column."""
    width = sheet.column
    # a page of its own for each part, unless there is room on the one that is begun
    page = sheet.height - sheet.top - sheet.bottom
    evidence_page, last_page = CondPageBreak(0.45 * page), CondPageBreak(0.72 * page)
    evidence = [*gallery_section(report, width), *overview_section(report, sheet)]
    return [
        *_who(report, width),
        *_finding(report),
        *_numbers(report, width),
        *_quality(report, width),
        *trend_section(report, width),
        *([evidence_page, *evidence] if evidence else []),
        last_page,
        *persons_section(report, width),
        *provenance_section(report, width),
    ]


def _numbers(report: Report, width: float) -> list[Any]:
    if not report.measured(Stage.DETECTION):
        return [*heading("Blasts, differential and other cells"), text(NOT_MEASURED)]
    return [
        *blasts_section(report, width),
        *differential_section(report, width),
        *pattern_section(report, width),
        *counts_section(report, width),
    ]


def _who(report: Report, width: float) -> list[Any]:
    context, patient, specimen = report.context, report.context.patient, report.context.specimen
    scanner = context.scanner
    acquired = context.acquired_at
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
        ("Acquired", date_words(acquired[:8], acquired[8:]) if acquired else ""),
        (
            "Scanner",
            " ".join(filter(None, (scanner.manufacturer, scanner.model))) if scanner else "",
        ),
        ("Referred by", short(person_words(context.referring_physician), 90)),
        ("Issued", moment(report.issued_at)),
        (
            "Status",
            report.verification
            if report.signature
            else f"{report.verification}, {report.status.value}",
        ),
        ("Images", str(len(report.analysis.images))),
        ("Review threshold", f"{report.review_threshold_percent:g} %"),
    ]
    return [
        labelled([(label, short(value, 120)) for label, value in pairs], columns=4, width=width)
    ]


def _finding(report: Report) -> list[Any]:
    said: list[Any] = heading("Finding")
    said += [text(sentence, style=BODY) for sentence in status_sentences(report)]
    first, *others = report.finding.sentences
    said.append(text(first, style=LEAD))
    if others:
        said += [Spacer(0, 1.5), text(" ".join(others), style=BODY)]
    advice = _advice(report)
    if advice:
        said += [Spacer(0, 1.5), text(advice, style=BODY)]
    if report.finding.flags:
        flags = "; ".join(FLAG_WORDS[f] for f in report.finding.flags)
        said += [Spacer(0, 1.5), text(f"Flags: {flags}.", style=SMALL)]
    return said


def _advice(report: Report) -> str:
    said = [words for flag, words in ADVICE.items() if flag in report.finding.flags]
    counted = report.measured(Stage.WBC_CLASS)
    if counted and report.numbers.adequacy is Adequacy.NONE:
        said.append(NO_LEUKOCYTES_ADVICE)
    return " ".join(said)


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
                text(_scale(image), style=SMALL),
                str(image.fields_read),
                text(_remarks(image), style=SMALL, limit=400),
            ]
        )
    widths = [12 * mm, 22 * mm, 20 * mm, 40 * mm, 20 * mm, width - 114 * mm]
    said = [*heading("Image quality", needs=15 * mm), table(rows, widths)]
    left_out = len(report.analysis.images) - IMAGES_LISTED
    if left_out > 0:
        said.append(text(f"{left_out} further images are not listed here.", style=NOTE))
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
