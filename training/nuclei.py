"""White cells found by their nuclei, where nobody drew boxes: nuclei take up the most dye. And red cells,
which have none.

In      (H, W, 3) uint8 RGB, micrometres per pixel
Out     boxes round nuclei, a little widened, in pixels of the picture
Nuclei are purple in every Romanowsky stain: they absorb green light and let blue pass, which no red
cell does, pink or grey. Density of green above that of blue is cut by Otsu's level, never below a share
of what the darkest nuclei have. Clumps are left
out: a box round two cells would teach the wrong thing.
"""

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Box, Pixels
from inference.crops import background_of

__all__ = ["nuclei_in", "nucleus_in_the_middle", "red_cells_in"]

READ_AT_UM = 0.25
NUCLEUS_UM = (5.0, 17.0)  # diameter of the circle of the same area
RED_UM = (5.0, 10.0)
SOLID = 0.88  # share of its convex hull that a single nucleus fills
WIDENED = 1.2


def nuclei_in(pixels: Pixels, um_per_px: tuple[float, float]) -> list[Box]:
    """In reading order; those at the border are left out."""
    scaled, factors = _at_scale(pixels, um_per_px)
    return _boxes(_blobs(_dark(scaled), NUCLEUS_UM), factors, pixels, widened=WIDENED)


def red_cells_in(pixels: Pixels, um_per_px: tuple[float, float]) -> list[Box]:
    """Round things without a nucleus that stand alone, for fields where nobody drew boxes: what differs
    from the ground, holes filled, and holds nothing purple. In reading order."""
    scaled, factors = _at_scale(pixels, um_per_px)
    smooth = cv2.GaussianBlur(scaled, (0, 0), 1.0).astype(np.float32)
    apart = np.clip(np.abs(smooth - background_of(scaled)).sum(axis=2) / 3, 0, 255)
    levels = apart.astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(
        (levels > 0.6 * level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros(levels.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 255, -1)
    dark = _dark(scaled) > 0
    found = [
        (x, y, w, h)
        for x, y, w, h in _blobs(filled, RED_UM)
        if not dark[y : y + h, x : x + w].any() and max(w, h) <= 1.35 * min(w, h)
    ]
    return _boxes(found, factors, pixels, widened=1.0)


def _at_scale(pixels: Pixels, um_per_px: tuple[float, float]) -> tuple[Pixels, tuple[float, float]]:
    """At READ_AT_UM a pixel, and how many of its pixels one of the picture's makes."""
    height, width = pixels.shape[:2]
    fx, fy = um_per_px[0] / READ_AT_UM, um_per_px[1] / READ_AT_UM
    size = max(8, round(width * fx)), max(8, round(height * fy))
    shrinks = fx < 1 and fy < 1
    scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return scaled.astype(np.uint8, copy=False), (fx, fy)


def _boxes(
    blobs: list[tuple[int, int, int, int]],
    factors: tuple[float, float],
    pixels: Pixels,
    *,
    widened: float,
) -> list[Box]:
    """Those away from the border, in pixels of the picture."""
    height, width = pixels.shape[:2]
    fx, fy = factors
    size = max(8, round(width * fx)), max(8, round(height * fy))
    found = []
    for x, y, w, h in blobs:
        if x <= 1 or y <= 1 or x + w >= size[0] - 1 or y + h >= size[1] - 1:
            continue
        cx, cy, half = x + w / 2, y + h / 2, (w * widened / 2, h * widened / 2)
        found.append(
            Box(
                max(0.0, (cx - half[0]) / fx),
                max(0.0, (cy - half[1]) / fy),
                min(float(width), (cx + half[0]) / fx),
                min(float(height), (cy + half[1]) / fy),
            )
        )
    return sorted(found, key=lambda b: (b.y0, b.x0))


def nucleus_in_the_middle(pixels: Pixels, um_per_px: tuple[float, float]) -> Box | None:
    """All dark parts within 5 um of the middle together, for a picture of one cell."""
    height, width = pixels.shape[:2]
    dark = _dark(pixels)
    number, labels, stats, _ = cv2.connectedComponentsWithStats(dark)
    y, x = np.mgrid[0:height, 0:width]
    near = np.hypot((x - width / 2) * um_per_px[0], (y - height / 2) * um_per_px[1]) < 5
    least = (1.5 / um_per_px[0]) * (1.5 / um_per_px[1])
    chosen = [
        i
        for i in range(1, number)
        if stats[i, cv2.CC_STAT_AREA] >= least and (near & (labels == i)).any()
    ]
    if not chosen:
        return None
    rows, columns = np.nonzero(np.isin(labels, chosen))
    return Box(
        float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
    )


def _dark(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """255 where there is a nucleus."""
    ground = np.maximum(background_of(pixels), 1)
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.0).astype(np.float32)
    density = -np.log10(np.maximum(smooth, 1) / ground)  # (H, W, 3)
    purple = np.clip(density[:, :, 1] - np.maximum(density[:, :, 2], 0), 0, 1)
    levels = (purple * 255).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    stained = np.percentile(levels, 99.5)
    level = max(float(level), 0.4 * float(stained))
    mask = (levels > level).astype(np.uint8) * 255
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return opened.astype(np.uint8, copy=False)


def _blobs(
    mask: npt.NDArray[np.uint8], diameters_um: tuple[float, float]
) -> list[tuple[int, int, int, int]]:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = []
    for contour in contours:
        area = cv2.contourArea(contour)
        diameter = 2 * np.sqrt(max(area, 1e-6) / np.pi) * READ_AT_UM
        hull = cv2.contourArea(cv2.convexHull(contour))
        if diameters_um[0] <= diameter <= diameters_um[1] and area >= SOLID * hull:
            x, y, w, h = cv2.boundingRect(contour)
            found.append((x, y, w, h))
    return found
