"""Bring a database to the schema of this program, or say how it differs.

The revisions lie in `alembic/` of the checkout; in an installed copy in `db/_migrations`, beside
this file. The queue's tables are procrastinate's, pinned inside our first revision.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.exc import DBAPIError, OperationalError

from db._url import engine_url
from db.errors import MigrationError
from db.roles import apply_grants, ensure_roles, missing_protections
from db.tables import AUDIT, CASES, metadata

__all__ = ["SchemaCheck", "check", "revisions_dir", "upgrade"]

OLDEST_SERVER = 14
# of procrastinate's schema.sql as it stands in 0001_queue.sql; raised by a further revision only
QUEUE_SCHEMA_SHA256 = "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"
TRIGGERS = {
    "events_chain": "audit.events",
    "events_refuse": "audit.events",
    "reviews_refuse": "leukonode.reviews",
}
VIEWS = ("cases", "cells", "deliveries", "events", "models", "results", "reviews")


@dataclass(frozen=True, kw_only=True)
class SchemaCheck:
    """`current` None: an empty database. `differences`: what the schema is and should not be.
    `warnings`: protections that this server did not let us set up (roles, grants)."""

    current: str | None
    head: str
    differences: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.current == self.head and not self.differences


def upgrade(url: str) -> None:
    """Run what is missing; safe to call from several processes at once. MigrationError says why not."""
    with _connected(url) as connection:
        driver = _driver(connection)
        _check_server(driver)
        ensure_roles(driver)
        driver.commit()
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise MigrationError(_unknown_revision(error)) from None
        except DBAPIError as error:
            raise MigrationError(f"the schema could not be upgraded: {_said(error)}") from error
        except psycopg.Error as error:
            raise MigrationError(
                f"the schema could not be upgraded: {_first_line(error)}"
            ) from error
        apply_grants(driver)
        driver.commit()


def check(url: str) -> SchemaCheck:
    """Compare the database with this program."""
    head = ScriptDirectory.from_config(_config()).get_current_head() or ""
    with _connected(url) as connection:
        driver = _driver(connection)
        _check_server(driver)
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "version_table_schema": CASES,
                "include_name": _ours,
                "target_metadata": metadata,
            },
        )
        current = context.get_current_revision()
        if current != head:
            return SchemaCheck(current=current, head=head, differences=(), warnings=())
        differences = [_describe(d) for d in _flat(compare_metadata(context, metadata))]
        differences += _missing_objects(driver)
        return SchemaCheck(
            current=current,
            head=head,
            differences=tuple(differences),
            # rights are asked of tables by name, so only where all of them are there
            warnings=() if differences else tuple(missing_protections(driver)),
        )


def revisions_dir() -> Path:
    """Beside this file in an installed copy, else in the checkout."""
    packaged = Path(__file__).parent / "_migrations"
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).parent.parent / "alembic"
    if (checkout / "env.py").is_file():
        return checkout
    raise MigrationError("the revisions are missing from this installation; install leukonode anew")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(revisions_dir()).replace("%", "%%"))
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    # a login called leukonode would else take the schema of its name for the default one
    engine = create_engine(
        engine_url(url),
        poolclass=pool.NullPool,
        connect_args={"options": "-c search_path=public", "connect_timeout": 10},
    )
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise MigrationError(f"the database can't be reached: {_said(error)}") from None
    with connection:
        yield connection


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("the engine does not use psycopg")
    return driver


def _check_server(driver: psycopg.Connection[Any]) -> None:
    if driver.info.server_version // 10000 < OLDEST_SERVER:
        raise MigrationError(
            f"this PostgreSQL is version {driver.info.server_version // 10000}; LeukoNode needs "
            f"{OLDEST_SERVER} or later"
        )
    row = driver.execute("SHOW server_encoding").fetchone()
    if row is None or row[0] != "UTF8":
        raise MigrationError(
            "the database's encoding is not UTF8, so patient names would be lost; "
            "make it with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    driver.rollback()


def _missing_objects(driver: psycopg.Connection[Any]) -> list[str]:
    """What the metadata does not know: triggers, views, the queue's pinned schema."""
    said = []
    standing = dict(
        driver.execute(
            "SELECT tgname, tgenabled FROM pg_trigger"
            " WHERE tgrelid IN (to_regclass('audit.events'), to_regclass('leukonode.reviews'))"
        ).fetchall()
    )
    said += [
        f"trigger {name} on {table} is missing or switched off"
        for name, table in TRIGGERS.items()
        if standing.get(name) not in ("A", b"A")
    ]
    views = {
        name
        for (name,) in driver.execute("SELECT viewname FROM pg_views WHERE schemaname = 'auditor'")
    }
    said += [f"view auditor.{name} is missing" for name in VIEWS if name not in views]
    packaged = resources.files("procrastinate").joinpath("sql", "schema.sql").read_bytes()
    if hashlib.sha256(packaged).hexdigest() != QUEUE_SCHEMA_SHA256:
        said.append(
            "the installed procrastinate wants another queue schema than the pinned one; install "
            "the version of constraints.txt"
        )
    return said


def _ours(name: str | None, kind: str, _parents: Any) -> bool:
    if kind == "schema":
        return name in (CASES, AUDIT)
    return not (kind == "table" and name == "alembic_version")


def _flat(differences: list[Any]) -> Iterator[Any]:
    for difference in differences:
        if isinstance(difference, list):
            yield from difference
        else:
            yield difference


def _describe(difference: Any) -> str:
    names = [str(getattr(part, "name", part)) for part in difference[1:] if part is not None]
    return " ".join([str(difference[0]), *names[:4]])


def _unknown_revision(error: CommandError) -> str:
    return (
        f"the database is at a revision that this program does not know ({_first_line(error)}); "
        "start the newer program that made it, or restore the backup taken before"
    )


def _said(error: DBAPIError) -> str:
    return _first_line(error.orig or error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
