"""Questions of the command line and the pages. Frozen values out; times are aware UTC."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, select, text

from db.errors import UnknownRow
from db.reporting_rows import REPORT_BLOCKED, IssuedReport, reports_of
from db.review_rows import reviews_of
from db.tables import delivery_instances
from db.tables import events as trail
from domain.counts import Proportion
from domain.identities import AnalysisId, CaseId, InstanceUID, ReportId, StudyUID
from domain.image import Domain
from domain.reviews import Review
from domain.states import CaseState, CompletedBy, DeliveryState
from domain.study import Patient

__all__ = [
    "AnalysisLine",
    "CaseDetail",
    "CaseLine",
    "DeliveryLine",
    "EventLine",
    "ImageLine",
    "InstanceStatus",
    "blocked_reports",
    "case",
    "case_id_of",
    "cases",
    "deliveries",
    "events",
]


@dataclass(frozen=True, kw_only=True)
class CaseLine:
    """A line of the worklist. Numbers are those of the latest finished analysis."""

    case_id: CaseId
    study_uid: StudyUID
    patient: Patient
    accession_number: str
    state: CaseState
    instances: int
    received_at: datetime
    changed_at: datetime
    leukocytes: int | None
    blasts: Proportion | None
    adequacy: str | None
    untrained: bool | None
    reports: int


@dataclass(frozen=True, kw_only=True)
class ImageLine:
    instance_uid: InstanceUID | None
    source: str
    domain: Domain
    width_px: int
    height_px: int
    viability: str
    viability_p: float | None
    not_evaluable: str
    cells: int


@dataclass(frozen=True, kw_only=True)
class AnalysisLine:
    """An analysis of the case; counts are None until it is finished, and are those after the last
    reclassification by a person (`reviewed`: its ordinal; 0: as the networks read)."""

    analysis_id: AnalysisId
    ordinal: int
    completed_by: CompletedBy
    completed_at: datetime
    finished_at: datetime | None
    superseded: bool
    bundle: str | None
    untrained: bool | None
    engine: str | None
    leukocytes: int | None
    blasts: Proportion | None
    morphological_blasts: Proportion | None
    adequacy: str | None
    counts: tuple[tuple[str, int], ...]
    subtypes: tuple[tuple[str, int], ...]
    unclassified: tuple[tuple[str, int], ...]
    reviewed: int


@dataclass(frozen=True, kw_only=True)
class InstanceStatus:
    instance_uid: InstanceUID
    attempt: int
    status: int | None
    comment: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DeliveryLine:
    delivery_id: str
    case_id: CaseId
    report_id: ReportId
    revision: int
    destination: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    last_error: str
    changed_at: datetime
    instances: tuple[InstanceStatus, ...]


@dataclass(frozen=True, kw_only=True)
class EventLine:
    event_id: int
    at: datetime
    actor: str
    event: str
    outcome: str
    case_id: CaseId | None
    objects: tuple[str, ...]
    details: dict[str, Any]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CaseDetail:
    line: CaseLine
    due_at: datetime | None
    images: tuple[ImageLine, ...]
    analyses: tuple[AnalysisLine, ...]
    reports: tuple[IssuedReport, ...]
    reviews: tuple[Review, ...]
    deliveries: tuple[DeliveryLine, ...]
    events: tuple[EventLine, ...]


def cases(
    conn: Connection,
    *,
    since: datetime | None = None,
    state: CaseState | None = None,
    blasts_over_percent: float | None = None,
    patient: str | None = None,
    limit: int = 100,
) -> tuple[CaseLine, ...]:
    """The worklist, newest first. `patient`: part of the id or the name, any case."""
    given = {
        "since": since,
        "state": state.value if state is not None else None,
        "over": blasts_over_percent,
        "patient": f"%{_escaped(patient)}%" if patient is not None else None,
        "case_id": None,
        "limit": limit,
    }
    return tuple(_case_line(row) for row in conn.execute(_CASES, given).mappings())


def case(conn: Connection, case_id_prefix: str) -> CaseDetail:
    """One case by the beginning of its id. UnknownRow when none or more than one begins so."""
    case_id = _the_case(conn, case_id_prefix)
    given = {
        "since": None,
        "state": None,
        "over": None,
        "patient": None,
        "case_id": case_id,
        "limit": 1,
    }
    row = conn.execute(_CASES, given).mappings().one()
    return CaseDetail(
        line=_case_line(row),
        due_at=row["due_at"],
        images=_images(conn, case_id),
        analyses=_analyses(conn, case_id),
        reports=reports_of(conn, case_id),
        reviews=reviews_of(conn, case_id),
        deliveries=_deliveries(conn, {"case_id": case_id, "state": None, "limit": 1000}),
        events=events(conn, case_id=CaseId(str(case_id)), limit=100_000),
    )


def deliveries(
    conn: Connection, *, failed: bool = False, limit: int = 100
) -> tuple[DeliveryLine, ...]:
    """Deliveries, newest first; `failed`: only the dead-letter list."""
    state = DeliveryState.DEAD.value if failed else None
    return _deliveries(conn, {"case_id": None, "state": state, "limit": limit})


def events(
    conn: Connection,
    *,
    since: datetime | None = None,
    case_id: CaseId | None = None,
    names: Sequence[str] = (),
    limit: int = 1000,
) -> tuple[EventLine, ...]:
    """Audit events, oldest first (the latest `limit`)."""
    query = select(trail).order_by(trail.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(trail.c.at >= since)
    if case_id is not None:
        query = query.where(trail.c.case_id == UUID(case_id))
    if names:
        query = query.where(trail.c.event.in_(names))
    latest_first = conn.execute(query).mappings().all()
    return tuple(
        EventLine(
            event_id=row["id"],
            at=row["at"],
            actor=row["actor"],
            event=row["event"],
            outcome=row["outcome"],
            case_id=CaseId(str(row["case_id"])) if row["case_id"] is not None else None,
            objects=tuple(row["objects"]),
            details=row["details"],
            sha256=row["sha256"].hex(),
        )
        for row in reversed(latest_first)
    )


def blocked_reports(conn: Connection) -> tuple[CaseId, ...]:
    """Cases whose last report was not let out, because a drawing said other numbers than the
    database, and that nobody has sent on again."""
    found = conn.execute(_BLOCKED, {"event": REPORT_BLOCKED}).scalars()
    return tuple(CaseId(str(case_id)) for case_id in found)


_BLOCKED = text("""
    SELECT c.id
      FROM leukonode.cases AS c
     WHERE c.state = 'failed'
       AND (SELECT e.event FROM audit.events AS e
             WHERE e.case_id = c.id
               AND e.event IN (:event, 'report started', 'case retried', 'case given up')
             ORDER BY e.id DESC LIMIT 1) = :event
     ORDER BY c.changed_at, c.id
""")

_CASES = text("""
    SELECT c.*,
           (SELECT count(*) FROM leukonode.instances AS i WHERE i.case_id = c.id) AS instances,
           (SELECT count(*) FROM leukonode.reports AS r WHERE r.case_id = c.id) AS reports,
           n.leukocytes,
           n.blasts,
           n.adequacy,
           n.untrained
      FROM leukonode.cases AS c
      LEFT JOIN LATERAL (
           SELECT r.leukocytes, r.blasts, r.adequacy, b.untrained
             FROM leukonode.analyses AS a
             JOIN leukonode.results AS r ON r.analysis_id = a.id
             JOIN leukonode.bundles AS b ON b.id = a.bundle
            WHERE a.case_id = c.id
            ORDER BY a.ordinal DESC, r.reviewed DESC
            LIMIT 1
           ) AS n ON true
     WHERE (CAST(:case_id AS uuid) IS NULL OR c.id = :case_id)
       AND (CAST(:since AS timestamptz) IS NULL OR c.received_at >= :since)
       AND (CAST(:state AS text) IS NULL OR c.state = :state)
       AND (CAST(:patient AS text) IS NULL
            OR c.patient_id ILIKE :patient OR c.patient_name ILIKE :patient)
       AND (CAST(:over AS double precision) IS NULL
            OR 100.0 * n.blasts > CAST(:over AS double precision) * n.leukocytes)
     ORDER BY c.received_at DESC, c.id
     LIMIT :limit
""")

_IMAGES = text("""
    SELECT i.*,
           (SELECT count(*) FROM leukonode.cells AS c
             WHERE c.analysis_id = i.analysis_id AND c.image = i.position) AS cells,
           EXISTS (SELECT 1 FROM leukonode.instances AS s
                    WHERE s.instance_uid = i.source) AS is_instance
      FROM leukonode.images AS i
     WHERE i.analysis_id = (
           SELECT a.id FROM leukonode.analyses AS a
            WHERE a.case_id = :case_id AND a.finished_at IS NOT NULL
            ORDER BY a.ordinal DESC LIMIT 1)
     ORDER BY i.position
""")

_ANALYSES = text("""
    SELECT a.*, b.bundle_id, b.untrained, r.leukocytes, r.blasts,
           r.morphological_blasts, r.morphological_total, r.adequacy, r.reviewed
      FROM leukonode.analyses AS a
      LEFT JOIN leukonode.bundles AS b ON b.id = a.bundle
      LEFT JOIN leukonode.results AS r ON r.analysis_id = a.id AND r.reviewed = (
           SELECT max(l.reviewed) FROM leukonode.results AS l WHERE l.analysis_id = a.id)
     WHERE a.case_id = :case_id
     ORDER BY a.ordinal
""")

_COUNTS = text("""
    SELECT k.analysis_id, k.kind, k.name, k.count
      FROM leukonode.result_counts AS k
      JOIN leukonode.analyses AS a ON a.id = k.analysis_id
     WHERE a.case_id = :case_id
       AND k.reviewed = (
           SELECT max(l.reviewed) FROM leukonode.results AS l WHERE l.analysis_id = a.id)
     ORDER BY k.analysis_id, k.kind, k.position
""")

_DELIVERIES = text("""
    SELECT d.*, r.case_id, r.revision
      FROM leukonode.deliveries AS d
      JOIN leukonode.reports AS r ON r.id = d.report_id
     WHERE (CAST(:case_id AS uuid) IS NULL OR r.case_id = :case_id)
       AND (CAST(:state AS text) IS NULL OR d.state = :state)
     ORDER BY d.created_at DESC, d.destination
     LIMIT :limit
""")


def _escaped(part: str) -> str:
    """What a person typed is text, not a pattern."""
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def case_id_of(conn: Connection, prefix: str) -> CaseId:
    """The case whose id begins so. UnknownRow when none or more than one does."""
    return CaseId(str(_the_case(conn, prefix)))


def _the_case(conn: Connection, prefix: str) -> UUID:
    found: list[UUID] = []
    wanted = prefix.strip().lower()
    if wanted:
        found = list(
            conn.execute(
                text("SELECT id FROM leukonode.cases WHERE id::text LIKE :begin LIMIT 2"),
                {"begin": f"{_escaped(wanted)}%"},
            ).scalars()
        )
    if not found:
        raise UnknownRow(f"no case begins with {prefix!r}; leukonode cases lists them")
    if len(found) > 1:
        raise UnknownRow(f"more than one case begins with {prefix!r}; give more of its id")
    return found[0]


def _case_line(row: RowMapping) -> CaseLine:
    return CaseLine(
        case_id=CaseId(str(row["id"])),
        study_uid=StudyUID(row["study_uid"]),
        patient=Patient(
            name=row["patient_name"],
            patient_id=row["patient_id"],
            issuer=row["patient_id_issuer"],
            birth_date=row["patient_birth_date"],
            sex=row["patient_sex"],
        ),
        accession_number=row["accession_number"],
        state=CaseState(row["state"]),
        instances=row["instances"],
        received_at=row["received_at"],
        changed_at=row["changed_at"],
        leukocytes=row["leukocytes"],
        blasts=_share(row["blasts"], row["leukocytes"]),
        adequacy=row["adequacy"],
        untrained=row["untrained"],
        reports=row["reports"],
    )


def _share(count: int | None, total: int | None) -> Proportion | None:
    return None if count is None or total is None else Proportion(count, total)


def _images(conn: Connection, case_id: UUID) -> tuple[ImageLine, ...]:
    return tuple(
        ImageLine(
            instance_uid=InstanceUID(row["source"]) if row["is_instance"] else None,
            source=row["source"],
            domain=Domain(row["domain"]),
            width_px=row["width_px"],
            height_px=row["height_px"],
            viability=row["viable_verdict"],
            viability_p=row["viable_p"],
            not_evaluable=row["not_evaluable"],
            cells=row["cells"],
        )
        for row in conn.execute(_IMAGES, {"case_id": case_id}).mappings()
    )


def _analyses(conn: Connection, case_id: UUID) -> tuple[AnalysisLine, ...]:
    counted: dict[tuple[UUID, str], list[tuple[str, int]]] = defaultdict(list)
    for row in conn.execute(_COUNTS, {"case_id": case_id}).mappings():
        counted[row["analysis_id"], row["kind"]].append((row["name"], row["count"]))
    return tuple(
        AnalysisLine(
            analysis_id=AnalysisId(str(row["id"])),
            ordinal=row["ordinal"],
            completed_by=CompletedBy(row["completed_by"]),
            completed_at=row["completed_at"],
            finished_at=row["finished_at"],
            superseded=row["superseded_at"] is not None,
            bundle=row["bundle_id"],
            untrained=row["untrained"],
            engine=row["engine"],
            leukocytes=row["leukocytes"],
            blasts=_share(row["blasts"], row["leukocytes"]),
            morphological_blasts=_share(row["morphological_blasts"], row["morphological_total"]),
            adequacy=row["adequacy"],
            counts=tuple(counted[row["id"], "class"]),
            subtypes=tuple(counted[row["id"], "subtype"]),
            unclassified=tuple(counted[row["id"], "unclassified"]),
            reviewed=row["reviewed"] or 0,
        )
        for row in conn.execute(_ANALYSES, {"case_id": case_id}).mappings()
    )


def _deliveries(conn: Connection, given: dict[str, Any]) -> tuple[DeliveryLine, ...]:
    rows = conn.execute(_DELIVERIES, given).mappings().all()
    said: dict[UUID, list[InstanceStatus]] = defaultdict(list)
    statuses = (
        select(delivery_instances)
        .where(delivery_instances.c.delivery_id.in_([row["id"] for row in rows]))
        .order_by(delivery_instances.c.id)
    )
    for row in conn.execute(statuses).mappings():
        said[row["delivery_id"]].append(
            InstanceStatus(
                instance_uid=InstanceUID(row["instance_uid"]),
                attempt=row["attempt"],
                status=row["status"],
                comment=row["comment"],
                at=row["at"],
            )
        )
    return tuple(
        DeliveryLine(
            delivery_id=str(row["id"]),
            case_id=CaseId(str(row["case_id"])),
            report_id=ReportId(str(row["report_id"])),
            revision=row["revision"],
            destination=row["destination"],
            state=DeliveryState(row["state"]),
            attempts=row["attempts_ever"],
            next_attempt_at=row["next_attempt_at"],
            last_error=row["last_error"],
            changed_at=row["changed_at"],
            instances=tuple(said[row["id"]]),
        )
        for row in rows
    )
