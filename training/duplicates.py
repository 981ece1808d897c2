"""Near-copies on both sides of a split, found in all eight orientations.

In      pictures with their pixels
Out     pairs of (train, val) files that show the same thing
A thumbnail of 16 x 16 grey values, its mean and deviation taken out, is compared by correlation with
each other one turned and flipped; a shrunk, recompressed or turned copy stays above 0.98.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Pixels
from training.errors import OverlapError
from training.pictures import Picture, Split

__all__ = ["near_copies", "refuse_copies", "thumbnail_of"]

SIDE = 16
COPY = 0.985
FLAT = 2.0  # grey levels of deviation below which a picture shows nothing to compare

Thumbnail = npt.NDArray[np.float32]  # (256,) mean 0, length 1


def thumbnail_of(pixels: Pixels) -> Thumbnail:
    """(256,) float32; zeros where the picture is flat."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < FLAT:
        return np.zeros(SIDE * SIDE, np.float32)
    centred = (small - small.mean()).ravel()
    found: Thumbnail = (centred / np.linalg.norm(centred)).astype(np.float32)
    return found


def near_copies(
    train: Sequence[Thumbnail], val: Sequence[Thumbnail], *, above: float = COPY
) -> list[tuple[int, int]]:
    """Pairs of indices whose correlation is above the limit in any orientation."""
    if not train or not val:
        return []
    known = np.stack(train)
    pairs: set[tuple[int, int]] = set()
    square = np.stack(val).reshape(-1, SIDE, SIDE)
    for flipped in (square, square[:, :, ::-1]):
        for turns in range(4):
            turned = np.rot90(flipped, turns, axes=(1, 2)).reshape(len(val), -1)
            close = np.argwhere(known @ turned.T > above)
            pairs |= {(int(i), int(j)) for i, j in close}
    return sorted(pairs)


def refuse_copies(pictures: Sequence[Picture], thumbnails: Sequence[Thumbnail]) -> None:
    """Raises OverlapError where a picture of `val` is nearly one of `train`."""
    sides: dict[Split, list[int]] = {Split.TRAIN: [], Split.VAL: [], Split.GAP: []}
    for i, picture in enumerate(pictures):
        sides[picture.split].append(i)
    train, val = sides[Split.TRAIN], sides[Split.VAL]
    pairs = near_copies([thumbnails[i] for i in train], [thumbnails[j] for j in val])
    if pairs:
        a, b = pictures[train[pairs[0][0]]].path, pictures[val[pairs[0][1]]].path
        raise OverlapError(
            f"{len(pairs)} pictures are nearly the same in train and val, first {_short(a)} and "
            f"{_short(b)}; put each such pair on one side, or mark one as gap"
        )


def _short(path: Path) -> str:
    return "/".join(path.parts[-3:])
