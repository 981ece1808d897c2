"""Stage 3: red cell, platelet or white cell, and the cell's mask.

No public set has masks of these cells. Inside a box a mask is guessed from colour: what differs from the
ground by more than Otsu's level, within the ellipse that the box holds. Drawn smears have true ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from domain.cells import CellClass, Stage
from domain.image import Box, Pixels
from inference.crops import Colour, background_of, square_crops
from inference.manifest import Interpolation
from inference.networks.unet import ResNet34UNet
from training.augment import geometric, perturbed, turned
from training.cells import MARGIN, cell_crops, cells_for
from training.drawings import TRAIN_SEED, drawn_smears
from training.losses import box_logits, map_loss
from training.metrics import figures_of
from training.pictures import Picture, Split
from training.recipes import Phase, Recipe
from training.sampling import Balanced
from training.tensors import inputs_of, pictures_of

__all__ = ["CellClassTask", "box_of_crop", "guessed_mask"]

DRAWN = 24
SCORED = 400  # cells of `val` looked at after each epoch
KINDS = tuple(c.value for c in CellClass)
Mask = npt.NDArray[np.uint8]  # 0 or 255


@dataclass(frozen=True, kw_only=True)
class _Batch:
    pictures: Tensor  # (N, 3, S, S)
    masks: Tensor  # (N, S / 2, S / 2)
    boxes: Tensor  # the same size
    kinds: Tensor  # (N,)


class CellClassTask:
    """See training.loop.Task."""

    score_follows_size = True

    def __init__(
        self, pictures: Sequence[tuple[Picture, Pixels]], *, recipe: Recipe, data_digest: str
    ) -> None:
        self.data_digest = data_digest
        self._recipe = recipe
        cells = cells_for(Stage.CELL_CLASS, pictures, seed=recipe.seed)
        self._train = [c for c in cells if c.split is Split.TRAIN]
        val = [c for c in cells if c.split is Split.VAL]
        self._val = val[:: max(1, len(val) // SCORED)]
        labels = [c.allowed[0] for c in self._train]
        laboratories = [c.laboratory for c in self._train]
        self._drawn = _drawn_cells(DRAWN)
        labels += [kind for _, _, _, kind in self._drawn]
        laboratories += ["drawn"] * len(self._drawn)
        self._kinds = torch.tensor([KINDS.index(label) for label in labels])
        self._balanced = Balanced(laboratories, labels)

    def network(self) -> nn.Module:
        torch.manual_seed(self._recipe.seed)
        return ResNet34UNet()

    def enter(self, phase: Phase) -> None:
        self._size = phase.input_px
        field_um = self._recipe.seen_um(self._size)
        seen = cell_crops(self._val, field_um=field_um, size_px=self._size)
        self._seen = seen.pixels
        self._seen_boxes = np.stack([box_of_crop(b, self._size) for b in seen.boxes])

    def prepare(self, network: nn.Module, device: torch.device) -> None:
        del network, device  # nothing can be solved at once

    def batch(self, rng: np.random.Generator, size: int) -> _Batch:
        chosen = self._balanced.draw(rng, size)
        strength = self._recipe.strength
        wide, masks, boxes = zip(*(self._cut(i) for i in chosen), strict=True)
        pictures, grid = geometric(
            pictures_of(np.stack(wide)), rng, size=self._size, strength=strength, margin=MARGIN
        )
        both = np.stack([np.stack(masks), np.stack(boxes)], axis=1)
        planes = turned(torch.from_numpy(both).float() / 255, grid)
        planes = functional.avg_pool2d(planes, 2)
        return _Batch(
            pictures=perturbed(pictures, rng, strength=strength),
            masks=planes[:, 0],
            boxes=planes[:, 1],
            kinds=self._kinds[chosen],
        )

    def _cut(self, number: int) -> tuple[Pixels, Mask, Mask]:
        """A cell's crop, mask and box. Cut anew each time: all crops at full size would fill the
        memory of a small machine."""
        kept, field_um = round(self._size * MARGIN), self._recipe.seen_um(self._size) * MARGIN
        if number >= len(self._train):
            pixels, whole, place, _ = self._drawn[number - len(self._train)]
            seen, mask, box = _drawn_crop(pixels, whole, place, field_um=field_um, size=kept)
        else:
            cell = self._train[number]
            crops = cell_crops([cell], field_um=field_um, size_px=kept)
            seen, box = crops.pixels[0], crops.boxes[0]
            mask = guessed_mask(seen, box, cell.ground)
        return seen, mask, box_of_crop(box, kept)

    def loss(self, network: nn.Module, batch: _Batch, device: torch.device) -> Tensor:
        maps = network(inputs_of(batch.pictures.to(device), self._recipe))
        return map_loss(
            maps, batch.masks.to(device), batch.kinds.to(device), batch.boxes.to(device)
        )

    def finished(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return tensors

    def score(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """Accuracy, and precision and recall of each kind, on cells of `val`."""
        told = []
        for i in range(0, len(self._seen), 32):
            x = inputs_of(pictures_of(self._seen[i : i + 32]).to(device), self._recipe)
            boxes = torch.from_numpy(self._seen_boxes[i : i + 32]).float().to(device) / 255
            logits = box_logits(network(x).float(), functional.avg_pool2d(boxes[:, None], 2)[:, 0])
            told.append(logits.argmax(dim=1).cpu().numpy())
        truth = np.array([KINDS.index(c.allowed[0]) for c in self._val])
        figures = figures_of(truth, np.concatenate(told), KINDS)
        measured = {"score": figures.macro[2], "accuracy": figures.accuracy.value}
        for one in figures.classes:
            measured[f"precision_{one.name}"] = one.precision.value
            measured[f"recall_{one.name}"] = one.recall.value
        return measured


def guessed_mask(pixels: Pixels, box: Box, ground: Colour) -> Mask:
    """(H, W) 255 on the cell: what differs from the ground, inside the ellipse of the box."""
    distance = np.abs(pixels.astype(np.float32) - ground).sum(axis=2)
    ellipse = np.zeros(pixels.shape[:2], np.uint8)
    middle = box.centre
    axes = max(1, round(box.width * 0.54)), max(1, round(box.height * 0.54))
    cv2.ellipse(ellipse, (round(middle[0]), round(middle[1])), axes, 0, 0, 360, 255, -1)
    inside = ellipse > 0
    if not inside.any():
        return ellipse
    levels = np.clip(distance / 3, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(levels[inside].reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    # a cell that fills its box has no ground in it: Otsu would cut the cell itself in two
    level = min(float(level), float(levels[inside].mean()) * 0.6)
    mask = ((levels > level) & inside).astype(np.uint8) * 255
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(mask)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 255, -1)
    return filled.astype(np.uint8, copy=False)


def box_of_crop(box: Box, size: int) -> Mask:
    """(S, S) 255 where the box lies; at least one pixel."""
    plane = np.zeros((size, size), np.uint8)
    x0, y0 = min(int(box.x0), size - 1), min(int(box.y0), size - 1)
    plane[y0 : max(y0 + 1, round(box.y1)), x0 : max(x0 + 1, round(box.x1))] = 255
    return plane


Drawn = tuple[Pixels, Mask, Box, str]


def _drawn_cells(count: int) -> list[Drawn]:
    """From each drawn smear its white cells and platelets and some red cells; the mask is of the
    whole picture."""
    found: list[Drawn] = []
    for phantom in drawn_smears(count, first_seed=TRAIN_SEED):
        red = 0
        for i, cell in enumerate(phantom.cells):
            if cell.visible < 0.95:
                continue
            red += cell.cell_class is CellClass.RED_BLOOD_CELL
            if cell.cell_class is CellClass.RED_BLOOD_CELL and red > 4:
                continue
            whole = np.zeros(phantom.pixels.shape[:2], np.uint8)
            x0, y0, x1, y1 = (int(v) for v in cell.box_px)
            whole[y0:y1, x0:x1][phantom.mask(i)] = 255
            found.append((phantom.pixels, whole, cell.box_px, cell.cell_class.value))
    return found


def _drawn_crop(
    pixels: Pixels, mask: Mask, box: Box, *, field_um: float, size: int
) -> tuple[Pixels, Mask, Box]:
    def cut(what: Pixels, ground: Colour) -> tuple[Pixels, Box]:
        crops = square_crops(
            what,
            [box],
            um_per_px=(0.1, 0.1),
            field_um=field_um,
            size_px=size,
            interpolation=Interpolation.AREA,
            background=ground,
        )
        return crops.pixels[0], crops.boxes[0]

    seen, placed = cut(pixels, background_of(pixels))
    plane, _ = cut(np.repeat(mask[:, :, None], 3, axis=2), np.zeros(3, np.float32))
    return seen, np.ascontiguousarray(plane[:, :, 0]), placed
