"""Runs that are killed and gone on with; a stage trained, put into a bundle and judged, on drawings."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from domain.cells import Stage, Subtype, WbcClass
from domain.image import Box
from inference.bundle import load_bundle
from inference.crops import Crops
from inference.errors import BundleExists
from inference.manifest import FIGURES, Gate, Storage, read_manifest
from phantom.single import draw_cell
from training.assemble import Calibration, assemble_bundle
from training.calibrate import calibration_of
from training.errors import CheckpointError, OverlapError
from training.evaluation.evaluate import evaluate
from training.evaluation.pages import as_json, as_text, write_pages
from training.loop import BEST, CHECKPOINT, CURVES, RUN, run
from training.recipes import RECIPES, Phase, Recipe, shortened
from training.stage_data import stage_data
from training.storage_change import storage_change
from training.train import train

pytestmark = pytest.mark.slow

TINY = Recipe(
    stage=Stage.SUBTYPE,
    architecture="tiny",
    phases=(
        Phase(epochs=2, input_px=8, batch=4, items=12, rate=1e-2, trained=("3", "0")),
        Phase(epochs=2, input_px=8, batch=4, items=12, rate=1e-3),
    ),
    mean=(0.0,) * 3,
    deviation=(1.0,) * 3,
    warm_steps=2,
)

GATE = Gate(
    centre=(0.5,) * len(FIGURES),
    spread=tuple(tuple(float(i == j) for j in range(len(FIGURES))) for i in range(len(FIGURES))),
    flag_above=2.0,
    refuse_above=3.0,
)


class TinyTask:
    """A real little network with everything that has a state: batch norm, dropout, momentum."""

    data_digest = "tiny"
    score_follows_size = True

    def network(self):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2)
        )

    def enter(self, phase):
        self.size = phase.input_px

    def prepare(self, network, device):
        nn.init.zeros_(network[4].bias)

    def batch(self, rng, size):
        x = rng.normal(size=(size, 3, self.size, self.size)).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy((x.mean(axis=(1, 2, 3)) > 0).astype(np.int64))

    def loss(self, network, batch, device):
        return nn.functional.cross_entropy(network(batch[0].to(device)), batch[1].to(device))

    def score(self, network, device):
        x, y = self.batch(np.random.default_rng(9), 32)
        return {"score": float((network(x.to(device)).argmax(1).cpu() == y).float().mean())}

    def finished(self, tensors):
        return tensors


def test_training_run_that_was_killed_ends_with_the_same_bits(tmp_path):
    """Killed with SIGKILL three times, each time at another place of a step."""
    whole = run(TinyTask(), TINY, tmp_path / "whole")
    script = (
        "import os, signal, sys, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('t', {str(__file__)!r})\n"
        "t = importlib.util.module_from_spec(spec); sys.modules['t'] = t\n"
        "spec.loader.exec_module(t)\n"
        "from pathlib import Path\n"
        "left = [int(sys.argv[2])]\n"
        "def go_on():\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return True\n"
        "t.run(t.TinyTask(), t.TINY, Path(sys.argv[1]), every_seconds=0, may_go_on=go_on)\n"
    )
    for steps in (2, 3, 1):
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "killed"), str(steps)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL
    killed = run(TinyTask(), TINY, tmp_path / "killed")
    assert killed.curves == whole.curves
    assert len(killed.curves) == 4
    a, b = (torch.load(tmp_path / n / CHECKPOINT, weights_only=True) for n in ("whole", "killed"))
    for name, tensor in a["network"].items():
        assert torch.equal(tensor, b["network"][name]), name
    best = [load_file(tmp_path / n / BEST) for n in ("whole", "killed")]
    assert all(torch.equal(best[0][n], best[1][n]) for n in best[0])
    assert (tmp_path / "killed" / CURVES).read_text() == (tmp_path / "whole" / CURVES).read_text()


def test_training_phase_trains_only_what_it_names(tmp_path):
    recipe = replace(
        TINY,
        average=0.0,
        phases=(Phase(epochs=1, input_px=8, batch=4, items=4, rate=0.1, trained=("4",)),),
    )
    before = TinyTask().network().state_dict()
    run(TinyTask(), recipe, tmp_path / "a")
    after = torch.load(tmp_path / "a" / CHECKPOINT, weights_only=True)["network"]
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["4.weight"], after["4.weight"])


def test_training_run_of_another_recipe_or_a_broken_one_is_refused(tmp_path):
    run(TinyTask(), TINY, tmp_path / "a", may_go_on=lambda: False)
    with pytest.raises(CheckpointError, match="another recipe"):
        run(TinyTask(), replace(TINY, seed=5), tmp_path / "a")
    (tmp_path / "a" / CHECKPOINT).write_bytes(b"PK half a file")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(TinyTask(), TINY, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.docx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="not empty"):
        run(TinyTask(), TINY, tmp_path / "b")


def test_training_run_goes_on_with_phases_that_it_had_not_begun(tmp_path):
    """A finished run is given one more phase and ends as if it had had it from the
    start; a phase that was begun stays what it was."""
    (first, *_) = TINY.phases
    short = replace(TINY, phases=(first,))
    longer = replace(TINY, phases=(first, replace(first, epochs=1, rate=0.01)))
    run(TinyTask(), longer, tmp_path / "whole")
    run(TinyTask(), short, tmp_path / "a")
    run(TinyTask(), longer, tmp_path / "a")
    a, b = (torch.load(tmp_path / n / CHECKPOINT, weights_only=True) for n in ("whole", "a"))
    assert all(torch.equal(t, b["network"][n]) for n, t in a["network"].items())
    assert a["state"] == b["state"]
    assert (tmp_path / "a" / RUN).read_bytes() == (tmp_path / "whole" / RUN).read_bytes()
    with pytest.raises(CheckpointError, match="another recipe"):
        run(TinyTask(), replace(TINY, phases=(replace(first, rate=0.5),)), tmp_path / "a")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Drawn blasts of three subtypes, in class folders."""
    root = tmp_path_factory.mktemp("cells")
    for n, subtype in enumerate(Subtype):
        (root / subtype.value).mkdir()
        for i in range(5):
            pixels = draw_cell(
                WbcClass.BLAST_CELLS, seed=10 * n + i, subtype=subtype, size_px=128, um_per_px=0.2
            )
            cv2.imwrite(str(root / subtype.value / f"{i}.png"), pixels[:, :, ::-1])
    (root / "pre_b" / "-.png").write_bytes(b"broken")
    return root


SHORT = replace(
    shortened(RECIPES[Stage.SUBTYPE], epochs=1, items=4, batch=2),
    phases=(Phase(epochs=1, input_px=64, batch=2, items=4, rate=1e-3),),
)


@pytest.fixture(scope="module")
def trained(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "6"
    result = train(Stage.SUBTYPE, data=cells, out=folder, recipe=SHORT, um_per_px=0.2)
    assert result.epochs == 1
    return folder


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "mine"
    info = assemble_bundle(
        {Stage.SUBTYPE: trained},
        folder,
        name="mine",
        version="1",
        licence="CC0-1.0",
        card="# Mine\n",
        calibrations={
            Stage.SUBTYPE: Calibration(
                temperature=1.5, reject_below={s.value: 0.4 for s in Subtype}
            )
        },
        gate=GATE,
        storage={Stage.MALIGNANCY: Storage.INT8},
    )
    assert info.untrained  # five stages are random
    return folder


def test_training_run_records_its_data(trained):
    record = json.loads((trained / "data.json").read_text())
    assert record["unreadable"][0].endswith("-.png")
    assert {one["split"] for one in record["sets"]} == {"train", "val", "gap"}
    assert sum(len(one["pictures"]) for one in record["sets"]) == 15


def test_training_bundle_of_a_run_loads_strictly(bundle, trained):
    loaded = load_bundle(bundle, threads=1)
    entry = loaded.manifest.stages.subtype
    assert (entry.temperature, entry.reject_below["pro_b"]) == (1.5, 0.4)
    best = load_file(trained / BEST)
    own = loaded.networks[Stage.SUBTYPE].state_dict()
    assert all(torch.equal(best[n], own[n]) for n in best)
    assert {one["stage"] for one in loaded.manifest.training_data} == {"subtype"}
    with pytest.raises(BundleExists):
        assemble_bundle({}, bundle, name="x", version="1", licence="x", card="x")


def test_training_bundle_tells_what_8_bits_change(bundle, trained):
    manifest = load_bundle(bundle, threads=1).manifest
    assert manifest.gate == GATE
    assert manifest.stages.malignancy.storage is Storage.INT8
    assert (bundle / manifest.stages.malignancy.file).stat().st_size < 45e6  # 170 MB in float32
    assert manifest.stages.subtype.storage is Storage.FLOAT32
    (error,) = manifest.metrics["storage_weight_error"].items()
    assert error[0] == "malignancy"
    assert 0.001 < error[1] < 0.02
    crops = Crops(
        pixels=np.random.default_rng(2).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8),
        boxes=(Box(50, 50, 170, 170),) * 3,
    )
    state = load_file(trained / BEST)
    change = storage_change(Stage.SUBTYPE, manifest.stages.subtype, state, crops)
    assert (change.crops, change.answers, change.within_tolerance) == (3, 0, True)
    assert 0 < change.probability < 0.02
    name = "features.conv0.weight"
    spoiled = state | {name: state[name] * torch.logspace(0, 4, 7)}  # small beside large in a row
    worse = storage_change(Stage.SUBTYPE, manifest.stages.subtype, spoiled, crops)
    assert worse.weights > change.weights


@pytest.mark.parametrize("stage", [Stage.VIABILITY, Stage.DETECTION, Stage.CELL_CLASS])
def test_training_storage_change_speaks_of_every_kind_of_answer(bundle, stage):
    entry = read_manifest(bundle)[0].stages.of(stage)
    if stage is not Stage.DETECTION:  # random weights are too sure of themselves to be compared
        entry = entry.model_copy(update={"temperature": 100.0})
    crops = Crops(
        pixels=np.random.default_rng(3).integers(
            0, 256, (1, entry.input_px, entry.input_px, 3), dtype=np.uint8
        ),
        boxes=(Box(90, 90, 120, 120),),
    )
    change = storage_change(stage, entry, load_file(bundle / entry.file), crops)
    assert 0 < change.probability < 1
    assert 0.001 < change.weights < 0.02


def test_training_calibration_is_fitted_on_val(trained, cells):
    read = stage_data(Stage.SUBTYPE, cells, um_per_px=0.2)
    found = calibration_of(Stage.SUBTYPE, trained, read)
    assert 0.05 <= found.temperature <= 20
    assert set(found.reject_below) == {s.value for s in Subtype}
    assert all(1 / 3 <= v <= 1 for v in found.reject_below.values())


def test_training_bundle_wants_weights(tmp_path):
    with pytest.raises(CheckpointError, match="stage 4"):
        assemble_bundle(
            {Stage.WBC_CLASS: tmp_path},
            tmp_path / "b",
            name="x",
            version="1",
            licence="x",
            card="x",
        )
    assert not (tmp_path / "b").exists()


def test_training_evaluation_judges_draws_and_writes(bundle, cells, tmp_path):
    judged = evaluate(Stage.SUBTYPE, data=cells, bundle=bundle, um_per_px=0.2, threads=1)
    whole = judged.lots[0]
    assert (whole.name, whole.cells) == ("all cells", 3)
    assert sum(map(sum, whole.figures.confusion)) == 3
    assert [s.name for s in judged.baselines] == ["colour histogram", "corner", "border ring"]
    assert judged.tests[0].changed.count == 0
    assert [s.name for s in judged.tests][:3] == ["unchanged", "corner swapped", "corner painted"]
    assert len(judged.tests) == 8
    assert judged.field_tests == ()  # every picture is one cell
    assert judged.risk[-1] == (1.0, whole.figures.accuracy.value)
    assert len(judged.unreadable) == 1
    written = write_pages([judged], tmp_path / "out")
    assert {p.suffix for p in written} == {".json", ".txt", ".png", ".html"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "colour histogram" in page
    assert "http" not in page.replace("http-equiv", "")
    again = json.loads((tmp_path / "out" / "6-subtype.json").read_text())
    assert again == json.loads(json.dumps(as_json(judged)))
    for word in ("precision", "macro mean", "weighted mean", "expected calibration error"):
        assert word in as_text(judged)


def test_training_evaluation_refuses_what_was_trained_on(bundle, cells, tmp_path):
    for side, numbers in (("train", "01"), ("val", "01")):
        for subtype in Subtype:
            (tmp_path / side / subtype.value).mkdir(parents=True)
            for i in numbers:
                source = cells / subtype.value / f"{i}.png"
                (tmp_path / side / subtype.value / f"{i}.png").write_bytes(source.read_bytes())
    with pytest.raises(OverlapError, match="6 of 6 pictures"):
        evaluate(Stage.SUBTYPE, data=tmp_path, bundle=bundle, um_per_px=0.2, threads=1)
    judged = evaluate(
        Stage.SUBTYPE, data=tmp_path, bundle=bundle, um_per_px=0.2, threads=1, allow_overlap=True
    )
    assert "trained on" in judged.notes[0]


def test_training_commands_say_what_is_wrong_in_one_line(cells, tmp_path):
    def leukonode(*words):
        return subprocess.run(
            [sys.executable, "-m", "leukonode", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    wrong = leukonode("train", "7", "--data", cells, "--out", tmp_path / "x")
    assert wrong.returncode == 2
    assert "no stage is called '7'" in wrong.stderr
    (cells / "rest").mkdir()
    try:
        wrong = leukonode("train", "6", "--data", cells, "--out", tmp_path / "x")
    finally:
        (cells / "rest").rmdir()
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "no class of this stage" in wrong.stderr
    assert not (tmp_path / "x").exists()
    wrong = leukonode("evaluate", "6", "--data", cells, "--bundle", cells, "--out", tmp_path / "y")
    assert wrong.returncode == 1
    assert "manifest.json" in wrong.stderr
    assert not (tmp_path / "y").exists()
