"""The sweeper: takes back what dead workers held and wakes what waits. Run it every few seconds.

The rows are the truth: whatever was lost of the queue is made again from them. Rows that a step has
locked at this moment are alive, and are passed over.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, Select, Table, func, or_, select, text, update

from db._leases import ATTEMPTS, check_aware, move_case
from db.audit import record_event
from db.database import Transaction
from db.queue import Step, defer, end_stalled_jobs
from db.tables import cases, deliveries, reports
from domain.identities import CaseId
from domain.states import (
    CaseEvent,
    CaseState,
    DeliveryEvent,
    DeliveryState,
    next_delivery_state,
)

__all__ = ["SweepResult", "sweep"]

ACTOR = "sweeper"
SWEEPING = 2_740_918_365_501_977  # the advisory lock: any number, the same in every version
AT_ONCE = 200  # rows of a kind in one transaction; the next sweep takes the next ones


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    leases_ended: int  # cases and deliveries back in their waiting state
    given_up: int  # cases FAILED because every attempt at their report died
    woken: int  # waiting rows that had no job and were given one
    stalled_jobs: int  # jobs of dead workers ended


def sweep(tx: Transaction, *, now: datetime, gone: str | None = None) -> SweepResult:
    """Doing it twice is harmless. `gone` names an owner that is known to be dead: its leases end
    now, without waiting for their time."""
    check_aware(now)
    alone = tx.connection.execute(select(func.pg_try_advisory_xact_lock(SWEEPING))).scalar_one()
    if not alone:  # another worker sweeps at this moment
        return SweepResult(leases_ended=0, given_up=0, woken=0, stalled_jobs=0)
    stalled = end_stalled_jobs(tx)
    ended, given_up = _end_case_leases(tx, now, gone)
    ended += _end_delivery_leases(tx, now, gone)
    return SweepResult(
        leases_ended=ended, given_up=given_up, woken=_wake(tx, now), stalled_jobs=stalled
    )


def _end_case_leases(tx: Transaction, now: datetime, gone: str | None) -> tuple[int, int]:
    ended = given_up = 0
    for row in _rows(tx, _expired(cases, now, gone)):
        lost = row["state"] == CaseState.REPORTING and row["attempts"] >= ATTEMPTS
        event = CaseEvent.GIVEN_UP if lost else CaseEvent.LEASE_EXPIRED
        state = move_case(
            tx,
            row,
            event,
            now=now,
            due_at=None if lost else now,
            attempts=row["attempts"],
        )
        record_event(
            tx,
            actor=ACTOR,
            event="case given up" if lost else "lease expired",
            outcome="failure",
            case_id=CaseId(str(row["id"])),
            details={
                "owner": row["lease_owner"],
                "attempt": row["attempts"],
                "state": state.value,
            },
        )
        ended += not lost
        given_up += lost
    return ended, given_up


def _end_delivery_leases(tx: Transaction, now: datetime, gone: str | None) -> int:
    rows = _rows(tx, _expired(deliveries, now, gone))
    for row in rows:
        state = next_delivery_state(DeliveryState(row["state"]), DeliveryEvent.LEASE_EXPIRED)
        tx.connection.execute(
            update(deliveries)
            .where(deliveries.c.id == row["id"])
            .values(
                state=state.value,
                next_attempt_at=now,
                lease_owner=None,
                lease_token=None,
                lease_until=None,
                changed_at=now,
            )
        )
        case_id = tx.connection.execute(
            select(reports.c.case_id).where(reports.c.id == row["report_id"])
        ).scalar_one()
        record_event(
            tx,
            actor=ACTOR,
            event="lease expired",
            outcome="failure",
            case_id=CaseId(str(case_id)),
            objects=(str(row["id"]),),
            details={"owner": row["lease_owner"], "destination": row["destination"]},
        )
    return len(rows)


def _wake(tx: Transaction, now: datetime) -> int:
    """Every waiting row whose time has come has a job; a second one is not made."""
    # no lock: a job for a row that has moved on does nothing
    rows = tx.connection.execute(_WITHOUT_JOB, {"now": now, "limit": AT_ONCE}).all()
    for step, key in rows:
        defer(tx, Step(step), key=key)
    return len(rows)


_WITHOUT_JOB = text("""
    SELECT waiting.step, waiting.key
      FROM (
           SELECT CASE state WHEN 'receiving' THEN 'complete'
                             WHEN 'ready' THEN 'analyse'
                             ELSE 'report' END AS step,
                  id::text AS key,
                  due_at
             FROM leukonode.cases
            WHERE state IN ('receiving', 'ready', 'analysed') AND due_at <= :now
           UNION ALL
           SELECT 'deliver', id::text, next_attempt_at
             FROM leukonode.deliveries
            WHERE state = 'pending' AND next_attempt_at <= :now
           ) AS waiting
     WHERE NOT EXISTS (
           SELECT 1 FROM queue.procrastinate_jobs AS job
            WHERE job.queueing_lock = waiting.step || ':' || waiting.key
              AND job.status = 'todo'
              AND (job.scheduled_at IS NULL OR job.scheduled_at <= :now))
     ORDER BY waiting.due_at
     LIMIT :limit
""")


def _expired(table: Table, now: datetime, gone: str | None) -> Select[tuple[object, ...]]:
    query = select(table).where(
        table.c.lease_token.is_not(None),
        or_(table.c.lease_until < now, table.c.lease_owner == gone),
    )
    return query.order_by(table.c.id).limit(AT_ONCE).with_for_update(skip_locked=True)


def _rows(tx: Transaction, query: Select[tuple[object, ...]]) -> list[RowMapping]:
    return list(tx.connection.execute(query).mappings())
