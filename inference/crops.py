"""Squares with a cell in the middle, all at one physical scale.

In      (H, W, 3) uint8 RGB, boxes in its pixels, micrometres per pixel in x and in y
Out     (N, S, S, 3) uint8 RGB, and where each box lies in its square
A crop is taken once from the decoded pixels, at the box centre to a fraction of a pixel, and is
never squashed: unequal micrometres per pixel are evened out, and what lies outside the image is
filled with the colour of its background. Pure, no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt
from PIL import Image

from domain.image import Box, Pixels
from inference.manifest import Interpolation

__all__ = [
    "Colour",
    "Crops",
    "at_scale",
    "background_of",
    "border_colour_of",
    "elongation",
    "fitted",
    "square_crops",
]

Colour = npt.NDArray[np.float32]  # (3,) RGB 0..255

MOST_CANVAS_PX = 16_000_000  # laid out at the image's own resolution: 48 MB

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """`pixels` (N, S, S, 3) uint8 RGB; `boxes` in pixels of the crops, clipped to them."""

    pixels: Pixels
    boxes: tuple[Box, ...]


def square_crops(
    pixels: Pixels,
    boxes: Sequence[Box],
    *,
    um_per_px: tuple[float, float],
    field_um: float,
    size_px: int,
    interpolation: Interpolation,
    background: Colour,
) -> Crops:
    """Cut a square of `field_um` micrometres round the centre of each box."""
    half = (field_um / um_per_px[0] / 2, field_um / um_per_px[1] / 2)  # of the square, in pixels
    cut = np.empty((len(boxes), size_px, size_px, 3), dtype=np.uint8)
    placed = []
    for i, box in enumerate(boxes):
        x, y = box.centre
        square = Box(x - half[0], y - half[1], x + half[0], y + half[1])
        cut[i] = _cut(pixels, square, size_px, interpolation, background)
        placed.append(_placed(box, square, size_px))
    return Crops(pixels=cut, boxes=tuple(placed))


def fitted(
    pixels: Pixels,
    *,
    um_per_px: tuple[float, float],
    size_px: int,
    interpolation: Interpolation,
    background: Colour,
) -> Pixels:
    """The whole field in the middle of a square, its true proportions kept to the nearest whole
    pixel: (S, S, 3)."""
    height, width = pixels.shape[:2]
    side = max(width * um_per_px[0], height * um_per_px[1])
    half = (side / um_per_px[0] / 2, side / um_per_px[1] / 2)
    square = Box(
        width / 2 - half[0], height / 2 - half[1], width / 2 + half[0], height / 2 + half[1]
    )
    return _shrunk(pixels, square, size_px, interpolation, background)


def elongation(pixels: Pixels, um_per_px: tuple[float, float]) -> float:
    """How many times longer the field is than wide, in micrometres; at least 1."""
    height, width = pixels.shape[:2]
    sides = width * um_per_px[0], height * um_per_px[1]
    return float(max(sides) / min(sides))


def at_scale(
    pixels: Pixels,
    *,
    um_per_px: tuple[float, float],
    wanted_um_per_px: float,
    interpolation: Interpolation,
) -> Pixels:
    """The whole field with `wanted_um_per_px` in both directions, to the nearest whole pixel."""
    height, width = pixels.shape[:2]
    size = (
        max(1, round(width * um_per_px[0] / wanted_um_per_px)),
        max(1, round(height * um_per_px[1] / wanted_um_per_px)),
    )
    if size == (width, height):
        return pixels
    return _resampled(pixels, size, within=(0, 0, width, height), interpolation=interpolation)


def background_of(pixels: Pixels) -> Colour:
    """Colour of the empty ground of a field: the median of the pixels about as bright as the
    brightest peak of the histogram that is at least a fifth as high as the highest."""
    luma = (_thinned(pixels).astype(np.float32) @ LUMA).ravel()
    counts, _ = np.histogram(luma, bins=256, range=(0, 256))
    smooth = np.convolve(counts, np.ones(9), mode="same")
    higher = np.flatnonzero(smooth >= smooth.max() / 5)
    # the brightest run of high bins, and the highest bin in it
    starts = np.flatnonzero(np.diff(higher, prepend=-2) > 1)
    run = higher[starts[-1] :]
    peak = run[np.argmax(smooth[run])]
    near = np.abs(luma - (peak + 0.5)) <= 6
    found: Colour = np.median(_thinned(pixels).reshape(-1, 3)[near], axis=0).astype(np.float32)
    return found


def border_colour_of(pixels: Pixels) -> Colour:
    """Median of the outermost pixels: the ground of an image that holds one cell."""
    ring = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    found: Colour = np.median(ring, axis=0).astype(np.float32)
    return found


def _thinned(pixels: Pixels) -> Pixels:
    """At most about 512 x 512 of the pixels, evenly taken: enough for a colour."""
    return pixels[:: max(1, pixels.shape[0] // 512), :: max(1, pixels.shape[1] // 512)]


def _cut(
    pixels: Pixels, square: Box, size_px: int, interpolation: Interpolation, background: Colour
) -> Pixels:
    steps = square.width / size_px, square.height / size_px  # input pixels per output pixel
    margin = ceil(max(*steps, 1.0)) + 1  # as far as a kernel reaches over the square
    x0, y0 = floor(square.x0) - margin, floor(square.y0) - margin
    x1, y1 = ceil(square.x1) + margin, ceil(square.y1) + margin
    height, width = pixels.shape[:2]
    if (y1 - y0) * (x1 - x0) > max(MOST_CANVAS_PX, 2 * width * height):
        return _shrunk(pixels, square, size_px, interpolation, background)
    canvas = _ground(y1 - y0, x1 - x0, background)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left < right and top < bottom:
        canvas[top - y0 : bottom - y0, left - x0 : right - x0] = pixels[top:bottom, left:right]
    within = (square.x0 - x0, square.y0 - y0, square.x1 - x0, square.y1 - y0)
    return _resampled(canvas, (size_px, size_px), within=within, interpolation=interpolation)


def _shrunk(
    pixels: Pixels, square: Box, size_px: int, interpolation: Interpolation, background: Colour
) -> Pixels:
    """What of the square lies in the image, brought to its size first and laid on the ground then:
    no memory for the empty part of a long image's square. Exact to half an output pixel."""
    height, width = pixels.shape[:2]
    left, top = max(square.x0, 0.0), max(square.y0, 0.0)
    right, bottom = min(square.x1, float(width)), min(square.y1, float(height))
    canvas = _ground(size_px, size_px, background)
    if left >= right or top >= bottom:
        return canvas
    fx, fy = size_px / square.width, size_px / square.height
    size = max(1, round((right - left) * fx)), max(1, round((bottom - top) * fy))
    x = min(size_px - size[0], max(0, round((left - square.x0) * fx)))
    y = min(size_px - size[1], max(0, round((top - square.y0) * fy)))
    inside = _resampled(
        pixels, size, within=(left, top, right, bottom), interpolation=interpolation
    )
    canvas[y : y + size[1], x : x + size[0]] = inside
    return canvas


def _ground(height: int, width: int, background: Colour) -> Pixels:
    canvas = np.empty((height, width, 3), dtype=np.uint8)
    canvas[:] = np.clip(np.rint(background), 0, 255).astype(np.uint8)
    return canvas


def _resampled(
    pixels: Pixels,
    size: tuple[int, int],
    *,
    within: tuple[float, float, float, float],
    interpolation: Interpolation,
) -> Pixels:
    """(h, w, 3) -> (size[1], size[0], 3). Pillow's kernels widen when shrinking, take a rectangle
    of fractions of pixels, and see over its edges."""
    shrinks = within[2] - within[0] >= size[0] and within[3] - within[1] >= size[1]
    box = interpolation is Interpolation.AREA and shrinks
    kernel = Image.Resampling.BOX if box else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize(size, kernel, box=within))


def _placed(box: Box, square: Box, size_px: int) -> Box:
    fx, fy = size_px / square.width, size_px / square.height
    return Box(
        max(0.0, (box.x0 - square.x0) * fx),
        max(0.0, (box.y0 - square.y0) * fy),
        min(float(size_px), (box.x1 - square.x0) * fx),
        min(float(size_px), (box.y1 - square.y0) * fy),
    )
