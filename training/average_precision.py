"""Average precision of boxes, as COCO counts it (101 points of recall, IoU .5 to .95).

In      for each field the found boxes (n, 6: x0 y0 x1 y1 p class) and the true ones (m, 5: class x0 y0
        x1 y1)
Out     DetectionFigures
A found box takes the true one of its class that it overlaps most and that no more confident box has
taken. `ignored` classes of a field (whose labels are known to be incomplete) count neither way. Intervals
come from a seeded bootstrap over fields, because boxes of one field are no independent witnesses.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.metrics import Share, share

__all__ = ["DetectionFigures", "FieldBoxes", "detection_figures"]

IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldBoxes:
    """One field: what was found, what is there, and the classes that cannot be judged on it."""

    found: Array
    truth: Array
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DetectionFigures:
    """By class, in class order: AP at .5, AP over .5 to .95, and at the working confidence
    precision and recall. Classes without a true box have NaN and are left out of the means.
    Intervals are (low, high), NaN where none was asked for."""

    ap50: tuple[float, ...]
    ap: tuple[float, ...]
    precision: tuple[Share, ...]
    recall: tuple[Share, ...]
    ap50_intervals: tuple[tuple[float, float], ...]
    map50_interval: tuple[float, float]
    map_interval: tuple[float, float]

    @property
    def map50(self) -> float:
        return _mean(self.ap50)

    @property
    def map(self) -> float:
        return _mean(self.ap)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Matched:
    """The found boxes of one class, best first, with the field each lies in; `hits` (n, IoUs)."""

    p: Array
    hits: npt.NDArray[np.bool_]
    field: npt.NDArray[np.int64]
    truths: npt.NDArray[np.int64]  # of each field


def detection_figures(
    fields: Sequence[FieldBoxes], *, classes: int, confidence: float, rounds: int = 0
) -> DetectionFigures:
    """Pooled over the fields, with intervals from `rounds` of a bootstrap."""
    matched = [_matched(fields, index) for index in range(classes)]
    once = np.ones(len(fields))
    curves = np.array([_ap(m, once) for m in matched])  # (classes, IoUs)
    working = [m.p >= confidence for m in matched]
    right = [int(m.hits[w, 0].sum()) for m, w in zip(matched, working, strict=True)]
    rng = np.random.default_rng(0)
    drawn = np.array(
        [
            [_ap(m, times) for m in matched]
            for times in rng.multinomial(len(fields), once / max(len(fields), 1), size=rounds)
        ]
    ).reshape(rounds, classes, len(IOUS))
    return DetectionFigures(
        ap50=tuple(float(c[0]) for c in curves),
        ap=tuple(float(c.mean()) for c in curves),
        precision=tuple(share(r, int(w.sum())) for r, w in zip(right, working, strict=True)),
        recall=tuple(share(r, int(m.truths.sum())) for r, m in zip(right, matched, strict=True)),
        ap50_intervals=tuple(_interval(drawn[:, i, 0]) for i in range(classes)),
        map50_interval=_interval(np.array([_mean(one[:, 0]) for one in drawn])),
        map_interval=_interval(np.array([_mean(one.mean(axis=1)) for one in drawn])),
    )


def _matched(fields: Sequence[FieldBoxes], index: int) -> _Matched:
    """Fields on which the class cannot be judged give neither found nor true boxes."""
    ps: list[Array] = []
    hits: list[npt.NDArray[np.bool_]] = []
    where: list[npt.NDArray[np.int64]] = []
    truths = np.zeros(len(fields), np.int64)
    for number, field in enumerate(fields):
        if index in field.ignored:
            continue
        found = field.found[field.found[:, 5] == index]
        found = found[np.argsort(-found[:, 4], kind="stable")]
        truth = field.truth[field.truth[:, 0] == index][:, 1:]
        truths[number] = len(truth)
        overlap = ious(found[:, :4], truth)
        hit = np.zeros((len(found), len(IOUS)), bool)
        for column, at in enumerate(IOUS):
            taken = np.zeros(len(truth), bool)
            for row in np.flatnonzero(overlap.max(axis=1, initial=0.0) >= at):
                free = np.where(taken, -1.0, overlap[row])
                if free.max() >= at:
                    taken[int(free.argmax())] = True
                    hit[row, column] = True
        ps.append(found[:, 4])
        hits.append(hit)
        where.append(np.full(len(found), number, np.int64))
    p = np.concatenate([*ps, np.empty(0)])
    order = np.argsort(-p, kind="stable")
    return _Matched(
        p=p[order],
        hits=np.concatenate([*hits, np.zeros((0, len(IOUS)), bool)])[order],
        field=np.concatenate([*where, np.empty(0, np.int64)])[order],
        truths=truths,
    )


def ious(a: Array, b: Array) -> Array:
    """(n, 4), (m, 4) -> (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    found: Array = both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)
    return found


def _ap(matched: _Matched, times: npt.NDArray[np.floating]) -> Array:
    """(IoUs,) with each field taken so many times."""
    total = float(matched.truths @ times)
    if not total:
        return np.full(len(IOUS), np.nan)
    weight = times[matched.field]
    kept = weight > 0
    if not kept.any():
        return np.zeros(len(IOUS))
    weight = weight[kept]
    right = np.cumsum(matched.hits[kept] * weight[:, None], axis=0)
    precision = right / np.cumsum(weight)[:, None]
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.concatenate([precision, np.zeros((1, len(IOUS)))])
    # a hair below each level: sums of shares must not miss a recall that they reach exactly
    levels = np.linspace(0, 1, 101) * total - 1e-9
    return np.array(
        [
            reached[np.searchsorted(right[:, i], levels, side="left"), i].mean()
            for i in range(len(IOUS))
        ]
    )


def _interval(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _mean(values: Iterable[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")
