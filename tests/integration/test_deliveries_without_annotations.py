"""A PACS that takes no annotations has the report all the same, and is not asked again and again."""

import pytest
from pydicom import dcmread

from db import queries
from dicom_node.archive import FolderArchive
from domain.states import CaseState
from tests.revisions_house import desk

ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"


class OlderArchive(FolderArchive):
    """It does not know the SOP class."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self._entity.remove_supported_context(ANNOTATIONS)


@pytest.mark.parametrize("archive", [FolderArchive, OlderArchive])
def test_a_case_is_delivered_with_the_report_alone_where_no_more_is_taken(
    archive, database, tmp_path
):
    with archive(tmp_path / "pacs", ae_title="ARCHIVE") as pacs:
        at = desk(database, tmp_path, archive=pacs)
        case_id = at.reported()
    kept = {str(dcmread(p, stop_before_pixels=True).Modality) for p in pacs.folder.iterdir()}
    (row,) = at.all_rows("SELECT state, attempts, last_error FROM leukonode.deliveries")
    with database.reading() as conn:
        state = queries.case(conn, case_id).line.state
    assert state is CaseState.DELIVERED
    assert (row["state"], row["attempts"]) == ("delivered", 1)
    if archive is FolderArchive:
        assert kept == {"DOC", "SR", "ANN"}
        assert row["last_error"] == ""
    else:
        assert kept == {"DOC", "SR"}
        assert row["last_error"].startswith("the peer takes no annotations")
