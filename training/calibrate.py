"""What is fitted on `val` after training: stage 1's threshold, stage 2's working confidence,
temperatures, reject thresholds; and how often the whole of stages 4 and 5 takes another cell for a blast.

In      a run with weights, the data it was trained on, how the bundle will store the weights
Out     Calibration, BlastErrors, for training.assemble
Errors  CheckpointError where the run has no weights yet
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from domain.cells import CellClass, Malignancy, Stage, ViabilityClass, WbcClass
from domain.image import Pixels
from inference.manifest import Storage
from inference.storage import packed, unpacked
from training.assemble import Calibration, calibrated, reject_thresholds
from training.average_precision import FieldBoxes, detection_figures
from training.cells import CellSource, cell_crops, cells_for
from training.loop import RUN, weights_in
from training.losses import box_logits
from training.metrics import fitted_temperature, softened_p
from training.pictures import Picture, Shows, Split
from training.recipes import RECIPES, Recipe
from training.stage_data import StageData
from training.tasks.naming import NAMES, logits_of
from training.tensors import inputs_of, pictures_of

__all__ = ["BlastErrors", "blast_errors", "calibration_of", "of_malignancy"]

BATCH = 16
MOST_CELLS = 900
MOST_FIELDS = 120
CONFIDENCES = tuple(round(0.1 + 0.025 * i, 3) for i in range(25))
LYMPHOID = (WbcClass.BLAST_CELLS, WbcClass.LYMPHOCYTES)
NO_LEUKOCYTES = (
    WbcClass.RED_BLOOD_CELL,
    WbcClass.PLATELET,
    WbcClass.NUCLEATED_RED_BLOOD_CELLS,
)
GOOD_REFUSED = 0.01  # share of a laboratory's good fields that stage 1 may refuse
INPUT_PX = 224


@dataclass(frozen=True, kw_only=True)
class BlastErrors:
    """`confusion` rows true, columns told: no blast, blast; `rejected` of `cells` leukocytes were
    left unclassified and stand in neither."""

    confusion: tuple[tuple[int, int], tuple[int, int]]
    rejected: int
    cells: int


def calibration_of(
    stage: Stage, run: Path, read: StageData, *, storage: Storage = Storage.FLOAT32
) -> Calibration:
    """The field of view is that of the run's own recipe, the networks see their full input, and have
    the weights that a bundle will have that stores them so."""
    recipe = RECIPES[stage]
    val = read.side(Split.VAL)
    with torch.inference_mode():
        match stage:
            case Stage.VIABILITY:
                return _of_viability(_loaded(stage, run, storage), val, recipe)
            case Stage.DETECTION:
                return _of_detection(_loaded(stage, run, storage), val, recipe)
            case Stage.CELL_CLASS:
                network = _loaded(stage, run, storage)
                return _of_cell_class(network, _field_um(run), _cells(stage, val), recipe)
            case Stage.MALIGNANCY:
                cells = _cells(stage, val)
                alone = np.array([val[c.field][0].shows is Shows.CELL for c in cells])
                truth = np.array([NAMES[stage].index(c.allowed[0]) for c in cells])
                logits = _logits(stage, run, cells, storage)
                return of_malignancy(logits, truth, alone)
            case _:
                cells = _cells(stage, val)
                names = NAMES[stage]
                truth = np.array([names.index(c.allowed[0]) if c.allowed else -1 for c in cells])
                return calibrated(_logits(stage, run, cells, storage), truth, names)


def of_malignancy(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], alone: npt.NDArray[np.bool_]
) -> Calibration:
    """Of a malignant field many cells are benign, nobody knows which. The temperature is of cells that
    were labelled themselves (`alone`) and of those of benign fields; the thresholds leave out what is
    told benign in a malignant field."""
    names = NAMES[Stage.MALIGNANCY]
    benign = names.index(Malignancy.BENIGN)
    certain = alone | (truth == benign)
    temperature = round(fitted_temperature(logits[certain], truth[certain]), 4)
    p = softened_p(logits, temperature)
    known = certain | (p.argmax(axis=1) != benign)
    return Calibration(
        temperature=temperature, reject_below=reject_thresholds(p[known], truth[known], names)
    )


def blast_errors(
    runs: Mapping[Stage, Path],
    calibrations: Mapping[Stage, Calibration],
    read: StageData,
    *,
    storage: Storage = Storage.FLOAT32,
) -> BlastErrors:
    """Stages 4 and 5 in turn on single leukocytes with a label of stage 4 (`read` is its data): a
    blast is a lymphoid cell that stage 5 calls malignant."""
    cells = [
        c
        for c in _cells(Stage.WBC_CLASS, read.side(Split.VAL))
        if c.allowed and c.allowed[0] not in NO_LEUKOCYTES
    ]
    wbc, malignancy = (calibrations[s] for s in (Stage.WBC_CLASS, Stage.MALIGNANCY))
    with torch.inference_mode():
        logits = _logits(Stage.WBC_CLASS, runs[Stage.WBC_CLASS], cells, storage)
        told = _told(logits, wbc, Stage.WBC_CLASS)
        lymphoid = [i for i, name in enumerate(told) if name in LYMPHOID]
        among = [cells[i] for i in lymphoid]
        logits = _logits(Stage.MALIGNANCY, runs[Stage.MALIGNANCY], among, storage)
        verdicts = _told(logits, malignancy, Stage.MALIGNANCY)
    answers: list[bool | None] = [None if name is None else False for name in told]
    for i, verdict in zip(lymphoid, verdicts, strict=True):
        answers[i] = None if verdict is None else verdict == Malignancy.MALIGNANT
    counts = np.zeros((2, 2), int)
    for cell, answer in zip(cells, answers, strict=True):
        if answer is not None:
            counts[int(cell.allowed[0] == WbcClass.BLAST_CELLS), int(answer)] += 1
    (tn, fp), (fn, tp) = counts.tolist()
    return BlastErrors(
        confusion=((tn, fp), (fn, tp)), rejected=answers.count(None), cells=len(cells)
    )


def _cells(stage: Stage, val: Sequence[tuple[Picture, Pixels]]) -> list[CellSource]:
    """With one label; of stage 4 also those that are to be rejected."""
    most = 1 if stage is not Stage.WBC_CLASS else 0
    cells = [c for c in cells_for(stage, val) if most <= len(c.allowed) <= 1]
    return cells[:: max(1, -(-len(cells) // MOST_CELLS))]


def _of_viability(
    network: nn.Module, val: Sequence[tuple[Picture, Pixels]], recipe: Recipe
) -> Calibration:
    """No laboratory may lose more than its share of good fields, and stage 1 comes before a scale is
    measured: a pressed field is also looked at as it lies."""
    from training.tasks.viability import UNKNOWN_UM_PER_PX, fitted_field

    told: dict[str, list[float]] = {}
    for picture, pixels in val:
        if picture.label == ViabilityClass.NON_VIABLE:
            continue
        for um_per_px in {picture.um_per_px or UNKNOWN_UM_PER_PX, UNKNOWN_UM_PER_PX}:
            square, _ = fitted_field(pixels, um_per_px, size=128)
            logits = network(inputs_of(pictures_of(square[None]), recipe))
            told.setdefault(picture.laboratory, []).append(float(logits.softmax(dim=1)[0, 0]))
    lowest = min(float(np.quantile(p, GOOD_REFUSED)) for p in told.values())
    return Calibration(threshold=floor(lowest * 1e4) / 1e4)


def _of_detection(
    network: nn.Module, val: Sequence[tuple[Picture, Pixels]], recipe: Recipe
) -> Calibration:
    """The confidence at which the mean F1 of the three classes is best."""
    from training.tasks.detection import detector_entry, field_boxes

    entry = detector_entry(recipe, confidence=CONFIDENCES[0])
    boxed = [(p, x) for p, x in val if p.boxes]
    fields = [
        field_boxes(p, x, network=network, entry=entry)
        for p, x in boxed[:: max(1, len(boxed) // MOST_FIELDS)]
    ]
    best = max(CONFIDENCES, key=lambda c: _mean_f1(fields, c))
    return Calibration(threshold=best)


def _mean_f1(fields: Sequence[FieldBoxes], confidence: float) -> float:
    figures = detection_figures(fields, classes=len(CellClass), confidence=confidence)
    pairs = zip(figures.precision, figures.recall, strict=True)
    scores = [2 * p.count / (p.of + r.of) for p, r in pairs if p.of + r.of]
    return float(np.mean(scores))


def _of_cell_class(
    network: nn.Module, field_um: float, cells: Sequence[CellSource], recipe: Recipe
) -> Calibration:
    from training.tasks.cell_class import box_of_crop

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


def _logits(
    stage: Stage, run: Path, cells: Sequence[CellSource], storage: Storage
) -> npt.NDArray[np.float64]:
    """(N, K) of the full-sized network."""
    network = _loaded(stage, run, storage)
    field_um, rows = _field_um(run), [np.empty((0, len(NAMES[stage])))]
    for start in range(0, len(cells), BATCH):
        crops = cell_crops(cells[start : start + BATCH], field_um=field_um, size_px=INPUT_PX)
        inputs = inputs_of(pictures_of(crops.pixels), RECIPES[stage])
        rows.append(logits_of(network, inputs).double().numpy())
    return np.concatenate(rows)


def _told(
    logits: npt.NDArray[np.float64], calibration: Calibration, stage: Stage
) -> list[str | None]:
    """Each cell's name, None where it is rejected."""
    p = softened_p(logits, calibration.temperature)
    names = [NAMES[stage][i] for i in p.argmax(axis=1)]
    best = p.max(axis=1)
    return [
        n if v >= calibration.reject_below[n] else None for n, v in zip(names, best, strict=True)
    ]


def _field_um(run: Path) -> float:
    return float(json.loads((run / RUN).read_text(encoding="utf-8"))["recipe"]["field_um"])


def _loaded(stage: Stage, run: Path, storage: Storage) -> nn.Module:
    """As a bundle that stores its weights so would load it."""
    weights = weights_in(run)
    if storage is Storage.INT8:
        weights = unpacked(packed(weights))
    network = _network(stage)
    network.load_state_dict(weights)
    return network.eval()


def _network(stage: Stage) -> nn.Module:
    from inference.networks.densenet import SubtypeDenseNet
    from inference.networks.resnet import malignancy_resnet
    from inference.networks.unet import ResNet34UNet
    from inference.networks.viability import ViabilityCnn
    from inference.networks.vit import WhiteCellVit
    from inference.networks.yolo import yolov5

    match stage:
        case Stage.VIABILITY:
            return ViabilityCnn()
        case Stage.DETECTION:
            return yolov5(size=RECIPES[stage].architecture, classes=len(CellClass))
        case Stage.CELL_CLASS:
            return ResNet34UNet()
        case Stage.WBC_CLASS:
            return WhiteCellVit(classes=len(NAMES[stage]))
        case Stage.MALIGNANCY:
            return malignancy_resnet()
        case _:
            return SubtypeDenseNet()
