"""Where in a crop a network looked: Grad-CAM for stages 5 and 6, attention rollout for stage 4.

In      a crop as the stage sees it, its network, the class that was named
Out     Saliency: (h, w) float32 0..1 at the network's own coarse grid
Errors  ExplanationWithheld where the map says nothing about this network: it stays much the same when
        the network's weights are shuffled (Adebayo et al. 2018), or is flat
A map is no reason for an answer, and nothing is decided or counted by it.
Source  Selvaraju et al. 2017 (Grad-CAM); Abnar and Zuidema 2020 (attention rollout)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from domain.cells import Stage
from domain.image import Pixels
from inference.errors import ExplanationWithheld
from inference.manifest import NamingStage
from inference.tensors import tensor_of

__all__ = ["EXPLAINED", "MOST_ALIKE", "Saliency", "explain", "likeness", "saliency_of"]

Map = npt.NDArray[np.float32]  # (h, w), 0..1

EXPLAINED = (Stage.WBC_CLASS, Stage.MALIGNANCY, Stage.SUBTYPE)
MOST_ALIKE = 0.5  # mean absolute rank correlation with the maps of shuffled networks
SHUFFLES = 4
_LAST_MAPS = {Stage.MALIGNANCY: "layer4", Stage.SUBTYPE: "features"}  # torchvision's names


@dataclass(frozen=True, kw_only=True, eq=False)
class Saliency:
    """`likeness`: how far the maps of shuffled networks resemble this one, 0 (not) to 1 (the same)."""

    stage: Stage
    class_name: str
    values: Map
    likeness: float


def explain(
    crop: Pixels, *, stage: Stage, network: nn.Module, entry: NamingStage, class_name: str
) -> Saliency:
    """`crop` (S, S, 3) uint8 RGB. Raises ExplanationWithheld, and ValueError for a class that the
    stage does not name."""
    index = entry.classes.index(class_name)
    pixels = tensor_of(crop[np.newaxis], entry)
    values = saliency_of(pixels, stage=stage, network=network, index=index)
    alike = likeness(values, pixels, stage=stage, network=network, index=index)
    if alike > MOST_ALIKE:
        raise ExplanationWithheld(
            f"no overlay for stage {stage.number} ({stage.value}): it hardly depends on the network "
            f"(likeness {alike:.2f} after its weights are shuffled, at most {MOST_ALIKE:g}); look at "
            "the cell itself"
        )
    return Saliency(stage=stage, class_name=class_name, values=values, likeness=alike)


def saliency_of(pixels: Tensor, *, stage: Stage, network: nn.Module, index: int) -> Map:
    """The map of one crop (1, 3, S, S), normalised; all 0 where the network gives none."""
    if stage is Stage.WBC_CLASS:
        found = _rollout(network, pixels)
    else:
        found = _grad_cam(network, _LAST_MAPS[stage], pixels, index)
    values = np.nan_to_num(found.detach().double().numpy(), posinf=0.0, neginf=0.0)
    values -= values.min()
    most = values.max()
    scaled: Map = (values / most if most > 0 else values).astype(np.float32)
    return scaled


def likeness(values: Map, pixels: Tensor, *, stage: Stage, network: nn.Module, index: int) -> float:
    """Mean absolute rank correlation of the map with those of networks whose weights are shuffled
    within each tensor (the same shuffles every time); 1 for a flat map, which shows nothing."""
    if np.ptp(values) == 0:
        return 1.0
    alike = []
    for seed in range(SHUFFLES):
        other = saliency_of(pixels, stage=stage, network=_shuffled(network, seed), index=index)
        flat = np.ptp(other) == 0
        alike.append(0.0 if flat else abs(float(spearmanr(values.ravel(), other.ravel())[0])))
    return float(np.mean(alike))


def _shuffled(network: nn.Module, seed: int) -> nn.Module:
    other = deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in other.parameters():
            order = torch.randperm(weights.numel(), generator=generator)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return other


def _grad_cam(network: nn.Module, layer: str, pixels: Tensor, index: int) -> Tensor:
    """The layer's maps, weighted by how the class's logit rises with each."""
    kept: list[Tensor] = []
    hook = getattr(network, layer).register_forward_hook(lambda _m, _in, out: kept.append(out))
    logits_of = getattr(network, "logits", network)  # stage 6 ends in probabilities
    try:
        with torch.enable_grad():
            logit = logits_of(pixels.clone().requires_grad_())[0, index]
            (gradient,) = torch.autograd.grad(logit, kept[0])
    finally:
        hook.remove()
    return (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1).relu()[0]


def _rollout(network: nn.Module, pixels: Tensor) -> Tensor:
    """How much of each patch reaches the class token through all layers, heads averaged, with the
    residual connection as half of each layer."""
    vit: Any = network.vit
    with _with_attentions(vit), torch.no_grad():
        layers = vit(pixel_values=pixels, output_attentions=True).attentions
    rolled = torch.eye(layers[0].shape[-1])
    for attention in layers:
        mixed = attention[0].mean(dim=0) / 2 + torch.eye(attention.shape[-1]) / 2
        rolled = mixed / mixed.sum(dim=-1, keepdim=True) @ rolled
    to_patches = rolled[0, 1:]
    side = round(to_patches.numel() ** 0.5)
    return to_patches.view(side, side)


@contextmanager
def _with_attentions(vit: Any) -> Iterator[None]:
    """Only transformers' plain attention gives its weights."""
    before = vit.config._attn_implementation  # noqa: SLF001 (its own name for it)
    vit.config._attn_implementation = "eager"  # noqa: SLF001
    try:
        yield
    finally:
        vit.config._attn_implementation = before  # noqa: SLF001
