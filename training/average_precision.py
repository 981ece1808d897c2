"""Average precision of boxes, as COCO counts it (101 points of recall, IoU .5 to .95).

In      for each field the found boxes (n, 6: x0 y0 x1 y1 p class) and the true ones (m, 5: class x0 y0
        x1 y1)
Out     DetectionFigures
A found box takes the true one of its class that it overlaps most and that no more confident box has
taken. `ignored` classes of a field (whose labels are known to be incomplete) count neither way.
"""

from collections.abc import Sequence
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
    precision and recall. Classes without a true box have NaN and are left out of the means."""

    ap50: tuple[float, ...]
    ap: tuple[float, ...]
    precision: tuple[Share, ...]
    recall: tuple[Share, ...]

    @property
    def map50(self) -> float:
        return _mean(self.ap50)

    @property
    def map(self) -> float:
        return _mean(self.ap)


def detection_figures(
    fields: Sequence[FieldBoxes], *, classes: int, confidence: float
) -> DetectionFigures:
    """Pooled over the fields."""
    ap50, ap, precision, recall = [], [], [], []
    for index in range(classes):
        judged = [f for f in fields if index not in f.ignored]
        total = sum(int((f.truth[:, 0] == index).sum()) for f in judged)
        p, hits = _matched(judged, index)
        curve = [_ap(p, hits[:, i], total) for i in range(len(IOUS))]
        ap50.append(curve[0])
        ap.append(float(np.mean(curve)))
        working = p >= confidence
        right = int(hits[working, 0].sum())
        precision.append(share(right, int(working.sum())))
        recall.append(share(right, total))
    return DetectionFigures(
        ap50=tuple(ap50), ap=tuple(ap), precision=tuple(precision), recall=tuple(recall)
    )


def _matched(fields: Sequence[FieldBoxes], index: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Confidences, best first, and for each whether it is a hit at each IoU."""
    ps: list[float] = []
    hits: list[npt.NDArray[np.bool_]] = []
    for field in fields:
        found = field.found[field.found[:, 5] == index]
        found = found[np.argsort(-found[:, 4], kind="stable")]
        truth = field.truth[field.truth[:, 0] == index][:, 1:]
        overlap = ious(found[:, :4], truth)
        for column, at in enumerate(IOUS):
            taken = np.zeros(len(truth), bool)
            for row in range(len(found)):
                if column == 0:
                    ps.append(float(found[row, 4]))
                    hits.append(np.zeros(len(IOUS), bool))
                free = np.where(taken, -1.0, overlap[row]) if len(truth) else np.empty(0)
                if len(free) and free.max() >= at:
                    taken[int(free.argmax())] = True
                    hits[len(hits) - len(found) + row if column else -1][column] = True
    order = np.argsort(-np.array(ps), kind="stable") if ps else np.empty(0, int)
    table = np.array(hits).reshape(-1, len(IOUS))
    return np.array(ps)[order], table[order]


def ious(a: Array, b: Array) -> Array:
    """(n, 4), (m, 4) -> (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    found: Array = both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)
    return found


def _ap(_p: Array, hits: npt.NDArray[np.bool_], total: int) -> float:
    if not total:
        return float("nan")
    if not len(hits):
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    reached = np.append(precision, 0.0)[np.minimum(at, len(precision))]
    return float(reached.mean())


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")
