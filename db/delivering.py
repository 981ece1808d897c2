"""Door 5: a worker claims a delivery (one report to one destination) and says what became of it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert, select

from db._delivery_rows import (
    case_of_delivery,
    earlier_open,
    later_sent,
    latest_report,
    let_followers_go,
    locked_delivery,
    move_delivery,
    settle,
    wait_for_earlier,
)
from db._leases import check_aware, extend, locked_case, move_case, new_lease
from db.audit import record_event
from db.database import Transaction
from db.errors import NotProven, Superseded, UnknownRow
from db.queue import Step, defer
from db.reporting_rows import ObjectKind, ReportObject, objects_of
from db.tables import deliveries, delivery_instances
from domain.identities import CaseId, InstanceUID, ReportId
from domain.states import CaseEvent, CaseState, DeliveryEvent, DeliveryState

__all__ = [
    "DeliveryClaim",
    "DeliveryOutcome",
    "claim_delivery",
    "extend_delivery_lease",
    "finish_delivery",
    "is_success",
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
    attempt: int  # 1 for the first since it was made, or since a person asked again
    attempt_ever: int
    owner: str
    token: UUID
    objects: tuple[ReportObject, ...]
    taken: frozenset[InstanceUID]

    def only(self, kinds: Collection[ObjectKind]) -> "DeliveryClaim":
        """The claim on the objects that its destination takes."""
        return replace(self, objects=tuple(o for o in self.objects if o.kind in kinds))


def claim_delivery(
    tx: Transaction, delivery_id: str, *, owner: str, lease: timedelta, now: datetime
) -> DeliveryClaim | None:
    """Take a PENDING delivery whose time has come; None when there is nothing to take, or when an
    earlier revision's delivery to the same destination is still open: then a job for later is queued.
    """
    case_id = case_of_delivery(tx, delivery_id)
    if case_id is None:
        return None
    locked_case(tx, case_id)
    row = locked_delivery(tx, delivery_id)
    if row is None or row["state"] != DeliveryState.PENDING or row["next_attempt_at"] > now:
        return None
    earlier = earlier_open(tx, row)
    if earlier is not None:
        wait_for_earlier(tx, row, earlier, now=now)
        return None
    hold = new_lease(owner, lease, now)
    ever = row["attempts_ever"] + 1
    move_delivery(
        tx,
        row,
        DeliveryEvent.CLAIMED,
        now,
        attempts=row["attempts"] + 1,
        attempts_ever=ever,
        lease_owner=hold.owner,
        lease_token=hold.token,
        lease_until=hold.until,
    )
    objects = objects_of(tx.connection, row["report_id"])
    said = tx.connection.execute(
        select(delivery_instances.c.instance_uid, delivery_instances.c.status)
        .where(delivery_instances.c.delivery_id == row["id"])
        .order_by(delivery_instances.c.id)
    ).all()
    claim = DeliveryClaim(
        delivery_id=delivery_id,
        report_id=ReportId(str(row["report_id"])),
        case_id=case_id,
        destination=row["destination"],
        attempt=row["attempts"] + 1,
        attempt_ever=ever,
        owner=owner,
        token=hold.token,
        objects=objects,
        taken=frozenset(InstanceUID(uid) for uid, status in said if is_success(status)),
    )
    record_event(
        tx,
        actor=owner,
        event="delivery started",
        case_id=case_id,
        objects=(delivery_id,),
        details={"destination": claim.destination, "attempt": claim.attempt},
    )
    return claim


def extend_delivery_lease(
    tx: Transaction, claim: DeliveryClaim, *, lease: timedelta, now: datetime
) -> bool:
    """Hold on for `lease` from now. False: the hold is gone."""
    return extend(tx, deliveries, claim.delivery_id, claim.token, lease=lease, now=now)


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
    check_aware(now)
    tx.connection.execute(
        insert(delivery_instances).values(
            delivery_id=UUID(claim.delivery_id),
            attempt=claim.attempt_ever,
            instance_uid=instance_uid,
            status=status,
            comment=comment,
            at=now,
        )
    )
    record_event(
        tx,
        actor=claim.owner,
        event="object sent",
        outcome="success" if is_success(status) else "failure",
        case_id=claim.case_id,
        objects=(claim.delivery_id, instance_uid),
        details={
            "destination": claim.destination,
            "status": f"{status:04X}" if status is not None else None,
        },
    )


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

    FAILED needs `next_attempt_at`. Raises NotProven when SUCCEEDED is claimed without a success or
    warning status for every object.
    """
    case = locked_case(tx, claim.case_id)
    row = locked_delivery(tx, claim.delivery_id)
    if case is None or row is None or row["lease_token"] != claim.token:
        return False
    if (outcome is DeliveryOutcome.FAILED) != (next_attempt_at is not None):
        raise ValueError("a failed attempt, and no other, needs the time of the next one")
    event = {
        DeliveryOutcome.SUCCEEDED: DeliveryEvent.SUCCEEDED,
        DeliveryOutcome.FAILED: DeliveryEvent.FAILED,
        DeliveryOutcome.GIVEN_UP: DeliveryEvent.GIVEN_UP,
    }[outcome]
    if outcome is DeliveryOutcome.SUCCEEDED:
        _check_proven(tx, claim)
    move_delivery(tx, row, event, now, next_attempt_at=next_attempt_at, last_error=reason)
    if next_attempt_at is not None:
        defer(tx, Step.DELIVER, key=claim.delivery_id, at=next_attempt_at)
    let_followers_go(tx, row, at=next_attempt_at or now)
    record_event(
        tx,
        actor=claim.owner,
        event=f"delivery {outcome.value}",
        outcome="success" if outcome is DeliveryOutcome.SUCCEEDED else "failure",
        case_id=claim.case_id,
        objects=(claim.delivery_id,),
        details={"destination": claim.destination, "attempt": claim.attempt, "reason": reason},
    )
    settle(tx, case, actor=claim.owner, now=now)
    return True


def retry_delivery(tx: Transaction, delivery_id: str, *, by: str, now: datetime) -> bool:
    """Send a dead delivery again because a person asked. False when it is not dead.

    Raises UnknownRow for an id that names no delivery, Superseded when the destination would get an
    old report after a newer one: a receiver may take the last that comes for the one that counts.
    """
    check_aware(now)
    try:
        case_id = case_of_delivery(tx, delivery_id)
    except ValueError:
        case_id = None
    if case_id is None:
        raise UnknownRow(f"no delivery {delivery_id}; leukonode deliveries lists them")
    case = locked_case(tx, case_id)
    row = locked_delivery(tx, delivery_id)
    if case is None or row is None or row["state"] != DeliveryState.DEAD:
        return False
    later = later_sent(tx, row)
    if later is not None:
        raise Superseded(
            f"revision {later} of its case went to '{row['destination']}' or is on its way; an older "
            "report is not sent after it"
        )
    move_delivery(tx, row, DeliveryEvent.RETRIED_BY_PERSON, now, next_attempt_at=now, attempts=0)
    defer(tx, Step.DELIVER, key=delivery_id)
    latest = latest_report(tx, case["id"])
    if case["state"] == CaseState.UNDELIVERED and latest == row["report_id"]:
        move_case(tx, case, CaseEvent.DELIVERY_RETRIED, now=now, due_at=None)
    record_event(
        tx,
        actor=f"person:{by}",
        event="delivery retried",
        case_id=case_id,
        objects=(delivery_id,),
        details={"destination": row["destination"]},
    )
    return True


def is_success(status: int | None) -> bool:
    """The peer holds the object: it said success or warning (PS3.7 annex C), or that it has this SOP
    Instance already (0111, there too), as after an attempt whose end was never recorded."""
    return status is not None and (status in _TAKEN or 0xB000 <= status <= 0xBFFF)


# success; requested optional attributes not supported, attribute list error, attribute value out of
# range: warnings; duplicate SOP instance
_TAKEN = frozenset({0x0000, 0x0001, 0x0107, 0x0116, 0x0111})


def _check_proven(tx: Transaction, claim: DeliveryClaim) -> None:
    said = tx.connection.execute(
        select(delivery_instances.c.instance_uid, delivery_instances.c.status).where(
            delivery_instances.c.delivery_id == UUID(claim.delivery_id)
        )
    ).all()
    taken = {uid for uid, status in said if is_success(status)}
    owed = [made.instance_uid for made in claim.objects if made.instance_uid not in taken]
    if owed:
        raise NotProven(
            f"delivery {claim.delivery_id} has no success from its peer for {', '.join(owed)}; "
            "record each object's status first"
        )
