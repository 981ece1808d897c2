"""`overview.png`: an image with its cells' boxes and numbers, and a legend.

In      Overview (a small picture of the image), the cells of the analysis
Out     PNG bytes, the same for the same input
Groups have the colours of `reporting.colours`; white cells are numbered as in the report.
"""

import io
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from domain.cells import Cell
from reporting.colours import GROUPS, Group, group_of
from reporting.fonts import face
from reporting.report import UNTRAINED, Overview

__all__ = ["boxes_on", "overview_png"]

_INK = (30, 30, 30)


def overview_png(overview: Overview, cells: Iterable[Cell], *, untrained: bool) -> bytes:
    """The picture with boxes over it and the legend (with UNTRAINED MODELS, if so) below it."""
    height, width = overview.pixels.shape[:2]
    size = max(11, min(width, height) // 55)
    font = ImageFont.truetype(str(face().regular), size)
    bold = ImageFont.truetype(str(face().bold), size)
    boxes = boxes_on(overview, cells)
    entries = _legend(boxes, font, width)
    banner = 2 * size if untrained else 0
    line = int(1.7 * size)
    lines = entries[-1][1] + 1 if entries else 0
    sheet = Image.new("RGB", (width, height + banner + lines * line + size), "white")
    sheet.paste(Image.fromarray(overview.pixels), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for group, box, number in boxes:
        thick = max(1, round(group.width * size / 11))
        draw.rectangle(box, outline=group.rgb, width=thick)
        if number is not None:
            _label(draw, (box[0], box[1] - size - 2), str(number), group, bold)
    if untrained:
        draw.rectangle((0, height, width, height + banner), fill="black")
        draw.text((size, height + size // 3), UNTRAINED, fill="white", font=bold)
    for (group, text), row, x in entries:
        y = height + banner + size // 2 + row * line
        draw.rectangle((x, y, x + size, y + size), outline=group.rgb, width=max(2, size // 5))
        draw.text((x + int(1.5 * size), y - 1), text, fill=_INK, font=font)
    sink = io.BytesIO()
    sheet.save(sink, "PNG", optimize=False)
    return sink.getvalue()


def boxes_on(
    overview: Overview, cells: Iterable[Cell]
) -> list[tuple[Group, tuple[float, float, float, float], int | None]]:
    """Group, box in overview pixels (clipped to it) and number (None for red cells and platelets)
    of each cell that lies on the overview; numbered ones last, so that they are drawn on top."""
    height, width = overview.pixels.shape[:2]
    x, y = overview.origin_px
    found: list[tuple[Group, tuple[float, float, float, float], int | None]] = []
    for cell in cells:
        if cell.image != overview.image:
            continue
        x0, x1 = ((v - x) * overview.scale for v in (cell.box_px.x0, cell.box_px.x1))
        y0, y1 = ((v - y) * overview.scale for v in (cell.box_px.y0, cell.box_px.y1))
        box = (max(x0, 0.0), max(y0, 0.0), min(x1, width - 1.0), min(y1, height - 1.0))
        if box[0] < box[2] and box[1] < box[3]:
            group = group_of(cell)
            found.append((group, box, cell.number if group.numbered else None))
    return sorted(found, key=lambda entry: entry[2] or 0)


def _label(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    group: Group,
    font: ImageFont.FreeTypeFont,
) -> None:
    """The number on a white plate, kept inside the picture at its top edge."""
    x, y = at[0], max(at[1], 0)
    left, top, right, bottom = draw.textbbox((x, y), text, font=font)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill="white")
    draw.text((x, y), text, fill=group.rgb, font=font)


def _legend(
    boxes: list[tuple[Group, tuple[float, float, float, float], int | None]],
    font: ImageFont.FreeTypeFont,
    width: int,
) -> list[tuple[tuple[Group, str], int, int]]:
    """(group, text), row and x of each entry, in as many rows as the width asks for."""
    placed: list[tuple[tuple[Group, str], int, int]] = []
    row, x = 0, int(font.size)
    for group in GROUPS:
        count = sum(1 for g, _, _ in boxes if g is group)
        if not count:
            continue
        text = f"{group.name} ({count})"
        need = int(font.getlength(text) + 3.5 * font.size)
        if x + need > width and x > font.size:
            row, x = row + 1, int(font.size)
        placed.append(((group, text), row, x))
        x += need
    return placed
