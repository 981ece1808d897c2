"""Cells with labels as the stages want them, and what a bundle's memory of its training is good for."""

from pathlib import Path

import numpy as np
import pytest

from domain.cells import CellClass, Stage, WbcClass
from domain.image import Box
from phantom.smear import draw
from phantom.spec import leukaemic_smear, normal_smear
from training.cells import cell_crops, cells_for, drawn_cells
from training.collection import NOT_IDENTIFIABLE
from training.nuclei import red_cells_in
from training.pictures import LabelledBox, Picture, Shows, Split
from training.recipes import RECIPES, digest_of_recipe, shortened
from training.tasks.detection import detector_entry

FILE = Path("field.png")


@pytest.fixture(scope="module")
def blasts():
    return draw(
        leukaemic_smear(12, blast_fraction=1, white_cells=3, width_px=560, height_px=420)
    ).pixels


def of_field(label, blasts, stage):
    field = Picture(path=FILE, laboratory="x", label=label, um_per_px=(0.1, 0.1))
    return [set(c.allowed) for c in cells_for(stage, [(field, blasts)])]


def test_training_cells_of_a_malignant_field_are_blast_or_lymphocyte(blasts):
    found = of_field("pre_b", blasts, Stage.WBC_CLASS)
    white = [allowed for allowed in found if allowed != {WbcClass.RED_BLOOD_CELL.value}]
    assert white == [{WbcClass.BLAST_CELLS.value, WbcClass.LYMPHOCYTES.value}] * 3
    assert of_field("pre_b", blasts, Stage.SUBTYPE) == [{"pre_b"}] * 3


def test_training_cells_of_a_benign_field_are_anything_white(blasts):
    (first, *_) = of_field("benign", blasts, Stage.WBC_CLASS)
    assert WbcClass.RED_BLOOD_CELL.value not in first
    assert WbcClass.NEUTROPHIL.value in first


def test_training_cells_that_nobody_can_name_have_no_class(blasts):
    one = Picture(path=FILE, laboratory="x", label=NOT_IDENTIFIABLE, shows=Shows.CELL)
    (cell,) = cells_for(Stage.WBC_CLASS, [(one, blasts)])
    assert cell.allowed == ()
    assert cell.box.centre == (280, 210)


def test_training_boxed_cells_are_named_after_their_box_and_border_ones_left_out(blasts):
    boxes = (
        LabelledBox(box=Box(0, 10, 40, 60), cell_class=CellClass.WHITE_BLOOD_CELL),
        LabelledBox(box=Box(100, 100, 120, 120), cell_class=CellClass.PLATELET),
        LabelledBox(box=Box(200, 100, 300, 200), cell_class=CellClass.WHITE_BLOOD_CELL),
    )
    field = Picture(path=FILE, laboratory="x", boxes=boxes, white_class="basophil")
    kinds = [c.allowed for c in cells_for(Stage.CELL_CLASS, [(field, blasts)])]
    assert kinds == [("platelet",), ("white_blood_cell",)]
    named = [c.allowed for c in cells_for(Stage.WBC_CLASS, [(field, blasts)])]
    assert named == [("platelet",), ("basophil",)]


def test_training_crops_have_one_physical_scale(blasts):
    half = blasts[::2, ::2]
    fine, coarse = (
        cells_for(
            Stage.SUBTYPE,
            [
                (
                    Picture(
                        path=FILE, laboratory="x", label="pro_b", shows=Shows.CELL, um_per_px=(s, s)
                    ),
                    pixels,
                )
            ],
        )
        for s, pixels in ((0.1, blasts), (0.2, half))
    )
    a, b = (cell_crops(c, field_um=20, size_px=64).pixels[0].astype(int) for c in (fine, coarse))
    assert np.abs(a - b).mean() < 8


def test_training_gap_pictures_give_no_cells(blasts):
    field = Picture(path=FILE, laboratory="x", label="pre_b", split=Split.GAP)
    assert cells_for(Stage.SUBTYPE, [(field, blasts)]) == []


def test_training_recipes_are_whole_and_told_apart():
    assert set(RECIPES) == set(Stage)
    digests = {digest_of_recipe(r) for r in RECIPES.values()}
    assert len(digests) == 6
    short = shortened(RECIPES[Stage.SUBTYPE], epochs=1)
    assert short.epochs == len(short.phases)
    assert digest_of_recipe(short) not in digests
    last = {stage: r.phases[-1].input_px for stage, r in RECIPES.items()}
    assert last[Stage.VIABILITY] == 128
    assert last[Stage.DETECTION] == 640
    assert all(last[s] == 224 for s in Stage if s.number > 2)


def test_training_drawn_cells_know_their_names():
    smear = draw(leukaemic_smear(12, blast_fraction=0.5, white_cells=4))
    blasts = [c.subtype for c in smear.cells if c.wbc_class is WbcClass.BLAST_CELLS]
    of_stage = {s: [c.allowed for c in drawn_cells(s, [smear])] for s in Stage if s.number > 3}
    assert len(blasts) == 2
    assert of_stage[Stage.SUBTYPE] == [(str(b),) for b in blasts]
    assert of_stage[Stage.MALIGNANCY].count(("malignant",)) == 2
    assert of_stage[Stage.WBC_CLASS].count(("blast_cells",)) == 2
    fields = [c.field for c in drawn_cells(Stage.WBC_CLASS, [smear])]
    assert len(set(fields)) == len(fields)
    assert max(fields) < 0


def test_training_detector_is_judged_by_an_entry_that_a_bundle_may_hold():
    entry = detector_entry(RECIPES[Stage.DETECTION], confidence=0.4)
    assert (entry.architecture, entry.confidence) == ("yolov5n", 0.4)


def test_training_red_cells_are_found_where_nobody_drew_boxes():
    """Few of those that lie close together, and never a white cell."""
    kinds = []
    for seed in range(3, 7):
        smear = draw(normal_smear(seed, width_px=800, height_px=600, um_per_px=0.1))
        for x, y in (box.centre for box in red_cells_in(smear.pixels, (0.1, 0.1))):
            at = [c for c in smear.cells if c.box_px.x0 < x < c.box_px.x1]
            kinds += [c.cell_class for c in at if c.box_px.y0 < y < c.box_px.y1][:1]
    assert len(kinds) >= 5
    assert set(kinds) == {CellClass.RED_BLOOD_CELL}
