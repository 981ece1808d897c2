"""Runs the revisions on the connection that `db.migrate` hands over, all in one transaction.

Only one process migrates at a time (advisory lock), and no statement may hold up a receiving node
for long (lock and statement timeout): the whole upgrade then fails, changes nothing, and says so.
"""

from alembic import context
from sqlalchemy import Connection, text

from db.tables import metadata

LOCK = 5_307_461_902_114_083  # any number; the same in every version


def run(connection: Connection) -> None:
    with connection.begin():
        connection.execute(text("SET LOCAL lock_timeout = '120s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text("SET LOCAL statement_timeout = '300s'"))
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS leukonode"))
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_schemas=True,
            version_table_schema="leukonode",
            transaction_per_migration=False,
        )
        with context.begin_transaction():
            context.run_migrations()


given = context.config.attributes.get("connection")
if given is None:
    raise SystemExit("revisions run through the program: use leukonode db upgrade")
run(given)
