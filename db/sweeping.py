"""The sweeper: takes back what dead workers held and wakes what waits. Run it every few seconds."""

from dataclasses import dataclass
from datetime import datetime

from db.database import Transaction

__all__ = ["SweepResult", "sweep"]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    leases_ended: int  # cases and deliveries back in their waiting state
    given_up: int  # cases FAILED because every attempt at their report died
    woken: int  # waiting rows that were given a job
    stalled_jobs: int  # jobs of dead workers ended


def sweep(tx: Transaction, *, now: datetime, gone: str | None = None) -> SweepResult:
    """Doing it twice is harmless. `gone` names an owner that is known to be dead: its leases end
    now, without waiting for their time."""
    raise NotImplementedError
