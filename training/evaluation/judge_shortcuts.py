"""The shortcut baselines and tests of stages 3 to 6, on a fixed sample of the judged cells.

Each test changes the whole pictures and cuts the same cells out of them. A cell whose crop a test leaves
as it was keeps its answer, so that a painted corner costs only the cells that lie in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.cells import Stage
from domain.image import Pixels
from inference.bundle import Bundle
from inference.crops import Crops, background_of, border_colour_of
from training.cells import CellSource
from training.evaluation.answers import crops_for, crops_of_answers
from training.evaluation.judged import Shortcut
from training.evaluation.shortcuts import (
    BASELINES,
    TESTS,
    corner_pasted,
    cross_validated,
    linear_scores,
)
from training.evaluation.workers import Progress
from training.metrics import Estimate, auc_estimate, share
from training.pictures import Picture, Shows, Split, pixels_of
from training.stage_data import StageData

__all__ = ["TestedCells", "baselines", "shortcut_tests"]

Rows = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
FEWEST = 8  # cells of a class in a laboratory, to tell laboratories apart within the class


@dataclass(frozen=True, kw_only=True, eq=False)
class TestedCells:
    """The cells of the tests and what was said of them unchanged."""

    cells: tuple[CellSource, ...]
    truth: Indices
    p: Rows
    by_field: bool


def shortcut_tests(
    stage: Stage,
    bundle: Bundle,
    tested: TestedCells,
    val: Sequence[tuple[Picture, Pixels]],
    *,
    classes: int,
    workers: int,
    tell: Progress,
) -> tuple[tuple[Shortcut, ...], tuple[Shortcut, ...]]:
    """By cell, and by field where the labels are of fields; `unchanged` comes first."""
    if not len(tested.cells):
        return (), ()
    entry: Any = bundle.manifest.stages.of(stage)
    before = crops_for(tested.cells, entry)
    rows = {"unchanged": tested.p}
    for name, change in _changes(tested.cells, val).items():
        after = crops_for(_changed(tested.cells, change, val), entry)
        other = np.flatnonzero((after.pixels != before.pixels).any(axis=(1, 2, 3)))
        p = tested.p.copy()
        if len(other):
            part = Crops(
                pixels=after.pixels[other], boxes=tuple(after.boxes[i] for i in other.tolist())
            )
            p[other] = crops_of_answers(
                stage, bundle, part, workers=workers, what=f"test: {name}", tell=tell
            ).p
        rows[name] = p
    by_cell = tuple(_compared(n, p, tested.p, tested.truth, classes) for n, p in rows.items())
    if not tested.by_field:
        return by_cell, ()
    numbers = np.array([c.field for c in tested.cells])
    fields = np.unique(numbers)
    truth = np.array([tested.truth[numbers == f][0] for f in fields])
    means = {
        name: np.array([p[numbers == f].mean(axis=0) for f in fields]) for name, p in rows.items()
    }
    return by_cell, tuple(
        _compared(name, p, means["unchanged"], truth, classes) for name, p in means.items()
    )


def baselines(
    stage: Stage,
    read: StageData,
    cells: Sequence[CellSource],
    truth: Indices,
    features: Rows,
    groups: Indices,
    classes: Sequence[str],
) -> tuple[Shortcut, ...]:
    """What colour, corner and border alone give, from `train` to `val`, and whether colours and the
    network's own features tell the laboratory. Where fields are labelled, of fields alone."""
    if stage is Stage.CELL_CLASS:
        return ()
    usable = [(p, x) for p, x in read.pictures if p.label in classes and p.split is not Split.GAP]
    fields = [(p, x) for p, x in usable if p.shows is Shows.FIELD]
    made = list(_colours(fields or usable, classes))
    made += _laboratory_by_colours(usable)
    made += _laboratory_by_features(cells, truth, features, groups)
    return tuple(made)


Change = Callable[[int, Pixels], Pixels]


def _changes(
    cells: Sequence[CellSource], val: Sequence[tuple[Picture, Pixels]]
) -> Mapping[str, Change]:
    """Name -> how a picture (by its number) is changed."""
    label = {c.field: c.allowed[0] for c in cells}
    numbers = sorted(label)

    def alone(change: Callable[[Pixels], Pixels]) -> Change:
        return lambda _number, pixels: change(pixels)

    def swapped(number: int, pixels: Pixels) -> Pixels:
        others = [n for n in numbers if label[n] != label[number]]
        if not others:
            return pixels
        donor = others[numbers.index(number) % len(others)]
        return corner_pasted(pixels, _as_it_came(*val[donor]))

    def shown(number: int, pixels: Pixels) -> Pixels:
        return corner_pasted(pixels, _as_it_came(*val[number]))

    made: dict[str, Change] = {"corner swapped": swapped}
    if any(val[n][0].covered_px for n in numbers):
        made["corner shown"] = shown
    return {**made, **{name: alone(change) for name, change in TESTS.items()}}


def _as_it_came(picture: Picture, pixels: Pixels) -> Pixels:
    """With the part that is else covered."""
    if picture.covered_px is None:
        return pixels
    raw = pixels_of(replace(picture, covered_px=None))
    return pixels if raw is None else raw


def _changed(
    cells: Sequence[CellSource], change: Change, val: Sequence[tuple[Picture, Pixels]]
) -> list[CellSource]:
    pictures: dict[int, Pixels] = {}
    made = []
    for cell in cells:
        if cell.field not in pictures:
            pictures[cell.field] = change(cell.field, cell.pixels)
        pixels = pictures[cell.field]
        single = val[cell.field][0].shows is Shows.CELL
        ground = border_colour_of(pixels) if single else background_of(pixels)
        made.append(replace(cell, pixels=pixels, ground=ground))
    return made


def _compared(name: str, p: Rows, before: Rows, truth: Indices, classes: int) -> Shortcut:
    told = p.argmax(axis=1)
    return Shortcut(
        name=name,
        right=share(int((told == truth).sum()), len(truth)),
        changed=share(int((told != before.argmax(axis=1)).sum()), len(truth)),
        auc=_auc(p, truth) if classes == 2 else None,
    )


def _auc(scores: Rows, truth: Indices) -> Estimate:
    difference = scores[:, 1] - scores[:, 0]
    return auc_estimate(difference[truth == 1], difference[truth == 0])


def _colours(usable: Sequence[tuple[Picture, Pixels]], classes: Sequence[str]) -> list[Shortcut]:
    side = np.array([p.split is Split.TRAIN for p, _ in usable], bool)
    if not side.any() or side.all():
        return []
    truth = np.array([tuple(classes).index(p.label) for p, _ in usable])
    made = []
    for name, of in BASELINES.items():
        x = np.array([of(pixels) for _, pixels in usable])
        scores = linear_scores(x[side], truth[side], x[~side], classes=len(classes))
        right = int((scores.argmax(axis=1) == truth[~side]).sum())
        made.append(
            Shortcut(
                name=name,
                right=share(right, int((~side).sum())),
                auc=_auc(scores, truth[~side]) if len(classes) == 2 else None,
                chance=_most_frequent(truth[~side]),
            )
        )
    return made


def _laboratory_by_colours(usable: Sequence[tuple[Picture, Pixels]]) -> list[Shortcut]:
    side = np.array([p.split is Split.TRAIN for p, _ in usable], bool)
    labs, lab = np.unique([p.laboratory for p, _ in usable], return_inverse=True)
    if len(labs) < 2 or not side.any() or side.all():
        return []
    x = np.array([BASELINES["colour histogram"](pixels) for _, pixels in usable])
    told = linear_scores(x[side], lab[side], x[~side], classes=len(labs)).argmax(axis=1)
    return [
        Shortcut(
            name="laboratory, from its colours",
            right=share(int((told == lab[~side]).sum()), int((~side).sum())),
            chance=_most_frequent(lab[~side]),
        )
    ]


def _laboratory_by_features(
    cells: Sequence[CellSource], truth: Indices, features: Rows, groups: Indices
) -> list[Shortcut]:
    """How well a linear classifier on what the network's last layer sees tells the laboratory, in
    five folds of pictures; and the same within classes, where no class can stand for it."""
    labs, lab = np.unique([c.laboratory for c in cells], return_inverse=True)
    if len(labs) < 2 or not features.shape[1]:
        return []
    told = cross_validated(features, lab, groups, classes=len(labs))
    made = [
        Shortcut(
            name="laboratory, from the network's features",
            right=share(int((told == lab).sum()), len(lab)),
            chance=_most_frequent(lab),
        )
    ]
    right = of = frequent = 0
    for name in np.unique(truth):
        number = np.bincount(lab[truth == name], minlength=len(labs))
        inside = (truth == name) & (number[lab] >= FEWEST)
        here, its = np.unique(lab[inside], return_inverse=True)
        if len(here) < 2:
            continue
        told = cross_validated(features[inside], its, groups[inside], classes=len(here))
        right, of = right + int((told == its).sum()), of + len(its)
        frequent += int(np.bincount(its).max())
    if of:
        made.append(
            Shortcut(
                name="the same, within one class",
                right=share(right, of),
                chance=frequent / of,
            )
        )
    return made


def _most_frequent(names: Indices) -> float:
    return float(np.bincount(names).max() / len(names))
