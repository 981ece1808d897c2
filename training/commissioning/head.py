"""A last layer fitted anew to few cells, held to what it was: logistic regression with a prior.

In      what enters a linear layer for each labelled cell, and that layer as the parent has it
Out     Head: the layer of least balanced log loss + strength / 2 x (distance from the parent)^2
The distance is measured in logits: weights times the deviation of the features, and the level. With
endless strength the parent comes out, bit for bit; classes without a labelled cell keep their row, bit
for bit. The problem is convex, so its answer depends on nothing but the cells. Pure: numpy and scipy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from training.metrics import softened_p

__all__ = ["Head", "balanced_weights", "log_losses", "refitted", "temperature_near"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

TEMPERATURES = np.exp(np.linspace(np.log(0.05), np.log(20), 81))
TEMPERATURE_PRIOR = float(np.log(2))  # deviation of its logarithm: one cell's worth of doubt
SMALLEST_P = 1e-6  # the records have six decimals


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A linear layer: `weight` (K, D), `bias` (K,)."""

    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """(N, D) -> (N, K)."""
        made: Floats = features @ self.weight.T + self.bias
        return made


def balanced_weights(truth: Indices) -> Floats:
    """Each class that is there weighs the same, all cells together 1: which cells somebody labelled
    is not how many of them the laboratory sees."""
    counts = np.bincount(truth)
    weights: Floats = 1 / (counts[truth] * np.count_nonzero(counts))
    return weights


def log_losses(p: Floats, truth: Indices) -> Floats:
    """(N, K) probabilities -> (N,) minus the logarithm of the true class's."""
    losses: Floats = -np.log(np.maximum(p[np.arange(len(truth)), truth], SMALLEST_P))
    return losses


def temperature_near(logits: Floats, truth: Indices, near: float) -> float:
    """Of least log loss; a lognormal prior at `near` keeps a handful of cells, all told right, from
    making the network certain of everything."""
    losses = [
        log_losses(softened_p(logits, t), truth).sum()
        + np.log(t / near) ** 2 / (2 * TEMPERATURE_PRIOR**2)
        for t in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(losses))])


def refitted(
    features: Floats, truth: Indices, parent: Head, *, strengths: Sequence[float]
) -> list[Head]:
    """(N, D) features, (N,) classes -> a head for each strength, in their order, strongest first."""
    middle = features.mean(axis=0)
    centred = features - middle
    spread = float(np.sqrt((centred**2).mean(axis=0).sum()))
    if not spread:
        return [parent for _ in strengths]
    # any answer lies in the span of the cells: a few dozen directions instead of two thousand
    left, sizes, directions = np.linalg.svd(centred / spread, full_matrices=False)
    inside = np.hstack([left * sizes, np.ones((len(truth), 1))])  # (N, R + 1), the level last
    base = parent.logits(features)
    seen = np.unique(truth)
    change = np.zeros((len(seen), inside.shape[1]))
    heads = []
    for strength in strengths:
        if isinf(strength):
            heads.append(parent)
            continue
        change = _least(inside, base, truth, seen, strength, start=change)
        moved = np.zeros_like(parent.weight)
        moved[seen] = change[:, :-1] @ directions / spread
        bias = parent.bias.copy()
        bias[seen] += change[:, -1] - moved[seen] @ middle
        heads.append(Head(weight=parent.weight + moved, bias=bias))
    return heads


def _least(
    inside: Floats, base: Floats, truth: Indices, seen: Indices, strength: float, *, start: Floats
) -> Floats:
    """(S, R + 1): what is added to the rows of the classes seen."""
    weights = balanced_weights(truth)[:, None]
    wanted = np.zeros_like(base)
    wanted[np.arange(len(truth)), truth] = 1

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(start.shape)
        logits = base.copy()
        logits[:, seen] += inside @ change.T
        highest = logits.max(axis=1, keepdims=True)
        normal = highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
        value = -(weights * wanted * (logits - normal)).sum() + strength / 2 * (change**2).sum()
        wrong = weights * (np.exp(logits - normal) - wanted)
        return float(value), (wrong[:, seen].T @ inside + strength * change).ravel()

    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-8}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    least: Floats = np.asarray(found.x).reshape(start.shape)
    return least
