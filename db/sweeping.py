"""The sweeper: takes back what dead workers held and wakes what waits. Run it every few seconds.

The rows are the truth: whatever was lost of the queue is made again from them. Rows that a step has
locked at this moment are alive, and are passed over.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, Table, func, or_, select, text

from db._delivery_rows import let_followers_go, move_delivery, settle
from db._leases import ATTEMPTS, check_aware, move_case
from db.audit import record_event
from db.database import Transaction
from db.queue import Step, defer, end_stalled_jobs
from db.tables import cases, deliveries, reports
from domain.identities import CaseId
from domain.states import CaseEvent, CaseState, DeliveryEvent

__all__ = ["SweepResult", "sweep"]

ACTOR = "sweeper"
SWEEPING = 2_740_918_365_501_977  # the advisory lock: any number, the same in every version
DELIVERY_ATTEMPTS = 10  # then a delivery whose worker died once more is given up
# after ATTEMPTS a claim only writes down that the analysis fails; if even that kills its worker ...
ANALYSIS_DEATHS = 2 * ATTEMPTS
AT_ONCE = 200  # rows of a kind in one transaction; the next sweep takes the next ones


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    leases_ended: int  # cases and deliveries back in their waiting state
    given_up: int  # cases FAILED, deliveries DEAD: every attempt at them died
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
    cases_ended, cases_lost = _end_case_leases(tx, now, gone)
    deliveries_ended, deliveries_lost = _end_delivery_leases(tx, now, gone)
    return SweepResult(
        leases_ended=cases_ended + deliveries_ended,
        given_up=cases_lost + deliveries_lost,
        woken=_wake(tx, now),
        stalled_jobs=stalled,
    )


def _end_case_leases(tx: Transaction, now: datetime, gone: str | None) -> tuple[int, int]:
    ended = given_up = 0
    expired = (
        select(cases)
        .where(_expired(cases, now, gone))
        .order_by(cases.c.id)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    for row in tx.connection.execute(expired).mappings().all():
        limit = ATTEMPTS if row["state"] == CaseState.REPORTING else ANALYSIS_DEATHS
        lost = row["attempts"] >= limit
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


def _end_delivery_leases(tx: Transaction, now: datetime, gone: str | None) -> tuple[int, int]:
    ended = given_up = 0
    # with their cases, and none that would have to be waited for: others lock the case first
    expired = (
        select(deliveries, reports.c.case_id)
        .join(reports, reports.c.id == deliveries.c.report_id)
        .join(cases, cases.c.id == reports.c.case_id)
        .where(_expired(deliveries, now, gone))
        .order_by(deliveries.c.id)
        .limit(AT_ONCE)
        .with_for_update(of=[deliveries, cases], skip_locked=True)
    )
    for row in tx.connection.execute(expired).mappings().all():
        lost = row["attempts"] >= DELIVERY_ATTEMPTS
        if lost:
            _give_up_delivery(tx, row, now)
        else:
            move_delivery(tx, row, DeliveryEvent.LEASE_EXPIRED, now, next_attempt_at=now)
            _tell_delivery(tx, row, "lease expired")
        ended += not lost
        given_up += lost
    return ended, given_up


def _give_up_delivery(tx: Transaction, row: RowMapping, now: datetime) -> None:
    reason = f"the worker that sent it died, at attempt {row['attempts']}"
    move_delivery(tx, row, DeliveryEvent.GIVEN_UP, now, last_error=reason)
    let_followers_go(tx, row, at=now)
    _tell_delivery(tx, row, "delivery given up", reason=reason)
    # read anew: another of its deliveries may have ended the case in this very sweep
    case = tx.connection.execute(select(cases).where(cases.c.id == row["case_id"]))
    settle(tx, case.mappings().one(), actor=ACTOR, now=now)


def _tell_delivery(tx: Transaction, row: RowMapping, event: str, **details: str) -> None:
    record_event(
        tx,
        actor=ACTOR,
        event=event,
        outcome="failure",
        case_id=CaseId(str(row["case_id"])),
        objects=(str(row["id"]),),
        details={
            "owner": row["lease_owner"],
            "destination": row["destination"],
            "attempt": row["attempts"],
            **details,
        },
    )


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


def _expired(table: Table, now: datetime, gone: str | None) -> ColumnElement[bool]:
    return table.c.lease_token.is_not(None) & or_(
        table.c.lease_until < now, table.c.lease_owner == gone
    )
