"""Numbers as text: the one form in which every drawing shows them, and all of a report's by name.

Percentages have one decimal. What was not measured has no entry, never a 0. The names are flat
(`differential.lymphocytes.percent`), so that what is read back from a drawing compares directly.
"""

from domain.cells import CellClass, Stage, WbcClass
from domain.counts import Proportion
from reporting.report import Report

__all__ = ["figures_of", "one_decimal", "ratio"]


def one_decimal(percent: float) -> str:
    """
    >>> one_decimal(54.90196)
    '54.9'
    """
    return f"{percent:.1f}"


def ratio(value: float) -> str:
    """A ratio to three decimals (platelets per red cell, per field)."""
    return f"{value:.3f}"


def figures_of(report: Report) -> dict[str, str]:
    """Every number that the report says, by name."""
    numbers = report.numbers
    said: dict[str, str] = {}
    if report.measured(Stage.DETECTION):
        said["cells"] = str(len(report.analysis.cells))
    if report.measured(Stage.CELL_CLASS):
        said["red_cells"] = str(numbers.count(CellClass.RED_BLOOD_CELL))
        said["platelets"] = str(numbers.count(CellClass.PLATELET))
        if numbers.platelets_per_red_cell is not None:
            said["platelets_per_red_cell"] = ratio(numbers.platelets_per_red_cell)
        if report.platelets_per_field is not None:
            said["platelets_per_field"] = ratio(report.platelets_per_field)
    if report.measured(Stage.WBC_CLASS):
        said["leukocytes"] = str(numbers.leukocytes)
        for row in numbers.differential:
            said |= _proportion(f"differential.{row.name}", row.proportion)
        said |= _proportion("morphological_blasts", numbers.morphological_blasts)
        nucleated = dict(numbers.counts).get(WbcClass.NUCLEATED_RED_BLOOD_CELLS)
        if nucleated is not None:
            said["nucleated_red.count"] = str(nucleated)
            if numbers.nucleated_red_per_100 is not None:
                said["nucleated_red.per_100"] = one_decimal(numbers.nucleated_red_per_100)
        said["overruled"] = str(numbers.overruled)
    if report.measured(Stage.MALIGNANCY):
        said |= _proportion("blasts", numbers.blasts)
        if numbers.blast_bounds is not None and numbers.white_unclassified:
            low, high = numbers.blast_bounds
            said |= {"blasts.bound_low": one_decimal(low), "blasts.bound_high": one_decimal(high)}
        if numbers.corrected is not None:
            said |= {
                "blasts.corrected.percent": one_decimal(numbers.corrected.percent),
                "blasts.corrected.low": one_decimal(numbers.corrected.low),
                "blasts.corrected.high": one_decimal(numbers.corrected.high),
            }
        said["disagreements"] = str(numbers.disagreements)
    if report.measured(Stage.SUBTYPE):
        for row in numbers.subtypes:
            said |= _proportion(f"subtype.{row.name}", row.proportion)
    for stage, count in numbers.unclassified:
        if report.measured(stage):
            said[f"unclassified.{stage.value}"] = str(count)
    return said


def _proportion(name: str, proportion: Proportion) -> dict[str, str]:
    said = {f"{name}.count": str(proportion.count)}
    if (
        proportion.percent is not None
        and proportion.low is not None
        and proportion.high is not None
    ):
        said |= {
            f"{name}.percent": one_decimal(proportion.percent),
            f"{name}.low": one_decimal(proportion.low),
            f"{name}.high": one_decimal(proportion.high),
        }
    return said
