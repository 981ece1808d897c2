"""Door 4: a worker claims an analysed case, and issues its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from db.analysing import StoredInstance
from db.database import Transaction
from domain.identities import (
    AnalysisId,
    CaseId,
    InstanceUID,
    ReportId,
    SeriesUID,
    Sha256,
    SopClassUID,
)
from domain.states import CompletedBy, ReportStatus

__all__ = [
    "IssuedReport",
    "ObjectKind",
    "ReportClaim",
    "ReportObject",
    "claim_report",
    "extend_report_lease",
    "fail_report",
    "finish_report",
]


class ObjectKind(StrEnum):
    PDF = "pdf"  # the Encapsulated PDF object
    SR = "sr"


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

    def object(self, kind: ObjectKind) -> ReportObject:
        return next(o for o in self.objects if o.kind is kind)


@dataclass(frozen=True, kw_only=True)
class ReportClaim:
    """A worker's hold on an analysed case. `report_id` and `revision` are those the new report will
    have; `previous` is the one it replaces."""

    case_id: CaseId
    analysis_id: AnalysisId
    ordinal: int
    report_id: ReportId
    revision: int
    status: ReportStatus
    previous: IssuedReport | None
    completed_by: CompletedBy
    completed_at: datetime
    analysed_at: datetime
    attempt: int
    owner: str
    token: UUID
    instances: tuple[StoredInstance, ...]


def claim_report(
    tx: Transaction, case_id: CaseId, *, owner: str, lease: timedelta, now: datetime
) -> ReportClaim | None:
    """Take an ANALYSED case; None when there is nothing to take."""
    raise NotImplementedError


def extend_report_lease(
    tx: Transaction, claim: ReportClaim, *, lease: timedelta, now: datetime
) -> bool:
    """Hold on for `lease` from now. False: the hold is gone."""
    raise NotImplementedError


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
    raise NotImplementedError


def fail_report(tx: Transaction, claim: ReportClaim, *, reason: str, now: datetime) -> bool:
    """Give the case back. True: it will be tried again; False: given up, the case is FAILED."""
    raise NotImplementedError
