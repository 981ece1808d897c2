"""The main job: objects in by dcmtk's storescu, PDF and SR back in Orthanc, numbers equal."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from db import queries
from db.analysis_rows import load_analysis
from dicom_node.dicomize import (
    Labels,
    PictureArray,
    dicomize,
    dicomize_flow_cytometry,
    dicomize_slide,
)
from dicom_node.headers import read_header
from domain.cells import Stage
from domain.counts import AdequacyLimits, numbers_of
from domain.states import CaseState
from leukonode.store import FolderStore
from phantom.single import draw_ifc_cell
from phantom.smear import draw, draw_region
from phantom.spec import leukaemic_smear, normal_smear
from reporting.readback import numbers_in_pdf_text, numbers_in_result, numbers_in_sr
from reporting.readback_annotations import numbers_in_annotations
from reporting.result_json import validate
from tests.orthanc import Orthanc

pytestmark = [pytest.mark.peer, pytest.mark.slow]

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
ANNOTATIONS_CLASS = "1.2.840.10008.5.1.4.1.1.91.1"


@pytest.fixture(scope="module")
def orthanc(program, tmp_path_factory) -> Iterator[Orthanc]:
    pacs = Orthanc(program("Orthanc"), tmp_path_factory.mktemp("orthanc"))
    pacs.wait_until_up()
    yield pacs
    pacs.process.terminate()
    pacs.process.wait(30)


@pytest.fixture(scope="module")
def serving(service_class, quick_bundle, orthanc, tmp_path_factory):
    destination = {
        "name": "pacs",
        "ae_title": "ORTHANC",
        "host": "127.0.0.1",
        "port": orthanc.dicom,
    }
    running = service_class(
        tmp_path_factory.mktemp("serving") / "data",
        {
            "LEUKONODE_BUNDLE": str(quick_bundle),
            "LEUKONODE_STUDY_QUIET_SECONDS": "1",
            "LEUKONODE_DESTINATIONS": json.dumps([destination]),
        },
    )
    running.start()
    yield running
    running.stop()


def labels(name: str) -> Labels:
    return Labels(patient_id=f"T-{name}", patient_name="TEST^CASE", accession=f"A-{name}"[:16])


def made(kind: str, folder: Path, pictures: Path | None) -> Path:
    if kind.startswith("phantom"):
        number = int(kind[-1])
        spec = normal_smear(1) if number == 1 else leukaemic_smear(number, blast_fraction=0.35)
        picture = PictureArray(name=kind, pixels=draw(spec).pixels)
        return dicomize(
            [picture], out=folder, labels=labels(kind), spacing_um=spec.um_per_px, now=NOW
        )[0]
    if kind == "slide":
        spec = normal_smear(5, width_px=1500, height_px=1100, white_cells=8)
        return dicomize_slide(
            lambda x, y, w, h: draw_region(spec, x0=x, y0=y, width=w, height=h)[0],
            width_px=spec.width_px,
            height_px=spec.height_px,
            um_per_px=spec.um_per_px,
            out=folder,
            labels=labels(kind),
            now=NOW,
        )
    if kind == "flow-cytometry":
        frames = [draw_ifc_cell(seed=n) for n in range(5)]
        return dicomize_flow_cytometry(
            frames, um_per_px=0.5, out=folder, labels=labels(kind), now=NOW
        )
    assert pictures is not None
    field = sorted((pictures / "detection" / kind / "images").glob("*.jpg"))[0]
    return dicomize([field], out=folder, labels=labels(kind), spacing_um=None, now=NOW)[0]


KINDS = ["phantom-1", "phantom-2", "phantom-3", "slide", "flow-cytometry"]
REAL = [pytest.param(k, marks=pytest.mark.shared) for k in ("bccd", "txl_raabin", "txl_pbc")]


@pytest.mark.parametrize("kind", KINDS + REAL)
def test_loop(kind, serving, orthanc, quick_bundle, program, tmp_path, request):
    real = kind not in KINDS
    pictures = request.getfixturevalue("pictures") if real else None
    sent = made(kind, tmp_path / "sent", pictures)
    study = read_header(sent, sha256="0" * 64).study_uid
    _storescu(program, serving, sent)

    case = serving.wait_state(study, CaseState.DELIVERED)

    pdf, sr = _returned(orthanc, study)
    for dataset in (pdf, sr):
        _no_error(dataset, tmp_path, program)
        assert dataset.PatientID == f"T-{kind}"
        assert dataset.AccessionNumber == f"A-{kind}"[:16]
    assert pdf.SeriesInstanceUID != sr.SeriesInstanceUID
    assert _source_report(pdf) == sr.SOPInstanceUID
    assert sr.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == pdf.SOPInstanceUID

    text = _text_of(pdf, tmp_path, program)
    assert "UNTRAINED MODELS" in text
    assert "UNVERIFIED" in text
    in_pdf, in_sr = numbers_in_pdf_text(text), numbers_in_sr(_bytes_of(sr))
    in_result = numbers_in_result(_analyzed(sent, quick_bundle, tmp_path))
    with serving.database.reading() as conn:
        analysis = load_analysis(conn, case.analyses[-1].analysis_id)
    assert analysis.evaluable
    assert len(analysis.images) == 1
    in_database = _from_rows(case, analysis)
    for name, value in in_database.items():
        assert in_pdf[name] == in_sr[name] == in_result[name] == value, name
    assert {n: in_sr[n] for n in in_pdf if n in in_sr} == {
        n: in_pdf[n] for n in in_pdf if n in in_sr
    }
    assert len(in_database) >= 12


def _storescu(program, serving, *paths: Path) -> None:
    subprocess.run(
        [
            program("storescu"),
            *("-aet", "SCOPE", "-aec", serving.node.ae_title, "-R", "-xy"),
            *(serving.node.host, str(serving.node.port)),
            *map(str, paths),
        ],
        check=True,
        capture_output=True,
        env=os.environ | {"TCP_NODELAY": "1"},
    )


def _returned(orthanc, study_uid):
    """The one PDF and the one SR of the study in the PACS."""
    found = [dcmread(io.BytesIO(b)) for b in orthanc.objects(study_uid)]
    pdfs = [d for d in found if d.SOPClassUID == PDF_CLASS]
    srs = [d for d in found if d.SOPClassUID == SR_CLASS]
    assert len(pdfs) == len(srs) == 1, [d.SOPClassUID for d in found]
    shown = [_bytes_of(d) for d in found if d.SOPClassUID == ANNOTATIONS_CLASS]
    said = numbers_in_annotations(shown)
    said.pop("unclassified", None)  # the report says it by stage
    assert said.items() <= numbers_in_sr(_bytes_of(srs[0])).items()
    return pdfs[0], srs[0]


def _bytes_of(dataset) -> bytes:
    sink = io.BytesIO()
    dataset.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


def _no_error(dataset, folder: Path, program) -> None:
    file = folder / f"{dataset.SOPInstanceUID}.dcm"
    file.write_bytes(_bytes_of(dataset))
    judge = str(Path(sys.executable).parent / "dciodvfy")
    said = subprocess.run([judge, str(file)], capture_output=True, text=True, check=False)
    errors = [line for line in (said.stdout + said.stderr).splitlines() if "Error" in line]
    assert errors == []


def _source_report(pdf) -> str:
    reports = [
        item.ReferencedSOPInstanceUID
        for item in pdf.SourceInstanceSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == "128225"
    ]
    assert len(reports) == 1
    return reports[0]


def _text_of(pdf, folder: Path, program) -> str:
    file = folder / "report.pdf"
    file.write_bytes(pdf.EncapsulatedDocument[: pdf.EncapsulatedDocumentLength])
    subprocess.run([program("qpdf"), "--check", str(file)], check=True, capture_output=True)
    return subprocess.run(
        [program("pdftotext"), "-layout", str(file), "-"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def _analyzed(sent: Path, bundle: Path, folder: Path) -> dict:
    command = [sys.executable, "-P", "-m", "leukonode", "analyze", str(sent)]
    more = ["--bundle", str(bundle), "--out", str(folder / "out"), "--no-report"]
    subprocess.run(command + more, check=True, capture_output=True, cwd=folder)
    result = json.loads((folder / "out" / sent.stem / "result.json").read_text())
    validate(result)
    return result


def _from_rows(case, analysis) -> dict[str, str]:
    """What the database's rows say, in the names and forms of the drawings."""
    line = case.analyses[-1]
    numbers = numbers_of(
        analysis.cells,
        wbc_classes=analysis.bundle.model(Stage.WBC_CLASS).classes,
        limits=AdequacyLimits(),
    )
    counts = dict(line.counts)
    assert counts == dict(numbers.counts)
    assert (line.leukocytes, line.blasts) == (numbers.leukocytes, numbers.blasts)
    said = {
        "leukocytes": str(line.leukocytes),
        "red_cells": str(counts["red_blood_cell"]),
        "platelets": str(counts["platelet"]),
        "blasts.count": str(line.blasts.count),
        "morphological_blasts.count": str(line.morphological_blasts.count),
    }
    for row in numbers.differential:
        said[f"differential.{row.name}.count"] = str(counts[row.name])
        if row.proportion.percent is not None:
            said[f"differential.{row.name}.percent"] = f"{row.proportion.percent:.1f}"
    for name, count in line.subtypes:
        if line.blasts.count:
            said[f"subtype.{name}.count"] = str(count)
    return said


def test_pacs_gets_the_bytes_that_were_issued(serving, orthanc):
    """What Orthanc gives back is, element for element, what lies in the store."""
    store = FolderStore(serving.folder / "store")
    with serving.database.reading() as conn:
        details = [queries.case(conn, c.case_id) for c in queries.cases(conn)]
    assert details
    for case in details:
        kept = [dcmread(io.BytesIO(b)) for b in orthanc.objects(case.line.study_uid)]
        returned = {d.SOPInstanceUID: d for d in kept}
        for issued in case.reports[-1].objects:
            assert dcmread(store.path(issued.store_key)) == returned[issued.instance_uid]
