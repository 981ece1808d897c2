"""Where each cell of a smear lies, without drawing it.

In      SmearSpec
Out     Placed: kind, centre, size and the seed of its looks, in micrometres from the smear's corner
White cells are exact counts, thrown one by one over the whole field. Red cells and platelets are
a pure function of (spec, brick): bricks are squares of BRICK_UM, and what lies in one depends on
the bricks that touch it and on nothing further, so that a smear of any size is placed locally.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, sqrt

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Subtype, WbcClass
from phantom.spec import DrawingRefused, SmearSpec

__all__ = ["Placed", "placed_in", "radius_um", "white_cells_of"]

Floats = npt.NDArray[np.float64]

BRICK_UM = 48.0
ROUNDS = 5  # of pushing red cells apart; with MAX_SHIFT_UM they reach less than one brick
MAX_SHIFT_UM = 5.0
REACH_UM = 16.0  # no part of a cell lies further from its brick than this
TRIES = 400  # throws for one white cell before the field counts as full

# Streams of random numbers, so that one never moves another.
RED, PLATELET, WHITE = 1, 2, 3

DIAMETER_UM: dict[WbcClass, tuple[float, float]] = {
    WbcClass.NEUTROPHIL: (12.0, 14.0),
    WbcClass.IMMATURE_NEUTROPHIL: (12.0, 14.5),
    WbcClass.EOSINOPHIL: (12.0, 14.5),
    WbcClass.BASOPHIL: (10.5, 13.0),
    WbcClass.MONOCYTES: (15.0, 18.0),
    WbcClass.LYMPHOCYTES: (8.5, 10.0),
    WbcClass.MYELOCYTE: (13.0, 17.0),
    WbcClass.PROMYELOCYTE: (15.0, 19.0),
    WbcClass.NUCLEATED_RED_BLOOD_CELLS: (8.5, 11.0),
    WbcClass.BLAST_CELLS: (11.0, 16.5),
    WbcClass.RED_BLOOD_CELL: (6.6, 8.2),
    WbcClass.PLATELET: (2.0, 3.2),
}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One cell to be drawn; `key` seeds its looks and names it among all cells of the smear."""

    key: tuple[int, ...]
    cell_class: CellClass
    wbc_class: WbcClass | None
    subtype: Subtype | None
    x_um: float
    y_um: float
    radius_um: float


def radius_um(kind: WbcClass, rng: np.random.Generator) -> float:
    """A size for a cell of this kind, from its normal range."""
    low, high = DIAMETER_UM[kind]
    return float(rng.uniform(low, high)) / 2


def placed_in(
    spec: SmearSpec, *, x0_um: float, y0_um: float, x1_um: float, y1_um: float
) -> list[Placed]:
    """All cells that may reach into the rectangle, red cells first, white cells last."""
    red: list[Placed] = []
    platelets: list[Placed] = []
    white: list[Placed] = []
    for i in range(floor((x0_um - REACH_UM) / BRICK_UM), ceil((x1_um + REACH_UM) / BRICK_UM)):
        for j in range(floor((y0_um - REACH_UM) / BRICK_UM), ceil((y1_um + REACH_UM) / BRICK_UM)):
            in_brick = _brick_cells(spec, i, j)
            red.extend(in_brick[0])
            platelets.extend(in_brick[1])
            white.extend(_white_by_brick(spec).get((i, j), ()))
    return [
        c
        for c in (*red, *platelets, *white)
        if x0_um < c.x_um + 1.4 * c.radius_um + 1
        and c.x_um - 1.4 * c.radius_um - 1 < x1_um
        and y0_um < c.y_um + 1.4 * c.radius_um + 1
        and c.y_um - 1.4 * c.radius_um - 1 < y1_um
    ]


def white_cells_of(spec: SmearSpec) -> tuple[Placed, ...]:
    """All white cells of the smear, each wholly inside it, none on another.

    Raises DrawingRefused when they do not fit.
    """
    return tuple(c for cells in _white_by_brick(spec).values() for c in cells)


def _rng(spec: SmearSpec, stream: int, i: int, j: int) -> np.random.Generator:
    # Seeds are never negative, and bricks left of and above the corner are.
    return np.random.default_rng([spec.seed, stream, i + 2**24, j + 2**24])


@lru_cache(maxsize=8)
def _white_by_brick(spec: SmearSpec) -> dict[tuple[int, int], tuple[Placed, ...]]:
    rng = np.random.default_rng([spec.seed, WHITE])
    width, height = spec.width_px * spec.um_per_px, spec.height_px * spec.um_per_px
    wanted = [kind for kind, count in spec.white_cells for _ in range(count)]
    subtypes = _shared_out(spec, wanted.count(WbcClass.BLAST_CELLS))
    rng.shuffle(subtypes)
    sizes = [radius_um(kind, rng) for kind in wanted]
    # The largest first: small ones find room between them.
    order = sorted(range(len(wanted)), key=lambda n: -sizes[n])
    bricks: dict[tuple[int, int], list[Placed]] = {}
    for n in order:
        r, kind = sizes[n], wanted[n]
        margin = r * 1.25 + 2 * spec.um_per_px
        if 2 * margin > min(width, height):
            raise DrawingRefused(
                f"a {kind} of {2 * r:.0f} um does not fit a field of "
                f"{width:.0f} x {height:.0f} um; make the field larger"
            )
        for _ in range(TRIES):
            x = float(rng.uniform(margin, width - margin))
            y = float(rng.uniform(margin, height - margin))
            i, j = floor(x / BRICK_UM), floor(y / BRICK_UM)
            near = (
                c
                for di in (-1, 0, 1)
                for dj in (-1, 0, 1)
                for c in bricks.get((i + di, j + dj), ())
            )
            if all(
                (c.x_um - x) ** 2 + (c.y_um - y) ** 2 > (1.08 * (c.radius_um + r)) ** 2
                for c in near
            ):
                break
        else:
            raise DrawingRefused(
                f"no room for {len(wanted)} white cells in {width:.0f} x {height:.0f} um; "
                "ask for fewer, or for a larger field"
            )
        bricks.setdefault((i, j), []).append(
            Placed(
                key=(WHITE, n),
                cell_class=CellClass.WHITE_BLOOD_CELL,
                wbc_class=kind,
                subtype=subtypes.pop() if kind is WbcClass.BLAST_CELLS else None,
                x_um=x,
                y_um=y,
                radius_um=r,
            )
        )
    return {brick: tuple(cells) for brick, cells in bricks.items()}


def _shared_out(spec: SmearSpec, blasts: int) -> list[Subtype]:
    """Subtypes in proportion to their weights, by largest remainder, so that counts are known."""
    total = sum(weight for _, weight in spec.subtypes)
    exact = [(kind, blasts * weight / total) for kind, weight in spec.subtypes]
    counts = [floor(share) for _, share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda n: counts[n] - exact[n][1])
    for n in by_remainder[: blasts - sum(counts)]:
        counts[n] += 1
    return [kind for (kind, _), count in zip(exact, counts, strict=True) for _ in range(count)]


@lru_cache(maxsize=4096)
def _candidates(spec: SmearSpec, i: int, j: int) -> Floats:
    """(N, 4) red cells of a brick before they are pushed: x, y, radius, room each one claims."""
    rng = _rng(spec, RED, i, j)
    if spec.red_per_mm2 == 0:
        return np.empty((0, 4))
    side = max(1, round(BRICK_UM * sqrt(spec.red_per_mm2 / 1e6)))
    pitch = BRICK_UM / side
    # Two throws a place: counts vary from 0 to 2, as gaps and crowds of a real film do.
    p = spec.red_per_mm2 / 1e6 * pitch**2 / 2
    here = rng.random((side, side, 2)) < p
    rows, columns, _ = np.nonzero(here)
    n = len(rows)
    radius = spec.red_diameter_um / 2 * np.clip(rng.normal(1, 0.055, n), 0.82, 1.18)
    claim = np.where(rng.random(n) < spec.overlap, rng.uniform(0.55, 0.85, n), 1.03)
    return np.stack(
        [
            i * BRICK_UM + (columns + rng.random(n)) * pitch,
            j * BRICK_UM + (rows + rng.random(n)) * pitch,
            radius,
            radius * claim,
        ],
        axis=1,
    )


@lru_cache(maxsize=1024)
def _brick_cells(spec: SmearSpec, i: int, j: int) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    """Red cells and platelets that belong to a brick. White cells are fixed and push them away."""
    around = [(i + di, j + dj) for dj in (-1, 0, 1) for di in (-1, 0, 1)]
    parts = [_candidates(spec, *brick) for brick in around]
    whose = np.concatenate([np.full(len(p), n == 4) for n, p in enumerate(parts)])
    cells = np.concatenate(parts)
    white = np.array(
        [
            (c.x_um, c.y_um, c.radius_um)
            for brick in around
            for c in _white_by_brick(spec).get(brick, ())
        ]
    ).reshape(-1, 3)
    xy = _pushed_apart(cells, white)
    buried = _nearest_gap(xy, white) < 0.55 * cells[:, 2]
    red = tuple(
        Placed(
            key=(RED, i + 2**24, j + 2**24, n),
            cell_class=CellClass.RED_BLOOD_CELL,
            wbc_class=None,
            subtype=None,
            x_um=float(xy[k, 0]),
            y_um=float(xy[k, 1]),
            radius_um=float(cells[k, 2]),
        )
        for n, k in enumerate(np.flatnonzero(whose))
        if not buried[k]
    )
    taken = np.concatenate([np.column_stack([xy, cells[:, 2]])[~buried], white])
    return red, _platelets(spec, i, j, taken)


def _pushed_apart(cells: Floats, white: Floats) -> Floats:
    start = cells[:, :2]
    xy = start.copy()
    claim = cells[:, 3]
    room = claim[:, None] + claim[None, :]
    np.fill_diagonal(room, 0)
    for _ in range(ROUNDS):
        apart = xy[:, None, :] - xy[None, :, :]
        distance = np.sqrt((apart**2).sum(axis=2)) + 1e-6
        push = np.maximum(room - distance, 0) / distance * 0.35
        step = (apart * push[:, :, None]).sum(axis=1)
        if len(white):
            off = xy[:, None, :] - white[None, :, :2]
            far = np.sqrt((off**2).sum(axis=2)) + 1e-6
            lack = np.maximum(white[None, :, 2] + 0.97 * cells[:, None, 2] - far, 0) / far
            step += (off * lack[:, :, None]).sum(axis=1)
        shift = xy + step - start
        length = np.sqrt((shift**2).sum(axis=1, keepdims=True)) + 1e-9
        xy = start + shift * np.minimum(1, MAX_SHIFT_UM / length)
    return xy


def _nearest_gap(xy: Floats, white: Floats) -> Floats:
    """How far each point lies outside the nearest white cell."""
    if not len(white):
        return np.full(len(xy), np.inf)
    off = xy[:, None, :] - white[None, :, :2]
    gap: Floats = (np.sqrt((off**2).sum(axis=2)) - white[None, :, 2]).min(axis=1)
    return gap


def _platelets(spec: SmearSpec, i: int, j: int, taken: Floats) -> tuple[Placed, ...]:
    rng = _rng(spec, PLATELET, i, j)
    found = []
    for n in range(int(rng.poisson(spec.platelets_per_mm2 * BRICK_UM**2 / 1e6))):
        r = radius_um(WbcClass.PLATELET, rng)
        throws = rng.random((12, 2)) * BRICK_UM + (i * BRICK_UM, j * BRICK_UM)
        gap = _nearest_gap(throws, taken) - r
        best = int(np.argmax(gap > 0.2)) if (gap > 0.2).any() else int(np.argmax(gap))
        if gap[best] < -r:
            continue
        found.append(
            Placed(
                key=(PLATELET, i + 2**24, j + 2**24, n),
                cell_class=CellClass.PLATELET,
                wbc_class=None,
                subtype=None,
                x_um=float(throws[best, 0]),
                y_um=float(throws[best, 1]),
                radius_um=r,
            )
        )
    return tuple(found)
