"""Stage 1: good fields against good fields made bad.

Each picture is kept once, fitted into a square as the service fits it, at twice the network's size.
Half of a batch is good (up to a slight blur), half is spoiled; the target is how readable a field
still is, so that the answer falls with every step of blur and not at one point of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from domain.cells import ViabilityClass
from domain.image import Pixels
from inference.crops import background_of, fitted
from inference.manifest import Interpolation
from inference.networks.viability import ViabilityCnn
from training.augment import perturbed
from training.drawings import TRAIN_SEED, VAL_SEED, drawn_smears
from training.metrics import auc
from training.pictures import Picture, Split
from training.recipes import Phase, Recipe
from training.sampling import Balanced
from training.spoil import FAULTS, HELD_BACK, READABLE_UM, defocused, spoiled
from training.tensors import inputs_of, pictures_of

__all__ = ["UNKNOWN_UM_PER_PX", "Fitted", "ViabilityTask", "fitted_field"]

KEPT_PX = 288  # a little more than twice the network's input, to zoom and turn in
DRAWN = 24
UNKNOWN_UM_PER_PX = (0.1, 0.1)
Fitted = tuple[Pixels, float]  # (KEPT_PX, KEPT_PX, 3), micrometres per pixel of it


def fitted_field(pixels: Pixels, um_per_px: tuple[float, float], *, size: int = KEPT_PX) -> Fitted:
    """As the service fits a field, and the scale of the result."""
    square = fitted(
        pixels,
        um_per_px=um_per_px,
        size_px=size,
        interpolation=Interpolation.AREA,
        background=background_of(pixels),
    )
    side = max(pixels.shape[1] * um_per_px[0], pixels.shape[0] * um_per_px[1])
    return square, side / size


class ViabilityTask:
    """See training.loop.Task."""

    score_follows_size = True

    def __init__(
        self, pictures: Sequence[tuple[Picture, Pixels]], *, recipe: Recipe, data_digest: str
    ) -> None:
        self.data_digest = data_digest
        self._recipe = recipe
        self._train: list[Fitted] = []
        self._val: list[Fitted] = []
        self._bad: list[Fitted] = []  # somebody's own unreadable fields
        laboratories = []
        for picture, pixels in pictures:
            if picture.split is Split.GAP:
                continue
            one = fitted_field(pixels, picture.um_per_px or UNKNOWN_UM_PER_PX)
            if picture.label == ViabilityClass.NON_VIABLE:
                if picture.split is Split.TRAIN:
                    self._bad.append(one)
                continue
            if picture.split is Split.TRAIN:
                self._train.append(one)
                laboratories.append(picture.laboratory)
            else:
                self._val.append(one)
        for phantom in drawn_smears(DRAWN, first_seed=TRAIN_SEED):
            self._train.append(fitted_field(phantom.pixels, (phantom.um_per_px,) * 2))
            laboratories.append("drawn")
        for phantom in drawn_smears(4, first_seed=VAL_SEED):
            self._val.append(fitted_field(phantom.pixels, (phantom.um_per_px,) * 2))
        self._balanced = Balanced(laboratories, [""] * len(laboratories))

    def network(self) -> nn.Module:
        torch.manual_seed(self._recipe.seed)
        return ViabilityCnn()

    def enter(self, phase: Phase) -> None:
        self._size = phase.input_px

    def prepare(self, network: nn.Module, device: torch.device) -> None:
        del network, device  # nothing can be solved at once

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) 0..1 and (N, 2) targets."""
        squares, readable = [], []
        for n, i in enumerate(self._balanced.draw(rng, size)):
            pixels, um_per_px = _zoomed(*self._train[i], rng)
            if n % 2 and self._bad and rng.random() < 0.5:
                pixels, _ = _zoomed(*self._bad[int(rng.integers(len(self._bad)))], rng)
                share = 0.0
            elif n % 2:
                pixels, share = spoiled(pixels, um_per_px, rng, faults=FAULTS)
            else:
                share = 1.0
                if rng.random() < 0.5:
                    pixels = defocused(pixels, um_per_px, float(rng.uniform(0, READABLE_UM)))
            squares.append(_shrunk(pixels, self._size))
            readable.append(share)
        pictures = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
        target = torch.tensor(readable)
        kept = perturbed(pictures, rng, strength=self._recipe.strength)
        return kept, torch.stack([target, 1 - target], dim=1)

    def loss(
        self, network: nn.Module, batch: tuple[Tensor, Tensor], device: torch.device
    ) -> Tensor:
        pictures, target = batch
        logits = network(inputs_of(pictures.to(device), self._recipe))
        return nn.functional.cross_entropy(logits.float(), target.to(device))

    def finished(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return tensors

    def score(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """AUC against the faults of the list and against those held back, and the share of good
        fields below one half."""
        rng = np.random.default_rng(self._recipe.seed)
        every = self._val[:: max(1, len(self._val) // 160)]
        good = [_shrunk(p, self._size) for p, _ in every]
        known = [_shrunk(spoiled(p, u, rng, faults=_RUINED)[0], self._size) for p, u in every]
        held = [_shrunk(spoiled(p, u, rng, faults=HELD_BACK)[0], self._size) for p, u in every]
        p_good, p_known, p_held = (
            self._viable(network, squares, device) for squares in (good, known, held)
        )
        auc_held = auc(p_good, p_held)
        return {
            # not by the faults held back, which would then be held back no longer
            "score": auc(p_good, p_known) - float((p_good < 0.5).mean()),
            "auc_known_faults": auc(p_good, p_known),
            "auc_faults_held_back": auc_held,
            "good_below_half": float((p_good < 0.5).mean()),
        }

    def _viable(
        self, network: nn.Module, squares: Sequence[Pixels], device: torch.device
    ) -> np.ndarray:
        rows = []
        for start in range(0, len(squares), 64):
            pictures = pictures_of(np.stack(squares[start : start + 64])).to(device)
            logits = network(inputs_of(pictures, self._recipe))
            rows.append(logits.float().softmax(dim=1)[:, 0].cpu().numpy())
        return np.concatenate(rows)


_RUINED = {n: f for n, f in FAULTS.items() if n not in ("defocused", "defocused again", "moved")}


def _zoomed(pixels: Pixels, um_per_px: float, rng: np.random.Generator) -> Fitted:
    """A part of the field, turned by a right angle and perhaps flipped."""
    share = float(rng.uniform(0.55, 1)) if rng.random() < 0.6 else 1.0
    side = round(share * len(pixels))
    x, y = (int(rng.integers(len(pixels) - side + 1)) for _ in range(2))
    part = np.rot90(pixels[y : y + side, x : x + side], int(rng.integers(4)))
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return np.ascontiguousarray(part), um_per_px


def _shrunk(pixels: Pixels, size: int) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX))
