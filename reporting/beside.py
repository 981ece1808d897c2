"""What a report puts beside its numbers, where a laboratory has it: limits of its own, reference ranges,
the patient's earlier cases, how the audit trail stood. Values only; who has them passes them in.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.counts import Proportion

__all__ = ["Beside", "Checkpoint", "EarlierCase", "Range", "ReferenceRange", "range_of"]


@dataclass(frozen=True, kw_only=True)
class ReferenceRange:
    """Where the percentage of a class lies in health, by the laboratory's own word; limits included."""

    name: str  # a class of the differential
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 100:
            raise ValueError(
                f"reference range of {self.name}: {self.low:g} to {self.high:g} % is no range"
            )


class Range(StrEnum):
    """How a percentage lies to its reference range."""

    LOW = "low"
    WITHIN = "within"
    HIGH = "high"


def range_of(proportion: Proportion, reference: ReferenceRange) -> Range | None:
    """By the printed percentage; None when nothing was counted."""
    if proportion.percent is None:
        return None
    percent = round(proportion.percent, 1)
    if percent < reference.low:
        return Range.LOW
    return Range.HIGH if percent > reference.high else Range.WITHIN


@dataclass(frozen=True, kw_only=True)
class EarlierCase:
    """The blast fraction of an earlier case of the same patient. `analysed_on` is YYYY-MM-DD."""

    analysed_on: str
    blasts: Proportion


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The head of the audit chain when the report was drawn: `leukonode audit verify` finds it again."""

    sequence: int
    digest: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Beside:
    """All of it; empty where a laboratory has nothing of the kind."""

    thresholds_percent: tuple[float, ...] = ()  # besides the review threshold
    reference_ranges: tuple[ReferenceRange, ...] = ()
    earlier: tuple[EarlierCase, ...] = ()  # oldest first
    checkpoint: Checkpoint | None = None

    def reference_of(self, name: str) -> ReferenceRange | None:
        return next((r for r in self.reference_ranges if r.name == name), None)
