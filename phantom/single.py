"""Pictures of one cell: a crop of a stained smear, and a frame of imaging flow cytometry."""

import numpy as np
import numpy.typing as npt

from domain.cells import Subtype, WbcClass
from domain.image import Pixels

__all__ = ["draw_cell", "draw_ifc_cell"]


def draw_cell(
    kind: WbcClass,
    *,
    seed: int,
    size_px: int = 224,
    um_per_px: float = 0.1,
    stain: str = "cream",
    subtype: Subtype | None = None,
) -> Pixels:
    """(size_px, size_px, 3) uint8 RGB with a cell of `kind` in the middle, red cells round it."""
    raise NotImplementedError


def draw_ifc_cell(*, seed: int, size_px: int = 64) -> npt.NDArray[np.uint16]:
    """(size_px, size_px) grey brightfield frame at 0.5 um/px of an unstained cell in flow."""
    raise NotImplementedError
