"""Draw a stained blood smear whose truth is known.

In      SmearSpec (phantom.spec)
Out     Phantom: pixels, every cell with its class, box and mask
Promise the same spec gives the same bytes; any region equals the crop of the whole, so that a
        smear larger than memory can be drawn piece by piece
A drawing: it proves plumbing, never accuracy on real smears.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Malignancy, Subtype, WbcClass
from domain.image import Box, Pixels
from phantom.spec import SmearSpec

__all__ = ["Phantom", "PhantomCell", "draw", "draw_region"]


@dataclass(frozen=True, kw_only=True)
class PhantomCell:
    """The truth about one cell.

    box_px       round what is visible of it, in whole pixels of the drawn picture or region
    centre_um    of the whole cell, from the top left corner of the smear (not of the region)
    diameter_um  of the circle with the whole cell's area
    visible      share of the cell that lies inside the picture or region
    """

    box_px: Box
    cell_class: CellClass
    wbc_class: WbcClass | None  # None for red cells and platelets
    malignancy: Malignancy | None  # None for red cells and platelets
    subtype: Subtype | None  # of blasts only
    centre_um: tuple[float, float]
    diameter_um: float
    visible: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Phantom:
    """A drawn smear. Cells are in reading order of their boxes (y0, x0).

    labels  (H, W) int32: 0 glass, else 1 + index into `cells`; white cells lie above the others
    masks   one bool array per cell, the size of its box; where cells overlap both are True
    """

    spec: SmearSpec
    pixels: Pixels
    cells: tuple[PhantomCell, ...]
    labels: npt.NDArray[np.int32]
    masks: tuple[npt.NDArray[np.bool_], ...]

    @property
    def um_per_px(self) -> float:
        return self.spec.um_per_px

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        return self.masks[index]


def draw(spec: SmearSpec) -> Phantom:
    """The whole smear at once; for slides use `draw_region`."""
    raise NotImplementedError


def draw_region(
    spec: SmearSpec, *, x0: int, y0: int, width: int, height: int
) -> tuple[Pixels, tuple[PhantomCell, ...]]:
    """(height, width, 3) uint8 at (x0, y0) of the smear, and the cells that reach into it."""
    raise NotImplementedError
