"""`leukonode demo`: the whole loop on loopback, with the same program and doors as in a hospital.

Smears (drawn, or given) are made into DICOM, one study each; `leukonode serve` runs as its own
process; the objects go to it over the network; PDF, SR and annotations come back to a small PACS
in this process. What came back stays in the folder `keep`, with a summary.json.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import dcmread

from db import queries
from db.database import Database
from db.embedded import EmbeddedServer, url_of_running
from dicom_node.archive import FolderArchive
from dicom_node.dicomize import Labels, PictureArray, dicomize
from dicom_node.errors import DicomNodeError
from dicom_node.headers import read_header
from dicom_node.peers import Peer
from dicom_node.pictures import PictureSource
from dicom_node.scu import Timeouts, echo, send
from dicom_node.sources import NotAnImage, open_any
from domain.counts import Proportion
from domain.states import CASE_ENDS
from leukonode.bundles import ensure_bundle
from leukonode.console import say_error
from leukonode.errors import CouldNotError
from leukonode.reading import Progress
from leukonode.settings import Settings
from leukonode.standalone import files_of
from leukonode.store import sha256_of

__all__ = ["run_demo"]

_NODE_AE, _PACS_AE, _MODALITY_AE = "LEUKONODE", "DEMOPACS", "DEMOSCOPE"
_MARK = ".leukonode-demo"
_QUIET_SECONDS = 2
_START_SECONDS = 90.0
_CASE_SECONDS = 600.0
_PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
_SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"


@dataclass(frozen=True, kw_only=True)
class _Smear:
    """One study to send: what it is, and its objects."""

    what: str
    study_uid: str
    objects: tuple[Path, ...]


def run_demo(
    *,
    images: Path | None,
    keep: Path,
    settings: Settings,
    say: Callable[[str], None],
    progress: Progress,
) -> dict[str, Any]:
    """Run the loop; the summary that is also written to `keep`/summary.json.

    Raises CouldNotError when a case did not come back.
    """
    keep = keep.resolve()
    _make_room(keep)
    bundle = ensure_bundle(settings, progress=progress)
    say("1  making DICOM objects of the smears")
    sent = keep / "sent"
    smears = _drawn(sent, progress) if images is None else _given(images, sent)
    with FolderArchive(keep / "returned" / "all", ae_title=_PACS_AE) as pacs:
        say("2  starting LeukoNode: PostgreSQL, node, worker")
        with _service(keep, bundle, pacs.port) as node:
            say(f"3  sending {sum(len(s.objects) for s in smears)} objects to {node.ae_title}")
            taken = _send(smears, node)
            say("4  waiting for PDF, SR and annotations to come back to the PACS")
            cases = _waited_for(keep / "service", taken, progress)
    rows = _cases(cases, smears, keep / "returned")
    summary = {"bundle": str(bundle), "cases": rows}
    (keep / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    late = [c for c in rows if c["state"] != "delivered"]
    if late:
        raise CouldNotError(
            f"{len(late)} of {len(smears)} cases did not come back; see {keep / 'service.log'} "
            f"and {keep / 'summary.json'}"
        )
    return summary


def _make_room(keep: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()) and not (keep / _MARK).is_file():
        raise CouldNotError(
            f"{keep} holds other things than a demo's; name an empty folder with --keep"
        )
    (keep / _MARK).write_text("made by leukonode demo, emptied by the next one\n", encoding="ascii")
    if (keep / "service").is_dir():
        EmbeddedServer(keep / "service").remove()
    for name in ("sent", "returned", "service"):
        shutil.rmtree(keep / name, ignore_errors=True)
    for name in ("summary.json", "service.log"):
        (keep / name).unlink(missing_ok=True)


def _drawn(folder: Path, progress: Progress) -> list[_Smear]:
    from phantom.smear import draw
    from phantom.spec import leukaemic_smear, normal_smear

    specs = {
        "phantom, healthy": normal_smear(11, white_cells=4, stain="grey"),
        "phantom, 60 % blasts": leukaemic_smear(2, blast_fraction=0.6),
        "phantom, 20 % blasts": leukaemic_smear(3, blast_fraction=0.2, stain="rose"),
    }
    smears = []
    for number, (what, spec) in enumerate(specs.items(), start=1):
        progress("smears drawn", number - 1, len(specs))
        picture = PictureArray(name=f"phantom-{number}", pixels=draw(spec).pixels)
        smears.append(_study(what, picture, number, folder, um_per_px=spec.um_per_px))
    progress("smears drawn", len(specs), len(specs))
    return smears


def _study(
    what: str, picture: Path | PictureArray, number: int, folder: Path, *, um_per_px: float | None
) -> _Smear:
    objects = dicomize(
        [picture],
        out=folder / f"study-{number}",
        labels=Labels(
            patient_id=f"DEMO-{number:03d}",
            patient_name=f"DEMO^PATIENT {number}",
            accession=f"A-{number:04d}",
        ),
        spacing_um=um_per_px,
        now=datetime.now().astimezone(),
    )
    header = read_header(objects[0], sha256=sha256_of(objects[0]))
    return _Smear(what=what, study_uid=header.study_uid, objects=tuple(objects))


def _given(images: Path, folder: Path) -> list[_Smear]:
    """Each picture as a study of its own; DICOM files as they are, by their study."""
    smears: list[_Smear] = []
    studies: dict[str, list[Path]] = {}
    for file in files_of([images]):
        try:
            source = open_any(file, image=0)
            if isinstance(source, PictureSource):
                smears.append(_study(file.name, file, len(smears) + 1, folder, um_per_px=None))
            else:
                header = read_header(file, sha256=source.header.sha256)
                studies.setdefault(header.study_uid, []).append(file)
        except (NotAnImage, DicomNodeError) as error:
            say_error(f"{file.name}: {error}; left out")
    smears += [
        _Smear(what=files[0].name, study_uid=uid, objects=tuple(files))
        for uid, files in studies.items()
    ]
    if not smears:
        raise CouldNotError(f"{images} holds no picture and no DICOM image")
    return smears


@contextmanager
def _service(keep: Path, bundle: Path, pacs_port: int) -> Iterator[Peer]:
    """`leukonode serve` as a process of its own, ready to be called."""
    node = Peer(ae_title=_NODE_AE, host="127.0.0.1", port=_free_port())
    destination = {
        "name": "demo-pacs",
        "ae_title": _PACS_AE,
        "host": "127.0.0.1",
        "port": pacs_port,
    }
    settings = {
        "LEUKONODE_DATA_DIR": str(keep / "service"),
        "LEUKONODE_BUNDLE": str(bundle),
        "LEUKONODE_AE_TITLE": node.ae_title,
        "LEUKONODE_PORT": str(node.port),
        "LEUKONODE_STUDY_QUIET_SECONDS": str(_QUIET_SECONDS),
        "LEUKONODE_MIN_FREE_MB": "100",
        "LEUKONODE_DESTINATIONS": json.dumps([destination]),
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LEUKONODE_")}
    (keep / "service").mkdir()
    with (keep / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "leukonode", "serve"],
            cwd=keep / "service",
            env=inherited | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_until_up(node, process, keep / "service.log")
            yield node
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _wait_until_up(node: Peer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    quick = Timeouts(connect=2, associate=2, response=2)
    while not echo(node, calling_ae=_MODALITY_AE, timeouts=quick).ok:
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CouldNotError(f"the service did not start: {said[-1] if said else 'no word'}")
        time.sleep(0.2)


def _send(smears: list[_Smear], node: Peer) -> list[_Smear]:
    """Send every object; the smears of which the node took at least one."""
    taken = []
    for smear in smears:
        outcome = send(smear.objects, to=node, calling_ae=_MODALITY_AE, timeouts=Timeouts())
        for instance in outcome.instances:
            if instance.status != 0:
                status = "" if instance.status is None else f"{instance.status:04X}, "
                say_error(f"{smear.what}: not taken by the node: {status}{instance.comment}")
        if any(instance.status == 0 for instance in outcome.instances):
            taken.append(smear)
    return taken


def _waited_for(
    data_dir: Path, smears: list[_Smear], progress: Progress
) -> dict[str, queries.CaseDetail]:
    """The cases by study, when all have ended or the time is over."""
    url = url_of_running(data_dir)
    if url is None:
        raise CouldNotError("the demo's database does not answer")
    database = Database(url)
    deadline = time.monotonic() + _CASE_SECONDS
    while True:
        with database.reading() as conn:
            lines = queries.cases(conn, limit=10 * len(smears))
            ended = [c for c in lines if c.state in CASE_ENDS]
            progress("cases back", len(ended), len(smears))
            if len(ended) >= len(lines) == len(smears) or time.monotonic() > deadline:
                return {c.study_uid: queries.case(conn, c.case_id) for c in lines}
        time.sleep(0.3)


def _cases(
    found: dict[str, queries.CaseDetail], smears: list[_Smear], returned: Path
) -> list[dict[str, Any]]:
    """What became of each smear, with the objects as the PACS received them."""
    objects = [dcmread(p) for p in sorted((returned / "all").glob("*.dcm"))]
    rows = []
    for number, smear in enumerate(smears, start=1):
        case = found.get(smear.study_uid)
        row: dict[str, Any] = {"smear": smear.what, "study": smear.study_uid, "state": "not taken"}
        if case is not None:
            analysis = case.analyses[-1] if case.analyses else None
            row |= {
                "case": case.line.case_id,
                "state": case.line.state.value,
                "untrained": case.line.untrained,
                "leukocytes": case.line.leukocytes,
                "blasts": _proportion(case.line.blasts),
                "counts": dict(analysis.counts) if analysis else {},
            }
        rows.append(row | _kept(smear, objects, returned / f"study-{number}"))
    shutil.rmtree(returned / "all")
    return rows


def _proportion(blasts: Proportion | None) -> dict[str, float | None]:
    if blasts is None:
        return {"count": None, "percent": None, "low": None, "high": None}
    return {
        "count": blasts.count,
        "percent": blasts.percent,
        "low": blasts.low,
        "high": blasts.high,
    }


def _kept(smear: _Smear, objects: list[Any], folder: Path) -> dict[str, str]:
    """Lay a study's objects into a folder of its own: pdf, pdf as DICOM, SR, annotations."""
    paths: dict[str, str] = {}
    for dataset in objects:
        if dataset.StudyInstanceUID != smear.study_uid:
            continue
        folder.mkdir(exist_ok=True)
        if dataset.SOPClassUID == _PDF_CLASS:
            pdf = folder / "report.pdf"
            length = dataset.get("EncapsulatedDocumentLength")
            pdf.write_bytes(dataset.EncapsulatedDocument[:length])
            shutil.copy(dataset.filename, folder / "report-pdf.dcm")
            paths |= {"pdf": str(pdf), "pdf_object": str(folder / "report-pdf.dcm")}
        elif dataset.SOPClassUID == _SR_CLASS:
            shutil.copy(dataset.filename, folder / "report-sr.dcm")
            paths["sr"] = str(folder / "report-sr.dcm")
        else:  # annotations, an object for each image
            name = f"annotations-{dataset.InstanceNumber}"
            shutil.copy(dataset.filename, folder / f"{name}.dcm")
            paths[name] = str(folder / f"{name}.dcm")
    return paths
