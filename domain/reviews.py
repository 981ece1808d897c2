"""What persons do to a case after the networks: call a cell by another name, amend, sign.

In      Analysis as the networks gave it, and the reviews of the case in their order
Out     the Analysis that the numbers are counted from
A review stands beside the machine's answer and never in its place: what the cell was called before,
the person, the time and the reason stay with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain.analysis import Analysis
from domain.cells import LYMPHOID, UNCLASSIFIED, Cell, Malignancy, Mark, Subtype, WbcClass

__all__ = [
    "CLASSES_FOR_PERSONS",
    "Called",
    "Reclassification",
    "Review",
    "ReviewKind",
    "called_of",
    "counted_after",
    "person_calls",
    "reclassifications_of",
    "reviewed",
    "signature_of",
]

# what a person may call a cell: stage 4's classes, a blast's pattern, or no class
CLASSES_FOR_PERSONS = (*(c.value for c in WbcClass), *(s.value for s in Subtype), UNCLASSIFIED)


class ReviewKind(StrEnum):
    """What a person did."""

    RECLASSIFICATION = "reclassification"  # of one cell; the numbers follow
    AMENDMENT = "amendment"  # a comment; the numbers stay
    SIGNATURE = "signature"  # the report is verified by this person


@dataclass(frozen=True, kw_only=True)
class Called:
    """What a cell is called at stages 4 to 6, and what it is counted as."""

    wbc_class: str | None
    malignancy: str | None
    subtype: str | None
    final_class: str

    @property
    def words(self) -> tuple[str, ...]:
        """Its class, and for a lymphoid cell what is said beyond."""
        if self.final_class not in LYMPHOID:
            return (self.final_class,)
        return (self.final_class, *filter(None, (self.malignancy, self.subtype)))


@dataclass(frozen=True, kw_only=True)
class Reclassification:
    """One cell called by another name; `before` is what it was called until then."""

    cell: int
    before: Called
    after: Called


@dataclass(frozen=True, kw_only=True)
class Review:
    """One act of a person on a case. `ordinal` counts the case's reviews from 1.

    `analysis_ordinal` and `revision` are those of the report that the person had before them.
    `by` and `organization` are as given; a name may be in DICOM's form (`Family^Given`).
    """

    ordinal: int
    kind: ReviewKind
    by: str
    at: datetime
    comment: str
    analysis_ordinal: int
    revision: int
    organization: str = ""
    change: Reclassification | None = None


def called_of(cell: Cell) -> Called:
    return Called(
        wbc_class=cell.wbc_class,
        malignancy=cell.malignancy,
        subtype=cell.subtype,
        final_class=cell.final_class,
    )


def person_calls(cell: Cell, name: str) -> Called:
    """What a cell is once a person has named it. ValueError for what is no class.

    A person's blast (`blast_cells`, or one of the patterns) is malignant, a person's lymphocyte is
    benign. `blast_cells` says nothing of the pattern: a blast keeps its own, another cell has none.
    """
    if name not in CLASSES_FOR_PERSONS:
        raise ValueError(f"{name!r} is no class; it is one of {', '.join(CLASSES_FOR_PERSONS)}")
    if name in set(Subtype) or name == WbcClass.BLAST_CELLS:
        own = cell.subtype if cell.is_blast and cell.subtype else UNCLASSIFIED
        return Called(
            wbc_class=WbcClass.BLAST_CELLS.value,
            malignancy=Malignancy.MALIGNANT.value,
            subtype=own if name == WbcClass.BLAST_CELLS else name,
            final_class=WbcClass.BLAST_CELLS.value,
        )
    benign = Malignancy.BENIGN.value if name == WbcClass.LYMPHOCYTES else None
    return Called(wbc_class=name, malignancy=benign, subtype=None, final_class=name)


def reclassifications_of(
    reviews: Iterable[Review], *, analysis_ordinal: int
) -> dict[int, tuple[Review, ...]]:
    """The reclassifications of this analysis by cell number, each cell's in their order. Those of
    another analysis are left out: its cells have other numbers."""
    found: dict[int, tuple[Review, ...]] = {}
    for review in reviews:
        if review.change is not None and review.analysis_ordinal == analysis_ordinal:
            number = review.change.cell
            found[number] = (*found.get(number, ()), review)
    return dict(sorted(found.items()))


def counted_after(reviews: Iterable[Review], *, analysis_ordinal: int) -> int:
    """Ordinal of the review after which the analysis's numbers were counted; 0: the networks' own."""
    made = reclassifications_of(reviews, analysis_ordinal=analysis_ordinal).values()
    return max((r.ordinal for reviews_of_cell in made for r in reviews_of_cell), default=0)


def signature_of(reviews: Iterable[Review], *, analysis_ordinal: int) -> Review | None:
    """The signature under a report that holds these reviews: there is one while nothing came after
    it. A reclassification, an amendment or a new analysis takes it away."""
    last = max(reviews, key=lambda r: r.ordinal, default=None)
    if last is None or last.kind is not ReviewKind.SIGNATURE:
        return None
    return last if last.analysis_ordinal == analysis_ordinal else None


def reviewed(analysis: Analysis, reviews: Iterable[Review], *, analysis_ordinal: int) -> Analysis:
    """The analysis with every reclassified cell as a person calls it. No probability of a network
    stands beside a person's word, and the doubts of the networks about the cell are gone."""
    changes = reclassifications_of(reviews, analysis_ordinal=analysis_ordinal)
    if not changes:
        return analysis
    last = {number: made[-1].change for number, made in changes.items()}
    return replace(analysis, cells=tuple(_renamed(c, last.get(c.number)) for c in analysis.cells))


def _renamed(cell: Cell, change: Reclassification | None) -> Cell:
    if change is None:
        return cell
    called = change.after
    return replace(
        cell,
        wbc_class=called.wbc_class,
        wbc_class_p=(),
        malignancy=called.malignancy,
        malignancy_p=(),
        subtype=called.subtype,
        subtype_p=(),
        final_class=called.final_class,
        marks=tuple(m for m in cell.marks if m is Mark.AT_BORDER),
    )
