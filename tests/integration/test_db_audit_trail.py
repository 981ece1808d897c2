"""The audit trail is added to and never changed, and a change made past all guards is found."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db._url import engine_url
from db.audit import ChainHead, record_event, verify_chain
from db.database import Database
from db.errors import ChainBroken
from db.migrate import upgrade

CHANGES = (
    "UPDATE audit.events SET actor = 'nobody'",
    "UPDATE audit.events SET actor = 'nobody' WHERE false",
    "DELETE FROM audit.events",
    "TRUNCATE audit.events",
)


def write(database: Database, count: int = 5) -> ChainHead:
    for number in range(count):
        with database.transaction() as tx:
            record_event(
                tx,
                actor="test:größe",
                event="something",
                objects=("1.2.3", 'a "quoted", {braced} \\ one'),
                details={"number": number, "text": "μ\0\ud800", "share": 0.1, "none": None},
            )
    with database.reading() as conn:
        return verify_chain(conn)


def verified(database: Database, anchor: ChainHead | None = None) -> ChainHead:
    with database.reading() as conn:
        return verify_chain(conn, anchor=anchor)


def test_a_trail_verifies_and_has_a_head(database: Database) -> None:
    assert verified(database) == ChainHead(event_id=0, sha256="")
    head = write(database)
    assert head.event_id == 5
    assert verified(database, head) == head
    assert verified(database, verified(database)) == head


@pytest.mark.parametrize("who", ["service", "owner", "superuser"])
def test_changes_are_refused_to_everyone(
    database: Database, database_url: str, admin_database_url: str, who: str
) -> None:
    head = write(database, 1)
    with psycopg.connect(
        admin_database_url if who == "superuser" else database_url, autocommit=True
    ) as conn:
        if who == "service":
            conn.execute("SET ROLE leukonode_app")
        for change in CHANGES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(change)
    assert verified(database, head) == head


def test_replica_mode_does_not_switch_the_guard_off(
    database: Database, admin_database_url: str
) -> None:
    write(database, 1)
    with psycopg.connect(admin_database_url) as conn:
        conn.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("DELETE FROM audit.events")


def test_the_service_works_with_fewer_rights_than_the_owner(database: Database) -> None:
    with database.transaction() as tx:
        assert tx.driver.execute("SELECT current_user").fetchone() == ("leukonode_app",)
    for statement in (
        "DELETE FROM leukonode.cases",
        "UPDATE leukonode.reports SET revision = 2",
        "UPDATE leukonode.cells SET frame = 2",
        "ALTER TABLE audit.events DISABLE TRIGGER ALL",
        "DROP TABLE audit.events",
    ):
        with database.transaction() as tx, pytest.raises(psycopg.errors.InsufficientPrivilege):
            tx.driver.execute(statement)


def test_the_auditor_reads_the_views_and_nothing_else(
    database: Database, admin_database_url: str
) -> None:
    write(database, 2)
    with psycopg.connect(admin_database_url, autocommit=True) as conn:
        conn.execute("SET ROLE leukonode_auditor")
        assert conn.execute("SELECT count(*) FROM auditor.events").fetchone() == (2,)
        for view in ("cases", "cells", "deliveries", "models", "results"):
            conn.execute(f"SELECT * FROM auditor.{view}")
        for refused in (
            "SELECT * FROM audit.events",
            "SELECT * FROM leukonode.cases",
            "DELETE FROM auditor.events",
            "INSERT INTO auditor.events (actor) VALUES ('x')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(refused)


def test_the_manuals_way_to_an_auditors_login_works(
    database_server: Any, database_name: str, database_url: str
) -> None:
    with psycopg.connect(database_server.server.admin_url, autocommit=True) as conn:
        conn.execute(f"REVOKE ALL ON DATABASE {database_name} FROM PUBLIC")
    upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE anna LOGIN PASSWORD 'secret' IN ROLE leukonode_auditor")
    try:
        login = engine_url(database_url).set(
            username="anna", password="secret", drivername="postgresql"
        )
        with psycopg.connect(login.render_as_string(hide_password=False)) as conn:
            assert conn.execute("SELECT count(*) FROM auditor.cases").fetchone() == (0,)
    finally:
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("DROP ROLE anna")


def test_a_forged_row_gets_its_own_number_and_time(database: Database, database_url: str) -> None:
    write(database, 2)
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO audit.events (id, at, actor, event, outcome, objects, details, sha256) "
            "VALUES (1, '2001-01-01', 'a', 'b', 'c', '{}', '{}', 'x') "
        )
    assert verified(database).event_id == 3


def _update(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE audit.events SET details = '{\"number\": 99}' WHERE id = 3")


def _update_time(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE audit.events SET at = at + interval '1 microsecond' WHERE id = 3")


def _delete(conn: psycopg.Connection) -> None:
    conn.execute("DELETE FROM audit.events WHERE id = 3")


def _delete_and_close_the_gap(conn: psycopg.Connection) -> None:
    conn.execute("DELETE FROM audit.events WHERE id = 3")
    conn.execute("UPDATE audit.events SET id = id - 1 WHERE id > 3")


def _rewrite_with_a_fitting_hash(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE audit.events SET actor = 'other' WHERE id = 2")
    conn.execute(
        "UPDATE audit.events AS e SET sha256 = sha256(p.sha256 || "
        "convert_to(audit.canonical(e), 'UTF8')) FROM audit.events AS p "
        "WHERE e.id = 2 AND p.id = 1"
    )


@pytest.mark.parametrize(
    "tamper",
    [
        _update,
        _update_time,
        _delete,
        _delete_and_close_the_gap,
        _rewrite_with_a_fitting_hash,
    ],
)
def test_a_change_past_all_guards_is_found(
    database: Database, admin_database_url: str, tamper: Callable[[psycopg.Connection], None]
) -> None:
    write(database)
    _past_the_guards(admin_database_url, tamper)
    with pytest.raises(ChainBroken, match="changed after it was written") as caught:
        verified(database)
    assert caught.value.event_id == 3


def test_a_trail_cut_off_at_its_end_is_found_with_an_anchor(
    database: Database, admin_database_url: str
) -> None:
    head = write(database)

    def cut(conn: psycopg.Connection) -> None:
        conn.execute("DELETE FROM audit.events WHERE id > 3")

    _past_the_guards(admin_database_url, cut)
    assert verified(database).event_id == 3
    with pytest.raises(ChainBroken):
        verified(database, head)
    write(database, 2)
    with pytest.raises(ChainBroken):
        verified(database, head)


def test_many_writers_make_one_chain(database: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: write(database, 10), range(6)))
    assert verified(database).event_id == 60


def _past_the_guards(url: str, tamper: Callable[[psycopg.Connection], None]) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("ALTER TABLE audit.events DISABLE TRIGGER ALL")
        tamper(conn)
        conn.execute("ALTER TABLE audit.events ENABLE ALWAYS TRIGGER events_chain")
        conn.execute("ALTER TABLE audit.events ENABLE ALWAYS TRIGGER events_refuse")


def test_the_manual_describes_every_view_and_column_and_its_questions_run(
    database_url: str,
) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "database.md").read_text(encoding="utf-8")
    questions = re.findall(r"```sql\n(SELECT.*?)```", manual, re.DOTALL)
    assert len(questions) >= 6
    with psycopg.connect(database_url) as conn:
        for question in questions:
            conn.execute(question)
        columns = conn.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'auditor'"
        ).fetchall()
    assert len(columns) > 60
    sections = dict(re.findall(r"\n### `auditor\.(\w+)`\n(.*?)(?=\n##)", manual, re.DOTALL))
    for view, column in columns:
        assert f"`{column}`" in sections[view], f"{view}.{column}"


def test_a_role_without_membership_sees_nothing(admin_database_url: str) -> None:
    with psycopg.connect(admin_database_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE stranger NOLOGIN")
        try:
            conn.execute("SET ROLE stranger")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT * FROM auditor.cases")
            conn.execute("RESET ROLE")
        finally:
            conn.execute("DROP ROLE stranger")
