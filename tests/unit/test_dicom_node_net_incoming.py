"""A data set on its way to disk."""

import hashlib
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.incoming import IncomingFolder, IncomingObject, has_room
from dicom_node.limits import Limits
from dicom_node.statuses import StoreStatus

LIMITS = Limits(free_disk_bytes=0, object_bytes=1000)


def test_what_is_written_is_head_and_pieces(tmp_path: Path) -> None:
    taken = IncomingObject(tmp_path, b"head", LIMITS)
    for piece in (b"one", b"", b"two"):
        taken.write(piece)
    taken.finish()
    assert taken.path.read_bytes() == b"headonetwo"
    assert (taken.dataset_offset, taken.dataset_bytes) == (4, 6)
    assert taken.dataset_sha256 == hashlib.sha256(b"onetwo").hexdigest()
    assert taken.refusal is None
    taken.discard()
    assert list(tmp_path.iterdir()) == []


def test_over_the_limit_nothing_stays_and_the_rest_is_heard(tmp_path: Path) -> None:
    taken = IncomingObject(tmp_path, b"head", LIMITS)
    taken.write(bytes(1000))
    assert taken.refusal is None
    taken.write(b"x")
    assert taken.refusal is StoreStatus.OBJECT_TOO_LARGE
    assert list(tmp_path.iterdir()) == []
    taken.write(bytes(500))
    taken.finish()
    assert taken.dataset_bytes == 1501


def test_below_the_mark_there_is_no_room(tmp_path: Path) -> None:
    scarce = replace(LIMITS, free_disk_bytes=2**62)
    assert has_room(tmp_path, LIMITS)
    assert not has_room(tmp_path, scarce)
    taken = IncomingObject(tmp_path, b"head", scarce)
    taken.write(b"data")
    assert taken.refusal is StoreStatus.OUT_OF_DISK
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    taken = IncomingObject(tmp_path / "gone", b"head", LIMITS)
    taken.write(b"data")
    taken.finish()
    assert taken.refusal is StoreStatus.OUT_OF_DISK


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """A real limit of the kernel: writing past 100,000 bytes fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files_only")
def test_a_write_that_fails_is_a_refusal(tmp_path: Path) -> None:
    taken = IncomingObject(tmp_path, b"head", replace(LIMITS, object_bytes=10**9))
    for _ in range(20):
        taken.write(bytes(20_000))
    taken.finish()
    assert taken.refusal is StoreStatus.OUT_OF_DISK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files_only")
def test_a_last_flush_that_fails_is_a_refusal(tmp_path: Path) -> None:
    taken = IncomingObject(tmp_path, b"head", replace(LIMITS, object_bytes=10**9))
    taken.write(bytes(99_990))
    taken.write(bytes(100))
    taken.finish()
    assert taken.refusal is StoreStatus.OUT_OF_DISK
    assert list(tmp_path.iterdir()) == []


def test_only_our_own_leftovers_of_abandoned_folders_are_cleared(tmp_path: Path) -> None:
    alive, gone = IncomingFolder(tmp_path), IncomingFolder(tmp_path)
    for folder in (alive, gone):
        folder.open()
        (folder.path / "notes.txt").write_text("not ours")
        IncomingObject(folder.path, b"head", LIMITS)._file.close()  # type: ignore[union-attr]
    gone.close()  # as the end of its process does
    mine = IncomingFolder(tmp_path)
    assert mine.open() == 1
    assert len(list(alive.path.iterdir())) == 2
    assert [path.name for path in gone.path.iterdir()] == ["notes.txt"]
    alive.close()
    assert mine.open() == 1
    (gone.path / "notes.txt").unlink()
    assert mine.open() == 0
    assert not gone.path.exists()
    mine.close()
    assert not mine.path.exists()
