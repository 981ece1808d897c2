"""The node with DCMTK on the other side: echoscu and storescu call it, storescp is called."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_node.arrivals import EventKind
from dicom_node.peers import Peer
from dicom_node.scu import Problem, Timeouts, echo, send
from tests import dicom_node_net as net

pytestmark = pytest.mark.peer
Program = Callable[[str], str]

# DCMTK leaves Nagle's algorithm on unless it is told otherwise
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


def test_echoscu(program: Program, tmp_path: Path) -> None:
    with net.running(tmp_path) as node:
        port = str(node.scp.port)
        assert ran(program("echoscu"), "-aec", "LEUKONODE", "127.0.0.1", port).returncode == 0
        wrong = ran(program("echoscu"), "-aec", "OTHER", "127.0.0.1", port)
        assert wrong.returncode != 0
        assert "Called AE Title Not Recognized" in wrong.stderr


@pytest.mark.parametrize(
    ("syntax", "option"), [(net.EXPLICIT, "-xe"), (net.IMPLICIT, "-xi"), (net.JPEG_BASELINE, "-xy")]
)
def test_storescu(program: Program, tmp_path: Path, syntax: str, option: str) -> None:
    files = []
    for n in range(1, 6):
        ds = (
            net.encapsulated([b"one!", b"two!!!"], SOPInstanceUID=f"2.25.{n}")
            if syntax == net.JPEG_BASELINE
            else net.image(f"2.25.{n}")
        )
        files.append(tmp_path / f"{n}.dcm")
        files[-1].write_bytes(net.part10(ds, syntax))
    with net.running(tmp_path / "in") as node:
        done = ran(
            program("storescu"),
            option,
            "-aec",
            "LEUKONODE",
            "127.0.0.1",
            str(node.scp.port),
            *map(str, files),
        )
        assert done.returncode == 0, done.stderr
        node.wait_for(EventKind.ASSOCIATION_RELEASED)
    assert [a.sop_instance_uid for a in node.arrivals] == [f"2.25.{n}" for n in range(1, 6)]
    assert {a.transfer_syntax for a in node.arrivals} == {syntax}
    assert all(b"Zzyzx" in file for file in node.files)


def test_storescu_hears_of_a_refusal(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "short.dcm"
    path.write_bytes(net.part10(net.image(PixelData=bytes(100))))
    with net.running(tmp_path / "in") as node:
        done = ran(
            program("storescu"),
            "-d",
            "-aec",
            "LEUKONODE",
            "127.0.0.1",
            str(node.scp.port),
            str(path),
        )
    assert "0xc00c" in (done.stdout + done.stderr).lower()


@contextmanager
def storescp(program: Program, folder: Path, *options: str) -> Iterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program("storescp"), "-aet", "PACS", "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, env=ENVIRONMENT)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Peer(ae_title="PACS", host="127.0.0.1", port=port)
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_storescp_gets_the_same_bytes(program: Program, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    sent = {}
    paths = []
    for n, syntax in enumerate([net.EXPLICIT, net.IMPLICIT, net.JPEG_BASELINE], start=1):
        ds = (
            net.encapsulated([b"one!", b"two!!!"], SOPInstanceUID=f"2.25.{n}")
            if syntax == net.JPEG_BASELINE
            else net.image(f"2.25.{n}")
        )
        paths.append(tmp_path / f"{n}.dcm")
        paths[-1].write_bytes(net.part10(ds, syntax))
        sent[f"2.25.{n}"] = net.dataset_bytes(ds, syntax)
    with storescp(program, taken, "+xa", "+B") as peer:
        assert echo(peer, calling_ae="LEUKONODE", timeouts=Timeouts()).ok
        outcome = send(paths, to=peer, calling_ae="LEUKONODE", timeouts=Timeouts())
    assert outcome.delivered, outcome
    received = [path.read_bytes() for path in taken.iterdir()]
    for data in sent.values():
        assert sum(file.endswith(data) for file in received) == 1


def test_a_storescp_that_refuses_and_one_that_aborts(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(net.part10(net.image()))
    with storescp(program, tmp_path, "--refuse") as peer:
        outcome = send([path], to=peer, calling_ae="LEUKONODE", timeouts=Timeouts())
    assert outcome.problem in (Problem.REJECTED, Problem.BUSY)
    with storescp(program, tmp_path, "--abort-after") as peer:
        outcome = send([path], to=peer, calling_ae="LEUKONODE", timeouts=Timeouts())
    assert (outcome.problem, outcome.retryable) == (Problem.ABORTED, True)
