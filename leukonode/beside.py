"""What reports of this laboratory put beside the numbers: settings, earlier cases, the audit trail."""

from sqlalchemy import Connection

from db.earlier import earlier_results, trail_head
from domain.identities import CaseId
from leukonode.settings import Settings
from reporting.beside import Beside, Checkpoint, EarlierCase, ReferenceRange

__all__ = ["beside_case", "beside_settings"]

EARLIER_CASES = 24


def beside_settings(settings: Settings) -> Beside:
    """What the settings say, for a report without a database."""
    return Beside(
        thresholds_percent=settings.thresholds_percent,
        reference_ranges=tuple(
            ReferenceRange(name=r.name, low=r.low, high=r.high) for r in settings.reference_ranges
        ),
    )


def beside_case(conn: Connection, case_id: CaseId, settings: Settings) -> Beside:
    """The same, with the patient's earlier cases and the head of the audit trail."""
    of_settings = beside_settings(settings)
    head = trail_head(conn)
    return Beside(
        thresholds_percent=of_settings.thresholds_percent,
        reference_ranges=of_settings.reference_ranges,
        earlier=tuple(
            EarlierCase(analysed_on=f"{e.analysed_at:%Y-%m-%d}", blasts=e.blasts)
            for e in earlier_results(conn, case_id, limit=EARLIER_CASES)
        ),
        checkpoint=Checkpoint(sequence=head.event_id, digest=head.sha256, at=head.at)
        if head is not None
        else None,
    )
