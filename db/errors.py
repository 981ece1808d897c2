"""What can go wrong in the database room, one tree:

DatabaseError
├── EmbeddedServerError   the server of our own could not be started, stopped or found
├── MigrationError        the schema could not be brought to where this program needs it
├── ChainBroken           the audit trail was changed after it was written
├── NotProven             a delivery was called delivered without every object's success
├── ReviewRefused         what a person asked of a case can't be done to it as it stands
├── Superseded            an old report must not be sent after a newer one
└── UnknownRow            an id that names nothing here

Messages are one line: what, why, the mend; never patient data.
"""

__all__ = [
    "ChainBroken",
    "DatabaseError",
    "EmbeddedServerError",
    "MigrationError",
    "NotProven",
    "ReviewRefused",
    "Superseded",
    "UnknownRow",
]


class DatabaseError(Exception):
    """Root of this room's errors."""


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL can't be run here; the message says why and what mends it."""


class MigrationError(DatabaseError):
    """The schema is not, and could not be made, what this program needs."""


class ChainBroken(DatabaseError):
    """`event_id` is the first event whose hash does not follow from those before it."""

    def __init__(self, event_id: int, why: str) -> None:
        super().__init__(
            f"audit event {event_id}: {why}; the trail was changed after it was written, "
            "compare with a backup taken before"
        )
        self.event_id = event_id


class NotProven(DatabaseError):
    """A delivery without a success status for every object is not delivered."""


class ReviewRefused(DatabaseError):
    """A signature, amendment or reclassification that does not fit the case as it stands."""


class Superseded(DatabaseError):
    """A later revision is on its way to the same destination, or there already."""


class UnknownRow(DatabaseError):
    """An id that names nothing in this database."""
