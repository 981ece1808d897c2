"""The queue's port: a job says *look at this row*; the rows say what is to be done."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

from db.database import Transaction

__all__ = ["Step", "defer", "run_worker"]


class Step(StrEnum):
    """The steps that wait in the queue, in the order of a case's road."""

    COMPLETE = "complete"  # key: case id
    ANALYSE = "analyse"  # key: case id
    REPORT = "report"  # key: case id
    DELIVER = "deliver"  # key: delivery id


def defer(tx: Transaction, step: Step, *, key: str, at: datetime | None = None) -> None:
    """Queue a job in the caller's transaction, not before `at`. A job that already waits for the
    same step and key is kept, and brought forward when `at` is sooner."""
    raise NotImplementedError


async def run_worker(
    url: str,
    handlers: Mapping[Step, Callable[[str], None]],
    *,
    name: str = "worker",
) -> None:
    """Run handlers (key -> None, each in a thread) until cancelled: one `analyse` at a time, two of
    the rest. Outlives a restart of PostgreSQL. Cancelled, it waits for the handlers that run."""
    raise NotImplementedError
