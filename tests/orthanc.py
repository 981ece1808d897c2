"""Orthanc as a peer of the tests: started on free ports, stopped by who started it."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

__all__ = ["Orthanc", "free_port"]


class Orthanc:
    """A PACS of its own, asked by its REST interface."""

    def __init__(self, program: str, folder: Path) -> None:
        self.dicom, self.http = free_port(), free_port()
        settings = {
            "Name": "PACS",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "DicomCheckCalledAet": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            # annotations are newer than the SOP classes it knows
            "UnknownSopClassAccepted": True,
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        with (folder / "orthanc.log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, str(folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                env=os.environ | {"TCP_NODELAY": "1"},
            )

    def ask(self, path: str) -> object:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def file(self, instance: str) -> bytes:
        url = f"http://127.0.0.1:{self.http}/instances/{instance}/file"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    def objects(self, study_uid: str) -> list[bytes]:
        return [
            self.file(i) for i in self.ask("/instances") if study_uid in json.dumps(self._tags(i))
        ]

    def _tags(self, instance: str) -> object:
        return self.ask(f"/instances/{instance}/simplified-tags")

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.ask("/system")
            except OSError:
                assert time.monotonic() < deadline, "Orthanc did not start"
                time.sleep(0.2)
            else:
                return


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]
