"""Read cells and counts back out of made annotations, to compare them with the report.

In      bytes of annotation objects
Out     cells as the codes, coordinates and measurements say; counts by the names of `figures_of`
Read by its own codes, not by how it was made.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from highdicom.ann import AnnotationGroup, MicroscopyBulkSimpleAnnotations
from highdicom.ann.enum import AnnotationCoordinateTypeValues
from pydicom import dcmread

from domain.cells import LEUKOCYTES, CellClass, WbcClass
from domain.study import Code
from reporting import codes

__all__ = ["AnnotatedCell", "cells_in_annotations", "numbers_in_annotations"]


@dataclass(frozen=True, kw_only=True)
class AnnotatedCell:
    """`points_px` x, y, x, y, ... in hundredths of a pixel at the finest; probabilities to six
    decimals, None where the object has none."""

    number: int
    counted_as: str
    blast: bool
    points_px: tuple[float, ...]
    p: float | None
    malignant_p: float | None


def cells_in_annotations(document: bytes) -> tuple[AnnotatedCell, ...]:
    """The cells of one object, in its order."""
    read = MicroscopyBulkSimpleAnnotations.from_dataset(dcmread(io.BytesIO(document)))
    return tuple(
        cell
        for group in read.get_annotation_groups()
        for cell in _cells(group, read.annotation_coordinate_type)
    )


def numbers_in_annotations(documents: Iterable[bytes]) -> dict[str, str]:
    """Counts that are not 0, by name, over all objects of a report."""
    counted: Counter[str] = Counter()
    for document in documents:
        for cell in cells_in_annotations(document):
            counted[_NAMES.get(cell.counted_as, cell.counted_as)] += 1
            counted["blasts.count"] += cell.blast
    return {name: str(count) for name, count in counted.items() if count}


_NAMES = {
    **{c.value: f"differential.{c.value}.count" for c in LEUKOCYTES},
    CellClass.RED_BLOOD_CELL.value: "red_cells",
    CellClass.PLATELET.value: "platelets",
    WbcClass.NUCLEATED_RED_BLOOD_CELLS.value: "nucleated_red.count",
}
_BY_TYPE = {(c.scheme, c.value): name for name, c in codes.CELL_TYPE.items()}
_BY_FORM = {
    codes.BY_FORM_BLAST.value: WbcClass.BLAST_CELLS.value,
    codes.BY_FORM_LYMPHOCYTE.value: WbcClass.LYMPHOCYTES.value,
}


def _cells(
    group: AnnotationGroup, coordinates: AnnotationCoordinateTypeValues
) -> Iterator[AnnotatedCell]:
    kind = group.AnnotationPropertyTypeCodeSequence[0]
    forms = kind.get("AnnotationPropertyTypeModifierCodeSequence", [])
    counted_as = _BY_TYPE[kind.CodingSchemeDesignator, kind.CodeValue]
    if forms:
        counted_as = _BY_FORM[forms[0].CodeValue]
    numbers = _measured(group, codes.CELL_NUMBER)
    of_class = _measured(group, codes.PROBABILITY)
    malignant = _measured(group, codes.MALIGNANCY_PROBABILITY)
    for i, points in enumerate(group.get_graphic_data(coordinates)):
        number = numbers[i]
        if number is None:
            raise ValueError(f"a cell of the group {group.label!r} has no number")
        yield AnnotatedCell(
            number=int(number),
            counted_as=counted_as,
            blast=bool(forms),
            points_px=tuple(round(float(v), 2) for v in points.ravel()),
            p=of_class[i],
            malignant_p=malignant[i],
        )


def _measured(group: AnnotationGroup, name: Code) -> list[float | None]:
    """One value a cell."""
    for item in group.get("MeasurementsSequence", []):
        if item.ConceptNameCodeSequence[0].CodeValue == name.value:
            values = item.get_values(group.number_of_annotations)
            return [None if np.isnan(v) else round(float(v), 6) for v in values]
    return [None] * group.number_of_annotations
