"""Paint one cell: red cells and platelets here, white cells in `phantom.white`."""

from math import cos, pi, sin

import numpy as np

from domain.cells import CellClass
from phantom.patch import Ink, Paper, Patch
from phantom.placement import Placed
from phantom.shapes import Floats, Grid, blob, coverage, grains, grid_round, texture
from phantom.white import paint_white

__all__ = ["patch_of"]

LOOKS = 4  # the stream of random numbers that paints, apart from those that place


def patch_of(cell: Placed, *, seed: int, um_per_px: float) -> Patch:
    """A pure function of the cell, the smear's seed and the scale."""
    rng = np.random.default_rng([seed, LOOKS, *cell.key])
    grid = grid_round(cell.x_um, cell.y_um, cell.radius_um * 1.3 + 0.6, um_per_px)
    paper = Paper(grid)
    match cell.cell_class:
        case CellClass.RED_BLOOD_CELL:
            outline = _paint_red(paper, rng, cell.radius_um)
        case CellClass.PLATELET:
            outline = _paint_platelet(paper, rng, cell.radius_um)
        case CellClass.WHITE_BLOOD_CELL:
            outline = paint_white(paper, rng, cell)
    return _trimmed(grid, paper, outline)


def _trimmed(grid: Grid, paper: Paper, outline: Floats) -> Patch:
    """Without the empty margin; the mask is what lies inside the outline, the ink may fade beyond."""
    seen = (paper.inks.max(axis=0) > 1e-4) | (outline < 0)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    used = tuple(ink for ink in Ink if paper.inks[ink].any())
    return Patch(
        grid.x0 + int(columns[0]),
        grid.y0 + int(rows[0]),
        used,
        np.stack([paper.inks[ink][part] for ink in used]),
        np.ascontiguousarray(outline[part] < 0),
    )


def _paint_red(paper: Paper, rng: np.random.Generator, radius_um: float) -> Floats:
    """A disc, thinner in the middle, a little denser along its rim."""
    grid = paper.grid
    crenated = rng.random() < 0.03
    waves = (2, 3, 4, 13) if crenated else (2, 3, 4, 5)
    outline, share = blob(
        grid,
        rng,
        radius_um=radius_um,
        ellipse=0.13,
        rough=0.13 if crenated else 0.028,
        waves=waves,
    )
    pallor = float(np.clip(rng.normal(0.68, 0.24), 0, 0.97))
    width = rng.uniform(0.28, 0.58)
    middle = np.exp(-((share / width) ** rng.uniform(2.0, 4.0)))
    rim = np.exp(-(((share - 0.84) / 0.13) ** 2))
    amount = rng.normal(1, 0.09) * (1 - pallor * middle + 0.13 * rim)
    amount *= 1 + 0.03 * texture(grid, rng, grain_um=0.8)
    # Cells lie a little aslant: one side is denser.
    turn = rng.uniform(0, 2 * pi)
    slant = rng.normal(0, 0.05) / radius_um
    amount *= 1 + slant * (cos(turn) * grid.x + sin(turn) * grid.y)
    paper.add(Ink.HAEMOGLOBIN, amount * coverage(outline, grid, edge_um=0.45))
    return outline


def _paint_platelet(paper: Paper, rng: np.random.Generator, radius_um: float) -> Floats:
    """A scrap of blue cytoplasm with purple grains in its middle."""
    grid = paper.grid
    outline, share = blob(
        grid, rng, radius_um=radius_um, ellipse=0.15, rough=0.09, waves=(2, 3, 4, 5, 6)
    )
    body = coverage(outline, grid, edge_um=0.35)
    paper.add(Ink.BLUE, rng.uniform(0.35, 0.6) * body)
    inner = coverage(outline + (0.2 * radius_um), grid, edge_um=0.5)
    dots = grains(grid, rng, per_um2=7, sigma_um=0.16, where=inner * np.exp(-share * share))
    paper.add(Ink.PURPLE, 0.75 * np.tanh(dots) * body + 0.2 * inner)
    return outline
