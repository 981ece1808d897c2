"""Stages 3 to 6 judged on single cells, and where labels are of fields, on fields.

Cells of a field that was labelled as a whole inherit its label, which is wrong for many of them: figures
by cell are too low there, and the figures by field (the mean probability of its cells) count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from domain.cells import Malignancy, Stage
from inference.bundle import Bundle
from inference.manifest import CropStage, NamingStage
from training.cells import CellSource, cell_crops, cells_for
from training.errors import DataError
from training.evaluation.answers import Answers, answers_of
from training.evaluation.judge_extras import extra_lots, rejected_lots
from training.evaluation.judge_shortcuts import TestedCells, baselines, shortcut_tests
from training.evaluation.judged import Failure, Judged, Lot, Sizes, blank, sampled
from training.evaluation.workers import Progress
from training.metrics import (
    Share,
    auc,
    auc_estimate,
    estimated,
    figures_of,
    reliability_of,
    share,
)
from training.pictures import Picture, Shows, Split
from training.stage_data import StageData

__all__ = ["judged_cells"]

ROUNDS = 300
MOST_SHOWN = 24  # failures on the page
TESTED_OF_A_FIELD = 3
ACCEPTED = 0.85  # share of cells at which the accepted part is judged
Rows = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Told:
    """The cells with one name that the stage knows, and its answers."""

    cells: tuple[CellSource, ...]
    truth: Indices
    answers: Answers
    groups: Indices  # cells that are no independent witnesses have the same number

    @property
    def p(self) -> Rows:
        return self.answers.p


def judged_cells(
    stage: Stage,
    bundle: Bundle,
    read: StageData,
    *,
    root: Path,
    sizes: Sizes,
    workers: int,
    tell: Progress,
) -> Judged:
    """See above."""
    entry = bundle.manifest.stages.of(stage)
    assert isinstance(entry, CropStage)  # noqa: S101  # stages 3 to 6
    classes = tuple(str(c) for c in entry.classes)
    val = read.side(Split.VAL)
    tell("finding cells", 0, 1)
    every = cells_for(stage, val)
    tell("finding cells", 1, 1)
    named = _named(stage, every, classes, sizes)
    if not named:
        raise DataError("no cell with a label of this stage is on the side of val")
    told = _Told(
        cells=tuple(named),
        truth=np.array([classes.index(c.allowed[0]) for c in named]),
        answers=answers_of(stage, bundle, named, workers=workers, what="cells", tell=tell),
        groups=_groups(named, val),
    )
    by_field = _of_fields(told, val)
    lots = [
        *_field_lots(stage, told, by_field, val, classes),
        *_cell_lots(told, classes),
        *extra_lots(stage, bundle, told.cells, told.truth, told.p, root, workers, tell),
    ]
    naming = entry if isinstance(entry, NamingStage) else None
    if naming:
        lots += rejected_lots(stage, bundle, every, classes, workers, tell)
    tested = _tested(told, by_field, sizes.tested)
    tests, field_tests = shortcut_tests(
        stage,
        bundle,
        TestedCells(
            cells=tuple(told.cells[i] for i in tested),
            truth=told.truth[tested],
            p=told.p[tested],
            by_field=bool(by_field),
        ),
        val,
        classes=len(classes),
        workers=workers,
        tell=tell,
    )
    return replace(
        blank(stage, bundle),
        lots=tuple(lots),
        baselines=baselines(
            stage, read, told.cells, told.truth, told.answers.features, told.groups, classes
        ),
        tests=tests,
        field_tests=field_tests,
        accepted=_coverage(told.truth, told.p, naming, classes) if naming else (),
        risk=_risk(told.truth, told.p) if naming else (),
        failures=_failures(told, entry, classes),
        notes=_notes(by_field, val),
    )


def _named(
    stage: Stage, every: Sequence[CellSource], classes: Sequence[str], sizes: Sizes
) -> list[CellSource]:
    """An even sample of each laboratory and class; of fields all their cells."""
    named = [c for c in every if len(c.allowed) == 1 and c.allowed[0] in classes]
    if stage in (Stage.MALIGNANCY, Stage.SUBTYPE):
        return named
    lots: dict[tuple[str, str], list[CellSource]] = {}
    for cell in named:
        lots.setdefault((cell.laboratory, cell.allowed[0]), []).append(cell)
    chosen = {id(c) for of in lots.values() for c in sampled(of, sizes.cells)}
    return [c for c in named if id(c) in chosen]


def _groups(cells: Sequence[CellSource], val: Sequence[tuple[Picture, object]]) -> Indices:
    """A number for each picture; pictures of one cell (as their set tells them apart) share one."""
    numbers: dict[tuple[str, str], int] = {}
    found = []
    for cell in cells:
        picture = val[cell.field][0]
        alone = picture.shows is Shows.FIELD or not picture.group
        key = (picture.laboratory, str(cell.field) if alone else f"group {picture.group}")
        found.append(numbers.setdefault(key, len(numbers)))
    return np.array(found)


def _of_fields(told: _Told, val: Sequence[tuple[Picture, object]]) -> dict[int, Indices]:
    """For each field that was labelled as a whole, which of the cells are its own."""
    of: dict[int, list[int]] = {}
    for i, cell in enumerate(told.cells):
        picture = val[cell.field][0]
        if picture.shows is Shows.FIELD and not picture.boxes and picture.label in cell.allowed:
            of.setdefault(cell.field, []).append(i)
    return {field: np.array(cells) for field, cells in of.items()}


def _cell_lots(told: _Told, classes: Sequence[str]) -> list[Lot]:
    labs = np.array([c.laboratory for c in told.cells])
    lots = []
    for name in ("all", *np.unique(labs)):
        of = np.ones(len(labs), bool) if name == "all" else labs == name
        if name == "all" or len(np.unique(labs)) > 1:
            lots.append(
                Lot(
                    name="all cells" if name == "all" else str(name),
                    cells=int(of.sum()),
                    figures=figures_of(
                        told.truth[of],
                        told.p[of].argmax(axis=1),
                        classes,
                        rounds=ROUNDS,
                        groups=told.groups[of],
                    ),
                    reliability=reliability_of(
                        told.truth[of], told.p[of], rounds=ROUNDS, groups=told.groups[of]
                    ),
                )
            )
    return lots


def _field_lots(
    stage: Stage,
    told: _Told,
    fields: dict[int, Indices],
    val: Sequence[tuple[Picture, object]],
    classes: Sequence[str],
) -> list[Lot]:
    if not fields:
        return []
    mean = np.array([told.p[of].mean(axis=0) for of in fields.values()])
    truth = np.array([told.truth[of][0] for of in fields.values()])
    stains = np.array([val[field][0].group or str(field) for field in fields])
    estimates = {}
    if stage is Stage.MALIGNANCY:
        index = tuple(classes).index(Malignancy.MALIGNANT)
        p, malignant = mean[:, index], truth == index
        estimates["AUC"] = auc_estimate(p[malignant], p[~malignant])
        estimates["AUC, interval over groups of stain"] = estimated(
            lambda i: auc(p[i][malignant[i]], p[i][~malignant[i]]), len(p), groups=stains
        )
    return [
        Lot(
            name="fields",
            cells=len(fields),
            unit="fields",
            figures=figures_of(truth, mean.argmax(axis=1), classes, rounds=ROUNDS, groups=stains),
            reliability=reliability_of(truth, mean, rounds=ROUNDS, groups=stains),
            estimates=estimates,
        )
    ]


def _tested(told: _Told, fields: dict[int, Indices], most: int) -> Indices:
    """Which cells the shortcut tests are made on: of every class and laboratory alike, and of fields
    a few cells each."""
    if not fields:
        order = _alternating([f"{c.laboratory} {c.allowed[0]}" for c in told.cells])
        return np.array(sorted(order[:most]), np.int64)
    numbers = list(fields)
    names = [told.cells[fields[n][0]].allowed[0] for n in numbers]
    chosen: list[int] = []
    for i in _alternating(names):
        if len(chosen) >= most:
            break
        chosen += sampled(fields[numbers[i]].tolist(), TESTED_OF_A_FIELD)
    return np.array(sorted(chosen), np.int64)


def _alternating(names: Sequence[str]) -> list[int]:
    """Indices so that every name comes once before any comes twice, each evenly over its items."""
    of: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        of.setdefault(name, []).append(i)
    rows = [_spread(members) for _, members in sorted(of.items())]
    return [row[n] for n in range(max(map(len, rows), default=0)) for row in rows if n < len(row)]


def _spread(items: list[int]) -> list[int]:
    """The same items; any first few of them lie evenly over all."""
    bits = max(1, (len(items) - 1).bit_length())
    turned = sorted(range(2**bits), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
    return [items[i] for i in turned if i < len(items)]


def _coverage(
    truth: Indices, p: Rows, entry: NamingStage, classes: Sequence[str]
) -> tuple[tuple[str, Share, Share], ...]:
    """By true class: how many are accepted at the bundle's thresholds, and how many of those right."""
    best = p.argmax(axis=1)
    least = np.array([entry.reject_below[name] for name in classes])
    kept = p.max(axis=1) >= least[best]
    rows = []
    for i, name in enumerate((*classes, "all")):
        of = truth == i if i < len(classes) else np.ones(len(truth), bool)
        if of.any():
            accepted = int((of & kept).sum())
            right = int((of & kept & (best == truth)).sum())
            rows.append((name, share(accepted, int(of.sum())), share(right, accepted)))
    accepted = max(1, round(ACCEPTED * len(truth)))
    surest = np.argsort(-p.max(axis=1), kind="stable")[:accepted]
    right = int((best == truth)[surest].sum())
    rows.append((f"the surest {ACCEPTED:.0%}", share(accepted, len(truth)), share(right, accepted)))
    return tuple(rows)


def _risk(truth: Indices, p: Rows) -> tuple[tuple[float, float], ...]:
    """(share accepted, share right of it), from the surest cell on, at most a hundred points."""
    order = np.argsort(-p.max(axis=1), kind="stable")
    right = np.cumsum((p.argmax(axis=1) == truth)[order]) / np.arange(1, len(order) + 1)
    at = sampled(range(len(order)), 100)
    return tuple(((i + 1) / len(order), float(right[i])) for i in at)


def _failures(told: _Told, entry: CropStage, classes: Sequence[str]) -> tuple[Failure, ...]:
    """The most confident mistakes."""
    p, best = told.p, told.p.argmax(axis=1)
    wrong = sorted(np.flatnonzero(best != told.truth), key=lambda i: -p[i, best[i]])[:MOST_SHOWN]
    return tuple(
        Failure(
            source=told.cells[i].source,
            truth=classes[told.truth[i]],
            told=classes[best[i]],
            p=float(p[i, best[i]]),
            pixels=cell_crops([told.cells[i]], field_um=entry.field_um, size_px=112).pixels[0],
        )
        for i in map(int, wrong)
    )


def _notes(fields: dict[int, Indices], val: Sequence[tuple[Picture, object]]) -> tuple[str, ...]:
    notes = [
        "figures name every cell, also those that the reject thresholds would leave unclassified"
    ]
    if fields:
        labelled = [i for i, (p, _) in enumerate(val) if p.shows is Shows.FIELD and not p.boxes]
        without = len(set(labelled) - set(fields))
        notes.append(
            "cells of fields inherit the field's label, which is wrong for many of them: the figures "
            "by field count"
        )
        notes.append(
            f"{without} of {len(labelled)} fields have no nucleus that was found, and no say"
        )
        if any(p.covered_px for p, _ in val):
            notes.append("burnt-in scale bars are covered in all figures")
    return tuple(notes)
