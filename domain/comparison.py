"""Compare two runs of the cascade over the same bytes, cell by cell (METHOD section 5).

In      the stored Analysis and the one of the run again
Out     Comparison: every difference by place and field; what may differ between machines beside it
Wall times are no result and are left out. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from domain.analysis import Analysis, StageRecord

__all__ = ["Comparison", "Difference", "compared"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that is not the same."""

    where: str  # "cell 12", "image 1", "analysis"
    field: str
    stored: str
    again: str

    @property
    def text(self) -> str:
        return f"{self.where}: {self.field} was {self.stored}, is {self.again}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`largest` is the largest difference between two numbers of a cell (a probability, or a pixel
    of a box) that was met; `surroundings` are software, engine and processor where they differ."""

    cells: int  # stored
    differing_cells: int
    differences: tuple[Difference, ...]
    largest: float
    surroundings: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        return not self.differences


def compared(stored: Analysis, again: Analysis, *, tolerance: float = 0.0) -> Comparison:
    """Two numbers of a cell count as the same when they lie no further apart than `tolerance`."""
    gaps: list[float] = [0.0]
    of_cells = tuple(_of_cells(stored, again, tolerance, gaps))
    found = (*_of_images(stored, again), *of_cells, *_of_runs(stored, again))
    return Comparison(
        cells=len(stored.cells),
        differing_cells=len({d.where for d in of_cells}),
        differences=found,
        largest=max(gaps),
        surroundings=tuple(_of_surroundings(stored, again)),
    )


def _of_cells(
    stored: Analysis, again: Analysis, tolerance: float, gaps: list[float]
) -> Iterator[Difference]:
    before, now = ({c.number: c for c in a.cells} for a in (stored, again))
    if not any(c.outline_px for c in stored.cells):  # read before outlines were kept
        now = {number: replace(cell, outline_px=()) for number, cell in now.items()}
    for number in sorted(before.keys() | now.keys()):
        where = f"cell {number}"
        if number not in now:
            yield _difference(where, "cell", before[number].final_class, "not there")
        elif number not in before:
            yield _difference(where, "cell", "not there", now[number].final_class)
        else:
            yield from _of_values(where, before[number], now[number], tolerance, gaps)


def _of_values(
    where: str, before: Any, now: Any, tolerance: float, gaps: list[float]
) -> Iterator[Difference]:
    for field in fields(before):
        a, b = getattr(before, field.name), getattr(now, field.name)
        if a == b:
            continue
        gap = _gap(a, b)
        if gap is not None:
            gaps.append(gap)
            if gap <= tolerance:
                continue
        yield _difference(where, field.name, a, b)


def _gap(a: Any, b: Any) -> float | None:
    """The largest distance between two measures, or two rows of as many; None for anything else,
    whole numbers among it: those count, or name something."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        numbers = len(a) == len(b) > 0 and all(isinstance(v, int | float) for v in (*a, *b))
        return max(abs(x - y) for x, y in zip(a, b, strict=True)) if numbers else None
    return abs(a - b) if isinstance(a, float) and isinstance(b, float) else None


def _of_images(stored: Analysis, again: Analysis) -> Iterator[Difference]:
    if len(stored.images) != len(again.images):
        yield _difference("analysis", "images", len(stored.images), len(again.images))
        return
    for number, (a, b) in enumerate(zip(stored.images, again.images, strict=True), 1):
        yield from _of_values(f"image {number}", a, b, 0.0, [])


def _of_runs(stored: Analysis, again: Analysis) -> Iterator[Difference]:
    for name in ("bundle", "leukocytes_wanted", "failures", "warnings"):
        a, b = getattr(stored, name), getattr(again, name)
        if a != b:
            yield _difference("analysis", name, a, b)
    a, b = ([_of_stage(s) for s in x.stages] for x in (stored, again))
    if a != b:
        yield _difference("analysis", "stages", a, b)


def _of_stage(record: StageRecord) -> tuple[Any, ...]:
    """Without the engine, which may be another machine's, and the time it took."""
    return (record.stage.value, record.model, record.sha256, record.thresholds, record.items)


def _of_surroundings(stored: Analysis, again: Analysis) -> Iterator[Difference]:
    for name in ("software", "engine", "processor"):
        a, b = getattr(stored, name), getattr(again, name)
        if a != b:
            yield _difference("machine", name, a, b)


def _difference(where: str, field: str, stored: object, again: object) -> Difference:
    return Difference(where=where, field=field, stored=str(stored), again=str(again))
