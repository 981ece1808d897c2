"""Questions of the command line and the pages. Frozen values out; times are aware UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from db.reporting_rows import IssuedReport
from domain.counts import Proportion
from domain.identities import AnalysisId, CaseId, InstanceUID, ReportId, StudyUID
from domain.image import Domain
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
    "case",
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
    """An analysis of the case; counts are None until it is finished."""

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
    raise NotImplementedError


def case(conn: Connection, case_id_prefix: str) -> CaseDetail:
    """One case by the beginning of its id. UnknownRow when none or more than one begins so."""
    raise NotImplementedError


def deliveries(
    conn: Connection, *, failed: bool = False, limit: int = 100
) -> tuple[DeliveryLine, ...]:
    """Deliveries, newest first; `failed`: only the dead-letter list."""
    raise NotImplementedError


def events(
    conn: Connection,
    *,
    since: datetime | None = None,
    case_id: CaseId | None = None,
    names: Sequence[str] = (),
    limit: int = 1000,
) -> tuple[EventLine, ...]:
    """Audit events, oldest first (the latest `limit`)."""
    raise NotImplementedError
