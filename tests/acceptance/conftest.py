"""The service as a hospital runs it: `leukonode serve` as a process, real PostgreSQL, real peers.

Everything speaks over loopback, in a network namespace of its own where this user may make one,
because Orthanc binds every address of the machine.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from db import queries
from db.database import Database
from db.embedded import EmbeddedServer, url_of_running
from dicom_node.archive import FolderArchive
from dicom_node.peers import Peer
from dicom_node.scu import SendOutcome, Timeouts, echo, send
from domain.states import CaseState

CLONE_NEWNET = 0x40000000
SLOW_ANSWER_SECONDS = 0.7


@pytest.fixture(scope="module", autouse=True)
def loopback_only() -> Iterator[None]:
    """A network namespace for this thread and the processes it starts, if that is allowed."""
    if shutil.which("ip") is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            yield
            return
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
        libc.setns(before, CLONE_NEWNET)
    finally:
        os.close(before)


@pytest.fixture(scope="session")
def quick_bundle(untrained_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained bundle, looking at few cells of each field so that a case takes seconds."""
    folder = tmp_path_factory.mktemp("bundles") / "quick"
    folder.mkdir()
    for file in untrained_bundle.iterdir():
        if file.suffix == ".safetensors":
            os.link(file, folder / file.name)
        else:
            shutil.copy(file, folder / file.name)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"]["detection"]["max_per_tile"] = 6
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@dataclass
class Service:
    """`leukonode serve`, its database, and what a test may do to both."""

    folder: Path
    settings: dict[str, str]
    node: Peer = field(init=False)
    process: subprocess.Popen | None = None
    _database: Database | None = None

    def __post_init__(self) -> None:
        self.node = Peer(ae_title="LEUKONODE", host="127.0.0.1", port=free_port())

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LEUKONODE_")}
        environment |= {
            "LEUKONODE_DATA_DIR": str(self.folder),
            "LEUKONODE_PORT": str(self.node.port),
            "LEUKONODE_MIN_FREE_MB": "1",
        } | self.settings
        self.folder.mkdir(exist_ok=True)
        with (self.folder.parent / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "leukonode", "serve"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self.wait_until_up()

    def wait_until_up(self) -> None:
        quick = Timeouts(connect=2, associate=2, response=2)
        self.wait_for(
            lambda: echo(self.node, calling_ae="TEST", timeouts=quick).ok, "the node answers", 90
        )

    def wait_for(self, holds: Callable[[], bool], what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                log = (self.folder.parent / "service.log").read_text()[-4000:]
                pytest.fail(f"in {seconds:g} s it never came to pass: {what}\n{log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop for good: the database goes as well, wherever it lies."""
        self.terminate()
        EmbeddedServer(self.folder).remove()

    def terminate(self) -> None:
        """Tell the service to stop, and wait until it has."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
            self.process.kill()
            self.process.wait()

    @property
    def database(self) -> Database:
        if self._database is None:
            url = url_of_running(self.folder)
            assert url is not None
            self._database = Database(url)
        return self._database

    def send(self, *paths: Path) -> SendOutcome:
        return send(paths, to=self.node, calling_ae="SCOPE", timeouts=Timeouts())

    def case(self, study_uid: str) -> queries.CaseDetail | None:
        try:
            with self.database.reading() as conn:
                for line in queries.cases(conn, limit=1000):
                    if line.study_uid == study_uid:
                        return queries.case(conn, line.case_id)
        except Exception:  # noqa: BLE001 PostgreSQL is killed by some tests
            self._database = None
        return None

    def wait_state(self, study_uid: str, *states: CaseState, seconds: float = 120):
        def reached() -> bool:
            case = self.case(study_uid)
            return case is not None and case.line.state in states

        self.wait_for(reached, f"the case is {' or '.join(states)}", seconds)
        return self.case(study_uid)

    def pid(self, who: str) -> int | None:
        """The process of a role ('node', 'worker'), the worker's 'child', or 'postgres'."""
        assert self.process is not None
        below = _children(self.process.pid)
        for pid in below:
            words = _command(pid)
            if who in ("node", "worker") and words[-2:] == ["--role", who]:
                return pid
            if who == "postgres" and words and Path(words[0]).name == "postgres":
                return pid
            if who == "child" and words[-2:] == ["--role", "worker"]:
                forked = [p for p in _children(pid) if "spawn_main" in " ".join(_command(p))]
                return forked[0] if forked else None
        return None

    def kill(self, who: str) -> None:
        pid = self.pid(who)
        assert pid is not None, f"there is no {who} to kill"
        os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(p) for p in (task / "children").read_text().split()]
    return found


def _command(pid: int) -> list[str]:
    try:
        return [w.decode() for w in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if w]
    except OSError:
        return []


@pytest.fixture(scope="session")
def service_class() -> type[Service]:
    """For the tests that start and stop services of their own."""
    return Service


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderArchive]:
    """A small PACS of ours for the tests that need to see every attempt. It takes its time with
    each answer, so that a delivery can be met half done."""
    with FolderArchive(
        tmp_path_factory.mktemp("archive"),
        ae_title="ARCHIVE",
        on_stored=lambda _path: time.sleep(SLOW_ANSWER_SECONDS),
    ) as pacs:
        yield pacs


@pytest.fixture(scope="module")
def service(
    quick_bundle: Path, archive: FolderArchive, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service for the tests of a module, sending to `archive`."""
    running = Service(
        tmp_path_factory.mktemp("service") / "data",
        {
            "LEUKONODE_BUNDLE": str(quick_bundle),
            "LEUKONODE_STUDY_QUIET_SECONDS": "1",
            "LEUKONODE_LEASE_SECONDS": "5",
            "LEUKONODE_DELIVERY_RETRY_SECONDS": "[1, 1, 1, 1, 1]",
            "LEUKONODE_DESTINATIONS": json.dumps(
                [
                    {
                        "name": "archive",
                        "ae_title": "ARCHIVE",
                        "host": "127.0.0.1",
                        "port": archive.port,
                    }
                ]
            ),
        },
    )
    running.start()
    yield running
    running.stop()
