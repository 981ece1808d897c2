"""A backup holds everything, is closed to others, and comes back whole with its chain."""

import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import text

from db.audit import record_event, verify_chain
from db.backup import backup, restore, restore_into
from db.database import Database
from db.embedded import EmbeddedServer, url_of_running
from db.errors import DatabaseError
from db.migrate import check


def test_a_backup_comes_back_with_its_chain(
    database: Database, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    for number in range(3):
        with database.transaction() as tx:
            record_event(tx, actor="a", event="b", details={"number": number})
    with database.reading() as conn:
        head = verify_chain(conn)
    file = tmp_path / "leukonode.dump"
    backup(database_url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["leukonode.dump"]
    restore(empty_database_url, file)
    found = check(empty_database_url)
    assert (found.ok, found.warnings) == (True, ())
    again = Database(empty_database_url)
    with again.reading() as conn:
        assert verify_chain(conn, anchor=head) == head
    with again.transaction() as tx:
        record_event(tx, actor="a", event="after")
    with again.reading() as conn:
        assert verify_chain(conn, anchor=head).event_id == 4
    again.close()
    with pytest.raises(DatabaseError, match="in use already"):
        restore(empty_database_url, file)


def test_a_backup_comes_back_into_a_new_data_folder(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    with database.transaction() as tx:
        record_event(tx, actor="a", event="b")
    with database.reading() as conn:
        head = verify_chain(conn)
    file = tmp_path / "leukonode.dump"
    backup(database_url, file)
    folder = Path(tempfile.mkdtemp(prefix="leukonode-test-"))  # reachable to other accounts
    try:
        wrong = tmp_path / "wrong"
        wrong.write_text("nothing")
        with pytest.raises(DatabaseError):
            restore_into(folder, wrong)
        assert url_of_running(folder) is None
        with pytest.raises(DatabaseError, match="no backup"):
            restore_into(folder, tmp_path / "missing")
        restore_into(folder, file)
        assert url_of_running(folder) is None
        with pytest.raises(DatabaseError, match="in use already"):
            restore_into(folder, file)
        server = EmbeddedServer(folder)
        url = server.start()  # what was restored was not taken away
        try:
            again = Database(url)
            with again.reading() as conn:
                assert verify_chain(conn, anchor=head) == head
            again.close()
            with pytest.raises(DatabaseError, match="service runs"):
                restore_into(folder, file)
        finally:
            server.remove()
    finally:
        shutil.rmtree(folder)


def test_what_is_no_backup_changes_nothing(empty_database_url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no backup"):
        restore(empty_database_url, tmp_path / "missing")
    wrong = tmp_path / "wrong"
    wrong.write_text("nothing")
    with pytest.raises(DatabaseError) as caught:
        restore(empty_database_url, wrong)
    assert "\n" not in str(caught.value)
    opened = Database(empty_database_url)
    with opened.reading() as conn:
        assert conn.execute(text("SELECT to_regnamespace('leukonode')")).scalar() is None
    opened.close()


def test_a_backup_that_fails_leaves_no_file(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="can't be written"):
        backup(database_url, tmp_path / "no folder" / "x")
    with pytest.raises(DatabaseError):
        backup(database_url.replace("@127.0.0.1", "@127.0.0.2"), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
