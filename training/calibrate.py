"""What is fitted on `val` after training: stage 1's threshold, temperatures, reject thresholds.

In      a run with weights, the data it was trained on
Out     Calibration, for training.assemble
Errors  CheckpointError where the run has no weights yet
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from domain.cells import CellClass, Stage, ViabilityClass
from domain.image import Pixels
from training.assemble import Calibration, calibrated
from training.cells import CellSource, cell_crops, cells_for
from training.loop import RUN, weights_in
from training.losses import box_logits
from training.metrics import fitted_temperature
from training.pictures import Picture, Split
from training.recipes import RECIPES, Recipe
from training.stage_data import StageData
from training.tasks.naming import NAMES, logits_of
from training.tensors import inputs_of, pictures_of

__all__ = ["calibration_of"]

BATCH = 16
MOST_CELLS = 2000
GOOD_REFUSED = 0.01  # share of good fields that stage 1 may refuse
INPUT_PX = 224


def calibration_of(stage: Stage, run: Path, read: StageData) -> Calibration | None:
    """None for stage 2, whose working confidence is a field of the manifest. The field of view is
    that of the run's own recipe, the networks see their full input."""
    recipe = RECIPES[stage]
    field_um = float(json.loads((run / RUN).read_text(encoding="utf-8"))["recipe"]["field_um"])
    val = read.side(Split.VAL)
    with torch.inference_mode():
        match stage:
            case Stage.VIABILITY:
                return _of_viability(run, val, recipe)
            case Stage.DETECTION:
                return None
            case Stage.CELL_CLASS:
                return _of_cell_class(run, _cells(stage, val), recipe, field_um)
            case _:
                return _of_naming(stage, run, _cells(stage, val), recipe, field_um)


def _cells(stage: Stage, val: Sequence[tuple[Picture, Pixels]]) -> list[CellSource]:
    cells = [c for c in cells_for(stage, val) if len(c.allowed) == 1]
    return cells[:: max(1, -(-len(cells) // MOST_CELLS))]


def _of_viability(run: Path, val: Sequence[tuple[Picture, Pixels]], recipe: Recipe) -> Calibration:
    from inference.networks.viability import ViabilityCnn
    from training.tasks.viability import UNKNOWN_UM_PER_PX, fitted_field

    network = _loaded(ViabilityCnn(), run)
    good = [(p, x) for p, x in val if p.label != ViabilityClass.NON_VIABLE]
    told = []
    for picture, pixels in good:
        square, _ = fitted_field(pixels, picture.um_per_px or UNKNOWN_UM_PER_PX, size=128)
        logits = network(inputs_of(pictures_of(square[None]), recipe))
        told.append(float(logits.softmax(dim=1)[0, 0]))
    return Calibration(threshold=round(float(np.quantile(told, GOOD_REFUSED)), 4))


def _of_cell_class(
    run: Path, cells: Sequence[CellSource], recipe: Recipe, field_um: float
) -> Calibration:
    from inference.networks.unet import ResNet34UNet
    from training.tasks.cell_class import box_of_crop

    network = _loaded(ResNet34UNet(), run)
    rows = []
    for start in range(0, len(cells), BATCH):
        crops = cell_crops(cells[start : start + BATCH], field_um=field_um, size_px=INPUT_PX)
        planes = np.stack([box_of_crop(b, INPUT_PX) for b in crops.boxes])
        boxes = functional.avg_pool2d(torch.from_numpy(planes).float()[:, None] / 255, 2)[:, 0]
        maps = network(inputs_of(pictures_of(crops.pixels), recipe))
        rows.append(box_logits(maps, boxes).double().numpy())
    kinds = tuple(c.value for c in CellClass)
    truth = np.array([kinds.index(c.allowed[0]) for c in cells])
    return Calibration(temperature=round(fitted_temperature(np.concatenate(rows), truth), 4))


def _of_naming(
    stage: Stage, run: Path, cells: Sequence[CellSource], recipe: Recipe, field_um: float
) -> Calibration:
    names = NAMES[stage]
    network = _loaded(_naming_network(stage), run)
    rows = []
    for start in range(0, len(cells), BATCH):
        crops = cell_crops(cells[start : start + BATCH], field_um=field_um, size_px=INPUT_PX)
        inputs = inputs_of(pictures_of(crops.pixels), recipe)
        rows.append(logits_of(network, inputs).double().numpy())
    truth = np.array([names.index(c.allowed[0]) for c in cells])
    return calibrated(np.concatenate(rows), truth, names)


def _naming_network(stage: Stage) -> nn.Module:
    from inference.networks.densenet import SubtypeDenseNet
    from inference.networks.resnet import malignancy_resnet
    from inference.networks.vit import WhiteCellVit

    match stage:
        case Stage.WBC_CLASS:
            return WhiteCellVit(classes=len(NAMES[stage]))
        case Stage.MALIGNANCY:
            return malignancy_resnet()
        case _:
            return SubtypeDenseNet()


def _loaded(network: nn.Module, run: Path) -> nn.Module:
    network.load_state_dict(weights_in(run))
    return network.eval()
