"""Door 3: a worker claims a case, and gives back its analysis or the reason there is none."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from db.database import Transaction
from db.receiving import InstanceRole
from domain.analysis import Analysis
from domain.counts import Numbers
from domain.identities import AnalysisId, CaseId, InstanceUID, SeriesUID, Sha256, SopClassUID
from domain.image import Domain

__all__ = [
    "ATTEMPTS",
    "AnalysisClaim",
    "StoredInstance",
    "claim_analysis",
    "extend_lease",
    "fail_analysis",
    "finish_analysis",
]

ATTEMPTS = 3  # claims of one step before it is given up


@dataclass(frozen=True, kw_only=True)
class StoredInstance:
    """An object of the case, as stored."""

    instance_uid: InstanceUID
    sop_class_uid: SopClassUID
    series_uid: SeriesUID
    transfer_syntax_uid: str
    sha256: Sha256
    size_bytes: int
    store_key: str
    domain: Domain
    role: InstanceRole


@dataclass(frozen=True, kw_only=True)
class AnalysisClaim:
    """A worker's hold on a case. `instances` are those of this analysis, in the order received.
    `exhausted`: earlier attempts used up the limit (their workers died): do not try again, finish
    with an Analysis that says so in its failures."""

    case_id: CaseId
    analysis_id: AnalysisId
    ordinal: int
    attempt: int
    exhausted: bool
    owner: str
    token: UUID
    instances: tuple[StoredInstance, ...]


def claim_analysis(
    tx: Transaction, case_id: CaseId, *, owner: str, lease: timedelta, now: datetime
) -> AnalysisClaim | None:
    """Take a READY case by one conditional UPDATE; None when there is nothing to take."""
    raise NotImplementedError


def extend_lease(tx: Transaction, claim: AnalysisClaim, *, lease: timedelta, now: datetime) -> bool:
    """Hold on for `lease` from now. False: the hold is gone (a late object, or it ran out)."""
    raise NotImplementedError


def finish_analysis(
    tx: Transaction, claim: AnalysisClaim, analysis: Analysis, numbers: Numbers, *, now: datetime
) -> bool:
    """Write the analysis; the case is ANALYSED and a `report` job waits. False, and nothing is
    written, when the hold is gone."""
    raise NotImplementedError


def fail_analysis(tx: Transaction, claim: AnalysisClaim, *, reason: str, now: datetime) -> bool:
    """Give the case back. True: it will be tried again. False: no more attempts, the hold is kept;
    finish with an Analysis whose failures say so (or the hold is gone)."""
    raise NotImplementedError
