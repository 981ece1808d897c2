"""What evaluation says of one stage: a frozen value; tables, plots and pages are drawings of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from domain.cells import Stage
from inference.bundle import Bundle
from training.average_precision import DetectionFigures
from training.metrics import Estimate, Figures, Reliability, Share

__all__ = ["Failure", "Judged", "Lot", "Shortcut", "Sizes", "blank", "sampled"]

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is looked at. Samples are taken evenly and by no chance, so the same call judges the
    same pictures.

    pictures  of `val`, of one laboratory and label
    cells     of one laboratory and class, in stages 3 and 4
    tested    cells on which every shortcut test is made
    train     pictures of `train`, of one laboratory and label, that shortcut baselines learn from
    fields    whole fields that the cascade reads, of one laboratory and kind
    drawn     drawn smears that the cascade reads
    """

    pictures: int = 60
    cells: int = 30
    tested: int = 64
    train: int = 120
    fields: int = 10
    drawn: int = 6

    @classmethod
    def quick(cls) -> "Sizes":
        """For a first look; the intervals are wide."""
        return cls(pictures=12, cells=8, tested=24, train=40, fields=3, drawn=2)

    @classmethod
    def most(cls, number: int) -> "Sizes":
        """As many as `number` everywhere; the shortcut tests take twice as many cells."""
        return cls(
            pictures=number,
            cells=number,
            tested=2 * number,
            train=max(number, 40),
            fields=number,
            drawn=min(number, 24),
        )


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """A baseline's or a test's score, and for a test the share of answers that changed. `chance` is
    what always naming the most frequent class gives."""

    name: str
    right: Share
    changed: Share | None = None
    auc: Estimate | None = None
    chance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One picture that was read wrongly, for the page. `pixels` (S, S, 3) uint8."""

    source: str
    truth: str
    told: str
    p: float
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Lot:
    """Figures of one laboratory, or of all together; `cells` of `unit` were judged."""

    name: str
    cells: int
    unit: str = "cells"
    figures: Figures | None = None
    detection: DetectionFigures | None = None
    reliability: Reliability | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One stage of one bundle on one collection. The first lot is the one that counts.

    accepted     class, share accepted at the bundle's reject thresholds, share right of those
    risk         (share accepted, share right of those) as the least wanted probability falls
    field_tests  the shortcut tests judged by field, where a label is of a field
    """

    stage: Stage
    bundle: str
    weights_sha256: str
    classes: tuple[str, ...]
    lots: tuple[Lot, ...]
    baselines: tuple[Shortcut, ...] = ()
    tests: tuple[Shortcut, ...] = ()
    field_tests: tuple[Shortcut, ...] = ()
    accepted: tuple[tuple[str, Share, Share], ...] = ()
    risk: tuple[tuple[float, float], ...] = ()
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


def blank(stage: Stage, bundle: Bundle) -> Judged:
    """Whose figures they will be."""
    entry = bundle.manifest.stages.of(stage)
    return Judged(
        stage=stage,
        bundle=bundle.info.id,
        weights_sha256=entry.sha256,
        classes=tuple(str(c) for c in entry.classes),
        lots=(),
    )


def sampled(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most`, evenly taken, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
