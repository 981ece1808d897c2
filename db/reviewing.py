"""What a person does to a reported case: sign it, amend it, reclassify a cell.

Each act is one transaction: the review's row, the numbers that follow from it, its audit event, and
the case on its road again from its report on. The report step then issues a new report that names the
old one. Two persons at once take turns at the case's row; who comes second is told what has changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, insert, select

from db._leases import check_aware, locked_case, move_case
from db.analysis_rows import load_analysis, save_numbers
from db.audit import record_event
from db.database import Transaction
from db.errors import ReviewRefused, UnknownRow
from db.queue import Step, defer
from db.reporting_rows import IssuedReport, reports_of
from db.review_rows import reviews_of
from db.tables import analyses, reviews
from domain.analysis import Analysis
from domain.counts import AdequacyLimits, numbers_of_analysis
from domain.identities import AnalysisId, CaseId, derived_uuid
from domain.reviews import (
    Called,
    Reclassification,
    Review,
    ReviewKind,
    called_of,
    person_calls,
    reviewed,
)
from domain.states import CaseEvent, CaseState, ReportStatus

__all__ = ["amend_report", "reclassify_cell", "sign_report"]

_NOT_YET = {
    CaseState.RECEIVING: "objects of it still arrive",
    CaseState.READY: "its analysis waits for a worker",
    CaseState.ANALYSING: "its images are being read",
    CaseState.FAILED: "no report could be made of it; `leukonode case ID --retry` sends it on",
}
_BEING_MADE = frozenset({CaseState.ANALYSED, CaseState.REPORTING})


@dataclass(frozen=True, kw_only=True)
class _Reported:
    """A case whose row is locked, and the report that the person has before them."""

    case: RowMapping
    case_id: CaseId
    report: IssuedReport
    reviews: tuple[Review, ...]

    @property
    def unissued(self) -> tuple[Review, ...]:
        return tuple(r for r in self.reviews if r.ordinal > self.report.reviewed)


def sign_report(
    tx: Transaction,
    case_id: CaseId,
    *,
    by: str,
    organization: str = "",
    comment: str = "",
    revision: int | None = None,
    now: datetime,
) -> Review:
    """Verify the latest report; with `revision`, only if that is still the latest.

    ReviewRefused says in one line why a case can't be signed. UnknownRow: no such case.
    """
    reported = _reported(tx, case_id, "signed")
    _as_it_was_seen(reported, revision)
    if reported.report.status is ReportStatus.VERIFIED:
        raise ReviewRefused(f"revision {reported.report.revision} is signed already")
    review = _review(
        reported,
        ReviewKind.SIGNATURE,
        by=by,
        organization=organization,
        comment=comment,
        now=now,
    )
    _record(tx, reported, review, event="report signed", details={"revision": review.revision})
    return review


def amend_report(
    tx: Transaction,
    case_id: CaseId,
    *,
    by: str,
    comment: str,
    revision: int | None = None,
    now: datetime,
) -> Review:
    """Add a person's comment; the report that holds it is unverified until it is signed."""
    if not comment.strip():
        raise ReviewRefused("an amendment says what it adds; give it a comment")
    reported = _reported(tx, case_id, "amended")
    _as_it_was_seen(reported, revision)
    review = _review(reported, ReviewKind.AMENDMENT, by=by, comment=comment, now=now)
    _record(tx, reported, review, event="report amended", details={"revision": review.revision})
    return review


def reclassify_cell(
    tx: Transaction,
    case_id: CaseId,
    cell: int,
    name: str,
    *,
    by: str,
    comment: str = "",
    revision: int | None = None,
    limits: AdequacyLimits,
    now: datetime,
) -> Review:
    """Call one cell of the reported analysis by another name, and count again.

    Several may follow each other before the new report is made: it holds them all. ReviewRefused
    names a cell that is not there, a name that is no class, a class that the cell has already, and a
    `revision` that is not the latest issued one: cells of another analysis have other numbers.
    """
    reported = _reported(tx, case_id, "reclassified")
    if revision is not None and revision != reported.report.revision:
        raise ReviewRefused(
            f"its latest report is revision {reported.report.revision}, not {revision}; look at that "
            "one first"
        )
    if any(r.kind is ReviewKind.SIGNATURE for r in reported.unissued):
        raise ReviewRefused("its signed report is being made; reclassify once that is issued")
    read = load_analysis(tx.connection, reported.report.analysis_id)
    review = _review(
        reported,
        ReviewKind.RECLASSIFICATION,
        by=by,
        comment=comment,
        now=now,
    )
    ordinal = review.analysis_ordinal
    change = _change(reviewed(read, reported.reviews, analysis_ordinal=ordinal), cell, name)
    review = replace(review, change=change)
    counted = reviewed(read, (*reported.reviews, review), analysis_ordinal=ordinal)
    _record(
        tx,
        reported,
        review,
        event="cell reclassified",
        details={
            "revision": review.revision,
            "cell": cell,
            "before": ", ".join(change.before.words),
            "after": ", ".join(change.after.words),
        },
    )
    save_numbers(
        tx,
        reported.report.analysis_id,
        counted,
        numbers_of_analysis(counted, limits=limits, by_person=True),
        reviewed=review.ordinal,
    )
    return review


def _reported(tx: Transaction, case_id: CaseId, what: str) -> _Reported:
    try:
        case = locked_case(tx, case_id)
    except ValueError:
        case = None
    if case is None:
        raise UnknownRow(f"no case {case_id}; leukonode cases lists them")
    why = _NOT_YET.get(CaseState(case["state"]))
    issued = reports_of(tx.connection, case["id"])
    if why is None and not issued:
        why = "its first report is being made"
    if why is None and issued[-1].analysis_id != _latest_analysis(tx, case):
        why = "images came later, and the report of their analysis is being made"
    if why is not None:
        raise ReviewRefused(f"the case can't be {what}: {why}")
    return _Reported(
        case=case,
        case_id=case_id,
        report=issued[-1],
        reviews=reviews_of(tx.connection, case["id"]),
    )


def _latest_analysis(tx: Transaction, case: RowMapping) -> AnalysisId:
    found = tx.connection.execute(
        select(analyses.c.id).where(
            analyses.c.case_id == case["id"], analyses.c.ordinal == case["analysis_ordinal"]
        )
    )
    return AnalysisId(str(found.scalar_one()))


def _as_it_was_seen(reported: _Reported, revision: int | None) -> None:
    """A person speaks of the report that lies before them, and of no later one."""
    latest = reported.report.revision
    if reported.unissued or CaseState(reported.case["state"]) in _BEING_MADE:
        raise ReviewRefused(
            f"revision {latest + 1} of its report is being made; look at that one first"
        )
    if revision is not None and revision != latest:
        raise ReviewRefused(
            f"its latest report is revision {latest}, not {revision}; look at that one first"
        )


def _review(
    reported: _Reported,
    kind: ReviewKind,
    *,
    by: str,
    comment: str,
    now: datetime,
    organization: str = "",
) -> Review:
    check_aware(now)
    if not by.strip():
        raise ReviewRefused("who does this is part of the record; give a name")
    return Review(
        ordinal=_last(reported.reviews) + 1,
        kind=kind,
        by=by.strip(),
        organization=organization.strip(),
        comment=comment.strip(),
        at=now,
        analysis_ordinal=reported.case["analysis_ordinal"],
        revision=reported.report.revision,
    )


def _last(done: Iterable[Review]) -> int:
    return max((r.ordinal for r in done), default=0)


def _change(read: Analysis, number: int, name: str) -> Reclassification:
    cell = next((c for c in read.cells if c.number == number), None)
    if cell is None:
        there = f"its cells are 1 to {len(read.cells)}" if read.cells else "it has none"
        raise ReviewRefused(f"the case has no cell {number}; {there}")
    try:
        after = person_calls(cell, name)
    except ValueError as error:
        raise ReviewRefused(str(error)) from None
    before = called_of(cell)
    # a red cell or platelet has no class of stage 4, and is counted as one all the same
    if before.words == after.words:
        raise ReviewRefused(f"cell {number} is counted as {', '.join(before.words)} already")
    return Reclassification(cell=number, before=before, after=after)


def _record(
    tx: Transaction,
    reported: _Reported,
    review: Review,
    *,
    event: str,
    details: dict[str, str | int],
) -> None:
    """The row, the case's next step, the audit event."""
    report = reported.report
    change = review.change
    tx.connection.execute(
        insert(reviews).values(
            id=derived_uuid("review", reported.case_id, str(review.ordinal)),
            case_id=reported.case["id"],
            ordinal=review.ordinal,
            kind=review.kind.value,
            analysis_id=UUID(report.analysis_id),
            report_id=UUID(report.report_id),
            person=review.by,
            organization=review.organization,
            comment=review.comment,
            at=review.at,
            cell=change.cell if change else None,
            **(_columns("before", change.before) if change else {}),
            **(_columns("after", change.after) if change else {}),
        )
    )
    move_case(tx, reported.case, CaseEvent.REVISED, now=review.at, due_at=review.at)
    defer(tx, Step.REPORT, key=reported.case_id)
    record_event(
        tx,
        actor=f"person:{review.by}",
        event=event,
        case_id=reported.case_id,
        objects=(report.report_id,),
        details={"review": review.ordinal, **details},
    )


def _columns(when: str, called: Called) -> dict[str, str | None]:
    return {
        f"{when}_wbc_class": called.wbc_class,
        f"{when}_malignancy": called.malignancy,
        f"{when}_subtype": called.subtype,
        f"{when}_final_class": called.final_class,
    }
