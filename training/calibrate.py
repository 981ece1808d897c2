"""Temperature and reject thresholds of a run, from the cells of `val`."""

from pathlib import Path

import numpy as np
import torch

from domain.cells import Stage
from training.assemble import Calibration, calibrated
from training.cells import cell_crops, cells_for
from training.loop import weights_in
from training.pictures import Split
from training.recipes import RECIPES, Recipe
from training.stage_data import StageData
from training.tasks.naming import NAMES, logits_of
from training.tensors import inputs_of, pictures_of

__all__ = ["calibration_of"]

BATCH = 16
MOST_CELLS = 2000


def calibration_of(
    stage: Stage, run: Path, read: StageData, *, recipe: Recipe | None = None
) -> Calibration:
    """For stages 4 to 6, at the network's full input. Raises CheckpointError without weights."""
    recipe = recipe or RECIPES[stage]
    names = NAMES[stage]
    cells = [c for c in cells_for(stage, read.side(Split.VAL)) if len(c.allowed) == 1]
    cells = cells[:: max(1, -(-len(cells) // MOST_CELLS))]
    network = _network(stage, run)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(cells), BATCH):
            crops = cell_crops(
                cells[start : start + BATCH], field_um=recipe.field_um, size_px=224
            ).pixels
            rows.append(logits_of(network, inputs_of(pictures_of(crops), recipe)).double().numpy())
    truth = np.array([names.index(c.allowed[0]) for c in cells])
    return calibrated(np.concatenate(rows), truth, names)


def _network(stage: Stage, run: Path) -> torch.nn.Module:
    from inference.networks.densenet import SubtypeDenseNet
    from inference.networks.resnet import malignancy_resnet
    from inference.networks.vit import WhiteCellVit

    made: torch.nn.Module
    match stage:
        case Stage.WBC_CLASS:
            made = WhiteCellVit(classes=len(NAMES[stage]))
        case Stage.MALIGNANCY:
            made = malignancy_resnet()
        case _:
            made = SubtypeDenseNet()
    made.load_state_dict(weights_in(run))
    return made.eval()
