"""Pixels to pictures of the loop and on to what a network takes."""

import numpy as np
import torch
from torch import Tensor

from domain.image import Pixels
from training.recipes import Recipe

__all__ = ["inputs_of", "pictures_of"]


def pictures_of(pixels: Pixels) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255


def inputs_of(pictures: Tensor, recipe: Recipe) -> Tensor:
    """(N, 3, S, S) 0..1 -> the same, normalised as the manifest will say."""
    mean = torch.tensor(recipe.mean, device=pictures.device).view(1, 3, 1, 1)
    deviation = torch.tensor(recipe.deviation, device=pictures.device).view(1, 3, 1, 1)
    normalised = (pictures - mean) / deviation
    return normalised.contiguous(memory_format=torch.channels_last)
