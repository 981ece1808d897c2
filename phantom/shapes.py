"""Outlines, textures and grains on a patch of the smear's pixel grid, in micrometres.

Signed distances are negative inside. Textures are drawn on a lattice in micrometres and then
sampled, so that a cell looks the same at every scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, floor, pi, sin, sqrt
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Grid", "blob", "chain", "coverage", "grains", "grid_round", "texture"]

Floats = npt.NDArray[np.floating[Any]]  # float32 throughout

LARGEST = 1.24  # no outline reaches further than this times its radius
EDGE_UM = 0.22  # width over which an edge fades: the resolution of an oil immersion objective


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixels round a cell: `x`, `y` are micrometres from its centre, `x0`, `y0` its first pixel."""

    x0: int
    y0: int
    um_per_px: float
    x: Floats  # (1, W)
    y: Floats  # (H, 1)

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]


def grid_round(x_um: float, y_um: float, reach_um: float, um_per_px: float) -> Grid:
    """The pixels within `reach_um` of a point of the smear."""
    x0, y0 = floor((x_um - reach_um) / um_per_px), floor((y_um - reach_um) / um_per_px)
    x1, y1 = ceil((x_um + reach_um) / um_per_px), ceil((y_um + reach_um) / um_per_px)
    x = (np.arange(x0, x1) + 0.5) * um_per_px - x_um
    y = (np.arange(y0, y1) + 0.5) * um_per_px - y_um
    return Grid(x0, y0, um_per_px, x.astype(np.float32)[None, :], y.astype(np.float32)[:, None])


def coverage(distance: Floats, grid: Grid, *, edge_um: float = EDGE_UM) -> Floats:
    """How much of each pixel lies inside: 1 inside, 0 outside, a soft step between."""
    width = max(edge_um, 1.3 * grid.um_per_px)
    t = np.clip(0.5 - distance / width, 0, 1)
    smooth: Floats = t * t * (3 - 2 * t)
    return smooth


def blob(
    grid: Grid,
    rng: np.random.Generator,
    *,
    radius_um: float,
    at: tuple[float, float] = (0.0, 0.0),
    ellipse: float = 0.05,
    rough: float = 0.02,
    waves: Sequence[int] = (2, 3, 4, 5),
) -> tuple[Floats, Floats]:
    """A round outline with a few waves in it: (signed distance, radius as a share of the outline's)."""
    turn = rng.uniform(0, 2 * pi)
    stretch = min(sqrt(1 + abs(rng.normal(0, ellipse))), 1.12)
    c, s = cos(turn), sin(turn)
    x, y = grid.x - at[0], grid.y - at[1]
    u = (c * x + s * y) / stretch
    v = (c * y - s * x) * stretch
    r = np.sqrt(u * u + v * v)
    angle = np.arctan2(v, u)
    outline = np.ones_like(r)
    for k in waves:
        outline += rng.normal(0, rough * 2 / k) * np.cos(k * angle + rng.uniform(0, 2 * pi))
    share: Floats = r / (radius_um * np.clip(outline, 0.8, LARGEST / 1.12))
    distance: Floats = (share - 1) * radius_um
    return distance, share


def chain(
    grid: Grid,
    beads: Sequence[tuple[float, float, float]],
    links: Sequence[tuple[int, int, float]],
    *,
    melt_um: float = 0.25,
) -> Floats:
    """Signed distance to discs (x, y, radius) joined by links (from, to, half width) that melt together.

    A link of half width 0 tapers from one disc's radius to the other's.
    """
    parts: list[Floats] = []
    for x, y, r in beads:
        parts.append(np.hypot(grid.x - x, grid.y - y) - r)
    for a, b, half in links:
        (xa, ya, ra), (xb, yb, rb) = beads[a], beads[b]
        dx, dy = xb - xa, yb - ya
        along = ((grid.x - xa) * dx + (grid.y - ya) * dy) / (dx * dx + dy * dy + 1e-6)
        t = np.clip(along, 0, 1)
        off = np.hypot(
            grid.x - xa - t * dx,
            grid.y - ya - t * dy,
        )
        radius = half if half else ra + t * (rb - ra)
        parts.append(off - radius)
    total = np.zeros(grid.shape, np.float32)
    for part in parts:
        total += np.exp(np.clip(-part / melt_um, -60, 60))
    distance: Floats = -melt_um * np.log(total + 1e-30)
    return distance


def texture(grid: Grid, rng: np.random.Generator, *, grain_um: float) -> Floats:
    """Smooth noise of mean 0 and deviation about 1, `grain_um` between its independent values."""
    h, w = grid.shape
    rows = ceil(h * grid.um_per_px / grain_um) + 4
    columns = ceil(w * grid.um_per_px / grain_um) + 4
    lattice = rng.standard_normal((rows, columns), dtype=np.float32)
    step = grid.um_per_px / grain_um
    to_lattice = np.array([[step, 0, 1.5], [0, step, 1.5]])
    sampled = cv2.warpAffine(
        lattice, to_lattice, (w, h), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    # Cubic interpolation of white noise keeps about two thirds of its deviation.
    result: Floats = sampled.astype(np.float32) * 1.4
    return result


def grains(
    grid: Grid,
    rng: np.random.Generator,
    *,
    per_um2: float,
    sigma_um: float,
    where: Floats,
) -> Floats:
    """Granules: soft dots of height about 1 strewn at random, kept in proportion to `where`."""
    h, w = grid.shape
    number = int(rng.poisson(per_um2 * h * w * grid.um_per_px**2))
    rows, columns = rng.random(number) * (h - 2), rng.random(number) * (w - 2)
    height = rng.uniform(0.6, 1.3, number).astype(np.float32)
    kept = rng.random(number) < where[rows.astype(int), columns.astype(int)]
    rows, columns, height = rows[kept], columns[kept], height[kept]
    dots = np.zeros((h, w), np.float32)
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = (rows - r).astype(np.float32), (columns - c).astype(np.float32)
    for dr in (0, 1):
        for dc in (0, 1):
            weight = np.abs(1 - dr - fr) * np.abs(1 - dc - fc)
            np.add.at(dots, (r + dr, c + dc), height * weight)
    sigma_px = max(sigma_um / grid.um_per_px, 0.45)
    soft = cv2.GaussianBlur(dots, (0, 0), sigma_px) * (2 * pi * sigma_px**2)
    result: Floats = soft.astype(np.float32)
    return result
