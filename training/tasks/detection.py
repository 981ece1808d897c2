"""Stage 2: boxes on canvases made of several fields; the loss is ultralytics' own.

Fields whose red cells are not all labelled are left out, because a missing box teaches that a cell is
ground. Sets are drawn alike, drawn smears with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from domain.cells import CellClass
from domain.image import Pixels
from inference.crops import background_of
from inference.manifest import DETECTION_CLASSES, DetectionStage, Interpolation, Storage
from inference.networks.yolo import yolov5
from inference.stages.detection import detected
from training.augment import perturbed
from training.average_precision import FieldBoxes, detection_figures
from training.canvas import Boxes, ScaledField, canvas, scaled_field
from training.drawings import TRAIN_SEED, drawn_smears
from training.errors import DataError
from training.pictures import LabelledBox, Picture, Split
from training.recipes import Phase, Recipe
from training.sampling import Balanced
from training.tensors import inputs_of, pictures_of

__all__ = ["DETECTOR_UM_PER_PX", "DetectionTask", "detector_entry", "field_boxes"]

DETECTOR_UM_PER_PX = 0.2
FINEST_UM_PER_PX = 0.1
DRAWN = 24
SCORED = 60  # fields of `val` looked at after each epoch
GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}  # ultralytics' defaults


@dataclass(frozen=True, kw_only=True)
class _Batch:
    pictures: Tensor  # (N, 3, S, S)
    index: Tensor  # (n,) which picture
    classes: Tensor  # (n,)
    boxes: Tensor  # (n, 4) centre and size, shares of the canvas


def detector_entry(recipe: Recipe, **changed: Any) -> DetectionStage:
    """The manifest's entry, but for the file."""
    fields: dict[str, Any] = {
        "architecture": recipe.architecture,
        "file": "2-detection.safetensors",
        "sha256": "0" * 64,
        "storage": Storage.FLOAT32,
        "classes": tuple(str(c) for c in DETECTION_CLASSES),
        "input_px": 640,
        "mean": recipe.mean,
        "deviation": recipe.deviation,
        "interpolation": Interpolation.AREA,
        "um_per_px": DETECTOR_UM_PER_PX,
        "confidence": 0.25,
        "iou": 0.5,
        "max_per_tile": 600,
        "overlap_px": 128,
        "size_um": (1.0, 40.0),
    }
    return DetectionStage(**{**fields, **changed})


class DetectionTask:
    """See training.loop.Task."""

    score_follows_size = False

    def __init__(
        self,
        pictures: Sequence[tuple[Picture, Pixels]],
        *,
        recipe: Recipe,
        data_digest: str,
        start: Path | None,
    ) -> None:
        self.data_digest = data_digest
        self._recipe = recipe
        self._start = start
        self._fields: list[ScaledField] = []
        laboratories = []
        for picture, pixels in pictures:
            if picture.split is Split.TRAIN and picture.complete and picture.boxes:
                self._fields.append(
                    scaled_field(picture, pixels, finest_um_per_px=FINEST_UM_PER_PX)
                )
                laboratories.append(picture.laboratory)
        if not self._fields:
            raise DataError("no picture with boxes is on the side of train; give some")
        for picture, pixels in drawn_fields(DRAWN, first_seed=TRAIN_SEED):
            self._fields.append(scaled_field(picture, pixels, finest_um_per_px=FINEST_UM_PER_PX))
            laboratories.append("drawn")
        val = [(p, x) for p, x in pictures if p.split is Split.VAL and p.boxes]
        self._val = val[:: max(1, len(val) // SCORED)]
        # fields with platelets as often as those without: there are few, and they are small
        platelet = DETECTION_CLASSES.index(CellClass.PLATELET)
        labels = ["platelets" if (f.boxes[:, 0] == platelet).any() else "" for f in self._fields]
        self._balanced = Balanced(laboratories, labels)

    def network(self) -> nn.Module:
        torch.manual_seed(self._recipe.seed)
        network: Any = yolov5(size=self._recipe.architecture, classes=len(DETECTION_CLASSES))
        if self._start is not None:
            _take_over(network, self._start)
        network.args = SimpleNamespace(**GAINS)
        made: nn.Module = network
        return made

    def enter(self, phase: Phase) -> None:
        self._size = phase.input_px

    def prepare(self, network: nn.Module, device: torch.device) -> None:
        del network, device  # nothing can be solved at once

    def batch(self, rng: np.random.Generator, size: int) -> _Batch:
        def draw() -> ScaledField:
            return self._fields[self._balanced.draw(rng, 1)[0]]

        zoom = self._recipe.strength.scale
        made = [
            canvas(draw, rng, size=self._size, um_per_px=DETECTOR_UM_PER_PX, zoom=zoom)
            for _ in range(size)
        ]
        pictures = pictures_of(np.stack([pixels for pixels, _ in made]))
        index = [np.full(len(boxes), i, np.float32) for i, (_, boxes) in enumerate(made)]
        every: Boxes = np.concatenate([boxes for _, boxes in made])
        middle = (every[:, 1:3] + every[:, 3:5]) / 2 / self._size
        sides = (every[:, 3:5] - every[:, 1:3]) / self._size
        return _Batch(
            pictures=perturbed(pictures, rng, strength=self._recipe.strength),
            index=torch.from_numpy(np.concatenate(index)),
            classes=torch.from_numpy(every[:, 0].copy()),
            boxes=torch.from_numpy(np.concatenate([middle, sides], axis=1)),
        )

    def loss(self, network: nn.Module, batch: _Batch, device: torch.device) -> Tensor:
        model: Any = network
        losses, _ = model.loss(
            {
                "img": inputs_of(batch.pictures.to(device), self._recipe),
                "batch_idx": batch.index.to(device),
                "cls": batch.classes.to(device),
                "bboxes": batch.boxes.to(device),
            }
        )
        total: Tensor = losses.sum() / len(batch.pictures)
        return total

    def finished(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return tensors

    def score(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """mAP@.5 as the service detects, at the known scale, on a part of `val`."""
        network.to("cpu")
        entry = detector_entry(self._recipe, confidence=0.01)
        fields = [field_boxes(p, x, network=network, entry=entry) for p, x in self._val]
        network.to(device)
        figures = detection_figures(fields, classes=len(DETECTION_CLASSES), confidence=0.25)
        named = zip(DETECTION_CLASSES, figures.ap50, strict=True)
        return {
            "score": figures.map50,
            "map50_95": figures.map,
            **{f"ap50_{kind}": ap for kind, ap in named},
        }


def field_boxes(
    picture: Picture, pixels: Pixels, *, network: nn.Module, entry: DetectionStage
) -> FieldBoxes:
    """What the service finds on a field, beside what is there."""
    found = detected(
        pixels,
        um_per_px=picture.um_per_px or (entry.um_per_px, entry.um_per_px),
        background=background_of(pixels),
        network=network,
        entry=entry,
    )
    index = {kind: i for i, kind in enumerate(DETECTION_CLASSES)}
    rows = [(*d.box, d.p, index[d.cell_class]) for d in found]
    truth = [(index[b.cell_class], *b.box) for b in picture.boxes]
    return FieldBoxes(
        found=np.array(rows, float).reshape(-1, 6),
        truth=np.array(truth, float).reshape(-1, 5),
        ignored=() if picture.complete else (index[CellClass.RED_BLOOD_CELL],),
    )


def drawn_fields(count: int, *, first_seed: int) -> list[tuple[Picture, Pixels]]:
    """Drawn smears as pictures with boxes."""
    return [
        (
            Picture(
                path=Path(f"drawn-{first_seed + i}"),
                laboratory="drawn",
                um_per_px=(phantom.um_per_px, phantom.um_per_px),
                boxes=tuple(
                    LabelledBox(box=c.box_px, cell_class=c.cell_class)
                    for c in phantom.cells
                    if c.visible >= 0.3
                ),
            ),
            phantom.pixels,
        )
        for i, phantom in enumerate(drawn_smears(count, first_seed=first_seed))
    ]


def _take_over(network: nn.Module, start: Path) -> None:
    """Every tensor of `start` whose name and shape fit; the head is another one and stays new."""
    stored = load_file(start)
    own = network.state_dict()
    fits = {
        n: t.to(own[n].dtype) for n, t in stored.items() if n in own and own[n].shape == t.shape
    }
    if len(fits) < len(own) / 2:
        raise DataError(
            f"{start} has {len(fits)} of the {len(own)} tensors that this detector needs; "
            "name weights of the same size"
        )
    own.update(fits)
    network.load_state_dict(own)
