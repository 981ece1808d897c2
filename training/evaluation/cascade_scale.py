"""What a known scale buys, and what the truth of each stage would.

Scale   the same boxed fields at the known scale, at the one that their red cells gave, and at none: the
        detector's average precision, and the answers of stages 3 and 4 at the true boxes
Truth   drawn smears, whose cells are all known: the blast fraction when the answers of the first stages
        are replaced by the truth, one stage more each time
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from domain.cells import LEUKOCYTES, LYMPHOID, CellClass, Malignancy, Stage, WbcClass
from inference.bundle import Bundle
from inference.crops import background_of
from inference.fusion import final_class_of, name_of
from inference.manifest import DETECTION_CLASSES, NamingStage
from inference.stages.detection import detected
from training.average_precision import FieldBoxes, detection_figures
from training.cells import CellSource
from training.evaluation.answers import answers_of
from training.evaluation.cascade_fields import Kind, TrueCell, WholeField
from training.evaluation.cascade_judged import ReplacedRow, ScaleUseRow
from training.evaluation.cascade_run import FieldRead
from training.evaluation.judged import sampled
from training.evaluation.workers import Progress, in_turn
from training.metrics import Share, share
from training.pictures import Split

__all__ = ["replaced_rows", "scale_use_rows"]

ROUNDS = 300
CELLS_OF_A_FIELD = 3  # of each kind, for stage 3
BORDER_PX = 1


def scale_use_rows(
    reads: Sequence[FieldRead], bundle: Bundle, *, most: int, workers: int, tell: Progress
) -> tuple[ScaleUseRow, ...]:
    """On at most `most` boxed fields of each laboratory. Fields without a scale from red cells are read
    there as the service reads them: at none."""
    boxed = [r for r in reads if r.field.kind is Kind.BOXED]
    chosen = [
        read
        for lab in sorted({r.field.laboratory for r in boxed})
        for read in sampled([r for r in boxed if r.field.laboratory == lab], most)
    ]
    none = (bundle.info.um_per_px,) * 2
    ways: dict[str, Callable[[FieldRead], tuple[float, float]]] = {
        "known": lambda r: r.field.um_per_px,
        "from red cells": lambda r: r.um_per_px or none,
        "none": lambda _r: none,
    }
    rows = []
    for name, scale_of in ways.items() if chosen else ():
        scales = [scale_of(r) for r in chosen]
        what = f"scale {name}"
        boxes = in_turn(
            lambda one: _boxes(one[0].field, one[1], bundle),
            list(zip(chosen, scales, strict=True)),
            workers=workers,
            what=what,
            tell=tell,
        )
        cells = [
            cell
            for number, (read, scale) in enumerate(zip(chosen, scales, strict=True))
            for cell in _sources(read.field, _few(read.field), scale, number)
        ]
        rows.append(
            ScaleUseRow(
                scale=name,
                detection=detection_figures(
                    boxes,
                    classes=len(DETECTION_CLASSES),
                    confidence=bundle.manifest.stages.detection.confidence,
                    rounds=ROUNDS,
                ),
                cell_class=_right(Stage.CELL_CLASS, bundle, cells, workers, what, tell),
                wbc_class=_right(Stage.WBC_CLASS, bundle, cells, workers, what, tell),
            )
        )
    return tuple(rows)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """One drawn cell: the truth, and every stage's own answer for it at the true box."""

    true: TrueCell
    kind: CellClass
    wbc_class: str
    malignancy: str


def replaced_rows(
    reads: Sequence[FieldRead], bundle: Bundle, *, workers: int, tell: Progress
) -> tuple[ReplacedRow, ...]:
    """Pooled over the drawn smears; `truth_up_to` 1 is the cascade as it is, 5 the truth."""
    drawn = [r for r in reads if r.field.kind is Kind.DRAWN]
    if not drawn:
        return ()
    cells = _known(drawn, bundle, workers, tell)
    whites = [c for c in cells if c.true.cell_class is CellClass.WHITE_BLOOD_CELL]
    seen = [c for c in cells if c.kind is CellClass.WHITE_BLOOD_CELL]
    return (
        ReplacedRow(
            truth_up_to=1,
            blasts=sum(c.is_blast for r in drawn for c in r.cells),
            leukocytes=sum(c.is_leukocyte for r in drawn for c in r.cells),
        ),
        _row(2, [(c.wbc_class, c.malignancy) for c in seen]),
        _row(3, [(c.wbc_class, c.malignancy) for c in whites]),
        _row(4, [(c.true.wbc_class, c.malignancy) for c in whites]),
        _row(5, [(c.true.wbc_class, _truth(c.true)) for c in whites]),
    )


def _row(truth_up_to: int, answers: Sequence[tuple[str, str]]) -> ReplacedRow:
    """From stage 4's and stage 5's answers; stage 5's is heard for lymphoid cells alone."""
    final = [
        final_class_of(CellClass.WHITE_BLOOD_CELL, wbc, malignancy if wbc in LYMPHOID else None)
        for wbc, malignancy in answers
    ]
    blasts = [
        name in LYMPHOID and malignancy == Malignancy.MALIGNANT
        for name, (_, malignancy) in zip(final, answers, strict=True)
    ]
    return ReplacedRow(
        truth_up_to=truth_up_to,
        blasts=sum(blasts),
        leukocytes=sum(name in LEUKOCYTES for name in final),
    )


def _known(
    drawn: Sequence[FieldRead], bundle: Bundle, workers: int, tell: Progress
) -> list[_Known]:
    true = [(n, c) for n, r in enumerate(drawn) for c in r.field.cells]
    sources = [_source(drawn[n].field, c, drawn[n].field.um_per_px, n) for n, c in true]
    kinds = answers_of(
        Stage.CELL_CLASS, bundle, sources, workers=workers, what="truth of stage 2", tell=tell
    ).p.argmax(axis=1)
    told = [tuple(CellClass)[k] for k in kinds]
    white = CellClass.WHITE_BLOOD_CELL
    asked = [
        i for i, (_, c) in enumerate(true) if white in (c.cell_class, told[i])
    ]  # by truth or by stage 3
    answers: dict[Stage, dict[int, str]] = {}
    for stage in (Stage.WBC_CLASS, Stage.MALIGNANCY):
        entry = bundle.manifest.stages.of(stage)
        assert isinstance(entry, NamingStage)  # noqa: S101
        found = answers_of(
            stage,
            bundle,
            [sources[i] for i in asked],
            workers=workers,
            what=f"truth of stage {stage.number - 1}",
            tell=tell,
        )
        answers[stage] = {
            i: name_of(row, classes=entry.classes, reject_below=entry.reject_below)
            for i, row in zip(asked, found.p, strict=True)
        }
    return [
        _Known(
            true=true[i][1],
            kind=told[i],
            wbc_class=answers[Stage.WBC_CLASS][i],
            malignancy=answers[Stage.MALIGNANCY][i],
        )
        for i in asked
    ]


def _truth(cell: TrueCell) -> str:
    return Malignancy.MALIGNANT if cell.wbc_class == WbcClass.BLAST_CELLS else Malignancy.BENIGN


def _boxes(field: WholeField, scale: tuple[float, float], bundle: Bundle) -> FieldBoxes:
    entry = bundle.manifest.stages.detection
    found = detected(
        field.pixels,
        um_per_px=scale,
        background=background_of(field.pixels),
        network=bundle.networks[Stage.DETECTION],
        entry=entry.model_copy(update={"confidence": min(entry.confidence, 0.01)}),
    )
    index = {kind: i for i, kind in enumerate(DETECTION_CLASSES)}
    return FieldBoxes(
        found=np.array([(*d.box, d.p, index[d.cell_class]) for d in found], float).reshape(-1, 6),
        truth=np.array([(index[c.cell_class], *c.box) for c in field.cells], float).reshape(-1, 5),
        ignored=tuple(index[kind] for kind in field.unjudged),
    )


def _few(field: WholeField) -> list[TrueCell]:
    """A few whole cells of each kind."""
    height, width = field.pixels.shape[:2]
    whole = [
        c
        for c in field.cells
        if c.box.x0 > BORDER_PX
        and c.box.y0 > BORDER_PX
        and c.box.x1 < width - BORDER_PX
        and c.box.y1 < height - BORDER_PX
    ]
    return [
        c
        for kind in CellClass
        for c in sampled([w for w in whole if w.cell_class is kind], CELLS_OF_A_FIELD)
    ]


def _sources(
    field: WholeField, cells: Sequence[TrueCell], scale: tuple[float, float], number: int
) -> list[CellSource]:
    return [_source(field, cell, scale, number) for cell in cells]


def _source(
    field: WholeField, cell: TrueCell, scale: tuple[float, float], number: int
) -> CellSource:
    return CellSource(
        pixels=field.pixels,
        box=cell.box,
        um_per_px=scale,
        ground=background_of(field.pixels),
        allowed=(cell.cell_class.value, cell.wbc_class),
        laboratory=field.laboratory,
        split=Split.VAL,
        field=number,
        source=f"{field.laboratory}: {field.name}",
        drawn_box=True,
    )


def _right(
    stage: Stage,
    bundle: Bundle,
    cells: Sequence[CellSource],
    workers: int,
    what: str,
    tell: Progress,
) -> Share:
    """Of the cells whose class in that stage is known."""
    classes = [str(c) for c in bundle.manifest.stages.of(stage).classes]
    at = 0 if stage is Stage.CELL_CLASS else 1
    known = [c for c in cells if c.allowed[at] in classes]
    found = answers_of(
        stage, bundle, known, workers=workers, what=f"{what}, stage {stage.number}", tell=tell
    )
    told = found.p.argmax(axis=1) if known else []
    right = sum(classes[t] == c.allowed[at] for t, c in zip(told, known, strict=True))
    return share(right, len(known))
