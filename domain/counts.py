"""Count classified cells into numbers that a report may print.

In      cells: one per detected cell, any order, each with its final class
Out     Numbers: integer counts; percentages and intervals are computed from them each time
At zero leukocytes: Adequacy.NONE and no percentages (a value: the report has to say so)
Source  METHOD section 4; Clopper and Pearson 1934; Rogan and Gladen 1978; Lang and Reiczigel 2014
Pure: no files, no clock, no randomness.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from scipy.stats import beta

from domain.analysis import Analysis
from domain.cells import LEUKOCYTES, UNCLASSIFIED, Cell, CellClass, Stage, Subtype, WbcClass

__all__ = [
    "Adequacy",
    "AdequacyLimits",
    "Against",
    "ClassCount",
    "Corrected",
    "Numbers",
    "Proportion",
    "against",
    "corrected_fraction",
    "numbers_of",
    "numbers_of_analysis",
    "numbers_of_counts",
]

CONFIDENCE = 0.95
Z = 1.959963984540054  # two-sided 95 % of the normal distribution


class Adequacy(StrEnum):
    """How far the number of leukocytes carries a differential."""

    ADEQUATE = "adequate"
    LIMITED = "limited"
    INSUFFICIENT = "insufficient"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class AdequacyLimits:
    """Leukocytes from which a count is adequate, and from which it is limited."""

    adequate: int = 200
    limited: int = 100

    def of(self, leukocytes: int) -> Adequacy:
        if leukocytes >= self.adequate:
            return Adequacy.ADEQUATE
        if leukocytes >= self.limited:
            return Adequacy.LIMITED
        return Adequacy.INSUFFICIENT if leukocytes > 0 else Adequacy.NONE


@dataclass(frozen=True)
class Proportion:
    """`count` of `total`; the interval is exact binomial (Clopper-Pearson), 95 %.

    >>> Proportion(112, 204).text
    '54.9 % (95 % CI 47.8 to 61.9)'
    """

    count: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.total:
            raise ValueError(f"{self.count} of {self.total} is no proportion")

    @property
    def percent(self) -> float | None:
        """None at zero total: no percentage exists."""
        return 100 * self.count / self.total if self.total else None

    @property
    def low(self) -> float | None:
        """Lower limit in percent."""
        if not self.total:
            return None
        if self.count == 0:
            return 0.0
        tail = (1 - CONFIDENCE) / 2
        return 100 * float(beta.ppf(tail, self.count, self.total - self.count + 1))

    @property
    def high(self) -> float | None:
        """Upper limit in percent."""
        if not self.total:
            return None
        if self.count == self.total:
            return 100.0
        tail = (1 - CONFIDENCE) / 2
        return 100 * float(beta.ppf(1 - tail, self.count + 1, self.total - self.count))

    @property
    def text(self) -> str:
        """Percent and interval to one decimal, the form every drawing uses."""
        if self.percent is None or self.low is None or self.high is None:
            return "no percentage (nothing counted)"
        return f"{self.percent:.1f} % (95 % CI {self.low:.1f} to {self.high:.1f})"


class Against(StrEnum):
    """How a counted fraction lies to a threshold."""

    ABOVE = "above"
    BELOW = "below"
    UNTOLD = "cannot be told from this count"


def against(fraction: Proportion, threshold_percent: float) -> Against | None:
    """Above or below only where the whole interval is; None when nothing was counted.

    >>> against(Proportion(112, 204), 20), against(Proportion(12, 60), 20)
    (<Against.ABOVE: 'above'>, <Against.UNTOLD: 'cannot be told from this count'>)
    """
    low, high = fraction.low, fraction.high
    if low is None or high is None:
        return None
    if low > threshold_percent:
        return Against.ABOVE
    return Against.BELOW if high < threshold_percent else Against.UNTOLD


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """A row of the differential or of the subtypes."""

    name: str
    proportion: Proportion


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """A fraction with the classifier's own error taken out, percent, clipped to 0..100."""

    percent: float
    low: float
    high: float
    sensitivity: float
    specificity: float

    @property
    def below_resolution(self) -> bool:
        """So few that the classifier's false positives alone may have given them."""
        return self.low <= 0


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Everything counted. Sums are sums: see the property tests."""

    counts: tuple[tuple[str, int], ...]  # every final class that can occur, zero included
    leukocytes: int  # N
    differential: tuple[ClassCount, ...]  # of N, in the class list's order
    blasts: Proportion  # malignant lymphoid cells of N
    # stage 4's blast_cells, of N and the lymphoid cells that stage 5 rejected: stage 4 named these too
    morphological_blasts: Proportion
    blast_bounds: tuple[float, float] | None  # percent, as if none or all unclassified were blasts
    corrected: Corrected | None
    subtypes: tuple[ClassCount, ...]  # of the blasts that stage 6 named
    unclassified: tuple[tuple[Stage, int], ...]  # by the stage that rejected
    overruled: int  # cells where stage 4 overruled stage 3
    disagreements: int  # lymphoid cells where stages 4 and 5 disagree
    adequacy: Adequacy

    def count(self, final_class: str) -> int:
        return dict(self.counts)[final_class]

    @property
    def white_unclassified(self) -> int:
        """White cells outside N because stage 4 or 5 rejected them."""
        by_stage = dict(self.unclassified)
        return by_stage[Stage.WBC_CLASS] + by_stage[Stage.MALIGNANCY]

    @property
    def reject_rate(self) -> float | None:
        """Share of the white cells that stage 4 or 5 rejected."""
        white = self.leukocytes + self.white_unclassified
        return self.white_unclassified / white if white else None

    @property
    def nucleated_red_per_100(self) -> float | None:
        """Nucleated red cells per 100 leukocytes (outside the differential)."""
        if not self.leukocytes:
            return None
        return 100 * self.count(WbcClass.NUCLEATED_RED_BLOOD_CELLS) / self.leukocytes

    @property
    def platelets_per_red_cell(self) -> float | None:
        red = self.count(CellClass.RED_BLOOD_CELL)
        return self.count(CellClass.PLATELET) / red if red else None


def numbers_of(
    cells: Iterable[Cell],
    *,
    wbc_classes: tuple[str, ...],
    limits: AdequacyLimits,
    confusion: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> Numbers:
    """Count cells. `wbc_classes` are those the bundle's stage 4 can name, in index order."""
    cells = tuple(cells)
    by_class = Counter(c.final_class for c in cells)
    # red cells, platelets and then every class that stage 4 can name, each once
    names = dict.fromkeys((CellClass.RED_BLOOD_CELL.value, CellClass.PLATELET.value, *wbc_classes))
    counts = tuple((n, by_class[n]) for n in (*names, UNCLASSIFIED))
    strange = set(by_class) - {n for n, _ in counts}
    if strange:
        raise ValueError(f"cells of classes that the bundle does not have: {sorted(strange)}")
    blasts = [c for c in cells if c.is_blast]
    total = sum(c.is_leukocyte for c in cells)
    rejected = Counter(c.rejected_at for c in cells)
    named = Counter(c.subtype for c in blasts if c.subtype in set(Subtype))
    return numbers_of_counts(
        counts=counts,
        leukocytes=total,
        differential=[
            ClassCount(name=n, proportion=Proportion(by_class[n], total))
            for n in wbc_classes
            if n in LEUKOCYTES
        ],
        blasts=len(blasts),
        morphological_blasts=Proportion(
            sum(c.wbc_class == WbcClass.BLAST_CELLS for c in cells),
            total + rejected[Stage.MALIGNANCY],
        ),
        subtypes=[
            ClassCount(name=s.value, proportion=Proportion(named[s], named.total()))
            for s in Subtype
        ],
        unclassified=[(s, rejected[s]) for s in (Stage.WBC_CLASS, Stage.MALIGNANCY, Stage.SUBTYPE)],
        overruled=sum("OVERRULED" in {m.name for m in c.marks} for c in cells),
        disagreements=sum("DISAGREEMENT" in {m.name for m in c.marks} for c in cells),
        adequacy=limits.of(total),
        confusion=confusion,
    )


def numbers_of_counts(
    *,
    counts: Sequence[tuple[str, int]],
    leukocytes: int,
    differential: Sequence[ClassCount],
    blasts: int,
    morphological_blasts: Proportion,
    subtypes: Sequence[ClassCount],
    unclassified: Sequence[tuple[Stage, int]],
    overruled: int,
    disagreements: int,
    adequacy: Adequacy,
    confusion: tuple[tuple[int, int], tuple[int, int]] | None,
) -> Numbers:
    """Integer counts, just counted or read from their rows, and what is computed from them."""
    proportion = Proportion(blasts, leukocytes)
    rejected = dict(unclassified)
    in_doubt = rejected[Stage.WBC_CLASS] + rejected[Stage.MALIGNANCY]
    white = leukocytes + in_doubt
    return Numbers(
        counts=tuple(counts),
        leukocytes=leukocytes,
        differential=tuple(differential),
        blasts=proportion,
        morphological_blasts=morphological_blasts,
        blast_bounds=(100 * blasts / white, 100 * (blasts + in_doubt) / white) if white else None,
        corrected=corrected_fraction(proportion, confusion) if confusion else None,
        subtypes=tuple(subtypes),
        unclassified=tuple(unclassified),
        overruled=overruled,
        disagreements=disagreements,
        adequacy=adequacy,
    )


def numbers_of_analysis(
    analysis: Analysis, *, limits: AdequacyLimits, by_person: bool = False
) -> Numbers:
    """`numbers_of`, by the classes and the confusion of the analysis's own bundle. Where persons have
    called cells otherwise (`by_person`) no fraction is corrected: the errors are those of the networks."""
    return numbers_of(
        analysis.cells,
        wbc_classes=analysis.wbc_classes,
        limits=limits,
        confusion=None if by_person else analysis.bundle.confusion,
    )


def corrected_fraction(
    observed: Proportion, confusion: tuple[tuple[int, int], tuple[int, int]]
) -> Corrected | None:
    """Rogan-Gladen estimate of the true fraction, with the interval (95 %) of Lang and Reiczigel 2014
    for estimated sensitivity and specificity: it carries the sampling error of the count and of both.
    The plain delta-method interval covers too seldom near 0 and 100 % (docs/reports.md).

    `confusion` rows are true benign, true malignant; columns are told benign, told malignant.
    None when nothing was counted, or when the classifier does no better than chance.
    """
    (true_negative, false_positive), (false_negative, true_positive) = confusion
    negatives, positives = true_negative + false_positive, false_negative + true_positive
    if not observed.total or not negatives or not positives:
        return None
    specificity, sensitivity = true_negative / negatives, true_positive / positives
    if sensitivity + specificity <= 1:
        return None
    apparent = observed.count / observed.total
    estimate = (apparent + specificity - 1) / (sensitivity + specificity - 1)
    # each of the three with a few cells added, as theirs (and Agresti and Coull's) interval has it
    n, se_n, sp_n = observed.total + Z**2, positives + 2, negatives + 2
    p = (observed.count + Z**2 / 2) / n
    se, sp = (true_positive + 1) / se_n, (true_negative + 1) / sp_n
    youden = se + sp - 1
    if youden <= 0:
        return None
    middle = (p + sp - 1) / youden
    of_se, of_sp = se * (1 - se) / se_n, sp * (1 - sp) / sp_n
    shift = 2 * Z**2 * (middle * of_se - (1 - middle) * of_sp)
    variance = p * (1 - p) / n + middle**2 * of_se + (1 - middle) ** 2 * of_sp
    half = Z * sqrt(variance) / youden
    return Corrected(
        percent=_percent(estimate),
        low=_percent(min(middle + shift - half, estimate)),
        high=_percent(max(middle + shift + half, estimate)),
        sensitivity=sensitivity,
        specificity=specificity,
    )


def _percent(fraction: float) -> float:
    return min(100.0, max(0.0, 100 * fraction))
