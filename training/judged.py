"""What evaluation says of one stage: a frozen value; tables, plots and pages are drawings of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from domain.cells import Stage
from training.average_precision import DetectionFigures
from training.metrics import Figures, Reliability

__all__ = ["Failure", "Judged", "Lot", "Shortcut"]


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """A baseline's or a test's score, and for a test the share of answers that changed."""

    name: str
    accuracy: float
    changed: float | None = None


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
    """Figures of one laboratory, or of all together."""

    name: str
    cells: int
    figures: Figures | None = None
    detection: DetectionFigures | None = None
    reliability: Reliability | None = None
    further: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One stage of one bundle on one collection."""

    stage: Stage
    bundle: str
    weights_sha256: str
    classes: tuple[str, ...]
    lots: tuple[Lot, ...]
    baselines: tuple[Shortcut, ...] = ()
    tests: tuple[Shortcut, ...] = ()
    accepted: tuple[tuple[str, float, float], ...] = ()  # class, share accepted, share right of it
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
