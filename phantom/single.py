"""Pictures of one cell: a crop of a stained smear, and a frame of imaging flow cytometry."""

from math import ceil, hypot

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Subtype, WbcClass
from domain.image import Pixels
from phantom.placement import placed_in
from phantom.render import photograph
from phantom.shapes import blob, coverage, grains, grid_round, texture
from phantom.spec import SUBTYPE_MIX, DrawingRefused, SmearSpec, stain_named

__all__ = ["draw_cell", "draw_ifc_cell"]

IFC_UM_PER_PX = 0.5  # of common imaging flow cytometers at 20 to 40 times, binned
IFC_GLASS = 677.0  # grey level without a cell, and its grain, as in published frames
IFC_NOISE = 6.0


def draw_cell(
    kind: WbcClass,
    *,
    seed: int,
    size_px: int = 224,
    um_per_px: float = 0.1,
    stain: str = "cream",
    subtype: Subtype | None = None,
) -> Pixels:
    """(size_px, size_px, 3) uint8 RGB with a cell of `kind` in the middle, others round it.

    `subtype` is for blasts; without one it is drawn from the usual mix.
    """
    of_smear = {
        WbcClass.RED_BLOOD_CELL: CellClass.RED_BLOOD_CELL,
        WbcClass.PLATELET: CellClass.PLATELET,
    }.get(kind, CellClass.WHITE_BLOOD_CELL)
    if subtype is not None and kind is not WbcClass.BLAST_CELLS:
        raise DrawingRefused(f"a {kind} has no subtype; leave it out")
    # Wide enough to hold some platelets and the crop round any cell near the middle.
    side_px = max(ceil(120 / um_per_px), 2 * size_px)
    spec = SmearSpec(
        seed=seed,
        width_px=side_px,
        height_px=side_px,
        um_per_px=um_per_px,
        platelets_per_mm2=2_000.0,
        white_cells=((kind, 1),) if of_smear is CellClass.WHITE_BLOOD_CELL else (),
        subtypes=SUBTYPE_MIX if subtype is None else ((subtype, 1.0),),
        stain=stain_named(stain),
    )
    side = side_px * um_per_px
    cell = min(
        (
            c
            for c in placed_in(spec, x0_um=0, y0_um=0, x1_um=side, y1_um=side)
            if c.cell_class is of_smear
        ),
        key=lambda c: hypot(c.x_um - side / 2, c.y_um - side / 2),
    )
    return photograph(
        spec,
        x0=round(cell.x_um / um_per_px - size_px / 2),
        y0=round(cell.y_um / um_per_px - size_px / 2),
        width=size_px,
        height=size_px,
    )


def draw_ifc_cell(*, seed: int, size_px: int = 64) -> npt.NDArray[np.uint16]:
    """(size_px, size_px) grey brightfield frame at 0.5 um/px of an unstained cell in flow.

    The cell is a bright, grainy disc in a dark ring of refraction on flat grey, 9 to 13 um wide,
    a little off the middle. Raises DrawingRefused below 40 px, which would cut the cell.
    """
    if size_px < 40:
        raise DrawingRefused(f"a frame of {size_px} px cuts the cell; take 40 px or more")
    rng = np.random.default_rng([seed, 1])
    side = size_px * IFC_UM_PER_PX
    at = side / 2 + rng.uniform(-0.7, 0.7, 2)
    # A grid round the cell's centre that covers the frame from its first pixel on.
    grid = grid_round(float(at[0]), float(at[1]), side, IFC_UM_PER_PX)
    radius = rng.uniform(4.4, 6.2)
    outline, share = blob(grid, rng, radius_um=radius, ellipse=0.05, rough=0.012)
    inside = coverage(outline, grid, edge_um=1.0)
    width = rng.uniform(0.10, 0.17)
    ring = np.exp(-(((share - 1.06) / width) ** 2)) - 0.15 * np.exp(-(((share - 1.3) / 0.1) ** 2))
    level = (
        IFC_GLASS
        - rng.uniform(130, 230) * ring
        + inside
        * (
            45
            + rng.uniform(70, 130) * np.exp(-(((share - 0.8) / 0.13) ** 2))
            + rng.uniform(30, 55) * texture(grid, rng, grain_um=1.1)
        )
    )
    bright = grains(
        grid, rng, per_um2=rng.uniform(0.01, 0.09), sigma_um=0.45, where=inside * (share < 0.8)
    )
    level = level + rng.uniform(120, 300) * bright
    x0, y0 = -grid.x0, -grid.y0
    frame = level[y0 : y0 + size_px, x0 : x0 + size_px]
    # Lines of the camera stand upright in the frame.
    lines = rng.normal(0, 2, (1, size_px))
    frame = frame + lines + rng.normal(0, IFC_NOISE, (size_px, size_px))
    grey: npt.NDArray[np.uint16] = np.clip(np.rint(frame), 0, 4095).astype(np.uint16)
    return grey
