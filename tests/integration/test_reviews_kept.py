"""What persons did is written once; an old report does not follow a newer one; a cell is named with the
report that was looked at."""

import psycopg
import pytest
from sqlalchemy import text

from db.delivering import retry_delivery
from db.errors import ReviewRefused, Superseded
from dicom_node.archive import FolderArchive
from tests.integration.test_revisions import FIRST_NEUTROPHIL, reclassify, sign
from tests.revisions_house import desk


@pytest.fixture
def at(database, tmp_path):
    with FolderArchive(tmp_path / "pacs", ae_title="ARCHIVE") as archive:
        yield desk(database, tmp_path, archive=archive)


@pytest.mark.parametrize("who", ["service", "owner", "superuser"])
def test_no_review_is_changed_by_anyone(at, database_url, admin_database_url, who):
    sign(at, at.reported())
    url = admin_database_url if who == "superuser" else database_url
    with psycopg.connect(url, autocommit=True) as conn:
        if who == "service":
            conn.execute("SET ROLE leukonode_app")
        for change in (
            "UPDATE leukonode.reviews SET comment = 'x'",
            "DELETE FROM leukonode.reviews",
            "TRUNCATE leukonode.reviews",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(change)
    assert [r["kind"] for r in at.all_rows("SELECT kind FROM leukonode.reviews")] == ["signature"]


def test_a_dead_delivery_is_not_sent_after_that_of_a_newer_report(at):
    case_id = at.reported()
    (first,) = at.all_rows("SELECT id::text FROM leukonode.deliveries")
    with at.database.transaction() as tx:
        tx.connection.execute(text("UPDATE leukonode.deliveries SET state = 'dead'"))
    sign(at, case_id)
    at.report(case_id)
    with (
        pytest.raises(Superseded, match="revision 2 of its case"),
        at.database.transaction() as tx,
    ):
        retry_delivery(tx, first["id"], by="Anna", now=at.clock())


def test_a_cell_of_another_revision_than_the_latest_is_not_reclassified(at):
    case_id = at.reported()
    reclassify(at, case_id, FIRST_NEUTROPHIL, "monocytes")
    at.report(case_id)
    with pytest.raises(ReviewRefused, match="latest report is revision 2, not 1"):
        reclassify(at, case_id, FIRST_NEUTROPHIL, "eosinophil", revision=1)
