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
    red_cells: Sequence[Box], *, at_least: int, pixel_aspect: float | None = None
) -> Scale | None:
    """From boxes of whole red cells (none cut by a border); None when there are too few.

    `pixel_aspect` (height over width) is the pixels' stated shape, None where none is stated: it is
    honoured, 1 as well as any other, whatever the cells look like. Only without it is an image
    whose cells' median width over height is not about 1 taken for a pressed one, and x and y get
    scales of their own.
    """
    if len(red_cells) < at_least:
        return None
    shape = 1.0 if pixel_aspect is None else pixel_aspect
    ratio = median(b.width / (b.height * shape) for b in red_cells)
    are_round = ROUND[0] <= ratio <= ROUND[1]
    if are_round or pixel_aspect is not None:
        x = RED_CELL_UM / median((b.width + b.height * shape) / 2 for b in red_cells)
        odd = (
            f"red cells are {ratio:.2f} as wide as high, and the shape that the image states for "
            "its pixels was kept"
        )
        return Scale(
            um_per_px=(round(x, 5), round(x * shape, 5)),
            source=ScaleFrom.RED_CELLS,
            warnings=() if are_round else (odd,),
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
