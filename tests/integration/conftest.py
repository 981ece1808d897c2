"""One embedded PostgreSQL for the whole run; every test gets a fresh database of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from db.database import Database
from db.embedded import EmbeddedServer
from db.migrate import upgrade

OWNER = "leukonode"


class DatabaseServer:
    """The running server: makes databases, and knows their URLs."""

    def __init__(self, server: EmbeddedServer, url: str) -> None:
        self.server = server
        self._url = url
        self._template: str | None = None

    def url(self, name: str, *, admin: bool = False) -> str:
        base = self.server.admin_url if admin else self._url
        return f"{base.rsplit('/', 1)[0]}/{name}"

    def new_database(self, *, like: str = "template1") -> str:
        """An own database of the service's owner; its name."""
        name = f"t_{uuid4().hex[:12]}"
        with psycopg.connect(self.server.admin_url, autocommit=True) as conn:
            conn.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(like)
                )
            )
        return name

    def drop(self, name: str) -> None:
        with psycopg.connect(self.server.admin_url, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def migrated_database(self) -> str:
        if self._template is None:
            self._template = self.new_database()
            upgrade(self.url(self._template))
        return self.new_database(like=self._template)


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    folder = Path(tempfile.mkdtemp(prefix="leukonode-test-"))
    server = EmbeddedServer(folder)
    url = server.start()
    try:
        yield DatabaseServer(server, url)
    finally:
        server.remove()
        shutil.rmtree(folder)


@pytest.fixture
def empty_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """A database without any schema."""
    name = database_server.new_database()
    yield database_server.url(name)
    database_server.drop(name)


@pytest.fixture
def database_name(database_server: DatabaseServer) -> Iterator[str]:
    name = database_server.migrated_database()
    yield name
    database_server.drop(name)


@pytest.fixture
def database_url(database_server: DatabaseServer, database_name: str) -> str:
    """A fresh database at the newest schema, as its owner connects to it."""
    return database_server.url(database_name)


@pytest.fixture
def admin_database_url(database_server: DatabaseServer, database_name: str) -> str:
    """The same database, as the superuser."""
    return database_server.url(database_name, admin=True)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()
