"""Door 5: a worker claims a delivery (one report to one destination) and says what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from db.database import Transaction
from db.reporting_rows import ReportObject
from domain.identities import CaseId, InstanceUID, ReportId

__all__ = [
    "DeliveryClaim",
    "DeliveryOutcome",
    "claim_delivery",
    "extend_delivery_lease",
    "finish_delivery",
    "record_instance_status",
    "retry_delivery",
]


class DeliveryOutcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # to be tried again at `next_attempt_at`
    GIVEN_UP = "given up"


@dataclass(frozen=True, kw_only=True)
class DeliveryClaim:
    """A worker's hold on a delivery. `taken`: objects the peer has taken in an earlier attempt."""

    delivery_id: str
    report_id: ReportId
    case_id: CaseId
    destination: str
    attempt: int  # 1 for the first
    owner: str
    token: UUID
    objects: tuple[ReportObject, ...]
    taken: frozenset[InstanceUID]


def claim_delivery(
    tx: Transaction, delivery_id: str, *, owner: str, lease: timedelta, now: datetime
) -> DeliveryClaim | None:
    """Take a PENDING delivery whose time has come; None when there is nothing to take."""
    raise NotImplementedError


def extend_delivery_lease(
    tx: Transaction, claim: DeliveryClaim, *, lease: timedelta, now: datetime
) -> bool:
    """Hold on for `lease` from now. False: the hold is gone."""
    raise NotImplementedError


def record_instance_status(
    tx: Transaction,
    claim: DeliveryClaim,
    *,
    instance_uid: InstanceUID,
    status: int | None,
    comment: str,
    now: datetime,
) -> None:
    """The peer's own word for one object in this attempt (PS3.4 B.2.3); None: it gave none."""
    raise NotImplementedError


def finish_delivery(
    tx: Transaction,
    claim: DeliveryClaim,
    *,
    outcome: DeliveryOutcome,
    reason: str,
    now: datetime,
    next_attempt_at: datetime | None = None,
) -> bool:
    """End the attempt, and with the last delivery of its latest report the case's road. False, and
    nothing is written, when the hold is gone.

    Raises NotProven when SUCCEEDED is claimed without a success or warning status for every object.
    """
    raise NotImplementedError


def retry_delivery(tx: Transaction, delivery_id: str, *, by: str, now: datetime) -> bool:
    """Send a dead delivery again because a person asked. False when it is not dead.

    Raises UnknownRow for an id that names no delivery.
    """
    raise NotImplementedError
