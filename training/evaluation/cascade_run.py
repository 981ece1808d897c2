"""Fields through the real cascade, one analysis each, and which found cell is which true one.

In      WholeFields, a loaded bundle
Out     FieldReads: the cells that the service would report
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from domain.cells import Cell
from domain.identities import Sha256
from domain.image import Box, Domain, Field, ImageHeader, ScaleFrom, Verdict
from inference.bundle import Bundle
from inference.cascade import Options, analyse
from training.average_precision import ious
from training.evaluation.cascade_fields import Kind, TrueCell, WholeField
from training.evaluation.workers import Progress, in_turn

__all__ = ["FieldRead", "matched", "read_fields"]

LEAST_IOU = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldRead:
    """`um_per_px` is what the red cells gave, None where they gave nothing or were not asked;
    `matches` has for each true cell the found one, or None. A field that could not be evaluated has
    no cells and says why."""

    field: WholeField
    refused: bool  # by stage 1
    not_evaluable: str
    um_per_px: tuple[float, float] | None
    cells: tuple[Cell, ...]
    matches: tuple[Cell | None, ...]

    @property
    def read(self) -> bool:
        return not self.not_evaluable


def read_fields(
    fields: Sequence[WholeField], bundle: Bundle, *, workers: int, tell: Progress
) -> list[FieldRead]:
    """Through the same function as the service, each field alone."""
    single = replace(bundle, threads=1)
    return in_turn(
        lambda field: _read(field, single),
        fields,
        workers=workers,
        what="whole fields",
        tell=tell,
    )


def matched(
    truth: Sequence[TrueCell], found: Sequence[Cell], *, nuclei: bool
) -> tuple[Cell | None, ...]:
    """One to one, the best overlap first. A nucleus is found by the box that holds its middle."""
    if not truth or not found:
        return (None,) * len(truth)
    boxes = np.array([c.box_px for c in found], float)
    wanted = np.array([c.box for c in truth], float)
    if nuclei:
        middle = (wanted[:, None, :2] + wanted[:, None, 2:]) / 2
        holds = (middle >= boxes[None, :, :2]) & (middle < boxes[None, :, 2:])
        apart = np.abs(middle - (boxes[None, :, :2] + boxes[None, :, 2:]) / 2).sum(axis=2)
        fit = np.where(holds.all(axis=2), 1 / (1 + apart), 0)
    else:
        fit = ious(wanted, boxes)
        fit[fit < LEAST_IOU] = 0
    matches: list[Cell | None] = [None] * len(truth)
    taken: set[int] = set()
    for flat in np.argsort(-fit, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(found))
        if fit[i, j] <= 0:
            break
        if matches[i] is None and j not in taken:
            matches[i] = found[j]
            taken.add(j)
    return tuple(matches)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """One field as an image of its own; see inference.cascade.FieldSource."""

    field: WholeField

    @property
    def header(self) -> ImageHeader:
        height, width = self.field.pixels.shape[:2]
        return ImageHeader(
            source=self.field.name,
            sha256=Sha256(hashlib.sha256(self.field.pixels.tobytes()).hexdigest()),
            width_px=width,
            height_px=height,
            frames=1,
            domain=Domain.SMEAR,
            um_per_px=self._stated,
        )

    def fields(self) -> Iterator[Field]:
        height, width = self.field.pixels.shape[:2]
        yield Field(
            pixels=self.field.pixels,
            image=0,
            frame=1,
            origin_px=(0, 0),
            core_px=Box(0, 0, width, height),
            um_per_px=self._stated,
            domain=Domain.SMEAR,
        )

    @property
    def _stated(self) -> tuple[float, float] | None:
        return self.field.um_per_px if self.field.kind is Kind.DRAWN else None


def _read(field: WholeField, bundle: Bundle) -> FieldRead:
    analysis = analyse(
        [_Source(field=field)],
        bundle=bundle,
        options=Options(software="evaluation", stop_when_enough=False),
    )
    (image,) = analysis.images
    measured = image.scale_from is ScaleFrom.RED_CELLS
    failed = "; ".join(f.reason for f in analysis.failures)
    return FieldRead(
        field=field,
        refused=image.viability.verdict is Verdict.NON_VIABLE,
        not_evaluable=image.not_evaluable or failed,
        um_per_px=image.um_per_px if measured else None,
        cells=analysis.cells,
        matches=matched(
            field.cells,
            analysis.cells,
            nuclei=field.kind in (Kind.BENIGN, Kind.LEUKAEMIC),
        ),
    )
