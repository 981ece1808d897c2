"""How unlike a field's colours are to those of the fields that a bundle was made for.

In      a field's pixels and its ground colour; the gate of the manifest
Out     Look: twelve figures of the field, none of which depends on a network or on a scale; Likeness: its
        distance from the training fields, and in what it is most unlike
Densities are optical: log10 of the ground over the pixel, so that lamp and camera count once, in the
ground, and the stain for itself. The distance is Mahalanobis', as a root mean square over the
figures: about 1 for an ordinary training field.
Pure, no torch.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Pixels
from inference.manifest import FIGURES, Gate

__all__ = ["Likeness", "likeness", "look_of"]

Look = npt.NDArray[np.float64]  # (12,) in the order of FIGURES

LATTICE = 80  # points a side at which a field's colours are taken
DIMMEST = 8.0  # a ground is taken for no darker: the density of what lies on it would be noise
STAINED = 0.05  # mean density from which a pixel is no ground
FEWEST_STAINED = 64  # of 6,400 points: a field with fewer shows too little to be called unlike
NUCLEAR = 0.02  # share of all points: the densest ones, the nuclei of a smear
RED_CELLS = (0.2, 0.7)  # between these quantiles of the stained points lie a smear's red cells
FAINTEST = 0.02  # total density below which a hue means nothing
COLOURLESS = 0.001  # spread of a picture without colours
DECIMALS = 2


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """`distance` is kept to two decimals and compared with the gate's limits as it is told."""

    distance: float
    most_unlike: str


def look_of(pixels: Pixels, *, ground: npt.NDArray[np.float32]) -> Look | None:
    """(H, W, 3) uint8 RGB -> (12,); None where nothing lies on the ground."""
    points = _lattice(pixels)
    light = np.clip(ground.astype(np.float64), DIMMEST, 255)
    density = np.log10((light + 1) / (points + 1))  # (P, 3)
    total = density.mean(axis=1)
    stained = total > STAINED
    if stained.sum() < FEWEST_STAINED:
        return None
    order = np.argsort(total[stained], kind="stable")
    on = density[stained][order]
    densest = on[-max(10, int(NUCLEAR * len(points))) :].mean(axis=0)
    low, high = (int(q * len(on)) for q in RED_CELLS)
    middle = np.median(on[low : high + 1], axis=0)
    lamp = np.log10((light + 1) / 256)
    return np.array(
        [
            np.log10(max(-lamp.mean(), 0.005)),
            lamp[0] - lamp[1],
            lamp[2] - lamp[1],
            stained.mean(),
            np.log10(max(densest.mean(), 0.01)),
            *_hue(densest),
            np.log10(max(middle.mean(), 0.01)),
            *_hue(middle),
            np.log10(max(_spread(on[:, 1] - on[:, 0]), COLOURLESS)),
            np.log10(max(_spread(on[:, 2] - on[:, 0]), COLOURLESS)),
        ]
    )


def likeness(look: Look, gate: Gate) -> Likeness:
    """Distance from the gate's centre in its own spread."""
    spread = np.array(gate.spread)
    off = look - np.array(gate.centre)
    squared = float(off @ np.linalg.solve(spread, off)) / len(off)
    alone = np.abs(off) / np.sqrt(np.diag(spread))
    return Likeness(
        distance=round(max(squared, 0.0) ** 0.5, DECIMALS), most_unlike=FIGURES[int(alone.argmax())]
    )


def _lattice(pixels: Pixels) -> npt.NDArray[np.float64]:
    """(P, 3): means of 3 x 3 pixels, evenly taken, so that neither size nor grain counts."""
    smooth = cv2.blur(pixels, (3, 3))
    rows, columns = (
        np.unique(np.linspace(0, side - 1, min(LATTICE, side)).astype(np.intp))
        for side in pixels.shape[:2]
    )
    return smooth[np.ix_(rows, columns)].reshape(-1, 3).astype(np.float64)


def _hue(density: npt.NDArray[np.float64]) -> tuple[float, float]:
    """What shares of a colour's density are in red and in blue light."""
    total = max(float(np.clip(density, 0.003, None).sum()), FAINTEST)
    return float(density[0]) / total, float(density[2]) / total


def _spread(values: npt.NDArray[np.float64]) -> float:
    tenth, ninetieth = np.quantile(values, (0.1, 0.9))
    return float(ninetieth - tenth)
