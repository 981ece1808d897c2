"""Kill -9 whatever is killed: the case ends delivered, with exactly one PDF and one SR."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.delivering import retry_delivery
from dicom_node.archive import FolderArchive
from dicom_node.dicomize import Labels, PictureArray, dicomize
from dicom_node.headers import read_header
from domain.states import CaseState
from phantom.smear import draw
from phantom.spec import leukaemic_smear

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def smear():
    return draw(leukaemic_smear(2, white_cells=6, width_px=640, height_px=480)).pixels


def study_of(
    smear, folder: Path, name: str, *, objects: int = 1, study_uid=None
) -> tuple[str, list]:
    """A study of one or more fields, each a little different from the others."""
    pictures = [PictureArray(name=f"{name}-{n}", pixels=smear[n:, n:]) for n in range(objects)]
    labels = Labels(
        patient_id=name, patient_name="TEST^CASE", accession=name[:16], study_uid=study_uid
    )
    paths = dicomize(pictures, out=folder / name, labels=labels, spacing_um=0.1, now=NOW)
    return read_header(paths[0], sha256="0" * 64).study_uid, paths


def kept(archive, study_uid: str) -> dict[str, set[str]]:
    """Instance UIDs by class of what the archive was ever sent of a study."""
    found: dict[str, set[str]] = {PDF_CLASS: set(), SR_CLASS: set()}
    for path in sorted(archive.folder.glob("*.dcm")):
        dataset = dcmread(path, stop_before_pixels=True)
        # whether there are annotations too depends on what an untrained network finds
        if dataset.StudyInstanceUID == study_uid and dataset.SOPClassUID in found:
            found[dataset.SOPClassUID].add(dataset.SOPInstanceUID)
    return found


DOORS = {
    "receive": (CaseState.RECEIVING,),
    "analyse": (CaseState.ANALYSING,),
    "report": (CaseState.ANALYSED, CaseState.REPORTING),
    "deliver": (CaseState.DELIVERING,),
}


@pytest.mark.parametrize("victim", ["node", "worker", "child", "postgres"])
@pytest.mark.parametrize("door", DOORS)
def test_kill_at_each_door(door, victim, service, archive, smear, tmp_path):
    study, paths = study_of(smear, tmp_path, f"{door}-{victim}")
    service.wait_until_up()
    if victim == "child":  # it starts with the first case that needs it
        warm, warming = study_of(smear, tmp_path, f"{door}-warm")
        assert service.send(*warming).delivered
        service.wait_state(warm, CaseState.DELIVERED)
    assert service.send(*paths).delivered
    met = service.wait_state(study, *DOORS[door], CaseState.DELIVERED)
    service.kill(victim)
    assert met.line.state in DOORS[door], "the case had gone through the door already"

    service.wait_state(study, CaseState.DELIVERED)

    assert {k: len(v) for k, v in kept(archive, study).items()} == {PDF_CLASS: 1, SR_CLASS: 1}
    service.wait_until_up()


def test_kill_of_everything_at_once(service, archive, smear, tmp_path):
    study, paths = study_of(smear, tmp_path, "everything")
    assert service.send(*paths).delivered
    service.wait_state(study, CaseState.ANALYSING, CaseState.DELIVERED)
    service.process.kill()
    service.process.wait()
    service.start()
    service.wait_state(study, CaseState.DELIVERED)
    assert {k: len(v) for k, v in kept(archive, study).items()} == {PDF_CLASS: 1, SR_CLASS: 1}


def test_told_to_stop_while_analysing_costs_no_attempt(service, archive, smear, tmp_path):
    study, paths = study_of(smear, tmp_path, "told-to-stop")
    assert service.send(*paths).delivered
    met = service.wait_state(study, CaseState.ANALYSING, CaseState.DELIVERED)
    service.terminate()
    assert met.line.state is CaseState.ANALYSING
    service.start()
    case = service.wait_state(study, CaseState.DELIVERED)
    names = [e.event for e in case.events]
    assert "analysis put back" in names
    started = [e for e in case.events if e.event == "analysis started"]
    assert [e.details["attempt"] for e in started] == [1, 1]
    assert {k: len(v) for k, v in kept(archive, study).items()} == {PDF_CLASS: 1, SR_CLASS: 1}


def test_same_study_five_times_at_once_gives_one_report(service, archive, smear, tmp_path):
    study, paths = study_of(smear, tmp_path, "five-times", objects=3)
    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(lambda _: service.send(*paths), range(5)))
    assert all(o.delivered for o in outcomes)
    case = service.wait_state(study, CaseState.DELIVERED)
    assert len(case.analyses) == len(case.reports) == 1
    assert len(case.images) == 3
    assert {k: len(v) for k, v in kept(archive, study).items()} == {PDF_CLASS: 1, SR_CLASS: 1}


def test_late_image_makes_an_amended_report_that_names_the_first(service, archive, smear, tmp_path):
    study, paths = study_of(smear, tmp_path, "late", objects=1)
    assert service.send(*paths).delivered
    first = service.wait_state(study, CaseState.DELIVERED)
    _, more = study_of(smear[8:], tmp_path, "late", objects=1, study_uid=study)
    assert service.send(*more).delivered
    service.wait_state(study, CaseState.RECEIVING, CaseState.READY, CaseState.ANALYSING)
    second = service.wait_state(study, CaseState.DELIVERED)

    assert [a.ordinal for a in second.analyses] == [1, 2]
    assert [r.revision for r in second.reports] == [1, 2]
    assert second.reports[0] == first.reports[0]
    kept_objects = kept(archive, study)
    assert {k: len(v) for k, v in kept_objects.items()} == {PDF_CLASS: 2, SR_CLASS: 2}
    new = {o.kind.value: o.instance_uid for o in second.reports[1].objects}
    old = {o.kind.value: o.instance_uid for o in second.reports[0].objects}
    for path in archive.folder.glob("*.dcm"):
        dataset = dcmread(path)
        for kind in ("pdf", "sr"):
            if dataset.SOPInstanceUID == new[kind]:
                named = dataset.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
                assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old[kind]


def test_every_step_is_in_the_trail_and_the_trail_cannot_be_changed(
    service, archive, smear, tmp_path
):
    study, paths = study_of(smear, tmp_path, "trail")
    assert service.send(*paths).delivered
    case = service.wait_state(study, CaseState.DELIVERED)
    names = [e.event for e in case.events]
    road = [
        "object received",
        "study complete",
        "analysis started",
        "analysis finished",
        "report started",
        "report issued",
        "delivery started",
        "delivery succeeded",
    ]
    places = [next((i for i, n in enumerate(names) if n == step), -1) for step in road]
    assert places == sorted(places), names
    assert -1 not in places, names
    for change in (
        "UPDATE audit.events SET actor = 'nobody'",
        "DELETE FROM audit.events",
        "TRUNCATE audit.events",
    ):
        with (
            pytest.raises(DBAPIError),
            service.database.transaction() as tx,
        ):
            tx.connection.execute(text(change))
    with service.database.reading() as conn:
        rows = conn.execute(text("SELECT count(*) FROM auditor.events WHERE actor = 'nobody'"))
        assert rows.scalar_one() == 0


def test_peer_that_is_down_is_tried_again(service_class, quick_bundle, smear, tmp_path):
    """The dead-letter list, and sending again by hand when the peer is back."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    running = service_class(
        tmp_path / "data",
        {
            "LEUKONODE_BUNDLE": str(quick_bundle),
            "LEUKONODE_STUDY_QUIET_SECONDS": "1",
            "LEUKONODE_DELIVERY_RETRY_SECONDS": "[0.5]",
            "LEUKONODE_DESTINATIONS": json.dumps(
                [{"name": "away", "ae_title": "AWAY", "host": "127.0.0.1", "port": port}]
            ),
        },
    )
    running.start()
    try:
        study, paths = study_of(smear, tmp_path, "away")
        assert running.send(*paths).delivered
        case = running.wait_state(study, CaseState.UNDELIVERED)
        delivery = case.deliveries[0]
        assert delivery.attempts == 2
        assert delivery.last_error
        with FolderArchive(tmp_path / "back", ae_title="AWAY", port=port) as archive:
            retry(running, delivery.delivery_id)
            running.wait_state(study, CaseState.DELIVERED)
            assert {k: len(v) for k, v in kept(archive, study).items()} == {
                PDF_CLASS: 1,
                SR_CLASS: 1,
            }
    finally:
        running.stop()


def retry(running, delivery_id: str) -> None:
    with running.database.transaction() as tx:
        assert retry_delivery(tx, delivery_id, by="an administrator", now=datetime.now(UTC))
