"""The audit trail: events written in the transaction they describe, chained by hash.

Every row's SHA-256 runs over the hash before it and the row's own content, so that a row that was
changed, taken out or put in later breaks the chain from there on. A trail that was cut off at its
end does not; keep a `ChainHead` elsewhere (on paper, in another system) and verify against it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from db.database import Transaction
from db.errors import ChainBroken
from db.tables import clean
from domain.identities import CaseId

__all__ = ["ChainHead", "record_event", "verify_chain"]

PAGE = 5_000


@dataclass(frozen=True, kw_only=True)
class ChainHead:
    """The last event of the trail. Kept elsewhere, it proves later that nothing was cut off."""

    event_id: int  # 0 for an empty trail
    sha256: str  # hexadecimal; empty for an empty trail


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
    """Add an event (association rejected, object refused, settings, start, stop, ...).

    `actor` is who did it (`ae:SCANNER1`, `worker:host:pid`, `person:NAME`), `objects` are UIDs and
    ids, `details` plain facts. Ids only: no name, no birth date.
    """
    tx.pending_events.append(
        {
            "actor": actor,
            "event": event,
            "outcome": outcome,
            "case_id": UUID(case_id) if case_id is not None else None,
            "objects": list(objects),
            "details": {
                key: clean(value) if isinstance(value, str) else value
                for key, value in (details or {}).items()
            },
        }
    )


def verify_chain(conn: Connection, *, anchor: ChainHead | None = None) -> ChainHead:
    """Read the whole trail; ChainBroken names the first event that does not follow. With an `anchor`
    kept from earlier, the trail must still hold it.

    The hashed text is built here from what PostgreSQL prints of each column; the functions that the
    database itself used are not asked, for who can change rows can change them too.
    """
    head = ChainHead(event_id=0, sha256="")
    while rows := conn.execute(_ROWS, {"after": head.event_id, "page": PAGE}).all():
        for number, told, *fields in rows:
            if number != head.event_id + 1:
                raise ChainBroken(head.event_id + 1, "it is missing")
            content = b"".join(_field(f) for f in fields)
            digest = hashlib.sha256(bytes.fromhex(head.sha256) + content).hexdigest()
            if digest != told:
                raise ChainBroken(number, "its hash does not follow from its content")
            head = ChainHead(event_id=number, sha256=digest)
            if anchor is not None and anchor.event_id == number and anchor.sha256 != digest:
                raise ChainBroken(number, "it is another than the one kept earlier")
    if anchor is not None and head.event_id < anchor.event_id:
        raise ChainBroken(head.event_id + 1, "it is missing, and was there earlier")
    return head


_ROWS = text("""
    SELECT e.id,
           encode(e.sha256, 'hex'),
           e.id::text,
           to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
           actor,
           event,
           outcome,
           case_id::text,
           objects::text,
           details::text
      FROM audit.events AS e
     WHERE e.id > :after
     ORDER BY e.id
     LIMIT :page
""")


def _field(value: str | None) -> bytes:
    """`<bytes>:<text>`, or `-` for null (audit.field of the first revision)."""
    if value is None:
        return b"-"
    content = value.encode("utf-8")
    return f"{len(content)}:".encode("ascii") + content
