"""Two small networks for the tests of overlays: one whose map rests on its weights, one whose map does not."""

import json

import numpy as np
import torch
from torch import Tensor, nn

from domain.cells import Stage
from inference.manifest import NamingStage, parse_manifest
from inference.untrained import _document


def entry(stage: Stage) -> NamingStage:
    """A stage's entry of the untrained bundle's manifest."""
    document = _document(seed=1, detector="yolov5n")
    return parse_manifest(json.dumps(document).encode(), name="x").stages.of(stage)


def field_with_a_red_spot(*, x: int, y: int, size: int = 32) -> np.ndarray:
    """Coloured noise, and a red spot of 4 pixels."""
    crop = np.random.default_rng(2).integers(60, 200, (size, size, 3)).astype(np.uint8)
    crop[y : y + 4, x : x + 4] = (255, 0, 0)
    return crop


class _Small(nn.Module):
    layer4: nn.Module

    def forward(self, crops: Tensor) -> Tensor:
        return self.fc(self.layer4(crops).mean(dim=(2, 3)))


class RedSpotNetwork(_Small):
    """Looks for red, and takes it for malignant; 4 further maps look for other colours."""

    def __init__(self) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, 5, kernel_size=4, stride=4)
        colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, 1, 1], [1, 1, -1]])
        self.layer4 = nn.Sequential(convolution, nn.ReLU())
        self.fc = nn.Linear(5, 2)
        with torch.no_grad():
            convolution.weight.copy_(colours[:, :, None, None].expand(5, 3, 4, 4) / 16)
            convolution.bias.zero_()
            self.fc.weight.copy_(torch.tensor([[0, 1.0, 1, 1, 1], [5, -1, -1, -1, -1]]))
            self.fc.bias.zero_()
        self.requires_grad_(False)


class EdgeNetwork(_Small):
    """Its map is the crop's own contrast, whatever its weights: both of them are the same number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer4 = nn.Sequential(nn.AvgPool2d(4))
        self.fc = nn.Linear(3, 2)
        with torch.no_grad():
            self.fc.weight.fill_(1)
            self.fc.bias.zero_()
        self.requires_grad_(False)
