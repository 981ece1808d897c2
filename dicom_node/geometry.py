"""Boxes on pixel grids, and pictures made smaller.

Pure.
"""

from math import ceil, floor

import cv2
import numpy as np

from domain.image import Box, Pixels

__all__ = ["clipped", "fitting_factor", "smaller"]


def clipped(box: Box, *, width: int, height: int) -> tuple[int, int, int, int]:
    """Whole pixels that `box` touches, inside the image. ValueError when there are none."""
    x0, y0 = max(0, floor(box.x0)), max(0, floor(box.y0))
    x1, y1 = min(width, ceil(box.x1)), min(height, ceil(box.y1))
    if x0 >= x1 or y0 >= y1:
        raise ValueError("the box lies outside the image")
    return x0, y0, x1, y1


def fitting_factor(width: int, height: int, max_px: int) -> float:
    """Factor at which the longer side is at most `max_px`; never enlarges."""
    return min(1.0, max_px / max(width, height))


def smaller(pixels: Pixels, width: int, height: int) -> Pixels:
    """`pixels` averaged down to a size that is no larger."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
