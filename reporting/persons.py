"""What persons did to a case, in words and for the SR's header: the same in every drawing.

Names of persons are shown as given; a name in DICOM's form (`Family^Given`) is shown as read.
"""

from pydicom.dataset import Dataset

from domain.cells import UNCLASSIFIED, Subtype
from domain.reviews import Called, Review, ReviewKind
from reporting.figures import one_decimal
from reporting.headers import moment, person_value
from reporting.report import Report
from reporting.words import class_words, legible, person_words

__all__ = [
    "PERSONS_HEADING",
    "called_words",
    "counted_as_read",
    "review_words",
    "signed_words",
    "status_sentences",
    "verifying_observers",
]

# the section that holds persons' own text; what follows it in the PDF is not read back for numbers
PERSONS_HEADING = "Reclassifications, amendments and signatures"
NOT_STATED = "not stated"


def called_words(called: Called) -> str:
    """
    >>> from domain.reviews import Called
    >>> called_words(Called(wbc_class=None, malignancy=None, subtype=None, final_class="platelet"))
    'Platelet'
    >>> blast = Called(
    ...     wbc_class="blast_cells",
    ...     malignancy="malignant",
    ...     subtype="pre_b",
    ...     final_class="blast_cells",
    ... )
    >>> called_words(blast)
    'Blast cell (morphology), malignant, Pre-B'
    """
    first, *more = called.words
    return ", ".join((class_words(first), *map(_further, more)))


def _further(name: str) -> str:
    """What is said of a lymphoid cell beyond its class; a pattern is a name and keeps its capitals."""
    if name == UNCLASSIFIED:
        return "no pattern"
    return class_words(name) if name in set(Subtype) else class_words(name).lower()


def signed_words(report: Report) -> str:
    """Who verified the report and when; empty while nobody has."""
    signed = report.signature
    return "" if signed is None else f"Verified by {_by(signed)}, {moment(signed.at)}"


def review_words(review: Review) -> str:
    """One act of a person as a sentence or two."""
    change = review.change
    if change is not None:
        said = (
            f"Cell {change.cell}: {called_words(change.before)} became {called_words(change.after)}"
        )
    else:
        said = {
            ReviewKind.AMENDMENT: "Amended",
            ReviewKind.SIGNATURE: "Signed",
        }[review.kind]
    where = f"revision {review.revision}, analysis {review.analysis_ordinal}"
    comment = f": {legible(review.comment)}" if review.comment else ""
    return f"{said} ({where}), {_by(review)}, {moment(review.at)}{comment}"


def status_sentences(report: Report) -> list[str]:
    """What a reader has to know before the numbers: that it replaces a report, and what persons
    changed in them. None of a person's own text."""
    said: list[str] = []
    old = report.predecessor
    if old is not None:
        what = "Signed report" if report.signature else "Amended report"
        said.append(
            f"{what}. It replaces revision {old.revision} (document {old.pdf.instance_uid})."
        )
    cells = report.reclassified
    if cells:
        were = "1 cell was" if len(cells) == 1 else f"{len(cells)} cells were"
        said.append(
            f"{were} reclassified by a person, and every number here is counted so. "
            f"{counted_as_read(report)}"
        )
    return said


def counted_as_read(report: Report) -> str:
    """What the networks alone had counted, as a sentence."""
    blasts = report.numbers_as_read.blasts
    if blasts.percent is None:
        return "The networks alone counted no leukocytes."
    return (
        f"The networks alone counted {blasts.count} blasts of {blasts.total} leukocytes "
        f"({one_decimal(blasts.percent)} %)."
    )


def verifying_observers(report: Report) -> list[Dataset]:
    """Verifying Observer Sequence (PS3.3 C.17.2): who takes responsibility, and when."""
    signed = report.signature
    if signed is None:
        return []
    item = Dataset()
    item.add(person_value("VerifyingObserverName", signed.by))
    item.VerifyingObserverIdentificationCodeSequence = []
    item.add(person_value("VerifyingOrganization", signed.organization or NOT_STATED))
    item.VerificationDateTime = signed.at.strftime("%Y%m%d%H%M%S.%f%z")
    return [item]


def _by(review: Review) -> str:
    organization = f", {legible(review.organization)}" if review.organization else ""
    return f"{person_words(review.by)}{organization}"
