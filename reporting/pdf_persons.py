"""The PDF's history: which report this one replaces, and what persons did and said.

It comes after every section with numbers, and `reporting.readback` reads no number from it on: a
comment may hold any text.
"""

from typing import Any

from reportlab.lib.units import mm

from reporting.headers import moment
from reporting.pdf_typography import SMALL, heading, table, text
from reporting.persons import PERSONS_HEADING, called_words
from reporting.report import Report
from reporting.words import person_words, short

__all__ = ["persons_section"]

REVIEWS_LISTED = 60
_WORDS = {"reclassification": "reclassified", "amendment": "amended", "signature": "signed"}


def persons_section(report: Report, width: float) -> list[Any]:
    """Empty for a report that replaces none."""
    old = report.predecessor
    if old is None and not report.reviews:
        return []
    said = heading(PERSONS_HEADING, needs=25 * mm)
    if old is not None:
        said.append(
            text(
                f"Revision {report.revision} replaces revision {old.revision}: report "
                f"{old.pdf.instance_uid}, structured report {old.sr.instance_uid}. The older objects "
                "stay as they were issued.",
                SMALL,
            )
        )
    if not report.reviews:
        return said
    listed = report.reviews[-REVIEWS_LISTED:]
    rows: list[list[Any]] = [["", "What", "Who", "When", "Of", "Comment"]]
    for review in listed:
        change = review.change
        what = _WORDS[review.kind.value]
        if change is not None:
            what = (
                f"cell {change.cell} was {called_words(change.before)}; "
                f"is {called_words(change.after)}"
            )
        rows.append(
            [
                str(review.ordinal),
                text(what, SMALL),
                text(
                    ", ".join(filter(None, (person_words(review.by), review.organization))), SMALL
                ),
                text(moment(review.at), SMALL),
                text(f"revision {review.revision}, analysis {review.analysis_ordinal}", SMALL),
                text(short(review.comment, 600), SMALL),
            ]
        )
    widths = [7 * mm, 46 * mm, 32 * mm, 27 * mm, 24 * mm, width - 136 * mm]
    said.append(table(rows, widths))
    left_out = len(report.reviews) - len(listed)
    if left_out:
        said.append(
            text(f"{left_out} earlier entries are in the record and not listed here.", SMALL)
        )
    return said
