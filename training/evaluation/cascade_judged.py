"""What evaluation says of the whole cascade on whole fields: frozen values, drawn by cascade_pages."""

from dataclasses import dataclass

from training.average_precision import DetectionFigures
from training.metrics import Estimate, Share

__all__ = [
    "BlastRow",
    "CascadeJudged",
    "CountRow",
    "DrawnCount",
    "DrawnRow",
    "LossRow",
    "ReplacedRow",
    "ScaleRow",
    "ScaleUseRow",
]


@dataclass(frozen=True, kw_only=True)
class CountRow:
    """One kind of cell in one laboratory: found against boxed. `bias` is found less true, a field, `ratio`
    is found over true in all fields together."""

    laboratory: str
    cell_class: str
    fields: int
    true: int
    found: int
    ratio: Estimate
    bias: Estimate
    absolute_error: Estimate
    correlation: Estimate
    pairs: tuple[tuple[int, int], ...]  # (true, found) of each field


@dataclass(frozen=True, kw_only=True)
class ScaleRow:
    """The scale read from red cells over the known one (1 is right)."""

    laboratory: str
    measured: Share  # of the fields that stage 1 let through
    median: Estimate
    low: float  # 5th and 95th percentile of the ratios
    high: float
    outside: Share  # further than a tenth from the known scale, of those measured
    ratios: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ScaleUseRow:
    """What stages 2 to 4 give when a field is read at one of three scales."""

    scale: str  # known, from red cells, none
    detection: DetectionFigures
    cell_class: Share  # right answers of stage 3 at the true boxes
    wbc_class: Share  # right answers of stage 4 at the true boxes of white cells with a known class


@dataclass(frozen=True, kw_only=True)
class BlastRow:
    """Blasts reported in fields of one kind. `fraction` has the exact interval of one count; `by_group`
    the interval over groups of fields. `true` is the known fraction, None where nobody knows it."""

    laboratory: str
    kind: str
    fields: int
    with_blasts: Share
    fraction: Share
    by_group: Estimate
    true: float | None
    unclassified: Share  # of the white cells
    per_field: tuple[float, ...]  # of the fields with a leukocyte


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """White cells on their way to a subtype: each step's number, and how many were left unclassified
    there. `seen_by` says who saw them."""

    laboratory: str
    kind: str
    seen_by: str
    steps: tuple[tuple[str, int, int], ...]  # name, reached, unclassified


@dataclass(frozen=True, kw_only=True)
class ReplacedRow:
    """The pooled blast fraction when the answers up to a stage are replaced by the truth."""

    truth_up_to: int  # stage; 1 is the cascade as it is
    blasts: int
    leukocytes: int

    @property
    def fraction(self) -> float:
        return self.blasts / self.leukocytes if self.leukocytes else float("nan")


@dataclass(frozen=True, kw_only=True)
class DrawnCount:
    """A number of a drawn smear: the truth, what was found, and the interval of the latter."""

    name: str
    true: float
    found: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low <= self.true <= self.high


@dataclass(frozen=True, kw_only=True)
class DrawnRow:
    """One drawn smear."""

    name: str
    counts: tuple[DrawnCount, ...]


@dataclass(frozen=True, kw_only=True)
class CascadeJudged:
    """The six networks of one bundle as one."""

    bundle: str
    manifest_sha256: str
    untrained: bool
    fields: int
    refused: tuple[tuple[str, Share], ...]  # laboratory and kind, fields that stage 1 refused
    counts: tuple[CountRow, ...]
    scales: tuple[ScaleRow, ...]
    scale_use: tuple[ScaleUseRow, ...]
    blasts: tuple[BlastRow, ...]
    losses: tuple[LossRow, ...]
    replaced: tuple[ReplacedRow, ...]
    drawn: tuple[DrawnRow, ...]
    seconds: float
    notes: tuple[str, ...] = ()
