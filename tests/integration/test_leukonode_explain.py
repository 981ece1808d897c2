"""`leukonode explain`, from a case of the database to a picture; the network is a small one."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from db.database import Database
from domain.cells import Stage
from inference.bundle import Bundle
from inference.errors import ExplanationWithheld
from inference.manifest import parse_manifest
from inference.untrained import _document
from leukonode.__main__ import app
from leukonode.errors import CouldNotError
from leukonode.explaining import explained_png
from leukonode.settings import Effective
from tests import reporting_cases as cases
from tests.explained import EdgeNetwork, RedSpotNetwork
from tests.road import Road

CELL = 411  # a blast of the plan, at (290, 20) to (370, 100)


def bundle_of(network, **changes) -> Bundle:
    document = _document(seed=1, detector="yolov5n")
    return Bundle(
        info=cases.bundle(**changes),
        manifest=parse_manifest(json.dumps(document).encode(), name="x"),
        networks={Stage.MALIGNANCY: network},
    )


@pytest.fixture
def road(database: Database, tmp_path: Path) -> Road:
    pixels = np.random.default_rng(4).integers(120, 220, (120, 400, 3)).astype(np.uint8)
    pixels[50:70, 345:365] = (255, 0, 0)  # right of the cell's middle
    return Road(database, tmp_path, [], pixels=pixels)


def explained(road: Road, network, number: int = CELL, stage: Stage | None = Stage.MALIGNANCY):
    return explained_png(
        road.case_id[:8],
        number,
        stage=stage,
        database=road.house.database,
        store=road.house.store,
        bundle=bundle_of(network),
    )


def test_the_overlay_is_where_the_network_looked(road: Road):
    made = explained(road, RedSpotNetwork())
    assert made == explained(road, RedSpotNetwork())
    sheet = np.asarray(Image.open(io.BytesIO(made))).astype(int)
    plain, overlaid = sheet[16:464, 16:464], sheet[16:464, 480:928]
    changed = np.abs(overlaid - plain).sum(axis=2)
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    assert x > 224  # the spot lies to the right
    assert abs(y - 224) < 60
    assert changed[:, :112].max() < changed.max() / 2


def test_what_cannot_be_explained_is_one_line(road: Road):
    with pytest.raises(ExplanationWithheld, match="hardly depends on the network"):
        explained(road, EdgeNetwork())
    with pytest.raises(CouldNotError, match="its cells are 1 to"):
        explained(road, RedSpotNetwork(), number=5000)
    with pytest.raises(CouldNotError, match="no class"):
        explained(road, RedSpotNetwork(), number=1, stage=None)
    with pytest.raises(CouldNotError, match="read by bundle starter"):
        explained_png(
            road.case_id,
            CELL,
            stage=None,
            database=road.house.database,
            store=road.house.store,
            bundle=_other_bundle(),
        )


def _other_bundle() -> Bundle:
    from dataclasses import replace

    made = bundle_of(RedSpotNetwork())
    return replace(made, info=replace(made.info, manifest_sha256=cases.digest("other")))


def test_the_command_writes_the_picture(road: Road, tmp_path: Path, monkeypatch):
    settings = road.house.settings.model_copy(update={"store_url": f"file:{tmp_path / 'store'}"})
    for name, value in (
        ("inference.bundle.load_bundle", lambda _folder, threads: bundle_of(RedSpotNetwork())),
        ("leukonode.commands.database.opened", lambda: road.house.database),
        (
            "leukonode.commands.service.effective_settings",
            lambda: Effective(settings=settings, origins={}),
        ),
    ):
        monkeypatch.setattr(name, value)
    out = tmp_path / "cell.png"
    words = ["explain", road.case_id[:8], str(CELL), "--stage", "malignancy", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == explained(road, RedSpotNetwork())
    assert "no reason" in done.output
