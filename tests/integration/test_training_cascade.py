"""The whole cascade judged on fields of painted discs, read by small networks that cannot be wrong.

The networks see what was painted (a purple disc is white, a dark one a blast), so every figure is known
beforehand; what is tried is the way of fields, boxes and answers through the real cascade.
"""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from domain.cells import Malignancy, Stage, Subtype, WbcClass
from inference.bundle import Bundle, bundle_info_of
from inference.manifest import parse_manifest
from leukonode.commands.training import evaluate as command
from leukonode.errors import UsageError
from training.errors import DataError, OverlapError
from training.evaluation.cascade_evaluation import evaluate_cascade
from training.evaluation.evaluate import evaluate
from training.evaluation.judged import Sizes
from training.evaluation.pages import write_pages
from training.evaluation.plain import plain
from training.pictures import Picture, digest_of, pixels_of
from training.stage_data import SHORT

GROUND, RED, NORMAL, BLAST = (240, 235, 230), (220, 150, 150), (150, 90, 190), (70, 30, 120)
SIZES = Sizes(fields=6, drawn=1, pictures=6, cells=6, tested=6)


def document():
    def entry(number, architecture, classes, **more):
        return {
            "architecture": architecture,
            "file": f"{number}.safetensors",
            "sha256": f"{number}" * 64,
            "storage": "float32",
            "classes": [str(c) for c in classes],
            "input_px": 224,
            "mean": [0.0] * 3,
            "deviation": [1.0] * 3,
            "interpolation": "area",
            **more,
        }

    def naming(number, architecture, classes):
        rejects = {str(c): 0.4 for c in classes}
        more = {"field_um": 22.4, "temperature": 1.0, "reject_below": rejects}
        return entry(number, architecture, classes, **more)

    kinds = ["red_blood_cell", "platelet", "white_blood_cell"]
    return {
        "format": "1.0",
        "id": "discs",
        "version": "1",
        "untrained": False,
        "licence": "CC0-1.0",
        "domains": ["smear"],
        "um_per_px": 0.1,
        "red_cells": {"min_confidence": 0.5, "min_cells": 5, "trial_um_per_px": [0.1, 0.2]},
        "stages": {
            "viability": entry(
                1,
                "plain-cnn",
                ["viable", "non_viable"],
                input_px=128,
                temperature=1.0,
                threshold=0.5,
            ),
            "detection": entry(
                2,
                "yolov5n",
                ["red_blood_cell", "white_blood_cell", "platelet"],
                input_px=640,
                um_per_px=0.2,
                confidence=0.25,
                iou=0.5,
                max_per_tile=300,
                overlap_px=128,
                size_um=[1.0, 40.0],
            ),
            "cell_class": entry(3, "resnet34-unet", kinds, field_um=22.4, temperature=1.0),
            "wbc_class": naming(4, "vit-base-patch16-224", list(WbcClass)[:10]),
            "malignancy": naming(5, "resnet101", Malignancy),
            "subtype": naming(6, "densenet121", Subtype),
        },
    }


class AlwaysViable(nn.Module):
    def forward(self, x):
        return torch.tensor([[4.0, 0.0]]).repeat(len(x), 1)


class Discs(nn.Module):
    """A box round everything that is not ground."""

    def forward(self, x):
        answers = torch.zeros(len(x), 7, 80)
        for one, answer in zip(x, answers, strict=True):
            dark = (one[1] < 0.75).numpy().astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(dark)
            for i, (left, top, width, height, area) in enumerate(stats[1:81]):
                if area < 20:
                    continue
                middle = left + width / 2, top + height / 2
                answer[:4, i] = torch.tensor([*middle, float(width), float(height)])
                purple = bool(
                    one[2, int(middle[1]), int(middle[0])] > one[0, int(middle[1]), int(middle[0])]
                )
                answer[4 + purple, i] = 0.9
        return (answers,)


class Purple(nn.Module):
    """Red cell or white cell, by whether blue is above red."""

    def forward(self, x):
        x = nn.functional.avg_pool2d(x, 2)
        purple = 40 * (x[:, 2] - x[:, 0])
        return torch.stack([-purple, torch.full_like(purple, -99.0), purple], dim=1)


class Dark(nn.Module):
    """One of two answers by how dark the middle is, through a linear layer as real networks have."""

    def __init__(self, classes, dark, light, *, softmax=False):
        super().__init__()
        self.last = nn.Linear(2, classes)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.fill_(-20.0)
            self.last.bias[[dark, light]] = 0.0
            self.last.weight[dark, 0] = self.last.weight[light, 1] = 20.0
        self.softmax = softmax

    def forward(self, x):
        middle = x[:, :, 104:120, 104:120].mean(dim=(1, 2, 3))
        logits = self.last(torch.stack([0.35 - middle, middle - 0.35], dim=1))
        return logits.softmax(dim=1) if self.softmax else logits


@pytest.fixture(scope="module")
def bundle():
    manifest = parse_manifest(json.dumps(document()).encode(), name="discs")
    wbc = tuple(WbcClass)
    networks = {
        Stage.VIABILITY: AlwaysViable(),
        Stage.DETECTION: Discs(),
        Stage.CELL_CLASS: Purple(),
        Stage.WBC_CLASS: Dark(10, wbc.index("blast_cells"), wbc.index("lymphocytes")),
        Stage.MALIGNANCY: Dark(2, 1, 0),
        Stage.SUBTYPE: Dark(3, 1, 0, softmax=True),
    }
    return Bundle(
        info=bundle_info_of(manifest, "ab" * 32),
        manifest=manifest,
        networks={s: n.eval().requires_grad_(requires_grad=False) for s, n in networks.items()},
    )


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Six fields of `val` of nine red cells and one white cell, at 0.125 um a pixel."""
    root = tmp_path_factory.mktemp("fields")
    for part in ("images", "labels"):
        (root / "val" / part).mkdir(parents=True)
        (root / "train" / part).mkdir(parents=True)
    for number in range(7):
        side = "train" if number == 6 else "val"
        pixels = np.full((320, 420, 3), GROUND, np.uint8)
        lines = []
        for i in range(10):
            x, y = 45 + 80 * (i % 5) + number, 80 + 160 * (i // 5)
            white = i == number % 10
            radius = 42 if white else 30
            cv2.circle(pixels, (x, y), radius, NORMAL if white else RED, -1)
            size = 2 * radius + 1
            lines.append(
                f"{0 if white else 1} {(x + 0.5) / 420} {(y + 0.5) / 320} {size / 420} {size / 320}"
            )
        cv2.imwrite(str(root / side / "images" / f"{number}.png"), pixels[:, :, ::-1])
        (root / side / "labels" / f"{number}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def judged(fields, bundle):
    return evaluate_cascade(data=fields, bundle=bundle, sizes=SIZES, threads=2)


def test_training_cascade_counts_what_is_there(judged):
    boxed = {c.cell_class: c for c in judged.counts if c.laboratory != "drawn"}
    red, white = boxed["red_blood_cell"], boxed["white_blood_cell"]
    assert (red.fields, red.true, red.found) == (6, 54, 54)
    assert (white.true, white.found, white.absolute_error.value) == (6, 6, 0)
    assert all(s.count == 0 for _, s in judged.refused)


def test_training_cascade_reads_the_scale_from_red_cells_and_says_what_it_buys(judged):
    whole = judged.scales[0]
    assert (whole.measured.count, whole.measured.of) == (6, 6)
    assert whole.median.value == pytest.approx(1, abs=0.06)
    known, measured, none = judged.scale_use
    assert [r.scale for r in judged.scale_use] == ["known", "from red cells", "none"]
    assert known.detection.ap50[0] == measured.detection.ap50[0] == pytest.approx(1)
    assert known.cell_class.value == none.cell_class.value == 1
    assert known.wbc_class.of == 0  # nobody named the white cells


def test_training_cascade_reports_no_blast_where_there_is_none(judged):
    boxed = next(b for b in judged.blasts if b.kind == "boxed")
    assert (boxed.fraction.count, boxed.fraction.of, boxed.true) == (0, 6, 0.0)
    assert (boxed.with_blasts.count, boxed.with_blasts.of) == (0, 6)
    chain = next(r for r in judged.losses if r.kind == "boxed")
    assert [n for _, n, _ in chain.steps] == [6, 6, 6, 6, 0, 0]


def test_training_cascade_with_the_whole_truth_has_the_true_fraction(judged):
    drawn = next(b for b in judged.blasts if b.kind == "drawn")
    assert [r.truth_up_to for r in judged.replaced] == [1, 2, 3, 4, 5]
    assert judged.replaced[-1].fraction == drawn.true
    assert judged.replaced[0].blasts == drawn.fraction.count


def test_training_cascade_is_the_same_whatever_the_workers(fields, bundle, judged):
    alone = evaluate_cascade(data=fields, bundle=bundle, sizes=SIZES, threads=1)
    once, again = ({**plain(j), "seconds": 0} for j in (alone, judged))
    assert once == again


def test_training_cascade_is_written_with_the_stages(fields, bundle, judged, tmp_path):
    found = evaluate(Stage.CELL_CLASS, data=fields, bundle=bundle, sizes=SIZES, threads=2)
    assert found.lots[0].figures.accuracy.value == 1
    names = {path.name for path in write_pages([found, judged], tmp_path)}
    assert {"cascade.json", "cascade.txt", "cascade-counts.png", "index.html"} <= names
    page = (tmp_path / "index.html").read_text()
    assert "The whole cascade" in page
    assert "Stage 3" in page
    document = json.loads((tmp_path / "cascade.json").read_text())
    assert document["bundle"] == "discs"
    assert document["scales"][0]["measured"]["value"] == 1


def test_training_cascade_refuses_fields_that_a_stage_was_trained_on(fields, bundle):
    digest = digest_of(pixels_of(Picture(path=fields / "val" / "images" / "0.png", laboratory="x")))
    seen = {"stage": "malignancy", "split": "train", "pictures": [digest[:SHORT]]}
    other = replace(bundle, manifest=bundle.manifest.model_copy(update={"training_data": (seen,)}))
    with pytest.raises(OverlapError, match=r"1 of 6 pictures .* stage 5"):
        evaluate_cascade(data=fields, bundle=other, sizes=SIZES)


def test_training_cascade_wants_boxes(tmp_path, bundle):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError):
        evaluate_cascade(data=tmp_path, bundle=bundle, sizes=SIZES)


def test_training_command_wants_one_size(tmp_path):
    with pytest.raises(UsageError, match="one of them"):
        command("cascade", data=tmp_path, bundle=tmp_path, out=tmp_path, quick=True, most=3)
    with pytest.raises(UsageError, match="leave-out"):
        command("cascade", data=tmp_path, bundle=tmp_path, out=tmp_path, leave_out=["a"])
