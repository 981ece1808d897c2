"""One way in: a transaction that holds rows, audit events and the next step's job together.

database = Database(url)
with database.transaction() as tx:   # one commit at the end, or nothing at all
    intake = receive_instance(tx, ...)
with database.reading() as conn:     # one read-only snapshot
    analysis = load_analysis(conn, analysis_id)
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

__all__ = ["Database", "Transaction"]


class Transaction:
    """An open transaction. Its audit events are written last, just before the commit."""

    connection: Connection


class Database:
    """A pool of connections to one PostgreSQL; safe to share between threads, not over a fork."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        raise NotImplementedError

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One transaction: commits when the block ends, rolls back when it raises."""
        raise NotImplementedError

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One read-only snapshot (repeatable read) for several queries."""
        raise NotImplementedError

    def close(self) -> None:
        """Give every connection back."""
        raise NotImplementedError
