import hashlib
from pathlib import Path

import numpy as np
import pytest

from leukonode.reading import Reading, pictures_from, pictures_to_bytes
from leukonode.store import FolderStore, Shelf, sha256_of
from reporting.report import GalleryCrop, Overview


def test_store_adopts_what_was_received(tmp_path: Path):
    store = FolderStore(tmp_path)
    arrived = store.incoming / "x"
    arrived.write_bytes(b"preamble" + b"data set")
    digest = sha256_of(arrived, offset=8)
    assert digest == hashlib.sha256(b"data set").hexdigest()
    store.make_durable(arrived)
    key = store.adopt(arrived, shelf=Shelf.OBJECTS, sha256=digest)
    assert key == store.key(Shelf.OBJECTS, digest)
    assert store.path(key).read_bytes() == b"preambledata set"
    assert not arrived.exists()
    assert key == f"objects/{digest[:2]}/{digest}.dcm"


def test_store_never_replaces_what_lies_there(tmp_path: Path):
    store = FolderStore(tmp_path)
    digest = "ab" * 32
    for content in (b"first", b"second"):
        arrived = store.incoming / "x"
        arrived.write_bytes(content)
        key = store.adopt(arrived, shelf=Shelf.OBJECTS, sha256=digest)
        assert not arrived.exists()
    assert store.path(key).read_bytes() == b"first"


def test_store_is_closed_to_other_accounts(tmp_path: Path):
    FolderStore(tmp_path / "store")
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0


def test_store_puts_the_same_content_once(tmp_path: Path):
    store = FolderStore(tmp_path)
    first, again = (store.put(b"report", shelf=Shelf.RESULTS) for _ in range(2))
    assert first == again
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [store.path(first)]


def test_store_key_cannot_leave_the_root(tmp_path: Path):
    with pytest.raises(ValueError, match="leaves the store"):
        FolderStore(tmp_path / "store").path("../elsewhere")


def test_store_removes_only_old_leftovers(tmp_path: Path):
    store = FolderStore(tmp_path)
    leftover = tmp_path / "writing" / "1-ab.part"
    leftover.write_bytes(b"half")
    written = leftover.stat().st_mtime
    store.remove_leftovers(now=written + 10)
    assert leftover.exists()
    store.remove_leftovers(now=written + 3601)
    assert not leftover.exists()


def test_store_installation_is_drawn_once(tmp_path: Path):
    assert FolderStore(tmp_path).installation() == FolderStore(tmp_path).installation()


def test_pictures_of_a_reading_round_trip(tmp_path: Path):
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    reading = Reading(
        analysis=None,
        gallery=(
            GalleryCrop(cell_number=7, pixels=pixels, um_per_px=0.1),
            GalleryCrop(cell_number=9, pixels=pixels[:2], um_per_px=None),
        ),
        overviews=(Overview(image=2, pixels=pixels, scale=0.5, origin_px=(3.0, 4.0)),),
    )
    content = pictures_to_bytes(reading)
    assert content == pictures_to_bytes(reading)
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    gallery, overviews = pictures_from(file)
    assert [(g.cell_number, g.um_per_px) for g in gallery] == [(7, 0.1), (9, None)]
    assert np.array_equal(gallery[1].pixels, pixels[:2])
    assert (overviews[0].image, overviews[0].scale, overviews[0].origin_px) == (2, 0.5, (3, 4))
