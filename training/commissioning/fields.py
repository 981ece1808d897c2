"""A laboratory's fields as the parent bundle reads them, and what they say without any label.

In      a loaded bundle, opened fields
Out     ReadField: scale, ground, stage 1's answer, the cells; the Outcome of stage 1
Stage 1's threshold is judged on blocks of fields that it was not set on, and on spoiled copies of them,
whose faults no stage 1 is trained on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from domain.cells import Cell, Stage
from domain.image import Box, Pixels
from inference.bundle import Bundle
from inference.cascade import Options, analyse
from inference.crops import Colour, background_of, square_crops
from inference.manifest import CropStage
from inference.scale import unknown_scale
from inference.stages.viability import viable_p
from training.commissioning.choice import (
    FOLDS,
    Score,
    share_score,
)
from training.commissioning.outcome import Outcome, outcome_of
from training.commissioning.site import SiteField, Tell
from training.errors import DataError
from training.spoil import HELD_BACK, spoiled

__all__ = [
    "BATCH",
    "LEAST_MEASURED",
    "SHARES",
    "ReadField",
    "batches_of",
    "crops_at",
    "in_turn",
    "read_fields",
    "viability_outcome",
]

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the site's batch-norm statistics
GOOD_REFUSED = 0.01  # share of good fields that stage 1 may refuse
SPOILED = 0.3  # how readable a spoiled copy may be at most
TRIES = 12
MOST_FIELDS = 100
LEAST_MEASURED = 32  # crops that carry statistics
BATCH = 16
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadField:
    """`um_per_px` is what it was read at, known or not; `viable_p` is stage 1's."""

    site: SiteField
    um_per_px: tuple[float, float]
    scale_known: bool
    out_of_range: bool
    ground: Colour
    viable_p: float
    cells: tuple[Cell, ...]


def read_fields(
    fields: Sequence[SiteField], bundle: Bundle, *, keep: frozenset[str], tell: Tell
) -> tuple[list[ReadField], list[str]]:
    """At most MOST_FIELDS of them, evenly taken, and those named in `keep`; and a line for each
    that the bundle cannot read. They are good by the laboratory's word, so stage 1 refuses none."""
    step = -(-len(fields) // MOST_FIELDS)
    chosen = [f for i, f in enumerate(fields) if i % step == 0 or f.name in keep]
    stages = bundle.manifest.stages
    open_door = stages.viability.model_copy(update={"threshold": 0.0})
    stages = stages.model_copy(update={"viability": open_door})
    manifest = bundle.manifest.model_copy(update={"stages": stages})
    read: list[ReadField] = []
    left: list[str] = []
    for number, field in enumerate(chosen):
        tell("fields read", number, len(chosen))
        analysis = analyse(
            [field],
            bundle=replace(bundle, manifest=manifest),
            options=Options(software="commissioning", stop_when_enough=False),
        )
        image = analysis.images[0]
        if image.not_evaluable or analysis.failures or image.viability.p is None:
            reasons = [image.not_evaluable, *(f.reason for f in analysis.failures)]
            left.append(f"{field.name}: {next((r for r in reasons if r), 'it was not read')}")
            continue
        unknown = unknown_scale(bundle.info.um_per_px, pixel_aspect=image.header.pixel_aspect or 1)
        read.append(
            ReadField(
                site=field,
                um_per_px=image.um_per_px or unknown.um_per_px,
                scale_known=image.um_per_px is not None,
                out_of_range=image.scale_out_of_range,
                ground=background_of(field.pixels()),
                viable_p=image.viability.p,
                cells=analysis.cells,
            )
        )
    if len(read) < FOLDS:
        raise DataError(
            f"{len(read)} fields can be read, and at least {FOLDS} are needed; give more fields of "
            f"the laboratory{': ' + left[0] if left else ''}"
        )
    return read, left


# --- stage 1 --------------------------------------------------------------------------------------


def viability_outcome(fields: Sequence[ReadField], bundle: Bundle, *, tell: Tell) -> Outcome:
    """A lower threshold where more than one good field in a hundred is refused, if it refuses fewer
    good ones in return for no more spoiled ones let in."""
    entry = bundle.manifest.stages.viability
    good = np.array([f.viable_p for f in fields])
    bad = np.array(_spoiled_p(fields, bundle, tell))
    blocks = np.arange(len(good)) * FOLDS // len(good)
    limits = np.array([_lowered(good[blocks != b], entry.threshold) for b in range(FOLDS)])[blocks]
    before = _refusals(good, bad, np.full(len(good), entry.threshold))
    after = _refusals(good, bad, limits)
    threshold = _lowered(good, entry.threshold)
    told = f"{before[0].value:.1%} of the good fields are refused"
    if threshold == entry.threshold:
        return outcome_of(Stage.VIABILITY, before, before, why=told)
    gained, lost = before[0].value - after[0].value, before[1].value - after[1].value
    if gained <= lost or not gained:
        why = f"{told}; a lower threshold would let in more that is spoiled"
        return outcome_of(Stage.VIABILITY, before, before, why=why)
    return outcome_of(
        Stage.VIABILITY,
        before,
        after,
        why=told,
        changed=(f"threshold {threshold:g}",),
        entry={"threshold": threshold},
    )


def _lowered(p: npt.NDArray[np.float64], threshold: float) -> float:
    """The parent's, or the highest lower one that refuses no more than allowed of these."""
    lowest = float(np.sort(p)[int(GOOD_REFUSED * len(p))])
    return threshold if lowest >= threshold else floor(lowest * 1e4) / 1e4


def _refusals(
    good: npt.NDArray[np.float64],
    bad: npt.NDArray[np.float64],
    limits: npt.NDArray[np.float64],
) -> tuple[Score, ...]:
    return (
        share_score("good fields refused", int((good < limits).sum()), len(good)),
        share_score("spoiled copies refused", int((bad < limits).sum()), len(bad)),
    )


def _spoiled_p(fields: Sequence[ReadField], bundle: Bundle, tell: Tell) -> list[float]:
    """Stage 1's answer to one spoiled copy of each field."""
    found = []
    for number, field in enumerate(fields):
        tell("fields spoiled", number, len(fields))
        pixels = _spoiled(field.site.pixels(), field.um_per_px[0], field.site.digest)
        p = viable_p(
            pixels,
            um_per_px=field.um_per_px,
            background=background_of(pixels),
            network=bundle.networks[Stage.VIABILITY],
            entry=bundle.manifest.stages.viability,
        )
        found.append(p)
    return found


def _spoiled(pixels: Pixels, um_per_px: float, digest: str) -> Pixels:
    rng = np.random.default_rng(int(digest[:16], 16))
    made, readable = spoiled(pixels, um_per_px, rng, faults=HELD_BACK)
    for _ in range(TRIES):
        if readable <= SPOILED:
            break
        made, readable = spoiled(pixels, um_per_px, rng, faults=HELD_BACK)
    return made


# --- crops ----------------------------------------------------------------------------------------


def in_turn(groups: Mapping[int, Sequence[T]], *, most: int) -> list[tuple[int, T]]:
    """At most `most` of each group, evenly taken, the groups in turn: so each batch is a mixture."""
    taken = {
        k: [g[i * len(g) // most] for i in range(most)] if len(g) > most else list(g)
        for k, g in groups.items()
    }
    longest = max((len(g) for g in taken.values()), default=0)
    return [(k, g[i]) for i in range(longest) for k, g in taken.items() if i < len(g)]


def crops_at(
    pixels: Pixels,
    boxes: Sequence[Box],
    *,
    um_per_px: tuple[float, float],
    ground: Colour,
    entry: CropStage,
) -> tuple[Pixels, tuple[Box, ...]]:
    """As the cascade cuts them."""
    crops = square_crops(
        pixels,
        boxes,
        um_per_px=um_per_px,
        field_um=entry.field_um,
        size_px=entry.input_px,
        interpolation=entry.interpolation,
        background=ground,
    )
    return crops.pixels, crops.boxes


def batches_of(crops: Sequence[Pixels]) -> list[Pixels]:
    """(S, S, 3) each -> batches (n, S, S, 3) of nearly equal size."""
    count = max(1, round(len(crops) / BATCH))
    return list(np.array_split(np.stack(crops), count))
