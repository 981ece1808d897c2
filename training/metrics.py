"""Counts into figures: exact small arithmetic, each with its interval.

In      numpy arrays of true indices and of probabilities
Out     frozen values; nothing is rounded here
Intervals are of 95 %: of shares exact binomial (Clopper and Pearson 1934), of areas under curves after
DeLong, DeLong and Clarke-Pearson 1988 on the logit scale, of everything else from a seeded bootstrap. Where
items come in groups (cells of a field, fields of a stain) whole groups are drawn, because members of one
group are no independent witnesses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, rankdata

__all__ = [
    "ClassFigures",
    "Estimate",
    "Figures",
    "Reliability",
    "Share",
    "auc",
    "auc_estimate",
    "bootstrapped",
    "calibration_error",
    "estimated",
    "figures_of",
    "fitted_temperature",
    "reliability_of",
    "share",
    "softened_p",
]

Probabilities = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

Z = 1.959963984540054  # of the normal distribution, 97.5 %


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
class Estimate:
    """A figure that is no share, and its 95 % interval; NaN where it is not known."""

    value: float
    low: float
    high: float


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
    """One classifier on one lot. Classes without any cell are left out of the means.

    `macro_intervals` has (low, high) of each of the three macro means; empty where none was asked for.
    """

    accuracy: Share
    classes: tuple[ClassFigures, ...]
    macro: tuple[float, float, float]  # precision, recall, F1
    weighted: tuple[float, float, float]
    confusion: tuple[tuple[int, ...], ...]  # rows true, columns told
    macro_intervals: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """`bins`: (mean confidence, share right, number); `ece` is the expected calibration error, whose
    interval is NaN where none was asked for."""

    bins: tuple[tuple[float, float, int], ...]
    ece: float
    low: float = float("nan")
    high: float = float("nan")


def share(count: int, of: int, *, level: float = 0.95) -> Share:
    """Clopper and Pearson's interval."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, of - count)) if count < of else 1.0
    return Share(count=count, of=of, low=low, high=high)


def figures_of(
    truth: Indices,
    told: Indices,
    classes: Sequence[str],
    *,
    rounds: int = 0,
    groups: Indices | None = None,
) -> Figures:
    """`told` may hold -1 for a cell that was not named; it counts as wrong. With `rounds` of a
    bootstrap (over `groups`, where they are given) the macro means get intervals."""
    confusion = _confusion(truth, told, len(classes))
    support = np.bincount(truth, minlength=len(classes))
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
    macro, weighted = _means(confusion, support)
    intervals: tuple[tuple[float, float], ...] = ()
    if rounds and len(truth):

        def drawn(index: Indices) -> Rows:
            cells = truth[index]
            return _means(
                _confusion(cells, told[index], len(classes)),
                np.bincount(cells, minlength=len(classes)),
            )[0]

        intervals = _intervals(drawn, len(truth), groups=groups, seed=0, rounds=rounds)
    return Figures(
        accuracy=share(int(np.trace(confusion)), len(truth)),
        classes=tuple(rows),
        macro=(float(macro[0]), float(macro[1]), float(macro[2])),
        weighted=(float(weighted[0]), float(weighted[1]), float(weighted[2])),
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        macro_intervals=intervals,
    )


def auc(higher: npt.NDArray[np.floating], lower: npt.NDArray[np.floating]) -> float:
    """Probability that one of `higher` is above one of `lower`; ties count half (Mann, Whitney)."""
    if not len(higher) or not len(lower):
        return float("nan")
    ranks = rankdata(np.concatenate([higher, lower]))[: len(higher)]
    return float((ranks.sum() - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower)))


def auc_estimate(higher: npt.NDArray[np.floating], lower: npt.NDArray[np.floating]) -> Estimate:
    """`auc` with DeLong's interval. Where the two do not overlap at all DeLong's variance is 0; the
    interval then is what as many successes in a row as the smaller side has members would give."""
    value, m, n = auc(higher, lower), len(higher), len(lower)
    if min(m, n) == 0:
        return Estimate(value=value, low=0.0, high=1.0)
    if value in (0.0, 1.0):
        bound = 0.025 ** (1 / min(m, n))
        low, high = (bound, 1.0) if value else (0.0, 1 - bound)
        return Estimate(value=value, low=low, high=high)
    if min(m, n) < 2:
        return Estimate(value=value, low=0.0, high=1.0)
    ranks = rankdata(np.concatenate([higher, lower]))
    of_higher = (ranks[:m] - rankdata(higher)) / n  # for each, the share of the lower it is above
    of_lower = 1 - (ranks[m:] - rankdata(lower)) / m
    variance = of_higher.var(ddof=1) / m + of_lower.var(ddof=1) / n
    half = Z * np.sqrt(variance) / (value * (1 - value))
    at = np.log(value / (1 - value))
    return Estimate(
        value=value,
        low=float(1 / (1 + np.exp(-(at - half)))),
        high=float(1 / (1 + np.exp(-(at + half)))),
    )


def reliability_of(
    truth: Indices,
    p: Probabilities,
    *,
    bins: int = 10,
    rounds: int = 0,
    groups: Indices | None = None,
) -> Reliability:
    """Confidence of the best class against how often it is right, in bins of equal width."""
    confidence, right = p.max(axis=1), (p.argmax(axis=1) == truth).astype(float)
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = [
        (float(confidence[at == i].mean()), float(right[at == i].mean()), int((at == i).sum()))
        for i in range(bins)
        if (at == i).any()
    ]
    low = high = float("nan")
    if rounds:
        low, high = bootstrapped(
            lambda index: calibration_error(confidence[index], right[index], bins=bins),
            len(truth),
            groups=groups,
            rounds=rounds,
        )
    return Reliability(
        bins=tuple(rows), ece=calibration_error(confidence, right, bins=bins), low=low, high=high
    )


def calibration_error(
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.float64], *, bins: int = 10
) -> float:
    """Expected calibration error: distance of confidence and share right, weighted over bins."""
    if not len(confidence):
        return float("nan")
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    apart = np.bincount(at, weights=confidence - right, minlength=bins)
    return float(np.abs(apart).sum() / len(confidence))


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
    statistic: Callable[[Indices], float],
    size: int,
    *,
    groups: npt.NDArray[Any] | None = None,
    seed: int = 0,
    rounds: int = 500,
) -> tuple[float, float]:
    """95 % interval of a statistic of drawn indices; NaN where it is never known. With `groups` (one
    name an item) whole groups are drawn."""
    if not size:
        return float("nan"), float("nan")
    ((low, high),) = _intervals(
        lambda index: np.array([statistic(index)]), size, groups=groups, seed=seed, rounds=rounds
    )
    return low, high


def estimated(
    statistic: Callable[[Indices], float],
    size: int,
    *,
    groups: npt.NDArray[Any] | None = None,
    rounds: int = 500,
) -> Estimate:
    """The statistic of all items with its bootstrapped interval."""
    if not size:
        return Estimate(value=float("nan"), low=float("nan"), high=float("nan"))
    low, high = bootstrapped(statistic, size, groups=groups, rounds=rounds)
    return Estimate(value=statistic(np.arange(size)), low=low, high=high)


def _intervals(
    statistics: Callable[[Indices], Rows],
    size: int,
    *,
    groups: npt.NDArray[Any] | None,
    seed: int,
    rounds: int,
) -> tuple[tuple[float, float], ...]:
    """Of several statistics of the same draws."""
    rng = np.random.default_rng(seed)
    names = np.arange(size) if groups is None else np.asarray(groups)
    order = np.argsort(names, kind="stable")
    members = np.split(order, np.flatnonzero(names[order][1:] != names[order][:-1]) + 1)
    values = np.array(
        [
            statistics(
                np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
            )
            for _ in range(rounds)
        ]
    )
    found = []
    for column in values.T:
        known = column[np.isfinite(column)]
        if len(known):
            low, high = np.percentile(known, [2.5, 97.5])
            found.append((float(low), float(high)))
        else:
            found.append((float("nan"), float("nan")))
    return tuple(found)


def _confusion(truth: Indices, told: Indices, classes: int) -> Indices:
    """(K, K), rows true; cells that were not named are in no column."""
    named = told >= 0
    flat = np.bincount(truth[named] * classes + told[named], minlength=classes * classes)
    return flat.reshape(classes, classes)


def _means(confusion: Indices, support: Indices) -> tuple[Rows, Rows]:
    """Macro and weighted mean of precision, recall and F1 over the classes that have a cell."""
    seen = support > 0
    if not seen.any():
        return np.full(3, np.nan), np.full(3, np.nan)
    right, columns = np.diag(confusion)[seen], confusion.sum(axis=0)[seen]
    weights = support[seen]
    values = np.stack(
        [right / np.maximum(columns, 1), right / weights, 2 * right / (columns + weights)], axis=1
    )
    return values.mean(axis=0), weights @ values / weights.sum()
