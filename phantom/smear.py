"""Draw a stained blood smear whose truth is known.

In      SmearSpec (phantom.spec)
Out     Phantom: pixels, every cell with its class, box and mask
Promise the same spec gives the same bytes; any region equals the crop of the whole, so that a
        smear larger than memory can be drawn piece by piece
A drawing: it proves plumbing, never accuracy on real smears.
"""

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Malignancy, Subtype, WbcClass
from domain.image import Box, Pixels
from phantom.placement import placed_in
from phantom.render import TILE_PX, patch_for, tile
from phantom.spec import DrawingRefused, SmearSpec

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
    x0, y0, width, height = 0, 0, spec.width_px, spec.height_px
    seen = _seen(spec, x0, y0, width, height)
    labels = np.zeros((height, width), np.int32)
    rank = {CellClass.RED_BLOOD_CELL: 0, CellClass.PLATELET: 1, CellClass.WHITE_BLOOD_CELL: 2}
    for n in sorted(range(len(seen)), key=lambda n: rank[seen[n][0].cell_class]):
        cell, mask = seen[n]
        left, top, right, bottom = (int(v) for v in cell.box_px)
        labels[top:bottom, left:right][mask] = n + 1
    return Phantom(
        spec=spec,
        pixels=_pixels(spec, x0, y0, width, height),
        cells=tuple(cell for cell, _ in seen),
        labels=labels,
        masks=tuple(mask for _, mask in seen),
    )


def draw_region(
    spec: SmearSpec, *, x0: int, y0: int, width: int, height: int
) -> tuple[Pixels, tuple[PhantomCell, ...]]:
    """(height, width, 3) uint8 at (x0, y0) of the smear, and the cells that reach into it.

    Costs least along the raster of `phantom.render.TILE_PX`. Raises DrawingRefused for a region
    that is empty or leaves the smear.
    """
    if width < 1 or height < 1:
        raise DrawingRefused(f"a region of {width} x {height} px is empty")
    if x0 < 0 or y0 < 0 or x0 + width > spec.width_px or y0 + height > spec.height_px:
        raise DrawingRefused(
            f"the region {width} x {height} at ({x0}, {y0}) leaves the smear of "
            f"{spec.width_px} x {spec.height_px} px; cut it at the border"
        )
    cells = tuple(cell for cell, _ in _seen(spec, x0, y0, width, height))
    return _pixels(spec, x0, y0, width, height), cells


def _pixels(spec: SmearSpec, x0: int, y0: int, width: int, height: int) -> Pixels:
    pixels = np.empty((height, width, 3), np.uint8)
    for row in range(y0 // TILE_PX, (y0 + height - 1) // TILE_PX + 1):
        for column in range(x0 // TILE_PX, (x0 + width - 1) // TILE_PX + 1):
            left, top = max(column * TILE_PX, x0), max(row * TILE_PX, y0)
            right = min((column + 1) * TILE_PX, x0 + width)
            bottom = min((row + 1) * TILE_PX, y0 + height)
            dx, dy = column * TILE_PX, row * TILE_PX
            pixels[top - y0 : bottom - y0, left - x0 : right - x0] = tile(spec, column, row)[
                top - dy : bottom - dy, left - dx : right - dx
            ]
    return pixels


def _seen(
    spec: SmearSpec, x0: int, y0: int, width: int, height: int
) -> list[tuple[PhantomCell, npt.NDArray[np.bool_]]]:
    """The cells with a pixel in the region, in reading order, each with the mask in its box."""
    scale = spec.um_per_px
    found = []
    for placed in placed_in(
        spec,
        x0_um=x0 * scale,
        y0_um=y0 * scale,
        x1_um=(x0 + width) * scale,
        y1_um=(y0 + height) * scale,
    ):
        patch = patch_for(placed, spec.seed, scale)
        left, top = max(patch.x0, x0), max(patch.y0, y0)
        right, bottom = min(patch.x1, x0 + width), min(patch.y1, y0 + height)
        if left >= right or top >= bottom:
            continue
        part = patch.mask[top - patch.y0 : bottom - patch.y0, left - patch.x0 : right - patch.x0]
        if not part.any():
            continue
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        r0, r1, c0, c1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        area = int(patch.mask.sum())
        cell = PhantomCell(
            box_px=Box(
                float(left - x0 + c0),
                float(top - y0 + r0),
                float(left - x0 + c1),
                float(top - y0 + r1),
            ),
            cell_class=placed.cell_class,
            wbc_class=placed.wbc_class,
            malignancy=_malignancy(placed.wbc_class),
            subtype=placed.subtype,
            centre_um=(placed.x_um, placed.y_um),
            diameter_um=2 * sqrt(area / pi) * scale,
            visible=int(part.sum()) / area,
        )
        found.append((cell, np.ascontiguousarray(part[r0:r1, c0:c1])))
    found.sort(key=lambda pair: (pair[0].box_px.y0, pair[0].box_px.x0, pair[0].centre_um))
    return found


def _malignancy(kind: WbcClass | None) -> Malignancy | None:
    if kind is None:
        return None
    return Malignancy.MALIGNANT if kind is WbcClass.BLAST_CELLS else Malignancy.BENIGN
