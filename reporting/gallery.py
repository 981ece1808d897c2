"""Which cells the gallery shows: the evidence for the numbers, most telling first.

In      Analysis, and how many cells fit
Out     cells in the order of the page: blasts, then each other leukocyte class in turn, then the
        unclassified; within each the least certain first, so that doubt is seen and not hidden
Pure choice; the crops are cut by who has the pixels.
"""

from itertools import chain, zip_longest

from domain.analysis import Analysis
from domain.cells import NOT_WHITE, UNCLASSIFIED, Cell, CellClass, WbcClass

__all__ = ["certainty", "gallery_cells", "most_uncertain"]


def gallery_cells(analysis: Analysis, *, limit: int) -> tuple[Cell, ...]:
    """At most `limit` cells. Blasts get half of the places (all, when nothing else is there),
    the other classes share the rest evenly."""
    blasts = sorted((c for c in analysis.cells if c.is_blast), key=_doubtful_first)
    by_class: dict[str, list[Cell]] = {
        name: [] for name in (*(c.value for c in WbcClass if c not in NOT_WHITE), *_FURTHER)
    }
    for cell in analysis.cells:
        if cell.cell_class is CellClass.WHITE_BLOOD_CELL and not cell.is_blast:
            by_class.setdefault(cell.final_class, []).append(cell)
    queues = [sorted(cells, key=_doubtful_first) for cells in by_class.values()]
    others = [c for c in chain.from_iterable(zip_longest(*queues)) if c is not None]
    places = max(limit - len(others), min(len(blasts), (limit + 1) // 2))
    shown = blasts[:places]
    rest = {c.number for c in others[: limit - len(shown)]}
    return (*shown, *(c for queue in queues for c in queue if c.number in rest))


# shown after the leukocytes: they bear on the count, but are not in it
_FURTHER = (WbcClass.NUCLEATED_RED_BLOOD_CELLS.value, UNCLASSIFIED)


def certainty(cell: Cell) -> float:
    """Probability of the least certain answer that made the cell's final class (0 to 1)."""
    answers = (cell.wbc_class_p, cell.malignancy_p if cell.is_blast else (), cell.subtype_p)
    return min((max(p) for p in answers if p), default=cell.detection_p)


def most_uncertain(cells: tuple[Cell, ...]) -> frozenset[int]:
    """Numbers of the least certain tenth (at least one) of these cells."""
    ranked = sorted(cells, key=_doubtful_first)
    return frozenset(c.number for c in ranked[: (len(ranked) + 9) // 10])


def _doubtful_first(cell: Cell) -> tuple[float, int]:
    return certainty(cell), cell.number
