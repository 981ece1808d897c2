"""The evidence in the PDF: the gallery of cells by group, overviews with boxes, maps of slides.

Both are bounded: what does not fit is counted in words, and is in `result.json`.
"""

from collections.abc import Collection
from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import KeepTogether, Spacer

from domain.cells import UNCLASSIFIED, Cell, CellClass
from reporting.gallery import most_uncertain
from reporting.pdf_frame import Sheet
from reporting.pdf_overviews import OverviewPicture, SlideMap
from reporting.pdf_parts import CellPicture
from reporting.pdf_typography import NOTE, SMALL, heading, layout, text
from reporting.report import GalleryCrop, Overview, Report
from reporting.words import class_words

__all__ = ["gallery_section", "overview_section"]

ACROSS = 8
CROPS_SHOWN = 72
OVERVIEWS_SHOWN = 4
TALLEST = 104 * mm  # two to a page


def gallery_section(report: Report, width: float) -> list[Any]:
    """Blasts, then each class, then the unclassified, each with how many of them are shown."""
    cells = {c.number: c for c in report.analysis.cells}
    crops = [(g, cells[g.cell_number]) for g in report.gallery if g.cell_number in cells]
    crops = crops[:CROPS_SHOWN]
    if not crops:
        return []
    said = heading("Gallery", needs=70 * mm)
    said.append(
        text(
            "The cells behind the numbers, least certain first in each group; the least certain "
            "tenth of all shown is marked uncertain. The number is the cell's in this case; p is "
            "the probability of the least certain answer about it. Lines: a frame's colour, width "
            "and dash are those of the overview's boxes.",
            style=NOTE,
        )
    )
    uncertain = most_uncertain(
        tuple(cell for _, cell in crops if cell.number not in report.reclassified)
    )
    for name, group in _groups(crops):
        all_of_it = sum(
            c.cell_class is CellClass.WHITE_BLOOD_CELL and _group_name(c) == name
            for c in report.analysis.cells
        )
        said += _rows(
            f"{name}: {len(group)} of {all_of_it} shown",
            group,
            uncertain,
            width,
            by_person=report.reclassified,
        )
    return said


def overview_section(report: Report, sheet: Sheet) -> list[Any]:
    said: list[Any] = []
    for overview in report.overviews[:OVERVIEWS_SHOWN]:
        said += _overview(report, overview, sheet)
    left_out = len(report.overviews) - OVERVIEWS_SHOWN
    if left_out > 0:
        said.append(text(f"{left_out} further overviews are not shown.", style=NOTE))
    return said


def _overview(report: Report, overview: Overview, sheet: Sheet) -> list[Any]:
    header = report.analysis.images[overview.image].header
    is_map = bool(overview.fields_px)
    made = SlideMap if is_map else OverviewPicture
    picture = made(overview, report.analysis.cells, width=sheet.column, tallest=TALLEST)
    if is_map:
        title = f"Map of image {overview.image + 1}, with the fields read"
        fields = len(overview.fields_px)
        said = f"{fields} {'field' if fields == 1 else 'fields'} framed; dots are white cells."
    else:
        title = f"Overview of image {overview.image + 1}"
        said = "Numbers are those of the gallery and of result.json."
        if overview.origin_px != (0.0, 0.0):
            x, y = overview.origin_px
            said = f"The part from pixel {x:.0f}, {y:.0f}. {said}"
    return [
        *heading(title, needs=picture.height + 20 * mm),
        picture,
        text(f"{header.width_px} x {header.height_px} pixels. {said}", style=NOTE),
    ]


def _groups(
    crops: list[tuple[GalleryCrop, Cell]],
) -> list[tuple[str, list[tuple[GalleryCrop, Cell]]]]:
    groups: dict[str, list[tuple[GalleryCrop, Cell]]] = {}
    for crop, cell in crops:
        groups.setdefault(_group_name(cell), []).append((crop, cell))
    return list(groups.items())


def _group_name(cell: Cell) -> str:
    if cell.is_blast:
        return "Blasts"
    if cell.is_leukocyte:
        return "Other leukocytes, by class"
    return "Outside the differential"


def _rows(
    title: str,
    group: list[tuple[GalleryCrop, Cell]],
    uncertain: frozenset[int],
    width: float,
    *,
    by_person: Collection[int],
) -> list[Any]:
    column = width / ACROSS
    pictures = [
        CellPicture(
            crop,
            cell,
            words=_words(cell),
            by_person=cell.number in by_person,
            uncertain=cell.number in uncertain,
            side=column - 6,
        )
        for crop, cell in group
    ]
    made = []
    for i in range(0, len(pictures), ACROSS):
        row: list[Any] = pictures[i : i + ACROSS]
        strip = layout([row + [""] * (ACROSS - len(row))], [column] * ACROSS, padding=(6, 1.5))
        made.append(strip)
    return [KeepTogether([Spacer(0, 3), text(title, style=SMALL), made[0]]), *made[1:]]


def _words(cell: Cell) -> str:
    if not cell.is_blast:
        return class_words(cell.final_class)
    pattern = cell.subtype if cell.subtype and cell.subtype != UNCLASSIFIED else None
    return f"Blast, {class_words(pattern)}" if pattern else "Blast"
