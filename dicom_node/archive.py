"""A small PACS: a Storage SCP that keeps what it is sent in a folder. For demonstrations and tests.

It takes every storage class in the uncompressed syntaxes and JPEG Baseline from any caller of this
machine, and answers 0x0000 when the file is written. It is no archive for a hospital.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

__all__ = ["FolderArchive"]


class FolderArchive:
    """Listens from `__enter__` to `__exit__`; `on_stored` is called after each kept object."""

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str,
        port: int = 0,
        on_stored: Callable[[Path], None] = lambda _path: None,
    ) -> None:
        self.folder = folder
        self._on_stored = on_stored
        self._lock = threading.Lock()
        self._count = 0
        self._entity = AE(ae_title=ae_title)
        self._entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            self._entity.add_supported_context(
                str(context.abstract_syntax),
                [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit],
            )
        self._port = port

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def __enter__(self) -> "FolderArchive":
        self.folder.mkdir(parents=True, exist_ok=True)
        server = self._entity.start_server(
            ("127.0.0.1", self._port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        if server is None:
            raise OSError("the archive's port could not be opened")
        self._server = server
        self._port = server.server_address[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        with self._lock:
            self._count += 1
            path = self.folder / f"{self._count:04d}.dcm"
        path.write_bytes(event.encoded_dataset())
        self._on_stored(path)
        return 0x0000
