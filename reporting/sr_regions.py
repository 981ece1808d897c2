"""White cells as regions of the SR (TID 1410), for images that annotations are not made of.

Annotations are of microscopy images (PS3.3 A.87). A secondary capture, a frame of flow cytometry
among them, has no other place for its cells than the SR: each white cell is a planar region in
pixels of its frame, with its number, class and probability. An SR is read whole, so their number is
bounded and what was left out is said; red cells and platelets are counted and not located.
"""

from collections.abc import Iterator

import numpy as np
from highdicom.sr import ContainerContentItem, ImageRegion, SourceImageForRegion, TextContentItem
from highdicom.sr.enum import GraphicTypeValues

from domain.cells import Cell, Stage
from domain.study import EvidenceRef
from reporting import codes
from reporting.annotations import ANNOTATED_CLASSES
from reporting.cell_groups import CellGroup, evidence_of, groups_of, probabilities
from reporting.report import Report
from reporting.sr_groups import algorithm_of
from reporting.sr_items import code_item, measurement_group, number, words

__all__ = ["MOST_REGIONS", "region_groups", "region_words"]

MOST_REGIONS = 300  # of a report


def region_groups(report: Report) -> Iterator[ContainerContentItem]:
    """One group a cell, by number."""
    algorithms = {stage: algorithm_of(report, stage) for stage in Stage}
    for source, group, cell in _placed(report)[:MOST_REGIONS]:
        (p,) = probabilities([cell], report)
        items = [
            ImageRegion(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=_closed(cell),
                source_image=_frame(source, cell),
            ),
            number(codes.CELL_NUMBER, cell.number, codes.NO_UNITS, missing=None),
            number(
                codes.PROBABILITY,
                None if p is None else round(p, 6),  # as `result.json` tells it; DS holds 16
                codes.NO_UNITS,
                missing=codes.NOT_ATTEMPTED if p is None else None,
            ),
        ]
        if group.form is not None:
            items.append(code_item(codes.FORM, group.form))
        yield measurement_group(
            tracking=(report.uids.tracking(f"cell {cell.number}"), f"Cell {cell.number}"),
            algorithm=algorithms[group.stage],
            items=items,
            finding=group.type_code,
            template="1410",
        )


def region_words(report: Report) -> Iterator[TextContentItem]:
    """That regions were left out, where they were."""
    found = len(_placed(report))
    if found > MOST_REGIONS:
        yield words(
            codes.COMMENT, f"Regions are given of the first {MOST_REGIONS} of {found} white cells"
        )


def _placed(report: Report) -> list[tuple[EvidenceRef, CellGroup, Cell]]:
    """White cells of all images that have no annotations, by number."""
    placed = []
    for index, image in enumerate(report.analysis.images):
        source = evidence_of(report, image)
        if source is None or source.sop_class_uid in ANNOTATED_CLASSES:
            continue
        for group in groups_of(report, index):
            if not group.of_stage_3:
                placed += [(source, group, cell) for cell in group.cells]
    return sorted(placed, key=lambda each: each[2].number)


def _closed(cell: Cell) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """(n, 2), the first point again at the end, as SR wants it (PS3.3 C.18.6.1.2)."""
    box = cell.box_px
    corners = (box.x0, box.y0, box.x1, box.y0, box.x1, box.y1, box.x0, box.y1)
    points = np.array(cell.outline_px or corners, dtype=np.float32).reshape(-1, 2)
    return np.concatenate([points, points[:1]])


def _frame(source: EvidenceRef, cell: Cell) -> SourceImageForRegion:
    return SourceImageForRegion(
        referenced_sop_class_uid=source.sop_class_uid,
        referenced_sop_instance_uid=source.instance_uid,
        referenced_frame_numbers=[cell.frame] if source.frames > 1 else None,
    )
