"""What the given self-supervised transformer sees in a cell: a teacher for networks that start from nothing.

In      crops, their fields and labels
Out     features that do not depend on stain (a mean over views), and soft labels of single cells where
        only fields are labelled
A cell that inherits its field's label is often another. A linear layer on the features is trained so
that the *mean* of a field's cells gives the field's label (multiple-instance learning); what it then
says of each cell is mixed into the inherited label.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from domain.image import Pixels
from inference.networks.vit import WhiteCellVit
from training.augment import Strength, geometric, perturbed
from training.grow import NARROW, narrow_vit, small_vit
from training.tensors import pictures_of

__all__ = ["FEATURES", "seen_by_teacher", "soft_labels"]

FEATURES = NARROW.hidden_size
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 48
VIEWS = 2  # one as it is, the other in another stain
STEPS, RATE, DECAY = 300, 5e-3, 1e-3
INHERITED = 0.5  # share of the field's own label in a cell's
Progress = Callable[[str, int, int], None]


def seen_by_teacher(
    crops: Pixels, start: Path, *, size: int, margin: float, strength: Strength, seed: int
) -> Tensor:
    """(N, S, S, 3) crops `margin` wider than `size` -> (N, 384) float32, standardised by feature.
    Raises DataError where `start` holds no such transformer."""
    network = WhiteCellVit(classes=1, shape=NARROW).eval()
    network.load_state_dict(narrow_vit(small_vit(start)), strict=False)
    rng = np.random.default_rng(seed)
    still = Strength(turn=False, scale=(1.0, 1.0), shift=0.0)
    rows = []
    with torch.inference_mode():
        for i in range(0, len(crops), BATCH):
            wide = pictures_of(crops[i : i + BATCH])
            plain, _ = geometric(wide, rng, size=size, strength=still, margin=margin)
            views = [plain]
            for _ in range(VIEWS - 1):
                turned, _ = geometric(wide, rng, size=size, strength=strength, margin=margin)
                views.append(perturbed(turned, rng, strength=strength))
            rows.append(torch.stack([_class_token(network, v) for v in views]).mean(dim=0))
    features = torch.cat(rows)
    standard: Tensor = (features - features.mean(dim=0)) / features.std(dim=0).clamp_min(1e-6)
    return standard


def soft_labels(
    features: Tensor,
    labels: npt.NDArray[np.int64],
    fields: Sequence[int],
    *,
    classes: int,
    certain: Sequence[bool],
    seed: int,
) -> Tensor:
    """(N, K) rows that sum to 1. `labels` are inherited from the fields; those that are `certain` stay
    as they are."""
    torch.manual_seed(seed)
    _, of = np.unique(np.asarray(fields), return_inverse=True)
    field = torch.from_numpy(of)
    count = int(field.max()) + 1
    size = torch.zeros(count).index_add_(0, field, torch.ones(len(field)))
    truth = torch.zeros(count, dtype=torch.long)
    truth[field] = torch.from_numpy(labels)
    weight = (1 / torch.bincount(truth, minlength=classes).clamp_min(1))[truth]
    linear = torch.nn.Linear(features.shape[1], classes)
    optimiser = torch.optim.AdamW(linear.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        p = linear(features).softmax(dim=1)
        mean = torch.zeros(count, classes).index_add_(0, field, p) / size[:, None]
        losses = -mean.clamp_min(1e-6).log()[torch.arange(count), truth]
        loss = (losses * weight).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimiser.step()
    inherited = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()
    with torch.no_grad():
        told = INHERITED * inherited + (1 - INHERITED) * linear(features).softmax(dim=1)
    kept = torch.tensor(list(certain))[:, None]
    return torch.where(kept, inherited, told)


def _class_token(network: WhiteCellVit, pictures: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    hidden = network.vit(
        pixel_values=(pictures - mean) / deviation, interpolate_pos_encoding=True
    ).last_hidden_state
    token: Tensor = hidden[:, 0]
    return token
