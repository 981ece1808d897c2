"""What one cell adds to the picture: amounts of stain on a few pixels, and the cell's own outline."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from phantom.shapes import Floats, Grid

__all__ = ["Ink", "Paper", "Patch"]


class Ink(IntEnum):
    """The light absorbing things, in the order of a paper's first axis; colours are the stain's."""

    HAEMOGLOBIN = 0
    NUCLEUS = 1
    BLUE = 2
    EOSIN = 3
    PURPLE = 4


class Paper:
    """Amounts of every ink round one cell, to be painted on."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.inks = np.zeros((len(Ink), *grid.shape), np.float32)

    def add(self, ink: Ink, amount: Floats) -> None:
        self.inks[ink] += amount

    def thin(self, factor: Floats) -> None:
        """Take a share of everything away, where `factor` is below 1."""
        self.inks *= factor


@dataclass(frozen=True, eq=False)
class Patch:
    """Of `used` inks only: `inks` (len(used), h, w) float32; `mask` (h, w) bool; (x0, y0) is the
    top left pixel in the smear."""

    x0: int
    y0: int
    used: tuple[Ink, ...]
    inks: Floats
    mask: npt.NDArray[np.bool_]

    @property
    def x1(self) -> int:
        return self.x0 + int(self.mask.shape[1])

    @property
    def y1(self) -> int:
        return self.y0 + int(self.mask.shape[0])
