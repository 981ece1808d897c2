"""A data set on its way to disk: into a file of our own naming, bit for bit, bounded.

In      pieces as they arrive
Out     a Part 10 file with its size and digest, or the reason why it is not kept
The network's thread calls `write`, which never raises: what goes wrong becomes the refusal.
"""

import contextlib
import hashlib
import secrets
import shutil
from pathlib import Path

from dicom_node.limits import MIB, Limits
from dicom_node.statuses import StoreStatus
from domain.identities import Sha256

__all__ = ["IncomingObject", "clear", "has_room"]

_PREFIX, _SUFFIX = "incoming-", ".part"
_CHECK_EVERY_BYTES = 64 * MIB


def has_room(folder: Path, limits: Limits) -> bool:
    """Free disk is above the mark."""
    return shutil.disk_usage(folder).free >= limits.free_disk_bytes


def clear(folder: Path) -> int:
    """Remove what an earlier run left half-written; says how many."""
    left = list(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
    for path in left:
        path.unlink(missing_ok=True)
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
