"""A case that FAILED goes on its road once more because a person asked."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from db._leases import check_aware, locked_case, move_case
from db.audit import record_event
from db.database import Transaction
from db.errors import UnknownRow
from db.queue import Step, defer
from db.tables import analyses
from domain.identities import CaseId
from domain.states import CaseEvent, CaseState

__all__ = ["retry_case"]


def retry_case(tx: Transaction, case_id: CaseId, *, by: str, now: datetime) -> bool:
    """From its report on when its analysis is finished, else from its analysis on, with all attempts
    anew. False when it is not FAILED. Raises UnknownRow for an id that names no case."""
    check_aware(now)
    try:
        case = locked_case(tx, case_id)
    except ValueError:
        case = None
    if case is None:
        raise UnknownRow(f"no case {case_id}; leukonode cases lists them")
    if case["state"] != CaseState.FAILED:
        return False
    analysed = tx.connection.execute(
        select(analyses.c.finished_at.is_not(None)).where(
            analyses.c.case_id == UUID(case_id), analyses.c.ordinal == case["analysis_ordinal"]
        )
    ).scalar_one()
    event, step = (
        (CaseEvent.REPORT_RETRIED, Step.REPORT) if analysed else (CaseEvent.RETRIED, Step.ANALYSE)
    )
    state = move_case(tx, case, event, now=now, due_at=now)
    defer(tx, step, key=case_id)
    record_event(
        tx,
        actor=f"person:{by}",
        event="case retried",
        case_id=case_id,
        details={"state": state.value},
    )
    return True
