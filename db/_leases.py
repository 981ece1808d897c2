"""What every step does with a row that a worker holds: the lease, its token, its audit words.

A case's row is read `FOR UPDATE` first and written once; state changes go through the tables of
`domain.states`, so that what is not in a table cannot be written.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, Table, select, update
from sqlalchemy.engine import CursorResult

from db.database import Transaction
from db.tables import analyses, cases, deliveries
from domain.states import CaseEvent, CaseState, next_case_state

__all__ = [
    "ATTEMPTS",
    "PUT_BACK",
    "AfterFailure",
    "Lease",
    "backoff",
    "check_aware",
    "extend",
    "held_case",
    "locked_case",
    "move_case",
    "new_lease",
    "supersede_open_analysis",
]

ATTEMPTS = 3  # claims of one step before it is given up
FIRST_BACKOFF = timedelta(seconds=5)
PUT_BACK = timedelta(seconds=30)  # until a step that could not even be tried is tried again


class AfterFailure(StrEnum):
    """What became of a case whose step failed."""

    AGAIN = "again"  # it waits for its next attempt
    NO_MORE = "no more"  # an analysis without further attempts; the claim still holds the case
    GIVEN_UP = "given up"  # a report without further attempts; the case is FAILED
    HOLD_GONE = "hold gone"  # the case was no longer this claim's; nothing was written


@dataclass(frozen=True, kw_only=True)
class Lease:
    owner: str
    token: UUID
    until: datetime


def new_lease(owner: str, lease: timedelta, now: datetime) -> Lease:
    check_aware(now)
    return Lease(owner=owner, token=uuid4(), until=now + lease)


def check_aware(moment: datetime) -> None:
    """A naive time would be taken for UTC in one place and for local time in another."""
    if moment.tzinfo is None:
        raise ValueError("a time without zone; pass datetime.now(UTC)")


def backoff(attempt: int) -> timedelta:
    """5 s, 20 s, 80 s, ... after the first, second, third failure."""
    return FIRST_BACKOFF * int(4 ** (attempt - 1))


def locked_case(tx: Transaction, case_id: str) -> RowMapping | None:
    """The case's row, held until the commit."""
    query = select(cases).where(cases.c.id == UUID(case_id)).with_for_update()
    return tx.connection.execute(query).mappings().first()


def held_case(tx: Transaction, case_id: str, token: UUID) -> RowMapping | None:
    """The case's row when the worker with this token still holds it."""
    row = locked_case(tx, case_id)
    return row if row is not None and row["lease_token"] == token else None


def move_case(
    tx: Transaction,
    row: RowMapping,
    event: CaseEvent,
    *,
    now: datetime,
    due_at: datetime | None,
    lease: Lease | None = None,
    attempts: int = 0,
    ordinal: int | None = None,
) -> CaseState:
    """Write the state that follows. IllegalTransition when none does."""
    check_aware(now)
    state = next_case_state(CaseState(row["state"]), event)
    tx.connection.execute(
        update(cases)
        .where(cases.c.id == row["id"])
        .values(
            state=state.value,
            due_at=due_at,
            lease_owner=lease.owner if lease else None,
            lease_token=lease.token if lease else None,
            lease_until=lease.until if lease else None,
            attempts=attempts,
            analysis_ordinal=row["analysis_ordinal"] if ordinal is None else ordinal,
            changed_at=now,
        )
    )
    return state


def supersede_open_analysis(tx: Transaction, case: RowMapping, *, now: datetime) -> None:
    """The case's latest analysis, if it was not finished, will not be."""
    tx.connection.execute(
        update(analyses)
        .where(
            analyses.c.case_id == case["id"],
            analyses.c.finished_at.is_(None),
            analyses.c.superseded_at.is_(None),
        )
        .values(superseded_at=now)
    )


def extend(
    tx: Transaction, table: Table, key: str, token: UUID, *, lease: timedelta, now: datetime
) -> bool:
    """Hold a case or a delivery for `lease` from now, if this token still holds it."""
    if table not in (cases, deliveries):
        raise ValueError(f"{table.name} has no lease")
    check_aware(now)
    done: CursorResult[tuple[()]] = tx.connection.execute(
        update(table)
        .where(table.c.id == UUID(key), table.c.lease_token == token)
        .values(lease_until=now + lease)
    )
    return done.rowcount == 1
