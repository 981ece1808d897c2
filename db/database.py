"""One way in: a transaction that holds rows, audit events and the next step's job together.

    database = Database(url)
    with database.transaction() as tx:   # one commit at the end, or nothing at all
        intake = receive_instance(tx, ...)
    with database.reading() as conn:     # one read-only snapshot
        analysis = load_analysis(conn, analysis_id)

A database that was never brought to this program's schema is a MigrationError that says so.

The service works as role `leukonode_app` where the login is a member of it (db/roles.py). Within a
transaction locks are taken in one order, so that no two wait for each other: an object's or a
case's row, then deliveries, then the queue, and last, at the commit, the audit chain.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, ExceptionContext, create_engine, event, insert
from sqlalchemy.exc import ProgrammingError

from db._url import engine_url
from db.errors import MigrationError
from db.roles import APP
from db.tables import events

__all__ = ["Database", "Transaction", "take_service_role"]

CONNECT_SECONDS = 10


@dataclass(frozen=True, eq=False)
class Transaction:
    """An open transaction. Audit events given to it are written last, just before the commit, so
    that the chain's lock is held for as short a time as can be."""

    connection: Connection
    pending_events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def driver(self) -> psycopg.Connection[Any]:
        """psycopg's own connection, for the queue."""
        driver = self.connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the engine does not use psycopg")
        return driver


class Database:
    """A pool of connections to one PostgreSQL; safe to share between threads, not over a fork."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self._engine = create_engine(
            engine_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,  # a connection that a restart of PostgreSQL cut is replaced unseen
            hide_parameters=True,  # patient data stays out of error messages
            connect_args={"connect_timeout": CONNECT_SECONDS},
        )
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "handle_error", _without_detail)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One transaction: commits when the block ends, rolls back when it raises."""
        with _schema_expected(), self._engine.begin() as connection:
            tx = Transaction(connection)
            yield tx
            for row in tx.pending_events:
                connection.execute(insert(events).values(row))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One read-only snapshot (repeatable read) for several queries."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with (
            _schema_expected(),
            self._engine.connect().execution_options(**options) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()


@contextmanager
def _schema_expected() -> Iterator[None]:
    try:
        yield
    except ProgrammingError as error:
        if not isinstance(error.orig, _MISSING):
            raise
        raise MigrationError(
            "this database does not have the schema of this program "
            f"({error.orig.diag.message_primary}); run leukonode db upgrade"
        ) from error


_MISSING = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
)


def take_service_role(connection: psycopg.Connection[Any]) -> None:
    """Work with the service's rights where this login may; else with its own."""
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(APP)))
        connection.commit()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        connection.rollback()


def _on_connect(connection: psycopg.Connection[Any], _record: object) -> None:
    # procrastinate names its objects without a schema; ours are all named with theirs
    connection.execute("SET search_path = queue, public")
    connection.execute("SET timezone = 'UTC'")
    connection.commit()
    take_service_role(connection)


def _without_detail(context: ExceptionContext) -> None:
    """PostgreSQL's DETAIL holds whole rows, a patient's among them; messages go to logs."""
    error = context.original_exception
    if not isinstance(error, psycopg.Error) or not error.diag.message_detail:
        return
    primary = error.diag.message_primary or type(error).__name__
    if context.sqlalchemy_exception is not None:
        kind = f"({type(error).__module__}.{type(error).__name__})"
        context.sqlalchemy_exception.args = (f"{kind} {primary}",)
    error.args = (primary,)
