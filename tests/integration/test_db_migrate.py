"""Migrated equals declared, on our own server and where we may make no roles."""

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, text

import db.migrate
from db import queries
from db._url import engine_url
from db.audit import record_event
from db.database import Database
from db.errors import MigrationError
from db.migrate import check, revisions_dir, upgrade
from db.queue import Step, defer
from db.receiving import IntakeKind, receive_instance
from db.tables import AUDIT, CASES, metadata

COLUMNS = """
    SELECT c.table_schema, c.table_name, c.column_name, c.ordinal_position, c.data_type,
           c.udt_name, c.is_nullable, c.column_default, c.is_identity, c.identity_generation
      FROM information_schema.columns AS c
      JOIN information_schema.tables AS t USING (table_schema, table_name)
     WHERE c.table_schema IN ('leukonode', 'audit') AND c.table_name <> 'alembic_version'
       AND t.table_type = 'BASE TABLE'
     ORDER BY 1, 2, 3
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
      FROM pg_constraint
     WHERE connamespace IN ('leukonode'::regnamespace, 'audit'::regnamespace)
       AND conrelid <> 'leukonode.alembic_version'::regclass
     ORDER BY 1, 2
"""
INDEXES = """
    SELECT schemaname, indexname, indexdef FROM pg_indexes
     WHERE schemaname IN ('leukonode', 'audit') AND tablename <> 'alembic_version'
     ORDER BY 1, 2
"""


def catalogue(url: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url) as conn:
        return [conn.execute(q).fetchall() for q in (COLUMNS, CONSTRAINTS, INDEXES)]


def test_migrated_is_declared_down_to_every_constraint(
    database_url: str, empty_database_url: str
) -> None:
    engine = create_engine(engine_url(empty_database_url))
    with engine.begin() as conn:
        for schema in (CASES, AUDIT):
            conn.execute(text(f"CREATE SCHEMA {schema}"))
        conn.execute(text(f"CREATE TABLE {CASES}.alembic_version (version_num text)"))
        metadata.create_all(conn)
    engine.dispose()
    migrated, declared = catalogue(database_url), catalogue(empty_database_url)
    assert len(migrated[0]) > 150
    for of_migrated, of_declared in zip(migrated, declared, strict=True):
        assert of_migrated == of_declared


def test_check_says_that_all_stands(database_url: str) -> None:
    found = check(database_url)
    assert (found.ok, found.differences, found.warnings) == (True, (), ())


def test_check_names_an_empty_database_and_upgrade_fills_it(empty_database_url: str) -> None:
    assert check(empty_database_url).current is None
    assert not check(empty_database_url).ok
    upgrade(empty_database_url)
    upgrade(empty_database_url)
    assert check(empty_database_url).ok


def test_several_processes_may_upgrade_at_once(empty_database_url: str) -> None:
    script = "import sys; from db.migrate import upgrade; upgrade(sys.argv[1])"

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, empty_database_url],
            capture_output=True,
            text=True,
            check=False,
            cwd=revisions_dir().parent,
        )

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(run, range(3)))
    assert [d.returncode for d in done] == [0, 0, 0], [d.stderr[-500:] for d in done]
    assert check(empty_database_url).ok


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE leukonode.cases ADD COLUMN extra text", "extra"),
        ("DROP TABLE leukonode.delivery_instances CASCADE", "delivery_instances"),
        ("ALTER TABLE audit.events DISABLE TRIGGER events_refuse", "events_refuse"),
        ("DROP VIEW auditor.cells", "auditor.cells"),
    ],
)
def test_check_names_what_differs(database_url: str, change: str, said: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(change)
    found = check(database_url)
    assert not found.ok
    assert any(said in difference for difference in found.differences)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("GRANT UPDATE ON audit.events TO leukonode_app", "may change audit.events"),
        ("GRANT DELETE ON leukonode.cases TO PUBLIC", "may change leukonode.cases"),
        ("REVOKE SELECT ON auditor.events FROM leukonode_auditor", "can't read the views"),
        ("REVOKE INSERT ON leukonode.cells FROM leukonode_app", "can't use leukonode.cells"),
    ],
)
def test_check_warns_of_missing_protections(database_url: str, change: str, said: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(change)
    found = check(database_url)
    assert found.ok
    assert any(said in warning for warning in found.warnings)


def test_a_newer_database_is_refused_with_the_mend(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE leukonode.alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationError, match="newer program"):
        upgrade(database_url)
    assert not check(database_url).ok


def test_a_database_that_is_not_there_gives_one_line(database_url: str) -> None:
    with pytest.raises(MigrationError, match="can't be reached") as caught:
        upgrade(database_url.replace("@127.0.0.1", "@127.0.0.2"))
    assert "\n" not in str(caught.value)


def test_another_encoding_is_refused(database_server: Any) -> None:
    with psycopg.connect(database_server.server.admin_url, autocommit=True) as conn:
        conn.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' "
            "TEMPLATE template0 OWNER leukonode"
        )
    try:
        with pytest.raises(MigrationError, match="UTF8"):
            upgrade(database_server.url("latin"))
    finally:
        database_server.drop("latin")


def test_a_failing_upgrade_changes_nothing(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("CREATE SCHEMA auditor")
        conn.execute("CREATE VIEW auditor.cases AS SELECT 1 AS one")
    with pytest.raises(MigrationError, match="already exists"):
        upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        schemas = conn.execute("SELECT nspname FROM pg_namespace").fetchall()
    assert ("leukonode",) not in schemas


def test_it_works_for_a_login_that_may_make_no_roles_and_is_in_none(
    database_server: Any, arrival_for_roles: Any
) -> None:
    """As on a hospital's server: a database and a login, and nothing more."""
    admin = database_server.server.admin_url
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        conn.execute("CREATE DATABASE guests OWNER guest")
    url = database_server.url("guests").replace(engine_url(admin).password or "", "guest")
    base = engine_url(url).set(username="guest", password="guest", drivername="postgresql")
    url = base.render_as_string(hide_password=False)
    try:
        upgrade(url)
        found = check(url)
        assert found.ok
        assert any("no member of leukonode_app" in w for w in found.warnings)
        opened = Database(url)
        with opened.transaction() as tx:
            intake = receive_instance(tx, **arrival_for_roles)
        assert intake.kind is IntakeKind.NEW
        opened.close()
        with psycopg.connect(url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("DELETE FROM audit.events")
    finally:
        database_server.drop("guests")
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP ROLE guest"))


@pytest.fixture
def arrival_for_roles() -> dict[str, Any]:
    from datetime import UTC, datetime, timedelta

    from db.receiving import Arrival, InstanceRole
    from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
    from domain.image import Domain
    from domain.study import Patient

    return {
        "arrival": Arrival(
            instance_uid=InstanceUID("1.2"),
            sop_class_uid=SopClassUID("1.3"),
            series_uid=SeriesUID("1.4"),
            study_uid=StudyUID("1.5"),
            transfer_syntax_uid="1.6",
            patient=Patient(),
            accession_number="",
            domain=Domain.SMEAR,
            role=InstanceRole.IMAGE,
            sha256=Sha256("0" * 64),
            size_bytes=1,
            store_key="k",
            calling_ae="AE",
        ),
        "quiet": timedelta(seconds=1),
        "now": datetime(2026, 1, 1, tzinfo=UTC),
    }


def test_the_pinned_queue_schema_is_the_installed_librarys() -> None:
    packaged = resources.files("procrastinate").joinpath("sql", "schema.sql").read_bytes()
    ours = (revisions_dir() / "sql" / "0001_queue.sql").read_bytes()
    assert ours.endswith(packaged)
    assert hashlib.sha256(packaged).hexdigest() == db.migrate.QUEUE_SCHEMA_SHA256


def test_an_installed_copy_brings_its_own_revisions(
    tmp_path: Path, empty_database_url: str
) -> None:
    """As in a wheel: `db/_migrations` beside the code, and no checkout around it."""
    root = revisions_dir().parent
    for package in ("db", "domain"):
        shutil.copytree(
            root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copytree(
        root / "alembic",
        tmp_path / "db" / "_migrations",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from db.migrate import check, revisions_dir, upgrade\n"
        "assert str(revisions_dir()).startswith(sys.argv[2]), revisions_dir()\n"
        "upgrade(sys.argv[1]); assert check(sys.argv[1]).ok"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, empty_database_url, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_a_database_that_was_not_upgraded_says_what_mends_it(empty_database_url: str) -> None:
    opened = Database(empty_database_url)
    with (
        pytest.raises(MigrationError, match="leukonode db upgrade") as caught,
        opened.reading() as conn,
    ):
        queries.cases(conn)
    assert "\n" not in str(caught.value)
    with pytest.raises(MigrationError, match="leukonode db upgrade"), opened.transaction() as tx:
        record_event(tx, actor="a", event="b")
    with pytest.raises(MigrationError, match="leukonode db upgrade"), opened.transaction() as tx:
        defer(tx, Step.REPORT, key="a")
    upgrade(empty_database_url)
    with opened.reading() as conn:
        assert queries.cases(conn) == ()
    opened.close()
