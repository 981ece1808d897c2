"""What a laboratory brings is read strictly, and what it may change is judged honestly."""

import dataclasses
import json
from collections import Counter

import cv2
import numpy as np
import pytest

from domain.cells import Stage, WbcClass
from domain.image import Box
from inference.bundle import Bundle, bundle_info_of
from inference.crops import background_of
from inference.gate import look_of
from inference.manifest import parse_manifest
from inference.untrained import _document
from phantom.smear import draw
from phantom.spec import normal_smear
from training.commissioning import cell_class
from training.commissioning import fields as room_of_fields
from training.commissioning.bundle import table_of, verdicts_of
from training.commissioning.cell_class import KindCrop, cell_class_outcome
from training.commissioning.choice import Labelled, Procedure, Score, folds_of, judged
from training.commissioning.fields import (
    ReadField,
    _lowered,
    _spoiled,
    in_turn,
    viability_outcome,
)
from training.commissioning.head import Head
from training.commissioning.naming import _pictures, enough_cells
from training.commissioning.outcome import outcome_of
from training.commissioning.site import LabelledCell, labelled_cells, site_fields
from training.commissioning.stain import stain_outcome
from training.errors import DataError
from training.pictures import Picture, digest_of, pixels_of

CLASSES = ("a", "b", "c", "d")


def told(_what, _done, _of):
    """Nobody watches."""


# --- what may change ------------------------------------------------------------------------------


def site_of(*, seed=0, each=12, moved=0.0, shuffled=False, sure=1.0):
    """Cells of a, b and c round middles that the parent knows; d is never there."""
    rng = np.random.default_rng(seed)
    middles = np.zeros((4, 24))
    middles[:, :4] = np.eye(4) * 6
    head = Head(weight=middles * sure, bias=-(middles**2).sum(axis=1) / 2 * sure)
    truth = np.repeat([0, 1, 2], each)
    here = middles.copy()
    here[:3] = (1 - moved) * middles[:3] + moved * middles[[1, 2, 0]]
    features = here[truth] + rng.normal(size=(len(truth), 24))
    if shuffled:
        truth = rng.permutation(truth)
    pictures = [f"{i:03}" for i in range(len(truth))]
    return Labelled(
        procedures=(Procedure.TEMPERATURE, Procedure.LAST_LAYER),
        classes=CLASSES,
        features={0.0: features},
        truth=truth,
        folds=folds_of([CLASSES[t] for t in truth], pictures),
        pictures=np.arange(len(truth)),
        head=head,
        temperature=1.0,
        reject_below=dict.fromkeys(CLASSES, 0.3),
    )


def values(scores):
    return {s.name: s.value for s in scores}


def test_commissioning_takes_a_last_layer_that_is_better_elsewhere():
    cells = site_of(moved=0.6, sure=0.2)
    choice, verdict = judged(cells)
    assert verdict.procedure is Procedure.LAST_LAYER
    assert values(verdict.before)["mean recall"] < 0.5
    assert values(verdict.after)["mean recall"] > 0.9
    assert verdict.gain.low > 0
    assert choice.head.weight[3].tobytes() == cells.head.weight[3].tobytes()
    # the limit of the class without labels stays at the same place of the logits
    odds = (0.3 / 0.7) ** (cells.temperature / choice.temperature)
    assert choice.reject_below["d"] == pytest.approx(odds / (1 + odds), abs=1e-4)
    fresh = site_of(moved=0.6, seed=1, each=200)
    right = choice.head.logits(fresh.features[0.0]).argmax(axis=1) == fresh.truth
    promised = next(s for s in verdict.after if s.name == "accuracy")
    assert promised.low - 0.02 <= right.mean() <= promised.high + 0.02


def test_commissioning_claims_nothing_on_labels_that_mean_nothing():
    """Fitted on themselves such cells would be told right; on others they are not. What can be had
    is less certainty, and never a last layer."""
    for seed in range(3):
        choice, verdict = judged(site_of(shuffled=True, seed=seed, sure=0.2))
        assert verdict.procedure is not Procedure.LAST_LAYER
        assert choice.head.weight.tobytes() == site_of(sure=0.2).head.weight.tobytes()
        assert values(verdict.after)["accuracy"] == values(verdict.before)["accuracy"]


def test_commissioning_keeps_a_parent_that_is_right():
    cells = site_of(sure=0.5)
    choice, verdict = judged(cells)
    assert verdict.procedure is Procedure.PARENT
    assert choice.head is cells.head
    assert choice.temperature == 1.0
    assert "no better" in verdict.why


def test_commissioning_cools_a_parent_that_is_too_certain():
    rng = np.random.default_rng(3)
    cells = site_of(each=30)
    noisy = cells.features[0.0] + rng.normal(size=cells.features[0.0].shape) * 3
    cells = dataclasses.replace(cells, features={0.0: noisy}, procedures=(Procedure.TEMPERATURE,))
    choice, verdict = judged(cells)
    assert verdict.procedure is Procedure.TEMPERATURE
    assert choice.temperature > 1.5
    assert choice.head is cells.head
    assert abs(values(verdict.after)["overconfidence"]) < values(verdict.before)["overconfidence"]


def test_commissioning_takes_the_sites_statistics_where_they_help():
    cells = site_of(moved=0.6, sure=0.2)
    straight = site_of(sure=0.2).features[0.0]
    cells = dataclasses.replace(
        cells,
        features={0.0: cells.features[0.0], 0.5: straight},
        procedures=(Procedure.NORMS,),
        reject_below={},
    )
    choice, verdict = judged(cells)
    assert (verdict.procedure, choice.share) == (Procedure.NORMS, 0.5)
    assert choice.head is cells.head
    assert choice.temperature == 1.0
    assert not verdict.thresholds_changed


def test_commissioning_is_the_same_each_time():
    a, b = (judged(site_of(moved=0.6, sure=0.2)) for _ in range(2))
    assert a[0].head.weight.tobytes() == b[0].head.weight.tobytes()
    assert (a[0].reject_below, a[1].after) == (b[0].reject_below, b[1].after)


def test_commissioning_stage_1_refuses_at_most_one_in_a_hundred():
    p = np.linspace(0.2, 0.99, 200)
    threshold = _lowered(p, 0.5)
    assert (p < threshold).sum() == 2
    assert _lowered(p[:50], 0.5) == 0.2
    assert _lowered(p + 0.5, 0.5) == 0.5


def test_commissioning_mixes_kinds_of_cells():
    chosen = in_turn({0: list(range(100)), 1: [7, 8], 2: []}, most=4)
    assert chosen == [(0, 0), (1, 7), (0, 25), (1, 8), (0, 50), (0, 75)]


def test_commissioning_table_and_verdicts_say_what_became_of_each_stage():
    score = Score(name="accuracy", value=0.3, low=0.2, high=0.4, of=90)
    better = dataclasses.replace(score, value=0.5, low=0.4, high=0.6, of=80)
    gain = dataclasses.replace(score, name="gain in log loss")
    outcomes = [
        outcome_of(Stage.WBC_CLASS, [score], [better], why="better", gain=gain, changed=("a", "b")),
        outcome_of(Stage.SUBTYPE, why="not judged: no labelled cells of this stage"),
    ]
    columns, rows = table_of(outcomes)
    assert rows == [
        ["4 wbc_class", "accuracy", "0.300 (0.200 to 0.400)", "0.500 (0.400 to 0.600)", "90, 80"]
    ]
    assert len(columns) == len(rows[0])
    assert verdicts_of(outcomes) == [
        "4 wbc_class: new a, b; better; gain in log loss 0.300 (0.200 to 0.400)",
        "6 subtype: parent's kept; not judged: no labelled cells of this stage",
    ]


# --- fields ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Ten drawn fields of one stain, opened and read, all alike to stage 1 but for their number."""
    folder = tmp_path_factory.mktemp("drawn")
    for i in range(10):
        spec = normal_smear(i, width_px=160, height_px=120, um_per_px=0.2)
        cv2.imwrite(str(folder / f"{i}.png"), draw(spec).pixels[:, :, ::-1])
    found, _ = site_fields(folder, um_per_px=0.2, tell=told)
    return [
        ReadField(
            site=field,
            um_per_px=(0.2, 0.2),
            scale_known=True,
            out_of_range=False,
            ground=background_of(field.pixels()),
            viable_p=0.3 + i / 100,
            cells=(),
        )
        for i, field in enumerate(found)
    ]


def bundle_with(*, threshold=0.5, gate=None):
    document = _document(seed=1, detector="yolov5n")
    document["stages"]["viability"]["threshold"] = threshold
    document["gate"] = gate
    manifest = parse_manifest(json.dumps(document).encode(), name="x")
    return Bundle(info=bundle_info_of(manifest, "0" * 64), manifest=manifest, networks={})


@pytest.mark.parametrize(
    ("threshold", "spoiled_p", "new"),
    [(0.5, 0.1, 0.3), (0.5, 0.45, None), (0.2, 0.1, None)],
    ids=["good fields are refused", "spoiled ones would come in", "no good field is refused"],
)
def test_commissioning_lowers_the_threshold_of_stage_1_only_for_good_fields(
    drawn, monkeypatch, threshold, spoiled_p, new
):
    monkeypatch.setattr(room_of_fields, "_spoiled_p", lambda *_: [spoiled_p] * len(drawn))
    outcome = viability_outcome(drawn, bundle_with(threshold=threshold), tell=told)
    assert outcome.entry == ({} if new is None else {"threshold": new})
    assert bool(outcome.changed) == bool(outcome.entry)
    assert values(outcome.before)["good fields refused"] == (1.0 if threshold == 0.5 else 0.0)
    # of ten numbers in order, the first two are below all that the threshold was set on
    after = values(outcome.after)["good fields refused"]
    assert after == (values(outcome.before)["good fields refused"] if new is None else 0.2)


def test_commissioning_judges_stage_3_only_on_enough_cells(drawn, monkeypatch):
    crop = KindCrop(pixels=np.zeros((2, 2, 3), np.uint8), box=Box(0, 0, 1, 1), kind=0, picture="")

    def cells(number, fields):
        return [
            dataclasses.replace(crop, kind=i % 2, picture=str(i % fields)) for i in range(number)
        ]

    judged_on = []
    monkeypatch.setattr(cell_class, "norms_outcome", lambda *lots, **_: judged_on.append(lots))
    for measured, checked in ((32, cells(19, 5)), (31, cells(20, 5)), (32, cells(20, 4))):
        lots = iter([cells(measured, 5), checked])
        monkeypatch.setattr(cell_class, "_crops_of", lambda *_, lots=lots: next(lots))
        outcome = cell_class_outcome(drawn, bundle_with(), tell=told)
        assert outcome.why.startswith("not judged: stage 2 is certain of")
    lots = iter([cells(32, 5), cells(20, 5)])
    monkeypatch.setattr(cell_class, "_crops_of", lambda *_: next(lots))
    cell_class_outcome(drawn, bundle_with(), tell=told)
    assert len(judged_on) == 1


def test_commissioning_spoils_the_same_field_the_same_way(drawn):
    a, b = (f.site for f in drawn[:2])
    once, again = (_spoiled(a.pixels(), 0.2, a.digest) for _ in range(2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, a.pixels())
    assert not np.array_equal(once, _spoiled(a.pixels(), 0.2, b.digest))


def gate_at(looks, *, off):
    centre = np.median(np.stack(looks), axis=0) + off
    spread = np.cov(np.stack(looks).T) + 1e-3 * np.eye(len(centre))
    return {
        "centre": centre.tolist(),
        "spread": spread.tolist(),
        "flag_above": 2.5,
        "refuse_above": 100.0,
    }


def test_commissioning_moves_the_gate_to_a_stain_that_it_flags(drawn):
    looks = [look_of(f.site.pixels(), ground=f.ground) for f in drawn]
    far = gate_at(looks, off=0.3)
    outcome = stain_outcome(drawn, bundle_with(gate=far))
    assert values(outcome.before) == {"good fields flagged": 1.0}
    assert values(outcome.after)["good fields flagged"] <= 0.2
    moved = outcome.manifest["gate"]
    assert np.allclose(moved["centre"], np.median(np.stack(looks), axis=0), atol=1e-6)
    assert {k: v for k, v in moved.items() if k != "centre"} == json.loads(
        json.dumps({k: v for k, v in far.items() if k != "centre"})
    )
    assert (outcome.name, outcome.stage) == ("gate", None)


def test_commissioning_leaves_a_gate_that_flags_nothing(drawn):
    looks = [look_of(f.site.pixels(), ground=f.ground) for f in drawn]
    outcome = stain_outcome(drawn, bundle_with(gate=gate_at(looks, off=0.01)))
    assert (outcome.changed, outcome.manifest) == ((), {})
    assert not stain_outcome(drawn, bundle_with()).changed


# --- what a laboratory brings ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest():
    document = _document(seed=1, detector="yolov5n")
    return parse_manifest(json.dumps(document).encode(), name="x")


def picture(path, *, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def fields(tmp_path):
    for i in range(3):
        picture(tmp_path / "fields" / f"{i}.png", seed=i)
    return tmp_path / "fields"


def read(labels, fields, manifest, **more):
    found, _ = site_fields(fields, um_per_px=None, tell=told)
    return labelled_cells(labels, found, manifest=manifest, um_per_px=None, tell=told, **more)


def test_commissioning_fields_are_read_once_and_bad_files_listed(fields):
    (fields / "notes.txt").write_text("no picture")
    (fields / "z.png").write_bytes((fields / "0.png").read_bytes())
    (fields / ".hidden.png").write_bytes(b"x")
    cv2.imwrite(str(fields / "grey.png"), np.full((30, 30), 90, np.uint8))
    found, left = site_fields(fields, um_per_px=0.1, tell=told)
    assert [f.name for f in found] == ["0.png", "1.png", "2.png"]
    assert [line.split(":")[0] for line in left] == ["grey.png", "notes.txt", "z.png"]
    assert "the same picture as 0.png" in left[2]
    assert found[0].header.um_per_px == next(found[0].fields()).um_per_px == (0.1, 0.1)
    read_as_training_does = pixels_of(Picture(path=fields / "1.png", laboratory=""))
    assert found[1].digest == digest_of(read_as_training_does)


def test_commissioning_folders_become_cells_of_the_stage_that_has_the_class(
    tmp_path, fields, manifest
):
    for n, name in enumerate(("monocytes", "malignant", "pro_b")):
        picture(tmp_path / "cells" / name / "1.png", seed=10 + n)
    (tmp_path / "cells" / "monocytes" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    cells, left = read(tmp_path / "cells", fields, manifest)
    assert [(c.stage, c.label) for c in cells] == [
        (Stage.MALIGNANCY, "malignant"),
        (Stage.WBC_CLASS, "monocytes"),
        (Stage.SUBTYPE, "pro_b"),
    ]
    assert left[0].startswith("monocytes/broken.png: ")
    assert cells[0].box == Box(0, 0, 50, 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: picture(root / "tea" / "1.png", seed=1), "names no class of this bundle"),
        (lambda root: (root / "monocytes").mkdir(parents=True), "holds no picture"),
        (lambda root: root.mkdir(), "holds no class folder"),
        (lambda _root: None, "is not there"),
        (
            lambda root: [picture(root / n / "1.png", seed=1) for n in ("monocytes", "neutrophil")],
            "are the same cell, once monocytes and once neutrophil",
        ),
        (lambda root: root.write_text("file,x0,y0\n"), "has no column x1, y1, class"),
        (lambda root: root.write_text("file,x0,y0,x1,y1,class\n"), "names no cell"),
        (lambda root: root.write_bytes(b"\xff\xfe\x00bin"), "cannot be read as a CSV"),
        (
            lambda root: root.write_text("file,x0,y0,x1,y1,class\n0.png,1,1,9,9,tea\n"),
            "line 2 names no class",
        ),
        (
            lambda root: root.write_text("file,x0,y0,x1,y1,class\n0.png,1,1,ten,9,monocytes\n"),
            "line 2: x0, y0, x1, y1 must be numbers",
        ),
        (
            lambda root: root.write_text("file,x0,y0,x1,y1,class\n0.png,1,1,90,9,monocytes\n"),
            "line 2: the box is not inside its field of 50 x 40 pixels",
        ),
        (
            lambda root: root.write_text("file,x0,y0,x1,y1,class\n0.png,1,1,nan,9,monocytes\n"),
            "line 2: the box is not inside",
        ),
    ],
)
def test_commissioning_labels_that_are_wrong_get_one_line(tmp_path, fields, manifest, make, said):
    make(tmp_path / "labels")
    with pytest.raises(DataError, match=said) as error:
        read(tmp_path / "labels", fields, manifest)
    assert "\n" not in str(error.value)


def test_commissioning_boxes_on_fields(tmp_path, fields, manifest):
    table = tmp_path / "labels.csv"
    table.write_text(
        "\ufefffile,x0,y0,x1,y1,class,who\n0.png,1,2,21,22,monocytes,me\n"
        "0.png,1,2,21,22,monocytes,again\n9.png,1,2,21,22,monocytes,me\n",
        encoding="utf-8",
    )
    cells, left = read(table, fields, manifest)
    assert [(c.picture, c.box, c.on_field) for c in cells] == [("0.png", Box(1, 2, 21, 22), True)]
    assert left == [
        "9.png: named in labels.csv and not among the fields",
        "0.png: the same cell as 0.png",
    ]


def test_commissioning_wants_a_folder_of_fields(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        site_fields(tmp_path / "none", um_per_px=None, tell=told)


def cells_of(**counts):
    rng = np.random.default_rng(0)
    return [
        LabelledCell(
            stage=Stage.WBC_CLASS,
            label=name,
            picture=f"{name}/{i}",
            digest=f"{name}{i}",
            pixels=rng.integers(0, 256, (20, 20, 3), dtype=np.uint8),
            box=Box(0, 0, 20, 20),
            um_per_px=None,
            ground=np.zeros(3, np.float32),
        )
        for name, n in counts.items()
        for i in range(n)
    ]


def test_commissioning_says_how_many_cells_it_needs():
    enough_cells(Stage.WBC_CLASS, cells_of(monocytes=5, neutrophil=5))
    with pytest.raises(
        DataError, match=r"too few labelled cells of monocytes \(4\); give at least 5"
    ):
        enough_cells(Stage.WBC_CLASS, cells_of(monocytes=4, neutrophil=5))
    with pytest.raises(DataError, match="all labelled cells are monocytes"):
        enough_cells(Stage.WBC_CLASS, cells_of(monocytes=5))
    one = [dataclasses.replace(c, picture="1") for c in cells_of(monocytes=5, neutrophil=5)]
    with pytest.raises(DataError, match="lie on 1 different pictures"):
        enough_cells(Stage.WBC_CLASS, one)


def test_commissioning_counts_copies_of_a_picture_as_one():
    cells = cells_of(monocytes=3)
    turned = np.rot90(cells[0].pixels).copy()
    cells[2] = dataclasses.replace(cells[2], pixels=turned)
    assert Counter(_pictures(cells)) == {"monocytes/0": 2, "monocytes/1": 1}
    assert WbcClass.MONOCYTES in {c.label for c in cells}
