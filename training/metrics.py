"""Counts into figures: exact small arithmetic, each with its interval.

In      numpy arrays of true indices and of probabilities
Out     frozen values; nothing is rounded here
Intervals of shares are exact binomial (Clopper and Pearson 1934); those of means over classes and of
areas under curves come from a seeded bootstrap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, rankdata

__all__ = [
    "ClassFigures",
    "Figures",
    "Reliability",
    "Share",
    "auc",
    "bootstrapped",
    "figures_of",
    "fitted_temperature",
    "reliability_of",
    "share",
    "softened_p",
]

Probabilities = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Share:
    """`count` of `of`, and the 95 % interval; an empty one is unknown between 0 and 1."""

    count: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.of if self.of else float("nan")


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One class: precision and recall are shares with intervals, support is the number of cells."""

    name: str
    precision: Share
    recall: Share
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One classifier on one lot. Classes without any cell are left out of the means."""

    accuracy: Share
    classes: tuple[ClassFigures, ...]
    macro: tuple[float, float, float]  # precision, recall, F1
    weighted: tuple[float, float, float]
    confusion: tuple[tuple[int, ...], ...]  # rows true, columns told


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """`bins`: (mean confidence, share right, number); `ece` is the expected calibration error."""

    bins: tuple[tuple[float, float, int], ...]
    ece: float


def share(count: int, of: int, *, level: float = 0.95) -> Share:
    """Clopper and Pearson's interval."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, of - count)) if count < of else 1.0
    return Share(count=count, of=of, low=low, high=high)


def figures_of(truth: Indices, told: Indices, classes: Sequence[str]) -> Figures:
    """`told` may hold -1 for a cell that was not named; it counts as wrong."""
    number = len(classes)
    confusion = np.zeros((number, number), np.int64)
    for t, p in zip(truth, told, strict=True):
        if p >= 0:
            confusion[t, p] += 1
    support = np.bincount(truth, minlength=number)
    rows = []
    for i, name in enumerate(classes):
        right = int(confusion[i, i])
        precision = share(right, int(confusion[:, i].sum()))
        recall = share(right, int(support[i]))
        both = precision.of + recall.of
        f1 = 2 * right / both if both else 0.0
        rows.append(
            ClassFigures(name=name, precision=precision, recall=recall, f1=f1, support=recall.of)
        )
    seen = [r for r in rows if r.support]
    values = np.array([[_known(r.precision), _known(r.recall), r.f1] for r in seen]).reshape(-1, 3)
    weights = np.array([r.support for r in seen], dtype=float)
    macro = values.mean(axis=0) if seen else np.full(3, np.nan)
    weighted = weights @ values / weights.sum() if seen else np.full(3, np.nan)
    return Figures(
        accuracy=share(int(np.trace(confusion)), len(truth)),
        classes=tuple(rows),
        macro=(float(macro[0]), float(macro[1]), float(macro[2])),
        weighted=(float(weighted[0]), float(weighted[1]), float(weighted[2])),
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
    )


def auc(higher: npt.NDArray[np.floating], lower: npt.NDArray[np.floating]) -> float:
    """Probability that one of `higher` is above one of `lower`; ties count half (Mann, Whitney)."""
    if not len(higher) or not len(lower):
        return float("nan")
    ranks = rankdata(np.concatenate([higher, lower]))[: len(higher)]
    return float((ranks.sum() - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower)))


def reliability_of(truth: Indices, p: Probabilities, *, bins: int = 10) -> Reliability:
    """Confidence of the best class against how often it is right, in bins of equal width."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    rows, ece = [], 0.0
    for i in range(bins):
        inside = at == i
        if inside.any():
            mean, hit = float(confidence[inside].mean()), float(right[inside].mean())
            rows.append((mean, hit, int(inside.sum())))
            ece += inside.mean() * abs(mean - hit)
    return Reliability(bins=tuple(rows), ece=float(ece))


def softened_p(logits: Probabilities, temperature: float) -> Probabilities:
    """(N, K) logits -> probabilities."""
    scaled = logits / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p: Probabilities = raised / raised.sum(axis=1, keepdims=True)
    return p


def fitted_temperature(logits: Probabilities, truth: Indices) -> float:
    """The temperature of least negative log-likelihood, between a twentieth and twenty."""
    tried = np.exp(np.linspace(np.log(0.05), np.log(20), 241))
    at = np.arange(len(truth))
    losses = [-np.log(np.maximum(softened_p(logits, t)[at, truth], 1e-12)).mean() for t in tried]
    return float(tried[int(np.argmin(losses))])


def bootstrapped(
    statistic: Callable[[Indices], float], size: int, *, seed: int = 0, rounds: int = 500
) -> tuple[float, float]:
    """95 % interval of a statistic of drawn indices."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, size, size)) for _ in range(rounds)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _known(one: Share) -> float:
    return one.value if one.of else 0.0
