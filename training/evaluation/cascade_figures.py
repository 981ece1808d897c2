"""From fields that were read to figures: counts, scale, blast fraction, the losses of the chain.

In      FieldReads; fields that could not be evaluated are left out and counted by the caller
Out     rows of training.evaluation.cascade_judged
Pure arithmetic: no network is asked here. Intervals are drawn over fields, those of fractions over groups of
fields (slides, stains) where they are known.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from domain.cells import LYMPHOID, UNCLASSIFIED, Cell, CellClass, Malignancy
from domain.counts import AdequacyLimits, numbers_of
from training.evaluation.cascade_fields import Kind, TrueCell
from training.evaluation.cascade_judged import (
    BlastRow,
    CountRow,
    DrawnCount,
    DrawnRow,
    LossRow,
    ScaleRow,
)
from training.evaluation.cascade_run import FieldRead
from training.metrics import estimated, share

__all__ = ["blast_rows", "count_rows", "drawn_rows", "kind_of", "loss_rows", "scale_rows"]

FURTHEST = 0.1  # from the known scale
ROUNDS = 500
Indices = npt.NDArray[np.int64]


def kind_of(cell: Cell) -> CellClass:
    """What the report counts it as: red cell, platelet, else a white (nucleated) cell."""
    if cell.final_class == CellClass.RED_BLOOD_CELL:
        return CellClass.RED_BLOOD_CELL
    if cell.final_class == CellClass.PLATELET:
        return CellClass.PLATELET
    return CellClass.WHITE_BLOOD_CELL


def count_rows(reads: Sequence[FieldRead]) -> tuple[CountRow, ...]:
    """By laboratory and kind of cell, where every cell of that kind has a box."""
    rows = []
    for lab in _labs(reads, (Kind.BOXED, Kind.DRAWN)):
        for kind in CellClass:
            of = [r for r in reads if r.field.laboratory == lab and kind not in r.field.unjudged]
            if of:
                rows.append(_count_row(lab, kind, of))
    return tuple(rows)


def scale_rows(reads: Sequence[FieldRead]) -> tuple[ScaleRow, ...]:
    """By laboratory, of the fields that came without a spacing."""
    rows = []
    for lab in ("all", *_labs(reads, (Kind.BOXED, Kind.BENIGN, Kind.LEUKAEMIC))):
        of = [
            r
            for r in reads
            if r.field.kind is not Kind.DRAWN and lab in ("all", r.field.laboratory)
        ]
        if not of:
            continue
        ratios = np.array([_ratio(r) for r in of if r.um_per_px])
        outside = int((np.abs(ratios - 1) > FURTHEST).sum())
        low, high = np.percentile(ratios, [5, 95]) if len(ratios) else (np.nan, np.nan)
        rows.append(
            ScaleRow(
                laboratory=lab,
                measured=share(len(ratios), len(of)),
                median=estimated(
                    lambda i, of=ratios: float(np.median(of[i])),  # type: ignore[misc]
                    len(ratios),
                    rounds=ROUNDS,
                ),
                low=float(low),
                high=float(high),
                outside=share(outside, len(ratios)),
                ratios=tuple(float(v) for v in ratios),
            )
        )
    return tuple(rows)


def blast_rows(reads: Sequence[FieldRead]) -> tuple[BlastRow, ...]:
    """By laboratory and kind of field."""
    rows = []
    for lab, kind in _lots(reads):
        of = [r for r in reads if (r.field.laboratory, r.field.kind) == (lab, kind)]
        blasts = np.array([sum(c.is_blast for c in r.cells) for r in of])
        counted = np.array([sum(c.is_leukocyte for c in r.cells) for r in of])
        white = [c for r in of for c in r.cells if c.cell_class is CellClass.WHITE_BLOOD_CELL]
        lost = sum(c.final_class == UNCLASSIFIED for c in white)
        rows.append(
            BlastRow(
                laboratory=lab,
                kind=kind.value,
                fields=len(of),
                with_blasts=share(int((blasts > 0).sum()), len(of)),
                fraction=share(int(blasts.sum()), int(counted.sum())),
                by_group=estimated(
                    _pooled(blasts, counted),
                    len(of),
                    groups=np.array([r.field.group for r in of]),
                    rounds=ROUNDS,
                ),
                true=_true_fraction(of),
                unclassified=share(lost, len(white)),
                per_field=tuple(float(b / n) for b, n in zip(blasts, counted, strict=True) if n),
            )
        )
    return tuple(rows)


def loss_rows(reads: Sequence[FieldRead]) -> tuple[LossRow, ...]:
    """White cells that are known to be there, stage by stage; of drawn smears also the blasts alone."""
    rows = []
    seen_by = {Kind.BOXED: "people's boxes", Kind.DRAWN: "the drawing"}
    for lab, kind in _lots(reads):
        of = [r for r in reads if (r.field.laboratory, r.field.kind) == (lab, kind)]
        who = seen_by.get(kind, "nuclei that stand out by stain")
        rows.append(_loss_row(lab, kind, who, of, lambda _cell: True))
        if kind is Kind.DRAWN:
            rows.append(_loss_row(lab, kind, f"{who}, blasts", of, lambda c: bool(c.blast)))
    return tuple(rows)


def drawn_rows(reads: Sequence[FieldRead], *, wbc_classes: tuple[str, ...]) -> tuple[DrawnRow, ...]:
    """What a report would print of each drawn smear, against the truth: counts with the exact Poisson
    interval of what was found, the blast fraction with the report's own interval (percent)."""
    rows = []
    for read in reads:
        if read.field.kind is not Kind.DRAWN:
            continue
        found = [kind_of(c) for c in read.cells]
        counts = []
        for kind in CellClass:
            number = found.count(kind)
            true = sum(c.cell_class is kind for c in read.field.cells)
            low, high = _poisson(number)
            counts.append(DrawnCount(name=kind.value, true=true, found=number, low=low, high=high))
        blasts = numbers_of(read.cells, wbc_classes=wbc_classes, limits=AdequacyLimits()).blasts
        low, high = (
            (0.0, 100.0) if blasts.low is None or blasts.high is None else (blasts.low, blasts.high)
        )
        counts.append(
            DrawnCount(
                name="blasts, percent",
                true=100 * (_true_fraction([read]) or 0.0),
                found=float("nan") if blasts.percent is None else blasts.percent,
                low=low,
                high=high,
            )
        )
        rows.append(DrawnRow(name=read.field.name, counts=tuple(counts)))
    return tuple(rows)


def _count_row(lab: str, kind: CellClass, of: Sequence[FieldRead]) -> CountRow:
    true = np.array([sum(c.cell_class is kind for c in r.field.cells) for r in of], float)
    found = np.array([sum(kind_of(c) is kind for c in r.cells) for r in of], float)
    groups = np.array([r.field.group for r in of])

    def ratio(i: Indices) -> float:
        return float(found[i].sum() / true[i].sum()) if true[i].sum() else float("nan")

    def correlation(i: Indices) -> float:
        if len(i) < 3 or not true[i].std() or not found[i].std():
            return float("nan")
        return float(np.corrcoef(true[i], found[i])[0, 1])

    statistics: list[Callable[[Indices], float]] = [
        ratio,
        lambda i: float((found - true)[i].mean()),
        lambda i: float(np.abs(found - true)[i].mean()),
        correlation,
    ]
    all_of = [estimated(s, len(of), groups=groups, rounds=ROUNDS) for s in statistics]
    return CountRow(
        laboratory=lab,
        cell_class=kind.value,
        fields=len(of),
        true=int(true.sum()),
        found=int(found.sum()),
        ratio=all_of[0],
        bias=all_of[1],
        absolute_error=all_of[2],
        correlation=all_of[3],
        pairs=tuple((int(t), int(f)) for t, f in zip(true, found, strict=True)),
    )


def _loss_row(
    lab: str,
    kind: Kind,
    seen_by: str,
    of: Sequence[FieldRead],
    wanted: Callable[[TrueCell], bool],
) -> LossRow:
    there = [
        match
        for read in of
        for true, match in zip(read.field.cells, read.matches, strict=True)
        if true.cell_class is CellClass.WHITE_BLOOD_CELL and wanted(true)
    ]
    found = [c for c in there if c is not None]
    white = [c for c in found if c.cell_class is CellClass.WHITE_BLOOD_CELL]
    lymphoid = [c for c in white if c.wbc_class in LYMPHOID]
    malignant = [c for c in lymphoid if c.malignancy == Malignancy.MALIGNANT]
    named = [c for c in malignant if c.subtype not in (None, UNCLASSIFIED)]
    return LossRow(
        laboratory=lab,
        kind=kind.value,
        seen_by=seen_by,
        steps=(
            ("there", len(there), 0),
            ("found (2)", len(found), 0),
            ("white (3)", len(white), 0),
            ("lymphoid (4)", len(lymphoid), sum(c.wbc_class == UNCLASSIFIED for c in white)),
            ("malignant (5)", len(malignant), sum(c.malignancy == UNCLASSIFIED for c in lymphoid)),
            ("subtype (6)", len(named), len(malignant) - len(named)),
        ),
    )


def _true_fraction(of: Sequence[FieldRead]) -> float | None:
    """None where nobody knows it, as in fields of leukaemia."""
    kind = of[0].field.kind
    if kind is Kind.LEUKAEMIC:
        return None
    if kind is not Kind.DRAWN:
        return 0.0
    white = [c for r in of for c in r.field.cells if c.cell_class is CellClass.WHITE_BLOOD_CELL]
    return sum(bool(c.blast) for c in white) / len(white) if white else 0.0


def _pooled(part: Indices, whole: Indices) -> Callable[[Indices], float]:
    def of(index: Indices) -> float:
        total = whole[index].sum()
        return float(part[index].sum() / total) if total else float("nan")

    return of


def _ratio(read: FieldRead) -> float:
    """Measured over known scale, the mean of both directions."""
    x, y = read.um_per_px or (np.nan, np.nan)
    known = read.field.um_per_px
    return float(np.sqrt(x / known[0] * y / known[1]))


def _poisson(number: int) -> tuple[float, float]:
    """Exact 95 % interval of the mean of a count (Garwood 1936)."""
    low = float(chi2.ppf(0.025, 2 * number)) / 2 if number else 0.0
    return low, float(chi2.ppf(0.975, 2 * number + 2)) / 2


def _labs(reads: Sequence[FieldRead], kinds: tuple[Kind, ...]) -> list[str]:
    return sorted({r.field.laboratory for r in reads if r.field.kind in kinds})


def _lots(reads: Sequence[FieldRead]) -> list[tuple[str, Kind]]:
    return sorted({(r.field.laboratory, r.field.kind) for r in reads})
