"""The audit trail: events written in the transaction they describe, chained by hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db.database import Transaction
from domain.identities import CaseId

__all__ = ["ChainHead", "EventName", "record_event", "verify_chain"]

EventName = str


@dataclass(frozen=True, kw_only=True)
class ChainHead:
    """The last event of the trail. Kept elsewhere, it proves later that nothing was cut off."""

    event_id: int  # 0 for an empty trail
    sha256: str


def record_event(
    tx: Transaction,
    *,
    actor: str,
    event: str,
    outcome: str = "success",
    case_id: CaseId | None = None,
    objects: Sequence[str] = (),
    details: Mapping[str, str | int | float | bool | None] | None = None,
) -> None:
    """Add an event (association rejected, object refused, settings, start, stop, ...). Ids only:
    no name, no birth date."""
    raise NotImplementedError


def verify_chain(conn: Connection, *, anchor: ChainHead | None = None) -> ChainHead:
    """Read the whole trail; ChainBroken names the first event that does not follow. With an `anchor`
    kept from earlier, the trail must still hold it."""
    raise NotImplementedError
