"""What a stage answers for cells, as the service asks it, and what its last layer sees.

In      cells, a bundle
Out     Answers: probabilities, and the inputs of the last linear layer
Crops are cut as the service cuts them, with the manifest's own interpolation, batch by batch.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from domain.cells import Stage
from inference.bundle import Bundle
from inference.crops import Crops, square_crops
from inference.manifest import CropStage
from inference.stages.cell_class import cell_maps
from inference.stages.malignancy import malignancy_p
from inference.stages.subtype import subtype_p
from inference.stages.wbc_class import wbc_class_p
from inference.tensors import Rows
from training.cells import CellSource
from training.evaluation.workers import Progress, in_turn, silent

__all__ = ["Answers", "answers_of", "crops_for", "crops_of_answers"]

BATCH = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """`p` (N, K); `features` (N, D), with no columns where the network has no linear layer."""

    p: npt.NDArray[np.float64]
    features: npt.NDArray[np.float64]


def answers_of(
    stage: Stage,
    bundle: Bundle,
    cells: Sequence[CellSource],
    *,
    workers: int,
    what: str = "judging",
    tell: Progress = silent,
) -> Answers:
    """Of each cell, in their order."""
    entry: Any = bundle.manifest.stages.of(stage)
    return _answered(
        stage, bundle, cells, lambda batch: crops_for(batch, entry), workers, what, tell
    )


def crops_of_answers(
    stage: Stage,
    bundle: Bundle,
    crops: Crops,
    *,
    workers: int,
    what: str = "judging",
    tell: Progress = silent,
) -> Answers:
    """The same of crops that are cut already."""

    def part(batch: Sequence[int]) -> Crops:
        return Crops(pixels=crops.pixels[list(batch)], boxes=tuple(crops.boxes[i] for i in batch))

    return _answered(stage, bundle, range(len(crops.boxes)), part, workers, what, tell)


def crops_for(cells: Sequence[CellSource], entry: CropStage) -> Crops:
    """(N, S, S, 3) uint8 and each box in its crop, as the service cuts."""
    pixels = np.empty((len(cells), entry.input_px, entry.input_px, 3), np.uint8)
    boxes = []
    for i, cell in enumerate(cells):
        one = square_crops(
            cell.pixels,
            [cell.box],
            um_per_px=cell.um_per_px,
            field_um=entry.field_um,
            size_px=entry.input_px,
            interpolation=entry.interpolation,
            background=cell.ground,
        )
        pixels[i] = one.pixels[0]
        boxes.append(one.boxes[0])
    return Crops(pixels=pixels, boxes=tuple(boxes))


def _answered(
    stage: Stage,
    bundle: Bundle,
    items: Sequence[Any],
    cut: Callable[[Sequence[Any]], Crops],
    workers: int,
    what: str,
    tell: Progress,
) -> Answers:
    entry = bundle.manifest.stages.of(stage)
    network = bundle.networks[stage]
    seen = threading.local()  # several workers pass through the same layer at once

    def keep(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.features = inputs[0]

    def one(batch: Sequence[Any]) -> tuple[Rows, npt.NDArray[np.float64]]:
        crops = cut(batch)
        rows = _rows(stage, crops, network, entry)
        features = getattr(seen, "features", None)
        if features is None:
            return rows, np.empty((len(batch), 0))
        return rows, features.double().numpy()

    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1:]
    hooks = [layer.register_forward_pre_hook(keep) for layer in last]
    batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    try:
        found = in_turn(
            one,
            batches,
            workers=workers,
            what=what,
            tell=lambda w, done, _of: tell(w, min(done * BATCH, len(items)), len(items)),
        )
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        return Answers(p=np.empty((0, len(entry.classes))), features=np.empty((0, 0)))
    return Answers(
        p=np.array([row for rows, _ in found for row in rows]),
        features=np.concatenate([features for _, features in found]),
    )


def _rows(stage: Stage, crops: Crops, network: nn.Module, entry: Any) -> Rows:
    match stage:
        case Stage.CELL_CLASS:
            return cell_maps(crops, network=network, entry=entry).p
        case Stage.WBC_CLASS:
            return wbc_class_p(crops, network=network, entry=entry)
        case Stage.MALIGNANCY:
            return malignancy_p(crops, network=network, entry=entry)
        case Stage.SUBTYPE:
            return subtype_p(crops, network=network, entry=entry)
        case _:
            raise ValueError(f"stage {stage.number} does not look at single cells")
