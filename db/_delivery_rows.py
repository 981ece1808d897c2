"""A delivery's row, its neighbours on the way to the same destination, and the case that ends with it.

The reports of a case go to a destination in the order of their revisions: a peer that is given the
amended report first would be left with the older one as the last it heard. A delivery therefore waits
while an earlier one is open, and goes once that has ended, well or not.

Lock the case's row before a delivery's: deliveries of one case that end or begin together must see
one another.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import RowMapping, func, select, update

from db._leases import check_aware, move_case
from db.audit import record_event
from db.database import Transaction
from db.queue import Step, defer
from db.tables import deliveries, reports
from domain.identities import CaseId
from domain.states import (
    CaseEvent,
    CaseState,
    DeliveryEvent,
    DeliveryState,
    next_delivery_state,
)

__all__ = [
    "case_of_delivery",
    "case_of_report",
    "earlier_open",
    "later_sent",
    "latest_report",
    "let_followers_go",
    "locked_delivery",
    "move_delivery",
    "settle",
    "wait_for_earlier",
]

MOMENT = timedelta(seconds=30)  # to look again whether an earlier delivery has ended


def locked_delivery(tx: Transaction, delivery_id: str) -> RowMapping | None:
    """The delivery's row, held until the commit."""
    query = select(deliveries).where(deliveries.c.id == UUID(delivery_id)).with_for_update()
    return tx.connection.execute(query).mappings().first()


def move_delivery(
    tx: Transaction, row: RowMapping, event: DeliveryEvent, now: datetime, **values: object
) -> None:
    """Write the state that follows; a hold ends unless `values` begin one."""
    check_aware(now)
    changed: dict[str, object] = {
        "state": next_delivery_state(DeliveryState(row["state"]), event).value,
        "lease_owner": None,
        "lease_token": None,
        "lease_until": None,
        "next_attempt_at": None,
        "changed_at": now,
    }
    tx.connection.execute(
        update(deliveries).where(deliveries.c.id == row["id"]).values(**(changed | values))
    )


def case_of_report(tx: Transaction, report_id: UUID) -> CaseId:
    found = tx.connection.execute(select(reports.c.case_id).where(reports.c.id == report_id))
    return CaseId(str(found.scalar_one()))


def case_of_delivery(tx: Transaction, delivery_id: str) -> CaseId | None:
    """None for an id that names no delivery. ValueError for what is no id."""
    query = (
        select(reports.c.case_id)
        .join(deliveries, deliveries.c.report_id == reports.c.id)
        .where(deliveries.c.id == UUID(delivery_id))
    )
    found = tx.connection.execute(query).scalar()
    return CaseId(str(found)) if found is not None else None


def latest_report(tx: Transaction, case_id: UUID) -> UUID:
    found: UUID = tx.connection.execute(
        select(reports.c.id)
        .where(reports.c.case_id == case_id)
        .order_by(reports.c.revision.desc())
        .limit(1)
    ).scalar_one()
    return found


def earlier_open(tx: Transaction, row: RowMapping) -> RowMapping | None:
    """The first delivery of an earlier revision to the same destination that has not ended."""
    own = select(reports.c.case_id, reports.c.revision).where(reports.c.id == row["report_id"])
    case_id, revision = tx.connection.execute(own).one()
    query = (
        select(deliveries)
        .join(reports, reports.c.id == deliveries.c.report_id)
        .where(
            reports.c.case_id == case_id,
            reports.c.revision < revision,
            deliveries.c.destination == row["destination"],
            deliveries.c.state.in_([DeliveryState.PENDING.value, DeliveryState.SENDING.value]),
        )
        .order_by(reports.c.revision)
        .limit(1)
        .with_for_update(of=deliveries)
    )
    return tx.connection.execute(query).mappings().first()


def later_sent(tx: Transaction, row: RowMapping) -> int | None:
    """The latest revision of the same case whose delivery to the same destination was made or is still
    to be; None where there is none."""
    own = select(reports.c.case_id, reports.c.revision).where(reports.c.id == row["report_id"])
    case_id, revision = tx.connection.execute(own).one()
    query = (
        select(func.max(reports.c.revision))
        .select_from(deliveries.join(reports, reports.c.id == deliveries.c.report_id))
        .where(
            reports.c.case_id == case_id,
            reports.c.revision > revision,
            deliveries.c.destination == row["destination"],
            deliveries.c.state != DeliveryState.DEAD.value,
        )
    )
    latest: int | None = tx.connection.execute(query).scalar()
    return latest


def wait_for_earlier(
    tx: Transaction, row: RowMapping, earlier: RowMapping, *, now: datetime
) -> None:
    """Put a PENDING delivery off until the earlier one has had its turn.

    The first time it is due it brings the earlier one forward; not again, for the pauses between
    attempts at a peer that is away are to be kept.
    """
    check_aware(now)
    again_at = now + MOMENT
    if earlier["state"] == DeliveryState.PENDING:
        if row["next_attempt_at"] == row["created_at"]:
            if earlier["next_attempt_at"] > now:
                _due(tx, earlier, now)
            defer(tx, Step.DELIVER, key=str(earlier["id"]))
        else:
            again_at = max(again_at, earlier["next_attempt_at"])
    _due(tx, row, again_at)


def let_followers_go(tx: Transaction, row: RowMapping, *, at: datetime) -> None:
    """The later revisions' deliveries to the same destination have their turn at `at`: this one has
    ended, or goes on no sooner than that."""
    own = select(reports.c.case_id, reports.c.revision).where(reports.c.id == row["report_id"])
    case_id, revision = tx.connection.execute(own).one()
    query = (
        select(deliveries)
        .join(reports, reports.c.id == deliveries.c.report_id)
        .where(
            reports.c.case_id == case_id,
            reports.c.revision > revision,
            deliveries.c.destination == row["destination"],
            deliveries.c.state == DeliveryState.PENDING.value,
        )
        .order_by(reports.c.revision)
        .with_for_update(of=deliveries)
    )
    for follower in tx.connection.execute(query).mappings().all():
        _due(tx, follower, at)


def settle(tx: Transaction, case: RowMapping, *, actor: str, now: datetime) -> None:
    """Once every delivery of the latest report has ended, the case has."""
    if case["state"] != CaseState.DELIVERING:
        return
    report = latest_report(tx, case["id"])
    states = set(
        tx.connection.execute(
            select(deliveries.c.state).where(deliveries.c.report_id == report)
        ).scalars()
    )
    if not states <= {DeliveryState.DELIVERED, DeliveryState.DEAD}:
        return
    delivered = states == {DeliveryState.DELIVERED}
    move_case(
        tx,
        case,
        CaseEvent.ALL_DELIVERED if delivered else CaseEvent.DELIVERY_GIVEN_UP,
        now=now,
        due_at=None,
    )
    record_event(
        tx,
        actor=actor,
        event="case delivered" if delivered else "case undelivered",
        outcome="success" if delivered else "failure",
        case_id=CaseId(str(case["id"])),
        objects=(str(report),),
    )


def _due(tx: Transaction, row: RowMapping, at: datetime) -> None:
    tx.connection.execute(
        update(deliveries).where(deliveries.c.id == row["id"]).values(next_attempt_at=at)
    )
    defer(tx, Step.DELIVER, key=str(row["id"]), at=at)
