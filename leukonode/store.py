"""The object store: a folder of files named by digest, each complete or absent.

Promises (door 1): what `put` returned, and what was made durable and adopted, survives a power cut; a name of a peer's (UID,
patient id, AE title) is never part of a path; the same content is stored once; nothing is ever
overwritten with other content.

    incoming/     what is being received, a folder for each run of a node, on the same device
    writing/      what we are writing ourselves; leftovers of a kill are removed after an hour
    objects/      ab/abcd....dcm   received objects, by the SHA-256 of their data set
    results/      ab/abcd....dcm   issued PDF and SR, by the SHA-256 of the file
    messages/     ab/abcd....msg   issued HL7 messages and FHIR Bundles, likewise
    quarantine/   ab/abcd....bin   refused objects, never decoded again
    crops/        <analysis id>.npz  cells and overviews for the report
"""

import contextlib
import hashlib
import os
import uuid
from enum import StrEnum
from pathlib import Path

from domain.identities import Sha256

__all__ = ["FolderStore", "Shelf", "sha256_of"]

_CHUNK = 1 << 20
_LEFTOVER_AFTER_SECONDS = 3600


class Shelf(StrEnum):
    """Kinds of stored files; the value is the folder."""

    OBJECTS = "objects"
    RESULTS = "results"
    MESSAGES = "messages"
    QUARANTINE = "quarantine"
    CROPS = "crops"


_ENDINGS = {
    Shelf.OBJECTS: ".dcm",
    Shelf.RESULTS: ".dcm",
    Shelf.MESSAGES: ".msg",
    Shelf.QUARANTINE: ".bin",
}


def sha256_of(path: Path, *, offset: int = 0) -> Sha256:
    """Digest of a file's bytes from `offset` on."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return Sha256(digest.hexdigest())


class FolderStore:
    """`key` is a path below the root, made only of our own words and digests."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)  # images and reports are for this account alone
        for name in ("incoming", "writing", *Shelf):
            (root / name).mkdir(exist_ok=True)

    def remove_leftovers(self, *, now: float) -> None:
        """Remove files that a killed process was writing; `now` is seconds of the epoch."""
        for file in (self.root / "writing").iterdir():
            if now - file.stat().st_mtime > _LEFTOVER_AFTER_SECONDS:
                file.unlink(missing_ok=True)

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    def installation(self) -> str:
        """The id of this installation: drawn once, the same for everyone who shares the store."""
        file = self.root / "installation"
        if not file.exists():
            beside = self.root / "writing" / f"{uuid.uuid4()}.part"
            beside.write_text(str(uuid.uuid4()), encoding="ascii")
            # a link fails where another process was first, so that there is only ever one id
            with contextlib.suppress(FileExistsError):
                file.hardlink_to(beside)
            beside.unlink()
            _fsync_folder(self.root)
        return file.read_text(encoding="ascii")

    def path(self, key: str) -> Path:
        """The file of a key that this store gave out."""
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ValueError(f"key {key!r} leaves the store")
        return path

    def make_durable(self, path: Path) -> None:
        """The file's bytes survive a power cut on return; `adopt` does the same for its name."""
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def key(self, shelf: Shelf, sha256: str) -> str:
        """Where content of that digest lies, or would lie."""
        return f"{shelf}/{sha256[:2]}/{sha256}{_ENDINGS[shelf]}"

    def adopt(self, path: Path, *, shelf: Shelf, sha256: Sha256) -> str:
        """Take over a file of `incoming` whose bytes are durable. Gives the key; what lies there
        already stays."""
        key = self.key(shelf, sha256)
        self._settle(path, key)
        return key

    def put(self, content: bytes, *, shelf: Shelf) -> str:
        """Store bytes under their digest; durable on return. Gives the key."""
        key = self.key(shelf, hashlib.sha256(content).hexdigest())
        self._write(content, key)
        return key

    def put_crops(self, content: bytes, *, analysis: str) -> str:
        """Store what a report shows of an analysis; writing it again replaces it."""
        key = f"{Shelf.CROPS}/{analysis}.npz"
        self._write(content, key, replace=True)
        return key

    def crops(self, analysis: str) -> Path:
        """The file that `put_crops` wrote."""
        return self.path(f"{Shelf.CROPS}/{analysis}.npz")

    def _write(self, content: bytes, key: str, *, replace: bool = False) -> None:
        beside = self.root / "writing" / f"{os.getpid()}-{os.urandom(8).hex()}.part"
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._settle(beside, key, replace=replace)

    def _settle(self, path: Path, key: str, *, replace: bool = False) -> None:
        target = self.path(key)
        new_folder = not target.parent.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        if replace:
            path.replace(target)
        else:
            # a link, unlike a rename, cannot take the place of what is there already
            with contextlib.suppress(FileExistsError):
                target.hardlink_to(path)
            path.unlink()
        _fsync_folder(target.parent)
        if new_folder:
            _fsync_folder(target.parent.parent)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
