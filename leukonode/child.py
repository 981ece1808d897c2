"""The analysing child process of a worker: pixels are decoded and networks run only there.

A crash, a hung kernel or a decoder led astray costs one attempt of one case, never the worker. The
child is a fresh interpreter, keeps its bundle loaded from case to case, and dies with its parent.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from dicom_node.errors import DicomNodeError, log_failure
from domain.image import UnreadablePixels
from leukonode.reading import ChildDied, Reading, ReadingFailed, ReadingRequest

__all__ = ["AnalysingChild", "die_with_parent"]

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, kw_only=True)
class _Load:
    """Only load the bundle."""

    bundle: Path
    threads: int


class AnalysingChild:
    """One child, started when first needed and again after it died."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._line: Connection | None = None

    def load(self, bundle: Path, *, threads: int, timeout_seconds: float) -> None:
        """Load the bundle strictly, before the first case. Raises ChildDied or ReadingFailed."""
        self._asked(_Load(bundle=bundle, threads=threads), timeout_seconds)

    def read(self, request: ReadingRequest, *, timeout_seconds: float) -> Reading:
        """Run `request` in the child. Raises ChildDied or ReadingFailed."""
        answer = self._asked(request, timeout_seconds)
        if not isinstance(answer, Reading):
            raise ReadingFailed(f"the analysing process answered with {type(answer).__name__}")
        return answer

    def _asked(self, request: "ReadingRequest | _Load", timeout_seconds: float) -> object:
        line = self._started()
        try:
            line.send(request)
            answer = line.recv() if line.poll(timeout_seconds) else None
        except (EOFError, OSError) as error:
            self.stop()
            raise ChildDied(f"the analysing process ended ({type(error).__name__})") from None
        if answer is None:
            self.stop()
            raise ChildDied(f"no answer within {timeout_seconds:g} s")
        if isinstance(answer, str):
            raise ReadingFailed(answer)
        return answer

    def interrupt(self) -> None:
        """Kill the child from another thread: the call that waits for it ends with ChildDied."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End the child, whatever it is doing."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._line = None

    def _started(self) -> Connection:
        if self._process is None or not self._process.is_alive() or self._line is None:
            self.stop()
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            self._process = context.Process(
                target=_child, args=(theirs, os.getpid()), name="leukonode-analysing", daemon=True
            )
            self._process.start()
            theirs.close()
            self._line = ours
        return self._line


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when `parent` ends; end now when it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _child(line: Connection, parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    loaded: _LoadedBundle | None = None
    while True:
        try:
            request: ReadingRequest | _Load = line.recv()
        except EOFError:
            return
        try:
            if loaded is None or not loaded.serves(request):
                loaded = _LoadedBundle(request)
            line.send(True if isinstance(request, _Load) else loaded.read(request))
        except Exception as error:  # noqa: BLE001 whatever went wrong is told to the parent, in one line
            log_failure(log, "a case could not be read", error)
            line.send(_reason(error))


def _reason(error: Exception) -> str:
    from inference.errors import InferenceError

    ours = isinstance(error, InferenceError | DicomNodeError | UnreadablePixels)
    text = " ".join(str(error).split()) if ours else ""
    return text or f"internal error ({type(error).__name__})"


class _LoadedBundle:
    def __init__(self, request: ReadingRequest | _Load) -> None:
        from inference.bundle import load_bundle

        self._folder = request.bundle
        self._stamp = self._stamp_of(request.bundle)
        self._bundle = load_bundle(request.bundle, threads=request.threads or None)

    @staticmethod
    def _stamp_of(folder: Path) -> int:
        return (folder / "manifest.json").stat().st_mtime_ns

    def serves(self, request: ReadingRequest | _Load) -> bool:
        return (request.bundle, self._stamp_of(request.bundle)) == (self._folder, self._stamp)

    def read(self, request: ReadingRequest) -> Reading:
        from dicom_node.sources import open_source
        from inference.cascade import Options
        from leukonode.looking import read_images

        sources = [
            open_source(path, image=index, sha256=sha256)
            for index, (path, sha256) in enumerate(zip(request.paths, request.sha256s, strict=True))
        ]
        options = Options(leukocytes_wanted=request.leukocytes_wanted, software=request.software)
        return read_images(sources, bundle=self._bundle, options=options)
