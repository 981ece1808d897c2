"""A data set on its way to disk: into a file of our own naming, bit for bit, bounded.

In      pieces as they arrive
Out     a Part 10 file with its size and digest, or the reason why it is not kept
The network's thread calls `write`, which never raises: what goes wrong becomes the refusal.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from pathlib import Path

from dicom_node.limits import MIB, Limits
from dicom_node.statuses import StoreStatus
from domain.identities import Sha256

__all__ = ["IncomingFolder", "IncomingObject", "has_room"]

_FOLDER = "node-"
_PREFIX, _SUFFIX = "incoming-", ".part"
_CHECK_EVERY_BYTES = 64 * MIB


def has_room(folder: Path, limits: Limits) -> bool:
    """Free disk is above the mark."""
    return shutil.disk_usage(folder).free >= limits.free_disk_bytes


class IncomingFolder:
    """This run's own folder inside `parent`, which several runs may share. Whoever is alive holds a
    lock on its folder, so that one without is abandoned, whatever process has its number now."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self.path = parent / f"{_FOLDER}{os.getpid()}-{secrets.token_hex(8)}"
        self._lock: int | None = None

    def open(self) -> int:
        """Make and lock it, and remove those that are abandoned; says how many files were in them.

        Raises OSError.
        """
        self._parent.mkdir(parents=True, exist_ok=True)
        door = os.open(self._parent, os.O_RDONLY)
        try:
            fcntl.flock(
                door, fcntl.LOCK_EX
            )  # else another run might take a new folder for abandoned
            self.path.mkdir(exist_ok=True)
            if self._lock is None:
                self._lock = _locked(self.path)
            return sum(
                _removed(left) for left in self._parent.glob(f"{_FOLDER}*") if left != self.path
            )
        finally:
            os.close(door)

    def close(self) -> None:
        """Give it up, and remove it if nothing is in it."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            self.path.rmdir()
        os.close(self._lock)
        self._lock = None


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None when another run has it."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held


def _removed(folder: Path) -> int:
    """Remove an abandoned folder with our half-received files, and nothing else; says how many."""
    held = _locked(folder)
    if held is None:
        return 0
    left = list(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
    for path in left:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
    os.close(held)
    return len(left)


class IncomingObject:
    """`head` is the file's beginning up to the data set. `refusal` is None while all is well; once
    it is set for lack of room nothing more is written, yet the data set is heard to its end, so
    that the peer gets an answer instead of an abort."""

    def __init__(
        self, folder: Path, head: bytes, limits: Limits, *, refusal: StoreStatus | None = None
    ) -> None:
        self.refusal = refusal
        self.dataset_offset = len(head)
        self.dataset_bytes = 0
        self.path = folder / f"{_PREFIX}{secrets.token_hex(16)}{_SUFFIX}"
        self._folder = folder
        self._limits = limits
        self._digest = hashlib.sha256()
        self._file = None
        self._next_check = 0
        if refusal is StoreStatus.OUT_OF_DISK:
            return
        try:
            self._file = self.path.open("xb")
            self._file.write(head)
        except OSError:
            self._out_of_disk()

    @property
    def dataset_sha256(self) -> Sha256:
        return Sha256(self._digest.hexdigest())

    def write(self, data: bytes) -> None:
        self.dataset_bytes += len(data)
        if self._file is None:
            return
        if self.dataset_bytes > self._limits.object_bytes:
            self.refusal = StoreStatus.OBJECT_TOO_LARGE
            self.discard()
            return
        try:
            if self.dataset_bytes >= self._next_check:
                self._next_check = self.dataset_bytes + _CHECK_EVERY_BYTES
                if not has_room(self._folder, self._limits):
                    self._out_of_disk()
                    return
            self._file.write(data)
        except OSError:
            self._out_of_disk()
            return
        self._digest.update(data)

    def finish(self) -> None:
        """All has arrived: the file is complete for whoever opens it. Not yet durable: fsync and
        rename are the store's."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError:
            self._out_of_disk()

    def discard(self) -> None:
        """Close and remove the file; what was moved away stays."""
        if self._file is not None:
            # a full disk may refuse the last flush; the file goes anyway
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        # a file that cannot be removed goes at the next start
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _out_of_disk(self) -> None:
        self.refusal = StoreStatus.OUT_OF_DISK
        self.discard()
