"""Soft labels for cells of labelled fields, and networks that leave their teacher behind."""

import numpy as np
import pytest
import torch

from inference.networks.densenet import SubtypeDenseNet
from inference.networks.resnet import malignancy_resnet
from training.losses import solved_head
from training.tasks.naming import _Student
from training.teacher import FEATURES, soft_labels


@pytest.fixture(scope="module")
def cells():
    """Forty fields of ten cells: in those of class 1 four cells of ten are strangers that look like
    cells of class 0."""
    rng = np.random.default_rng(4)
    fields = np.repeat(np.arange(40), 10)
    labels = (fields % 2).astype(np.int64)
    stranger = (labels == 1) & (np.arange(400) % 10 < 4)
    looks = np.where(stranger, 0, labels)
    features = rng.normal(size=(400, 16)) + 3 * (looks[:, None] * 2 - 1) * (np.arange(16) < 4)
    return torch.from_numpy(features).float(), labels, fields, stranger


def told(cells, certain):
    features, labels, fields, _ = cells
    return soft_labels(features, labels, list(fields), classes=2, certain=certain, seed=1)


def test_training_strangers_in_a_field_get_a_weaker_label(cells):
    _, labels, _, stranger = cells
    p = told(cells, [False] * 400)
    assert torch.allclose(p.sum(dim=1), torch.ones(400), atol=1e-5)
    assert p[(labels == 1) & ~stranger, 1].mean() > 0.95
    assert p[stranger, 1].mean() < 0.75
    assert p[stranger, 1].min() >= 0.5  # the field's own label is never outvoted


def test_training_certain_labels_stay_as_they_are(cells):
    _, labels, _, _ = cells
    p = told(cells, [bool(v == 0) for v in labels])
    assert (p[labels == 0, 0] == 1).all()


@pytest.mark.parametrize("made", [malignancy_resnet, SubtypeDenseNet])
def test_training_what_is_kept_of_a_taught_network_is_the_network(made):
    torch.manual_seed(0)
    student = _Student(made()).eval()
    logits, seen = student(torch.zeros(2, 3, 64, 64))
    assert seen.shape == (2, FEATURES)
    again = made().eval()
    again.load_state_dict(_Student.own(student.state_dict()), strict=True)
    with torch.inference_mode():
        x = torch.zeros(2, 3, 64, 64)
        own = again.logits(x) if hasattr(again, "logits") else again(x)
    assert torch.allclose(own, logits, atol=1e-6)


def test_training_last_layer_is_solved_wherever_the_features_lie():
    rng = torch.Generator().manual_seed(2)
    labels = torch.arange(300) % 3
    features = torch.randn(300, 8, generator=rng) * 0.1 + 50
    features[torch.arange(300), labels] += 0.5
    allowed = torch.nn.functional.one_hot(labels, 3).bool()
    weight, bias = solved_head(features, allowed, decay=1e-3)
    told = (features @ weight.T + bias).argmax(dim=1)
    assert (told == labels).float().mean() > 0.98
