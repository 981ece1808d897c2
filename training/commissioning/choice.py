"""What a few labelled cells may change of a stage, and whether it is better for it.

In      the features of labelled cells, their classes and pictures, the parent's last layer,
        temperature and thresholds
Out     Choice: what the stage gets; Verdict: before and after, side by side, and in one line why
Nobody is judged on cells that he was fitted on: pictures are dealt out into five folds of neighbours, and
each fold is told by what the other four gave. Everything that is chosen (how much of the site's batch-norm
statistics, how strongly the last layer is held, the temperature, the thresholds) is chosen anew inside
those four, again fold by fold. Procedures are tried in order, each may do more than the one before; the
next is taken only where it lowers the log loss, balanced by class, with the whole 95 % interval, and where
weights change also raises the mean recall so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, floor, inf, log

import numpy as np
import numpy.typing as npt

from training.assemble import RIGHT, reject_thresholds
from training.commissioning.head import (
    Head,
    balanced_weights,
    log_losses,
    refitted,
    temperature_near,
)
from training.metrics import bootstrapped, share, softened_p

__all__ = [
    "FOLDS",
    "Choice",
    "Labelled",
    "Procedure",
    "Score",
    "Told",
    "Verdict",
    "folds_of",
    "judged",
    "share_score",
]

FOLDS = 5
STRENGTHS = (inf, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
DRAWS = 4000
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class Procedure(StrEnum):
    """What may be fitted: each also what stands before it, as far as the stage allows it."""

    PARENT = "parent"
    TEMPERATURE = "temperature"
    NORMS = "batch-norm statistics"
    LAST_LAYER = "last layer"


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """`features` (N, D) for each share of the site's batch-norm statistics, 0 among them.
    `procedures` are tried; without TEMPERATURE among them the parent's is kept. `reject_below` is
    empty where the stage rejects nothing."""

    procedures: tuple[Procedure, ...]
    classes: tuple[str, ...]
    features: Mapping[float, Floats]
    truth: Indices
    folds: Indices
    pictures: Indices  # number of the file that a cell is on
    head: Head
    temperature: float
    reject_below: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """What a stage gets. `share` is that of the site's batch-norm statistics."""

    share: float
    strength: float
    head: Head
    temperature: float
    reject_below: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One figure with its 95 % interval; `of` cells."""

    name: str
    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What cells were called by something that never saw them: (N, K) probabilities, and whether
    each cell was accepted."""

    p: Floats
    accepted: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """`gain` is what the log loss fell by, balanced by class, with its interval; of the procedure
    that was taken, or of the last that was not. `told` is by what the stage now has.
    Overconfidence is the mean probability of what was told, less the share that was right."""

    procedure: Procedure
    thresholds_changed: bool
    before: tuple[Score, ...]
    after: tuple[Score, ...]
    gain: Score
    told: Told
    why: str


def folds_of(labels: Sequence[str], pictures: Sequence[str]) -> Indices:
    """(N,) fold of each cell. Neighbours by name stay together, class by class, each class beginning
    at another fold; a picture is in the fold of its first class."""
    fold_of: dict[str, int] = {}
    for label in sorted(set(labels)):
        named = {p for name, p in zip(labels, pictures, strict=True) if name == label}
        own, first = sorted(named - fold_of.keys()), len(fold_of)
        fold_of |= {p: (i * FOLDS // len(own) + first) % FOLDS for i, p in enumerate(own)}
    return np.array([fold_of[p] for p in pictures], np.int64)


def judged(cells: Labelled) -> tuple[Choice, Verdict]:
    """See above."""
    fits = _Fits(cells)
    told = {p: _told(fits, p) for p in (Procedure.PARENT, *cells.procedures)}
    taken = Procedure.PARENT
    for procedure in cells.procedures:
        if _better(cells, told[taken], told[procedure], procedure):
            taken = procedure
    choice, final = fits.chosen(taken, without=None), told[taken]
    changed = taken is not Procedure.PARENT and bool(cells.reject_below)
    why = f"a new {taken} is better"
    if taken is Procedure.PARENT:
        why = "no better with a new " + " or ".join(cells.procedures)
        choice, final, changed = _new_thresholds(fits, choice, told[taken])
        why += ", better with new thresholds" if changed else ""
    shown = cells.procedures[-1] if taken is Procedure.PARENT else taken
    return choice, Verdict(
        procedure=taken,
        thresholds_changed=changed,
        before=_scores(cells, told[Procedure.PARENT]),
        after=_scores(cells, final),
        gain=_gain(cells, told[Procedure.PARENT], told[shown]),
        told=final,
        why=why,
    )


class _Fits:
    """Heads fitted without one or two of the folds, each once."""

    def __init__(self, cells: Labelled) -> None:
        self.cells = cells
        self._heads: dict[tuple[float, frozenset[int]], list[Head]] = {}

    def heads(self, share: float, without: frozenset[int]) -> list[Head]:
        """For each of STRENGTHS, fitted on the other folds; the parent alone where no last layer
        is tried."""
        key = share, without
        if key not in self._heads:
            cells = self.cells
            kept = ~np.isin(cells.folds, list(without))
            self._heads[key] = refitted(
                cells.features[share][kept],
                cells.truth[kept],
                cells.head,
                strengths=STRENGTHS if Procedure.LAST_LAYER in cells.procedures else (inf,),
            )
        return self._heads[key]

    def chosen(
        self, procedure: Procedure, *, without: int | None, thresholds: bool = False
    ) -> Choice:
        """The procedure carried out on all folds but one: what it would give to a stage. The
        parent's own thresholds come back unless new ones are asked for with `thresholds`."""
        cells = self.cells
        out = frozenset(() if without is None else (without,))
        kept = ~np.isin(cells.folds, list(out))
        truth = cells.truth[kept]
        if procedure is Procedure.PARENT:
            made, logits = (0.0, 0), cells.head.logits(cells.features[0.0][kept])
            temperature = cells.temperature
        else:
            made, logits = self._best(procedure, out)
            temperature = self._temperature(logits, truth)
        rejects = {
            n: _carried(t, cells.temperature, temperature) for n, t in cells.reject_below.items()
        }
        if rejects and (procedure is not Procedure.PARENT or thresholds):
            found = reject_thresholds(softened_p(logits, temperature), truth, cells.classes)
            rejects |= {cells.classes[i]: found[cells.classes[i]] for i in np.unique(truth)}
        return Choice(
            share=made[0],
            strength=STRENGTHS[made[1]],
            head=self.heads(made[0], out)[made[1]],
            temperature=round(temperature, 4),
            reject_below=rejects,
        )

    def _best(self, procedure: Procedure, out: frozenset[int]) -> tuple[tuple[float, int], Floats]:
        """Share and strength of least log loss on cells that were not fitted on, and those cells'
        logits; of equals the one nearest to the parent."""
        cells = self.cells
        kept = np.flatnonzero(~np.isin(cells.folds, list(out)))
        truth, folds = cells.truth[kept], cells.folds[kept]
        weights = balanced_weights(truth)
        tried: list[tuple[float, tuple[float, int], Floats]] = []
        shares = (0.0,) if procedure is Procedure.TEMPERATURE else sorted(cells.features)
        strengths = range(len(STRENGTHS) if procedure is Procedure.LAST_LAYER else 1)
        for share_ in shares:
            features = cells.features[share_][kept]
            for index in strengths:
                logits = np.empty((len(kept), len(cells.classes)))
                for fold in np.unique(folds):
                    head = self.heads(share_, out | {int(fold)})[index]
                    logits[folds == fold] = head.logits(features[folds == fold])
                temperature = self._temperature(logits, truth)
                loss = float(weights @ log_losses(softened_p(logits, temperature), truth))
                tried.append((loss, (share_, index), logits))
        _, made, logits = min(tried, key=lambda one: one[0])
        return made, logits

    def _temperature(self, logits: Floats, truth: Indices) -> float:
        near = self.cells.temperature
        if Procedure.TEMPERATURE not in self.cells.procedures:
            return near
        return temperature_near(logits, truth, near)


def _told(fits: _Fits, procedure: Procedure, *, thresholds: bool = False) -> Told:
    """Each fold by what the procedure makes of the others."""
    cells = fits.cells
    p = np.empty((len(cells.truth), len(cells.classes)))
    accepted = np.empty(len(cells.truth), bool)
    for fold in np.unique(cells.folds):
        own = cells.folds == fold
        choice = fits.chosen(procedure, without=int(fold), thresholds=thresholds)
        logits = choice.head.logits(cells.features[choice.share][own])
        p[own] = softened_p(logits, choice.temperature)
        limits = np.array([choice.reject_below.get(name, 0.0) for name in cells.classes])
        accepted[own] = p[own].max(axis=1) >= limits[p[own].argmax(axis=1)]
    return Told(p=p, accepted=accepted)


def _new_thresholds(fits: _Fits, choice: Choice, parent: Told) -> tuple[Choice, Told, bool]:
    """Taken where too many of the accepted were wrong and fewer are, or where as many as wanted are
    right and more cells are accepted."""
    cells = fits.cells
    if not cells.reject_below:
        return choice, parent, False
    told = _told(fits, Procedure.PARENT, thresholds=True)
    right = [_right(cells, t)[t.accepted] for t in (parent, told)]
    before, after = (float(r.mean()) if len(r) else 0.0 for r in right)
    better = after > before if before < RIGHT else after >= RIGHT and len(right[1]) > len(right[0])
    if not better:
        return choice, parent, False
    return fits.chosen(Procedure.PARENT, without=None, thresholds=True), told, True


def _better(cells: Labelled, before: Told, after: Told, procedure: Procedure) -> bool:
    """A temperature changes only how certain a stage is. Weights must also tell more cells right:
    a network that knows nothing and says so has a lower log loss than one that is certainly wrong."""
    if _gain(cells, before, after).low <= 0:
        return False
    if procedure is Procedure.TEMPERATURE:
        return True
    more = _right(cells, after).astype(float) - _right(cells, before)
    return _drawn(cells, "", lambda at: _balanced_mean(more[at], cells.truth[at])).low > 0


def _gain(cells: Labelled, before: Told, after: Told) -> Score:
    """What the log loss falls by, each class weighing the same; the interval draws pictures."""
    fall = log_losses(before.p, cells.truth) - log_losses(after.p, cells.truth)
    return _drawn(cells, "gain in log loss", lambda at: _balanced_mean(fall[at], cells.truth[at]))


def _balanced_mean(values: Floats, truth: Indices) -> float:
    return float(balanced_weights(truth) @ values)


def _right(cells: Labelled, told: Told) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = told.p.argmax(axis=1) == cells.truth
    return right


def _scores(cells: Labelled, told: Told) -> tuple[Score, ...]:
    right, losses = _right(cells, told), log_losses(told.p, cells.truth)
    kept = told.accepted
    return (
        share_score("accuracy", int(right.sum()), len(right)),
        _recall(cells, right),
        _drawn(cells, "log loss", lambda at: _balanced_mean(losses[at], cells.truth[at])),
        _drawn(cells, "overconfidence", lambda at: float((told.p.max(axis=1) - right)[at].mean())),
        share_score("accepted", int(kept.sum()), len(kept)),
        share_score("right of the accepted", int(right[kept].sum()), int(kept.sum())),
    )


def _recall(cells: Labelled, right: npt.NDArray[np.bool_]) -> Score:
    """The interval is the wider of two: over pictures drawn anew, which says nothing where all or
    none are right, and over recalls drawn for each class from what its cells allow (Jeffreys)."""
    drawn = _drawn(
        cells,
        "mean recall",
        lambda at: _balanced_mean(right[at].astype(float), cells.truth[at]),
    )
    rng = np.random.default_rng(0)
    classes = [right[cells.truth == k] for k in np.unique(cells.truth)]
    means = np.mean([rng.beta(r.sum() + 0.5, (~r).sum() + 0.5, DRAWS) for r in classes], axis=0)
    low, high = np.quantile(means, (0.025, 0.975))
    return replace(
        drawn,
        low=min(drawn.low, drawn.value, float(low)),
        high=max(drawn.high, drawn.value, float(high)),
    )


def share_score(name: str, count: int, of: int) -> Score:
    """`count` of `of` with the exact interval."""
    one = share(count, of)
    value = one.value if of else 0.0
    return Score(name=name, value=value, low=one.low, high=one.high, of=of)


def _drawn(cells: Labelled, name: str, statistic: Callable[[Indices], float]) -> Score:
    """The figure over all cells, its interval over pictures drawn anew."""
    members = [np.flatnonzero(cells.pictures == n) for n in np.unique(cells.pictures)]
    low, high = bootstrapped(
        lambda drawn: statistic(np.concatenate([members[i] for i in drawn])), len(members)
    )
    whole = np.arange(len(cells.truth))
    return Score(name=name, value=statistic(whole), low=low, high=high, of=len(whole))


def _carried(threshold: float, before: float, after: float) -> float:
    """The limit at which about the same cells are rejected when the temperature changes: the same
    place on the scale of the logits. For classes without labels, whose own limit nobody can fit."""
    if not 0 < threshold < 1 or before == after:
        return threshold
    logit = log(threshold / (1 - threshold)) * before / after
    return floor(1e4 / (1 + exp(-logit))) / 1e4
