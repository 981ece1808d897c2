"""A cell's mask as a polygon of few points, to be drawn on its image.

In      one mask of stage 3 over its crop, the cell's box, and the scale the crop was cut at
Out     the polygon in pixels of the field, within the box
Only the part of the mask that lies in the box counts: its largest piece, holes filled.
"""

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Box

__all__ = ["outline_in_image", "outline_of"]

LEAST_SHARE = 0.15  # of the box; a mask that covers less shows no cell
TOLERANCE_UM = 0.15  # how far the polygon may stray from the mask's own edge


def outline_of(
    mask: npt.NDArray[np.bool_], *, box: Box, um_per_px: tuple[float, float], field_um: float
) -> tuple[float, ...]:
    """x0, y0, x1, y1, ... of at least three points, the first not repeated; () where the mask
    shows no cell. `mask` (h, w) covers the square of `field_um` round the box's centre."""
    height, width = mask.shape
    steps = (field_um / um_per_px[0] / width, field_um / um_per_px[1] / height)  # px of the field
    (x, y), half = box.centre, (steps[0] * width / 2, steps[1] * height / 2)
    inside = _within(mask, box, origin=(x - half[0], y - half[1]), steps=steps)
    if inside.sum() * steps[0] * steps[1] < LEAST_SHARE * box.width * box.height:
        return ()
    contours, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    largest = max(contours, key=cv2.contourArea)
    points = cv2.approxPolyDP(largest, TOLERANCE_UM / (field_um / width), closed=True)[:, 0, :]
    if len(points) < 3:
        return ()
    # a contour runs through the middles of its pixels
    across = np.clip(x - half[0] + (points[:, 0] + 0.5) * steps[0], box.x0, box.x1)
    down = np.clip(y - half[1] + (points[:, 1] + 0.5) * steps[1], box.y0, box.y1)
    return tuple(np.stack([across, down], axis=1).ravel().tolist())


def outline_in_image(
    outline: tuple[float, ...], *, origin_px: tuple[int, int], size_px: tuple[int, int]
) -> tuple[float, ...]:
    """A field's polygon in pixels of the image (a hundredth is told), clipped to it; points that
    coincide then are told once. () where fewer than three are left."""
    (x, y), (width, height) = origin_px, size_px
    points: list[tuple[float, float]] = []
    for across, down in zip(outline[::2], outline[1::2], strict=True):
        point = round(min(max(across + x, 0), width), 2), round(min(max(down + y, 0), height), 2)
        if point not in points:
            points.append(point)
    return tuple(v for point in points for v in point) if len(points) >= 3 else ()


def _within(
    mask: npt.NDArray[np.bool_],
    box: Box,
    *,
    origin: tuple[float, float],
    steps: tuple[float, float],
) -> npt.NDArray[np.bool_]:
    """The mask without the pixels whose middles lie outside the box."""
    height, width = mask.shape
    across = origin[0] + (np.arange(width) + 0.5) * steps[0]
    down = origin[1] + (np.arange(height) + 0.5) * steps[1]
    columns = (across >= box.x0) & (across < box.x1)
    rows = (down >= box.y0) & (down < box.y1)
    kept: npt.NDArray[np.bool_] = mask & rows[:, None] & columns[None, :]
    return kept
