"""Stages 4, 5 and 6: one cell, one name.

Stage 4 is trained narrow and stage 5 shallow, and both are grown at the end (training.grow). Stages 5 and 6 start from nothing; where
a transformer is given they also learn to see what it sees, and cells of labelled fields get its soft
labels (training.teacher).
Crops are cut a little wider than the network's input, then turned, shifted, scaled and
changed in stain anew each time. On a share of them what lies round the cell is painted plain, so that
neither a picture's border nor a laboratory's ground can stand for a class.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from domain.cells import Malignancy, Stage, Subtype, WbcClass
from domain.image import Pixels
from training.augment import geometric, perturbed
from training.cells import MARGIN, CellSource, cell_crops, cells_for, drawn_cells
from training.drawings import TRAIN_SEED, drawn_smears
from training.errors import DataError
from training.grow import (
    NARROW,
    deepened_resnet,
    grown_vit,
    narrow_vit,
    shallow_resnet,
    small_vit,
)
from training.losses import naming_loss, soft_loss, solved_head
from training.metrics import auc, figures_of
from training.pictures import Picture, Split
from training.recipes import Phase, Recipe
from training.sampling import Balanced
from training.teacher import FEATURES, seen_by_teacher, soft_labels
from training.tensors import inputs_of, pictures_of

__all__ = ["NAMES", "NamingTask", "by_field", "logits_of"]

NAMES: Mapping[Stage, tuple[str, ...]] = {
    Stage.WBC_CLASS: tuple(WbcClass),
    Stage.MALIGNANCY: tuple(Malignancy),
    Stage.SUBTYPE: tuple(Subtype),
}
DRAWN = 20  # smears
SOLVED, SOLVED_BATCH = 1440, 24  # crops that the last layer is solved on before the first step
FRAMED = 0.3  # share of crops whose surroundings are painted plain
SCORED = 500  # cells of `val` looked at after each epoch
TAUGHT_AT_PX = 112  # what the teacher is shown
TAUGHT = 1.0  # weight of seeing as the teacher does, beside naming
Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    pictures: Tensor  # (N, 3, S, S)
    allowed: Tensor  # (N, K) bool
    labels: Tensor  # (N, K) 0..1, where there is a teacher
    features: Tensor  # (N, 384) the teacher's


class NamingTask:
    """See training.loop.Task."""

    score_follows_size = True

    def __init__(
        self,
        stage: Stage,
        pictures: Sequence[tuple[Picture, Pixels]],
        *,
        recipe: Recipe,
        data_digest: str,
        start: Path | None = None,
    ) -> None:
        self.data_digest = data_digest
        self._stage, self._recipe, self._start = stage, recipe, start
        self._names = NAMES[stage]
        cells = cells_for(stage, pictures, seed=recipe.seed)
        self._train = [c for c in cells if c.split is Split.TRAIN]
        self._train += drawn_cells(stage, drawn_smears(DRAWN, first_seed=TRAIN_SEED))
        val = [c for c in cells if c.split is Split.VAL and len(c.allowed) == 1]
        self._val = val[:: max(1, len(val) // SCORED)]
        seen = {name for c in cells if c.split is Split.TRAIN for name in c.allowed}
        missing = [n for n in self._names if n not in seen]
        if missing:
            raise DataError(f"no cell of {', '.join(missing)} is on the side of train; give some")
        self._allowed = torch.tensor(
            [[name in c.allowed for name in self._names] for c in self._train]
        )
        labels = ["/".join(c.allowed) for c in self._train]
        self._balanced = Balanced([c.laboratory for c in self._train], labels)

    def network(self) -> nn.Module:
        torch.manual_seed(self._recipe.seed)
        match self._stage:
            case Stage.WBC_CLASS:
                from inference.networks.vit import WhiteCellVit

                network: nn.Module = WhiteCellVit(classes=len(self._names), shape=NARROW)
                if self._start is not None:
                    network.load_state_dict(narrow_vit(small_vit(self._start)), strict=False)
                return network
            case Stage.MALIGNANCY:
                network = shallow_resnet()
            case _:
                from inference.networks.densenet import SubtypeDenseNet

                network = SubtypeDenseNet()
        return _Student(network) if self._start is not None else network

    def finished(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self._stage is Stage.WBC_CLASS:
            return grown_vit(tensors)
        own = _Student.own(tensors) if self._start is not None else tensors
        return deepened_resnet(own) if self._stage is Stage.MALIGNANCY else own

    def enter(self, phase: Phase) -> None:
        self._size = phase.input_px
        field_um = self._recipe.field_um
        self._seen = cell_crops(self._val, field_um=field_um, size_px=self._size).pixels
        if self._start is not None and self._stage is not Stage.WBC_CLASS:
            self._ask_teacher(self._start)

    def _ask_teacher(self, start: Path) -> None:
        """Once a run: what the teacher says does not depend on the phase."""
        if hasattr(self, "_features"):
            return
        kept = round(TAUGHT_AT_PX * MARGIN)
        field_um, recipe = self._recipe.field_um * MARGIN, self._recipe
        crops = cell_crops(self._train, field_um=field_um, size_px=kept).pixels
        self._features = seen_by_teacher(
            crops,
            start,
            size=TAUGHT_AT_PX,
            margin=MARGIN,
            strength=recipe.strength,
            seed=recipe.seed,
        )
        # of a benign field every cell is benign; a single cell was labelled itself
        alone = Counter(c.field for c in self._train)
        certain = [c.allowed[0] == Malignancy.BENIGN or alone[c.field] == 1 for c in self._train]
        self._labels = soft_labels(
            self._features,
            np.array([self._names.index(c.allowed[0]) for c in self._train]),
            [c.field for c in self._train],
            classes=len(self._names),
            certain=certain,
            seed=recipe.seed,
        )

    def prepare(self, network: nn.Module, device: torch.device) -> None:
        """Of a pretrained transformer the last layer, which is convex, is solved first: its features
        lie far from nought, and a fresh layer would take long to get there while it spoils them."""
        if self._stage is not Stage.WBC_CLASS or self._start is None:
            return
        made: Any = network
        rng = np.random.default_rng([self._recipe.seed, SOLVED])
        features, allowed = [], []
        with torch.no_grad():
            for _ in range(SOLVED // SOLVED_BATCH):
                batch = self.batch(rng, SOLVED_BATCH)
                x = inputs_of(batch.pictures.to(device), self._recipe)
                hidden = made.vit(pixel_values=x, interpolate_pos_encoding=True)
                features.append(hidden.last_hidden_state[:, 0])
                allowed.append(batch.allowed.to(device))
        weight, bias = solved_head(torch.cat(features), torch.cat(allowed))
        with torch.no_grad():
            made.classifier.weight.copy_(weight)
            made.classifier.bias.copy_(bias)

    def batch(self, rng: np.random.Generator, size: int) -> _Batch:
        chosen = self._balanced.draw(rng, size)
        strength = self._recipe.strength
        # cut anew each time: all crops at full size would fill the memory of a small machine
        wide = cell_crops(
            [self._train[i] for i in chosen],
            field_um=self._recipe.field_um * MARGIN,
            size_px=round(self._size * MARGIN),
        ).pixels
        pictures, _ = geometric(
            pictures_of(wide), rng, size=self._size, strength=strength, margin=MARGIN
        )
        pictures = _framed(pictures, rng)
        taught = hasattr(self, "_features")
        return _Batch(
            pictures=perturbed(pictures, rng, strength=strength),
            allowed=self._allowed[chosen],
            labels=self._labels[chosen] if taught else torch.empty(0),
            features=self._features[chosen] if taught else torch.empty(0),
        )

    def loss(self, network: nn.Module, batch: _Batch, device: torch.device) -> Tensor:
        x = inputs_of(batch.pictures.to(device), self._recipe)
        if isinstance(network, _Student):
            logits, seen = network(x)
            named = soft_loss(logits, batch.labels.to(device), smoothing=self._recipe.smoothing)
            alike = nn.functional.cosine_similarity(seen, batch.features.to(device), dim=1)
            return named + TAUGHT * (1 - alike).mean()
        logits = logits_of(network, x)
        return naming_loss(logits, batch.allowed.to(device), smoothing=self._recipe.smoothing)

    def score(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """Stage 4: macro F1 of each laboratory, the mean counts. Stages 5 and 6: judged by field."""
        if isinstance(network, _Student):
            network = network.network
        logits = _all_logits(network, self._seen, self._recipe, device)
        truth = np.array([self._names.index(c.allowed[0]) for c in self._val])
        if self._stage is Stage.WBC_CLASS:
            return _by_laboratory(logits, truth, self._val, self._names)
        fields, mean, of_field = by_field(logits, truth, self._val)
        del fields
        if self._stage is Stage.MALIGNANCY:
            area = auc(mean[of_field == 1, 1], mean[of_field == 0, 1])
            return {"score": area, "cell_accuracy": float((logits.argmax(1) == truth).mean())}
        figures = figures_of(of_field, mean.argmax(axis=1), self._names)
        return {
            "score": figures.macro[1],
            "cell_accuracy": float((logits.argmax(1) == truth).mean()),
        }


class _Student(nn.Module):
    """A network and, in training alone, a linear layer from what its last layer is given to the
    teacher's features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        last: Any = getattr(network, "fc", None) or network.classifier
        first: Any = last[0] if isinstance(last, nn.Sequential) else last
        self.seen = nn.Linear(first.in_features, FEATURES)
        last.register_forward_pre_hook(self._take)
        self._given = torch.empty(0)

    def _take(self, _layer: nn.Module, given: tuple[Tensor]) -> None:
        self._given = given[0]

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_of(self.network, inputs)
        return logits, self.seen(self._given)

    @staticmethod
    def own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's own tensors, by its own names."""
        start = "network."
        return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def logits_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """(N, K) before any softmax: stage 6's network ends in one, and has a way round it. Stage 4's
    also takes smaller inputs than its own, its position table interpolated."""
    made: Any = network
    logits: Tensor
    if hasattr(made, "vit") and inputs.shape[-1] != made.vit.config.image_size:
        hidden = made.vit(pixel_values=inputs, interpolate_pos_encoding=True).last_hidden_state
        logits = made.classifier(hidden[:, 0])
    elif hasattr(made, "logits"):
        logits = made.logits(inputs)
    else:
        logits = made(inputs)
    return logits


def by_field(
    logits: Logits, truth: npt.NDArray[np.int64], cells: Sequence[CellSource]
) -> tuple[list[int], Logits, npt.NDArray[np.int64]]:
    """Fields, the mean probability of their cells, and the field's class."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = raised / raised.sum(axis=1, keepdims=True)
    of = np.array([c.field for c in cells])
    fields = sorted(set(of.tolist()))
    mean = np.array([p[of == f].mean(axis=0) for f in fields])
    classes = np.array([truth[of == f][0] for f in fields])
    return fields, mean, classes


def _all_logits(network: nn.Module, crops: Pixels, recipe: Recipe, device: torch.device) -> Logits:
    rows = [
        logits_of(network, inputs_of(pictures_of(crops[i : i + 32]).to(device), recipe))
        for i in range(0, len(crops), 32)
    ]
    found: Logits = torch.cat(rows).double().cpu().numpy()
    return found


def _by_laboratory(
    logits: Logits,
    truth: npt.NDArray[np.int64],
    cells: Sequence[CellSource],
    names: Sequence[str],
) -> dict[str, float]:
    told = logits.argmax(axis=1)
    labs = np.array([c.laboratory for c in cells])
    measured = {}
    for lab in sorted(set(labs.tolist())):
        of = labs == lab
        measured[f"accuracy_{lab}"] = float((told[of] == truth[of]).mean())
        measured[f"f1_{lab}"] = figures_of(truth[of], told[of], names).macro[2]
    f1 = [v for k, v in measured.items() if k.startswith("f1_")]
    return {"score": float(np.mean(f1)), **measured}


def _framed(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """On some, everything outside a square round the middle takes one light colour."""
    size = pictures.shape[-1]
    done = pictures.clone()
    for i in np.flatnonzero(rng.random(len(pictures)) < FRAMED):
        inner = round(size * rng.uniform(0.55, 0.95) / 2)
        flat = pictures[i].flatten(1)
        light = flat[:, flat.sum(dim=0).topk(max(1, flat.shape[1] // 10)).indices].mean(dim=1)
        middle = size // 2
        kept = pictures[i, :, middle - inner : middle + inner, middle - inner : middle + inner]
        done[i] = light[:, None, None]
        done[i, :, middle - inner : middle + inner, middle - inner : middle + inner] = kept
    return done
