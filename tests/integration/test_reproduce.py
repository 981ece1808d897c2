"""`leukonode reproduce`: what is read again, with which bundle, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from db.database import Database
from db.errors import UnknownRow
from domain.analysis import Analysis
from domain.identities import CaseId
from leukonode.errors import CouldNotError
from leukonode.reading import ReadingFailed
from leukonode.reproducing import Reproduced, reproduce
from leukonode.store import sha256_of
from tests.revisions_house import SMALL, Desk, desk, reader_of


@pytest.fixture
def at(database: Database, tmp_path: Path) -> Desk:
    """A desk whose bundle lies among those made here, as a file of a manifest."""
    made = desk(database, tmp_path, archive=None)
    folder = made.house.settings.data_dir / "bundles" / "mine"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"id": "mine"}')

    def of_that_bundle(analysis: Analysis) -> Analysis:
        digest = sha256_of(folder / "manifest.json")
        return replace(analysis, bundle=replace(analysis.bundle, manifest_sha256=digest))

    made.house = replace(made.house, read=reader_of(SMALL, of_that_bundle, crops=0))
    return made


def again(at: Desk, case_id: str, **changes) -> Reproduced:
    given = {
        "analysis": None,
        "bundle": None,
        "tolerance": 0.0,
        "read": at.house.read,
    } | changes
    return reproduce(at.database, at.house.store, at.house.settings, case_id, **given)


def test_a_stored_case_is_read_again_and_compared(at: Desk) -> None:
    case_id = at.reported()
    done = again(at, case_id[:8])
    assert (done.case_id, done.analysis, done.images) == (case_id, 1, 1)
    assert (done.comparison.same, done.comparison.cells) == (True, 94)

    def other(analysis: Analysis) -> Analysis:
        first, *rest = analysis.cells
        return replace(analysis, cells=(replace(first, final_class="platelet"), *rest))

    read = at.house.read
    changed = again(
        at, case_id, read=lambda r: replace(read(r), analysis=other(read(r).analysis))
    ).comparison
    assert [d.text for d in changed.differences] == [
        "cell 1: final_class was red_blood_cell, is platelet"
    ]


def test_each_analysis_of_a_case_can_be_read_again(at: Desk) -> None:
    case_id = at.reported()
    at.analysed()
    assert again(at, case_id).images == 2
    assert again(at, case_id, analysis=1).images == 1
    with pytest.raises(CouldNotError, match="no finished analysis 3"):
        again(at, case_id, analysis=3)


def test_what_is_not_as_it_was_is_said_and_nothing_is_run(at: Desk, tmp_path: Path) -> None:
    def never(request):
        pytest.fail("it was run")

    case_id = at.receive()
    with pytest.raises(CouldNotError, match="no finished analysis yet; its state is receiving"):
        again(at, case_id, read=never)
    at.clock.at = at.clock.at.replace(hour=12)
    at.analysed()
    with pytest.raises(UnknownRow):
        again(at, CaseId("f" * 8), read=never)
    with pytest.raises(CouldNotError, match=r"read with bundle starter .* name its folder"):
        again(at, case_id, bundle=tmp_path, read=never)
    stored = next((at.house.store.root / "objects").rglob("*.dcm"))
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CouldNotError, match="1 stored objects are not the bytes"):
        again(at, case_id, read=never)
    stored.unlink()
    with pytest.raises(CouldNotError, match="not the bytes"):
        again(at, case_id, read=never)


def test_a_run_that_fails_is_one_line(at: Desk) -> None:
    case_id = at.reported()

    def fails(request):
        raise ReadingFailed("bundle 'mine': weights unreadable")

    with pytest.raises(CouldNotError, match="could not be read again: bundle 'mine'"):
        again(at, case_id, read=fails)
