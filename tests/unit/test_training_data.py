"""Labelled pictures: the forms they come in, their sides, and the gate against near-copies."""

import cv2
import numpy as np
import pytest

from domain.cells import CellClass, Stage
from domain.image import Box
from training.collection import boxed_fields, is_collection, leukaemia_fields, white_cells
from training.duplicates import near_copies, refuse_copies, thumbnail_of
from training.errors import DataError, OverlapError
from training.pictures import Picture, Split, covered, digest_of, pixels_of
from training.readers import image_folders, voc_boxes, yolo_boxes
from training.sampling import Balanced
from training.splits import by_block, by_group, divided
from training.stage_data import stage_data


def picture(seed, size=(40, 56)):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[:, :, ::-1])


def subtype_folder(root, each=4):
    for n, name in enumerate(("early_pre_b", "pre_b", "pro_b")):
        for i in range(each):
            write(root / name / f"{i}.png", picture(100 * n + i))
    return root


def test_training_image_folders_are_split_by_contiguous_block(tmp_path):
    found = image_folders(subtype_folder(tmp_path / "a"), classes=("early_pre_b", "pre_b", "pro_b"))
    sides = {p.path.name: p.split for p in found if p.label == "pre_b"}
    assert sides == {
        "0.png": Split.TRAIN,
        "1.png": Split.TRAIN,
        "2.png": Split.GAP,
        "3.png": Split.VAL,
    }


def test_training_given_folders_keep_their_side(tmp_path):
    subtype_folder(tmp_path / "train")
    subtype_folder(tmp_path / "val", each=1)
    found = image_folders(tmp_path, classes=("early_pre_b", "pre_b", "pro_b"))
    assert [p.split for p in found].count(Split.VAL) == 3
    assert [p.split for p in found].count(Split.TRAIN) == 12


def test_training_refuses_an_unknown_class_folder(tmp_path):
    write(subtype_folder(tmp_path) / "blasts" / "1.png", picture(1))
    with pytest.raises(DataError, match=r"blasts is no class of this stage.*early_pre_b"):
        stage_data(Stage.SUBTYPE, tmp_path)


def test_training_refuses_an_empty_and_a_missing_class(tmp_path):
    (subtype_folder(tmp_path / "a") / "pro_b").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no picture of pro_b"):
        stage_data(Stage.SUBTYPE, tmp_path / "a")
    (tmp_path / "a" / "pro_b").mkdir()
    with pytest.raises(DataError, match=r"pro_b holds no picture"):
        stage_data(Stage.SUBTYPE, tmp_path / "a")


def test_training_lists_and_skips_what_cannot_be_read(tmp_path):
    subtype_folder(tmp_path)
    (tmp_path / "pre_b" / "0.png").write_bytes(b"no picture")
    (tmp_path / "pre_b" / "1.png").write_bytes(b"")
    read = stage_data(Stage.SUBTYPE, tmp_path)
    assert sorted(p.name for p in read.unreadable) == ["0.png", "1.png"]
    assert len(read.pictures) == 10


def test_training_yolo_lines_become_boxes_in_pixels(tmp_path):
    write(tmp_path / "images" / "a.png", picture(1))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.25\n\n2 1 1 0.5 0.5\n")
    (found,) = yolo_boxes(tmp_path)
    assert found.boxes[0].cell_class is CellClass.WHITE_BLOOD_CELL
    assert found.boxes[0].box == Box(14, 15, 42, 25)
    assert found.boxes[1].box == Box(42, 30, 56, 40)  # clipped
    (tmp_path / "labels" / "a.txt").write_text("7 0.5 0.5 0.5 0.25\n")
    with pytest.raises(DataError, match="line 1"):
        yolo_boxes(tmp_path)


def test_training_voc_objects_become_boxes(tmp_path):
    write(tmp_path / "images" / "a.png", picture(1))
    xml = tmp_path / "labels" / "a.xml"
    xml.parent.mkdir()
    one = "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object>"
    xml.write_text(f"<annotation>{one.format('RBC')}{one.format('Platelets')}</annotation>")
    (found,) = voc_boxes(tmp_path)
    assert [b.cell_class for b in found.boxes] == [CellClass.RED_BLOOD_CELL, CellClass.PLATELET]
    assert found.boxes[0].box == Box(1, 2, 9, 8)
    xml.write_text(f"<annotation>{one.format('cat')}</annotation>")
    with pytest.raises(DataError, match="unknown object 'cat'"):
        voc_boxes(tmp_path)
    xml.write_text('<!DOCTYPE x [<!ENTITY a "b">]><annotation/>')
    with pytest.raises(DataError, match="no label file"):
        voc_boxes(tmp_path)


def test_training_groups_stay_together(tmp_path):
    pictures = [
        Picture(path=tmp_path / f"{i}", laboratory="x", label="a", group=f"g{i // 5}")
        for i in range(20)
    ]
    sides = {}
    for p in by_group(pictures):
        sides.setdefault(p.group, set()).add(p.split)
    assert sides == {
        "g0": {Split.TRAIN},
        "g1": {Split.TRAIN},
        "g2": {Split.TRAIN},
        "g3": {Split.VAL},
    }
    assert divided(pictures) == by_group(pictures)
    assert {p.split for p in by_block(pictures[:2])} == {Split.TRAIN}


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_training_gate_knows_a_copy_in_every_orientation(tmp_path, turns, flip):
    original = picture(5, (64, 64))
    copy = np.rot90(original[:, ::-1] if flip else original, turns)
    copy = cv2.resize(np.ascontiguousarray(copy), (48, 48), interpolation=cv2.INTER_AREA)
    train = Picture(path=tmp_path / "a", laboratory="x", split=Split.TRAIN)
    val = Picture(path=tmp_path / "b", laboratory="x", split=Split.VAL)
    with pytest.raises(OverlapError, match="nearly the same"):
        refuse_copies([train, val], [thumbnail_of(original), thumbnail_of(copy)])


def test_training_gate_lets_different_and_flat_pictures_pass():
    thumbs = [thumbnail_of(picture(i)) for i in range(12)]
    assert near_copies(thumbs[:6], thumbs[6:]) == []
    flat = thumbnail_of(np.full((30, 30, 3), 200, np.uint8))
    assert near_copies([flat], [flat]) == []


def test_training_refuses_a_copy_across_the_split_before_anything_is_written(tmp_path):
    subtype_folder(tmp_path)
    write(tmp_path / "pre_b" / "3.png", picture(0)[:, ::-1])
    with pytest.raises(OverlapError):
        stage_data(Stage.SUBTYPE, tmp_path)


def test_training_hash_is_of_pixels_not_of_the_file(tmp_path):
    pixels = picture(3)
    write(tmp_path / "a.png", pixels)
    write(tmp_path / "b.bmp", pixels)
    a, b = (
        digest_of(pixels_of(Picture(path=tmp_path / n, laboratory=""))) for n in ("a.png", "b.bmp")
    )
    assert a == b != digest_of(pixels[::-1])


def test_training_covers_the_corner_with_ground():
    pixels = np.full((20, 20, 3), 240, np.uint8)
    pixels[15:, 15:] = 0
    assert (covered(pixels, Box(15, 15, 20, 20)) == 240).all()


def test_training_sampling_draws_classes_alike_and_no_laboratory_alone():
    labels = ["a"] * 90 + ["b"] * 10
    labs = ["x"] * 81 + ["y"] * 9 + ["y"] * 10
    drawn = Balanced(labs, labels).draw(np.random.default_rng(0), 20_000)
    share_b = np.mean([labels[i] == "b" for i in drawn])
    assert share_b == pytest.approx(0.5, abs=0.02)
    of_a = [labs[i] for i in drawn if labels[i] == "a"]
    assert of_a.count("y") / len(of_a) == pytest.approx(0.25, abs=0.02)  # roots: 9 to 3


@pytest.mark.shared
def test_training_collection_has_its_given_sides(pictures):
    assert is_collection(pictures)
    fields = leukaemia_fields(pictures)
    sides = [p.split for p in fields]
    assert (sides.count(Split.TRAIN), sides.count(Split.VAL), sides.count(Split.GAP)) == (
        1326,
        419,
        38,
    )
    assert {p.group for p in fields if p.split is Split.TRAIN}
    assert all(p.um_per_px[0] / p.um_per_px[1] == pytest.approx(4 / 3) for p in fields)
    assert sum(len(p.boxes) for p in boxed_fields(pictures)) > 20_000
    cells = white_cells(pictures)
    assert not {p.group for p in cells if p.split is Split.TRAIN and p.laboratory == "bionet"} & {
        p.group for p in cells if p.split is Split.VAL and p.laboratory == "bionet"
    }
