"""What each stage's training makes small.

Cross-entropy on logits for stages 1, 4, 5, 6 (of stage 6 before its softmax), also where the label is a
set of classes or none; Dice plus binary cross-entropy on the map and cross-entropy on the class for
stage 3.
"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["box_logits", "map_loss", "naming_loss", "soft_loss", "solved_head"]


def naming_loss(logits: Tensor, allowed: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """(N, K) logits, (N, K) bool. One class allowed: cross-entropy with `smoothing`; several: minus
    the logarithm of their sum; none: cross-entropy against the uniform distribution."""
    logs = functional.log_softmax(logits.float(), dim=1)
    number = allowed.sum(dim=1)
    barred = torch.zeros_like(logs).masked_fill(~allowed, float("-inf"))
    any_allowed = number > 0
    summed = torch.where(
        any_allowed,
        -torch.logsumexp(torch.where(any_allowed[:, None], logs + barred, logs), 1),
        0.0,
    )
    uniform = -logs.mean(dim=1)
    single = (1 - smoothing) * summed + smoothing * uniform
    each = torch.where(number == 1, single, torch.where(any_allowed, summed, uniform))
    return each.mean()


def solved_head(
    features: Tensor, allowed: Tensor, *, decay: float = 0.03, steps: int = 60
) -> tuple[Tensor, Tensor]:
    """(N, D) features, (N, K) bool -> weight (K, D), bias (K): the linear layer of least `naming_loss`
    on standardised features, with weight decay. Its features may lie anywhere."""
    mean, spread = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    x = (features - mean) / spread
    weight = torch.zeros(allowed.shape[1], x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(allowed.shape[1], device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = naming_loss(x @ weight.T + bias, allowed) + decay / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch's own
        return value

    with torch.enable_grad():
        solver.step(loss)  # type: ignore[no-untyped-call]  # torch's own
    scaled = weight.detach() / spread
    return scaled, bias.detach() - scaled @ mean


def soft_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """(N, K) logits, (N, K) shares that sum to 1: cross-entropy with `smoothing`."""
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def map_loss(maps: Tensor, masks: Tensor, kinds: Tensor, boxes: Tensor) -> Tensor:
    """`maps` (N, 3, h, w) logits, `masks` (N, h, w) 0..1 of the cell, `kinds` (N,) its class,
    `boxes` (N, h, w) 0..1 where its box lies. The map of another class than the cell's is empty."""
    wanted = functional.one_hot(kinds, maps.shape[1])[:, :, None, None] * masks[:, None]
    maps = maps.float()
    entropy = functional.binary_cross_entropy_with_logits(maps, wanted)
    of_cell = maps[torch.arange(len(maps), device=maps.device), kinds].sigmoid()
    both = (of_cell * masks).sum(dim=(1, 2))
    dice = 1 - (2 * both + 1) / (of_cell.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)) + 1)
    named = functional.cross_entropy(box_logits(maps, boxes), kinds)
    return entropy + dice.mean() + named


def box_logits(maps: Tensor, boxes: Tensor) -> Tensor:
    """(N, K, h, w), (N, h, w) -> (N, K): the mean over the box, as stage 3 pools at inference."""
    weights = boxes / boxes.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    return (maps * weights[:, None]).sum(dim=(2, 3))
