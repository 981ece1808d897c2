"""What one run of the cascade over the images of a case gave, with all that went into it.

In      bytes, bundle, settings
Out     Analysis: a value that holds everything needed to draw the report and to run it again
"""

from dataclasses import dataclass

from domain.cells import Cell, Stage, WbcClass
from domain.identities import Sha256
from domain.image import Domain, ImageReading

__all__ = [
    "Analysis",
    "BundleInfo",
    "Commissioning",
    "ModelInfo",
    "StageFailure",
    "StageRecord",
]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One network of a bundle."""

    stage: Stage
    architecture: str
    sha256: Sha256
    classes: tuple[str, ...]
    thresholds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Commissioning:
    """Where and on which day (ISO 8601) a bundle was fitted to a laboratory's own images, and the
    manifest that it was derived from."""

    site: str
    date: str
    parent_manifest_sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """Which networks read the images. `confusion` (rows true, columns told, benign/malignant
    counts of the bundle's own evaluation) allows the corrected fraction; None without one."""

    id: str
    version: str
    manifest_sha256: Sha256
    untrained: bool
    domains: tuple[Domain, ...]
    models: tuple[ModelInfo, ...]
    um_per_px: float
    reject_rate: float | None = None  # share of white cells it rejects on its own evaluation set
    confusion: tuple[tuple[int, int], tuple[int, int]] | None = None
    commissioned: Commissioning | None = None

    def model(self, stage: Stage) -> ModelInfo:
        return next(m for m in self.models if m.stage is stage)


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What one stage did over the whole analysis; `seconds` is wall time of this run."""

    stage: Stage
    model: str
    sha256: Sha256
    engine: str
    thresholds: tuple[tuple[str, float], ...]
    seconds: float
    items: int


@dataclass(frozen=True, kw_only=True)
class StageFailure:
    """Work that could not be done; the report says so and is PARTIAL.

    A stage that failed spoils its own numbers and those of the stages after it. `stage` None is no
    stage: an image that was to be read and could not be decoded (to its end), or the run, of which
    no image is evaluable then; the numbers of what was read stand.
    """

    stage: Stage | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """`cells` are numbered 1.. in reading order: image, field, then by box (y0, x0)."""

    bundle: BundleInfo
    images: tuple[ImageReading, ...]
    cells: tuple[Cell, ...]
    stages: tuple[StageRecord, ...]
    engine: str  # e.g. "torch 2.14.1 cpu float32"
    processor: str
    software: str  # e.g. "leukonode 0.1.0"
    leukocytes_wanted: int
    failures: tuple[StageFailure, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def evaluable(self) -> bool:
        """At least one image could be read, if not to its end."""
        return any(not i.not_evaluable for i in self.images)

    @property
    def wbc_classes(self) -> tuple[str, ...]:
        """Every class that a white cell of this analysis can have: those of the bundle, and after
        them any further one that a person has named."""
        known = self.bundle.model(Stage.WBC_CLASS).classes
        met = {c.final_class for c in self.cells}
        return (*known, *(c.value for c in WbcClass if c.value in met and c.value not in known))

    def measured(self, stage: Stage) -> bool:
        """Whether the numbers that rest on this stage exist: an image could be read, and neither
        this stage nor one before it failed. Where not, no number is reported."""
        return self.evaluable and all(
            f.stage is None or f.stage.number > stage.number for f in self.failures
        )
