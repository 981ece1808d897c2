"""What a report puts beside its numbers out of the database: the patient's earlier cases, and where the
audit trail stands.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from domain.counts import Proportion
from domain.identities import CaseId

__all__ = ["EarlierResult", "TrailHead", "earlier_results", "trail_head"]


@dataclass(frozen=True, kw_only=True)
class EarlierResult:
    """The blast count of another case, by its latest analysis."""

    analysed_at: datetime
    blasts: Proportion


@dataclass(frozen=True, kw_only=True)
class TrailHead:
    """The last event of the audit trail."""

    event_id: int
    sha256: str  # hexadecimal
    at: datetime


def earlier_results(conn: Connection, case_id: CaseId, *, limit: int) -> tuple[EarlierResult, ...]:
    """The latest `limit` cases of the same patient that were analysed before this one, oldest first.

    The same patient: the same patient id and issuer, both as received; a case without an id has
    nobody beside it. Untrained and trained networks are not compared with each other.
    """
    given = {"case_id": UUID(case_id), "limit": limit}
    rows = conn.execute(_EARLIER, given).mappings().all()
    return tuple(
        EarlierResult(
            analysed_at=row["finished_at"], blasts=Proportion(row["blasts"], row["leukocytes"])
        )
        for row in reversed(rows)
    )


def trail_head(conn: Connection) -> TrailHead | None:
    """None for an empty trail."""
    row = conn.execute(_HEAD).mappings().first()
    if row is None:
        return None
    return TrailHead(event_id=row["id"], sha256=row["sha256"], at=row["at"])


_EARLIER = text("""
    WITH latest AS (
        SELECT DISTINCT ON (a.case_id) a.case_id, a.finished_at, b.untrained,
               r.leukocytes, r.blasts
          FROM leukonode.analyses AS a
          JOIN leukonode.results AS r ON r.analysis_id = a.id
          JOIN leukonode.bundles AS b ON b.id = a.bundle
         WHERE a.finished_at IS NOT NULL
         ORDER BY a.case_id, a.ordinal DESC, r.reviewed DESC
    )
    SELECT other.finished_at, other.leukocytes, other.blasts
      FROM leukonode.cases AS mine
      JOIN latest AS this ON this.case_id = mine.id
      JOIN leukonode.cases AS theirs
        ON theirs.patient_id = mine.patient_id
       AND theirs.patient_id_issuer = mine.patient_id_issuer
       AND theirs.id <> mine.id
      JOIN latest AS other ON other.case_id = theirs.id
     WHERE mine.id = :case_id
       AND btrim(mine.patient_id) <> ''
       AND other.finished_at < this.finished_at
       AND other.untrained = this.untrained
       AND other.blasts IS NOT NULL
       AND theirs.state <> 'failed'  -- its numbers were not let out
       AND other.leukocytes IS NOT NULL
     ORDER BY other.finished_at DESC
     LIMIT :limit
""")

_HEAD = text("""
    SELECT id, encode(sha256, 'hex') AS sha256, at
      FROM audit.events
     ORDER BY id DESC
     LIMIT 1
""")
