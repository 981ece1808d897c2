"""Micrometres per pixel of an image: from its spacing, else from its red cells, else unknown.

In      the spacing that the image states, or boxes of red cells that the detector found in it
Out     Scale; when there is none, the image is read as it is and the report says so
Source  haematology's usual figure: a normal red cell measures 7.5 um (6.2 to 8.2)
Pure, no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from domain.image import Box, ScaleFrom

__all__ = ["Scale", "red_cell_scale", "spacing_problem", "spacing_scale", "unknown_scale"]

RED_CELL_UM = 7.5
PLAUSIBLE_UM_PER_PX = (0.01, 50.0)
ROUND = (0.9, 1.1)  # width over height of red cells that are not pressed


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`um_per_px` (x, y) is what the pixels are taken for, known or not; `source` says which."""

    um_per_px: tuple[float, float]
    source: ScaleFrom
    warnings: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return self.source is not ScaleFrom.UNKNOWN


def spacing_problem(um_per_px: tuple[float, float] | None) -> str:
    """Why a stated spacing cannot be one of a microscope's image; empty when it can, or is not
    stated. No default is put in its place."""
    if um_per_px is None:
        return ""
    low, high = PLAUSIBLE_UM_PER_PX
    if all(isfinite(v) and low <= v <= high for v in um_per_px):
        return ""
    x, y = um_per_px
    return f"its pixel spacing is not plausible ({x:g} x {y:g} um; {low:g} to {high:g} are)"


def spacing_scale(um_per_px: tuple[float, float]) -> Scale:
    """A stated, plausible spacing; unequal in x and y is honoured."""
    return Scale(um_per_px=um_per_px, source=ScaleFrom.SPACING)


def unknown_scale(um_per_px: float, *, pixel_aspect: float = 1.0) -> Scale:
    """The image is read as it is: its pixels are taken for the bundle's own size, and for the shape
    that the image states (height over width)."""
    return Scale(
        um_per_px=(um_per_px, um_per_px * pixel_aspect),
        source=ScaleFrom.UNKNOWN,
        warnings=("scale unknown: no pixel spacing, and too few red cells to measure",),
    )


def red_cell_scale(
    red_cells: Sequence[Box], *, at_least: int, pixel_aspect: float = 1.0
) -> Scale | None:
    """From boxes of whole red cells (none cut by a border); None when there are too few.

    Where their median width over height is not about 1, the pixels' stated shape (height over
    width) taken into account, the image was pressed, and x and y get scales of their own.
    """
    if len(red_cells) < at_least:
        return None
    ratio = median(b.width / (b.height * pixel_aspect) for b in red_cells)
    if ROUND[0] <= ratio <= ROUND[1]:
        side = median((b.width + b.height * pixel_aspect) / 2 for b in red_cells)
        x = RED_CELL_UM / side
        return Scale(
            um_per_px=(round(x, 5), round(x * pixel_aspect, 5)), source=ScaleFrom.RED_CELLS
        )
    x = RED_CELL_UM / median(b.width for b in red_cells)
    y = RED_CELL_UM / median(b.height for b in red_cells)
    return Scale(
        um_per_px=(round(x, 5), round(y, 5)),
        source=ScaleFrom.RED_CELLS,
        warnings=(
            f"the image is pressed (red cells are {ratio:.2f} as wide as high) and was stretched "
            "back before reading",
        ),
    )
