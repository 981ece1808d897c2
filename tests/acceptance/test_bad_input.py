"""What bad input gets: the documented status, an audit event, nothing lost; the node goes on."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from db import queries
from dicom_node.dicomize import Labels, PictureArray, dicomize
from dicom_node.headers import read_header
from domain.states import CaseState
from phantom.smear import draw
from phantom.spec import normal_smear

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def smear():
    return draw(normal_smear(3, white_cells=2, width_px=480, height_px=360)).pixels


def made(smear, folder: Path, name: str, *, patient: str = "", study_uid=None) -> Path:
    labels = Labels(
        patient_id=patient or name,
        patient_name="TEST^CASE",
        accession=name[:16],
        study_uid=study_uid,
    )
    picture = PictureArray(name=name, pixels=smear)
    return dicomize([picture], out=folder, labels=labels, spacing_um=0.1, now=NOW)[0]


def study_of(path: Path) -> str:
    return read_header(path, sha256="0" * 64).study_uid


def events(service, name: str) -> list[queries.EventLine]:
    with service.database.reading() as conn:
        return list(queries.events(conn, names=(name,)))


def status_of(service, path: Path) -> int | None:
    return service.send(path).instances[0].status


def test_same_uid_with_other_content_is_refused_and_kept_aside(service, smear, tmp_path):
    first = made(smear, tmp_path, "conflict")
    assert status_of(service, first) == 0x0000
    dataset = dcmread(first)
    dataset.AccessionNumber = "OTHER"
    dataset.save_as(tmp_path / "other.dcm")
    assert status_of(service, tmp_path / "other.dcm") == 0xC011
    assert status_of(service, first) == 0x0000
    case = service.wait_state(study_of(first), CaseState.DELIVERED)
    assert case.line.accession_number == "conflict"
    assert len(case.images) == 1
    quarantined = [
        e for e in events(service, "object quarantined") if e.case_id == case.line.case_id
    ]
    assert quarantined


def test_study_of_another_patient_is_refused(service, smear, tmp_path):
    first = made(smear, tmp_path, "whose", patient="ONE")
    assert status_of(service, first) == 0x0000
    other = made(smear[4:], tmp_path, "whose", patient="TWO", study_uid=study_of(first))
    assert status_of(service, other) == 0xC014
    case = service.wait_state(study_of(first), CaseState.DELIVERED)
    assert len(case.images) == 1


def test_class_that_is_not_taken_is_refused_at_the_door(service, smear, tmp_path):
    dataset = dcmread(made(smear, tmp_path, "class"))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.save_as(tmp_path / "ct.dcm")
    outcome = service.send(tmp_path / "ct.dcm")
    assert outcome.instances[0].status is None
    assert outcome.instances[0].problem.value == "no context"


@pytest.mark.parametrize(
    ("name", "spoil", "status"),
    [
        ("rows", lambda d: setattr(d, "Rows", 7), None),
        ("no-study", lambda d: delattr(d, "StudyInstanceUID"), None),
        ("bad-uid", lambda d: setattr(d, "StudyInstanceUID", "1.2.x"), None),
        ("cut", lambda d: setattr(d, "PixelData", d.PixelData[:-10]), None),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_object_that_contradicts_itself_is_refused_and_audited(
    service, smear, tmp_path, name, spoil, status
):
    path = made(smear, tmp_path, name)
    dataset = dcmread(path)
    spoil(dataset)
    dataset.save_as(path)
    before = len(events(service, "object quarantined"))
    answered = status_of(service, path)
    assert answered is not None
    assert answered >= 0xA900
    assert len(events(service, "object quarantined")) == before + 1
    incoming = (service.folder / "store" / "incoming").rglob("*")
    assert not [path for path in incoming if path.is_file()]
    service.wait_until_up()


def test_full_disk_is_told_to_the_peer(service_class, quick_bundle, smear, tmp_path):
    free = os.statvfs(tmp_path)
    more_than_there_is = (free.f_bavail * free.f_frsize >> 20) * 2
    running = service_class(
        tmp_path / "data",
        {
            "LEUKONODE_BUNDLE": str(quick_bundle),
            "LEUKONODE_MIN_FREE_MB": str(more_than_there_is),
        },
    )
    running.start()
    try:
        path = made(smear, tmp_path, "disk")
        assert status_of(running, path) == 0xA700
        assert running.case(study_of(path)) is None
        assert events(running, "object refused")
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("LEUKONODE_PORT", "many", "setting port"),
        ("LEUKONODE_BUNDLE", "/nowhere", "setting bundle"),
        ("LEUKONODE_PROT", "1", "no setting 'prot'"),
    ],
)
def test_wrong_setting_stops_the_start_with_one_line(tmp_path, setting, value, said):

    environment = {k: v for k, v in os.environ.items() if not k.startswith("LEUKONODE_")}
    run = subprocess.run(
        [sys.executable, "-P", "-m", "leukonode", "serve"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | {setting: value},
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1
    assert said in run.stderr
