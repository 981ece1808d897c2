"""Door 4: a worker claims an analysed case, and issues its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, RowMapping, insert, select

from db._leases import (
    ATTEMPTS,
    PUT_BACK,
    AfterFailure,
    backoff,
    check_aware,
    extend,
    held_case,
    locked_case,
    move_case,
    new_lease,
)
from db.analysing import StoredInstance, instances_of
from db.audit import record_event
from db.database import Transaction
from db.queue import Step, defer
from db.review_rows import reviews_of
from db.tables import analyses, cases, deliveries, report_objects, reports
from domain.identities import (
    AnalysisId,
    CaseId,
    InstanceUID,
    ReportId,
    SeriesUID,
    Sha256,
    SopClassUID,
    derived_uuid,
)
from domain.reviews import Review, counted_after, signature_of
from domain.states import CaseEvent, CaseState, CompletedBy, DeliveryState, ReportStatus

__all__ = [
    "REPORT_BLOCKED",
    "AfterFailure",
    "IssuedReport",
    "ObjectKind",
    "ReportClaim",
    "ReportObject",
    "block_report",
    "claim_report",
    "extend_report_lease",
    "fail_report",
    "finish_report",
    "objects_of",
    "reports_of",
]


REPORT_BLOCKED = "report blocked"
DIFFERENCES_TOLD = 20  # of a blocked report, in its audit event


class ObjectKind(StrEnum):
    PDF = "pdf"  # the Encapsulated PDF object
    SR = "sr"
    ANNOTATIONS = "annotations"  # of the cells of one image; a report has any number of them
    HL7 = "hl7"  # a result message, ORU^R01
    FHIR = "fhir"  # a transaction Bundle

    @property
    def is_message(self) -> bool:
        """No DICOM object: its class, series and transfer syntax are empty, its UID only names it."""
        return self in (ObjectKind.HL7, ObjectKind.FHIR)


@dataclass(frozen=True, kw_only=True)
class ReportObject:
    """A result object that lies durably in the store."""

    kind: ObjectKind
    instance_uid: InstanceUID
    sop_class_uid: SopClassUID
    series_uid: SeriesUID
    transfer_syntax_uid: str
    sha256: Sha256
    size_bytes: int
    store_key: str


@dataclass(frozen=True, kw_only=True)
class IssuedReport:
    """A report as it went out; never changed afterwards."""

    report_id: ReportId
    case_id: CaseId
    analysis_id: AnalysisId
    revision: int
    status: ReportStatus
    predecessor: ReportId | None
    issued_at: datetime
    objects: tuple[ReportObject, ...]
    reviewed: int  # ordinal of the last review that it holds; 0: none

    def object(self, kind: ObjectKind) -> ReportObject:
        """The PDF or the SR."""
        return next(o for o in self.objects if o.kind is kind)


@dataclass(frozen=True, kw_only=True)
class ReportClaim:
    """A worker's hold on an analysed case. `report_id` and `revision` are those the new report will
    have; `previous` is the one it replaces; `reviews` are all acts of persons that it holds;
    `corrects_final`: a signed report of the case was issued before."""

    case_id: CaseId
    analysis_id: AnalysisId
    ordinal: int
    report_id: ReportId
    revision: int
    status: ReportStatus
    previous: IssuedReport | None
    corrects_final: bool
    reviews: tuple[Review, ...]
    completed_by: CompletedBy
    completed_at: datetime
    analysed_at: datetime
    attempt: int
    owner: str
    token: UUID
    instances: tuple[StoredInstance, ...]

    @property
    def issued_at(self) -> datetime:
        """The same at every attempt: when the analysis was finished, or the last person was done."""
        done = [r.at for r in self.reviews if r.analysis_ordinal == self.ordinal]
        return max((self.analysed_at, *done))

    @property
    def reviewed(self) -> int:
        """Ordinal of the last review that the report holds; 0: none."""
        return self.reviews[-1].ordinal if self.reviews else 0

    @property
    def counted_after(self) -> int:
        """Ordinal of the review after which its numbers were counted; 0: the networks' own."""
        return counted_after(self.reviews, analysis_ordinal=self.ordinal)


def claim_report(
    tx: Transaction, case_id: CaseId, *, owner: str, lease: timedelta, now: datetime
) -> ReportClaim | None:
    """Take an ANALYSED case whose time has come; None when there is nothing to take."""
    case = locked_case(tx, case_id)
    if case is None or case["state"] != CaseState.ANALYSED or case["due_at"] > now:
        return None
    hold = new_lease(owner, lease, now)
    attempt = case["attempts"] + 1
    move_case(
        tx, case, CaseEvent.REPORT_CLAIMED, now=now, due_at=None, lease=hold, attempts=attempt
    )
    analysis = (
        tx.connection.execute(
            select(analyses).where(
                analyses.c.case_id == case["id"], analyses.c.ordinal == case["analysis_ordinal"]
            )
        )
        .mappings()
        .one()
    )
    issued = reports_of(tx.connection, case["id"])
    previous = issued[-1] if issued else None
    revision = len(issued) + 1
    reviews = reviews_of(tx.connection, case["id"])
    claim = ReportClaim(
        case_id=case_id,
        analysis_id=AnalysisId(str(analysis["id"])),
        ordinal=analysis["ordinal"],
        report_id=ReportId(str(derived_uuid("report", str(analysis["id"]), str(revision)))),
        revision=revision,
        status=_status(reviews, analysis["ordinal"], previous),
        previous=previous,
        corrects_final=any(r.status is ReportStatus.VERIFIED for r in issued),
        reviews=reviews,
        completed_by=CompletedBy(analysis["completed_by"]),
        completed_at=analysis["completed_at"],
        analysed_at=analysis["finished_at"],
        attempt=attempt,
        owner=owner,
        token=hold.token,
        instances=instances_of(tx.connection, AnalysisId(str(analysis["id"]))),
    )
    record_event(
        tx,
        actor=owner,
        event="report started",
        case_id=case_id,
        objects=(claim.report_id,),
        details={"attempt": attempt, "revision": revision},
    )
    return claim


def _status(reviews: Sequence[Review], ordinal: int, previous: IssuedReport | None) -> ReportStatus:
    if signature_of(reviews, analysis_ordinal=ordinal) is not None:
        return ReportStatus.VERIFIED
    return ReportStatus.AMENDED if previous else ReportStatus.PRELIMINARY


def extend_report_lease(
    tx: Transaction, claim: ReportClaim, *, lease: timedelta, now: datetime
) -> bool:
    """Hold on for `lease` from now. False: the hold is gone."""
    return extend(tx, cases, claim.case_id, claim.token, lease=lease, now=now)


def finish_report(
    tx: Transaction,
    claim: ReportClaim,
    *,
    objects: Sequence[ReportObject],
    destinations: Sequence[str],
    issued_at: datetime,
    now: datetime,
) -> bool:
    """Issue the report: its rows, a PENDING delivery and a job for each destination (by name).
    Without destinations the case is REPORTED. False, and nothing written, when the hold is gone."""
    case = held_case(tx, claim.case_id, claim.token)
    if case is None:
        return False
    check_aware(now)
    check_aware(issued_at)
    report_id = UUID(claim.report_id)
    tx.connection.execute(
        insert(reports).values(
            id=report_id,
            case_id=case["id"],
            analysis_id=UUID(claim.analysis_id),
            revision=claim.revision,
            status=claim.status.value,
            predecessor=UUID(claim.previous.report_id) if claim.previous else None,
            issued_at=issued_at,
            reviewed=claim.reviewed,
        )
    )
    for made in objects:
        tx.connection.execute(
            insert(report_objects).values(
                instance_uid=made.instance_uid,
                report_id=report_id,
                kind=made.kind.value,
                sop_class_uid=made.sop_class_uid,
                series_uid=made.series_uid,
                transfer_syntax_uid=made.transfer_syntax_uid,
                sha256=made.sha256,
                size_bytes=made.size_bytes,
                store_key=made.store_key,
            )
        )
    for destination in dict.fromkeys(destinations):
        delivery_id = derived_uuid("delivery", claim.report_id, destination)
        tx.connection.execute(
            insert(deliveries).values(
                id=delivery_id,
                report_id=report_id,
                destination=destination,
                state=DeliveryState.PENDING.value,
                next_attempt_at=now,
                created_at=now,
                changed_at=now,
            )
        )
        defer(tx, Step.DELIVER, key=str(delivery_id))
    done = CaseEvent.REPORT_ISSUED if destinations else CaseEvent.REPORT_ISSUED_NO_DESTINATION
    move_case(tx, case, done, now=now, due_at=None)
    record_event(
        tx,
        actor=claim.owner,
        event="report issued",
        case_id=claim.case_id,
        objects=(claim.report_id, *(made.instance_uid for made in objects)),
        details={
            "revision": claim.revision,
            "status": claim.status.value,
            "replaces": claim.previous.report_id if claim.previous else None,
            "reviewed": claim.reviewed,
            "destinations": ", ".join(destinations),
            **{
                f"{kind.value}_sha256": ", ".join(m.sha256 for m in objects if m.kind is kind)
                for kind in dict.fromkeys(made.kind for made in objects)
            },
        },
    )
    if not destinations:
        record_event(
            tx,
            actor=claim.owner,
            event="case reported",
            case_id=claim.case_id,
            objects=(claim.report_id,),
        )
    return True


def fail_report(
    tx: Transaction, claim: ReportClaim, *, reason: str, now: datetime, counts: bool = True
) -> AfterFailure:
    """Give the case back: AGAIN, or HOLD_GONE. GIVEN_UP: no more attempts, the case is FAILED.

    `counts` False: not the case's fault (disk full, the service stops); the attempt is not counted
    and the case is due again after 30 s.
    """
    case = held_case(tx, claim.case_id, claim.token)
    if case is None:
        return AfterFailure.HOLD_GONE
    again = claim.attempt < ATTEMPTS or not counts
    due_at = now + (backoff(claim.attempt) if counts else PUT_BACK) if again else None
    move_case(
        tx,
        case,
        CaseEvent.LEASE_EXPIRED if again else CaseEvent.GIVEN_UP,
        now=now,
        due_at=due_at,
        attempts=claim.attempt if counts else claim.attempt - 1,
    )
    if again:
        defer(tx, Step.REPORT, key=claim.case_id, at=due_at)
    record_event(
        tx,
        actor=claim.owner,
        event="report failed" if counts else "report put back",
        outcome="failure",
        case_id=claim.case_id,
        objects=(claim.report_id,),
        details={"attempt": claim.attempt, "reason": reason, "again": again},
    )
    if again:
        return AfterFailure.AGAIN
    record_event(
        tx,
        actor=claim.owner,
        event="case given up",
        outcome="failure",
        case_id=claim.case_id,
        objects=(claim.report_id,),
        details={"attempt": claim.attempt, "reason": reason},
    )
    return AfterFailure.GIVEN_UP


def block_report(
    tx: Transaction, claim: ReportClaim, *, differences: Sequence[str], now: datetime
) -> bool:
    """The alarm: a drawing says other numbers than the database. Nothing is issued or delivered, and
    the case is FAILED until a person has looked. False, and nothing written, when the hold is gone.
    """
    case = held_case(tx, claim.case_id, claim.token)
    if case is None:
        return False
    move_case(tx, case, CaseEvent.GIVEN_UP, now=now, due_at=None, attempts=claim.attempt)
    record_event(
        tx,
        actor=claim.owner,
        event=REPORT_BLOCKED,
        outcome="failure",
        case_id=claim.case_id,
        objects=(claim.report_id,),
        details={
            "revision": claim.revision,
            "attempt": claim.attempt,
            "differences": len(differences),
            "first": "; ".join(differences[:DIFFERENCES_TOLD]),
        },
    )
    return True


def reports_of(conn: Connection, case_id: UUID) -> tuple[IssuedReport, ...]:
    """The case's reports, oldest first."""
    query = select(reports).where(reports.c.case_id == case_id).order_by(reports.c.revision)
    return tuple(_issued(conn, row) for row in conn.execute(query).mappings().all())


def objects_of(conn: Connection, report_id: UUID) -> tuple[ReportObject, ...]:
    """The report's objects in the order they are sent: PDF, SR, then annotations, which a peer is
    the most likely to refuse."""
    query = (
        select(report_objects)
        .where(report_objects.c.report_id == report_id)
        .order_by(
            report_objects.c.kind == ObjectKind.ANNOTATIONS.value,
            report_objects.c.kind,
            report_objects.c.instance_uid,
        )
    )
    return tuple(
        ReportObject(
            kind=ObjectKind(row["kind"]),
            instance_uid=InstanceUID(row["instance_uid"]),
            sop_class_uid=SopClassUID(row["sop_class_uid"]),
            series_uid=SeriesUID(row["series_uid"]),
            transfer_syntax_uid=row["transfer_syntax_uid"],
            sha256=Sha256(row["sha256"]),
            size_bytes=row["size_bytes"],
            store_key=row["store_key"],
        )
        for row in conn.execute(query).mappings()
    )


def _issued(conn: Connection, row: RowMapping) -> IssuedReport:
    return IssuedReport(
        report_id=ReportId(str(row["id"])),
        case_id=CaseId(str(row["case_id"])),
        analysis_id=AnalysisId(str(row["analysis_id"])),
        revision=row["revision"],
        status=ReportStatus(row["status"]),
        predecessor=ReportId(str(row["predecessor"])) if row["predecessor"] else None,
        issued_at=row["issued_at"],
        reviewed=row["reviewed"],
        objects=objects_of(conn, row["id"]),
    )
