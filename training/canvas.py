"""Fields laid on a canvas for the detector: shifted, tiled, cut, on plain ground.

In      fields at one physical scale with their boxes
Out     (S, S, 3) uint8 and boxes with class indices in its pixels
In many boxed pictures the one white cell sits in the middle; here it sits anywhere, in any company.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Pixels
from inference.crops import Colour, background_of
from inference.manifest import DETECTION_CLASSES
from training.pictures import Picture

__all__ = ["Boxes", "ScaledField", "canvas", "scaled_field"]

Boxes = npt.NDArray[np.float32]  # (n, 5): class index, x0, y0, x1, y1

LEAST_SEEN = 0.35  # share of a box's area that must lie on the canvas for it to be wanted
RESAMPLED = {True: cv2.INTER_AREA, False: cv2.INTER_LINEAR}


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaledField:
    """A field at `kept_um_per_px`, its boxes in its own pixels."""

    pixels: Pixels
    boxes: Boxes
    ground: Colour
    um_per_px: float


def scaled_field(picture: Picture, pixels: Pixels, *, finest_um_per_px: float) -> ScaledField:
    """Evened out to square pixels, and shrunk where it is finer than is ever wanted."""
    scale = picture.um_per_px or (finest_um_per_px, finest_um_per_px)
    wanted = max(finest_um_per_px, min(scale))
    height, width = pixels.shape[:2]
    size = max(1, round(width * scale[0] / wanted)), max(1, round(height * scale[1] / wanted))
    shrunk = _resized(pixels, size)
    fx, fy = size[0] / width, size[1] / height
    rows = [
        (
            DETECTION_CLASSES.index(b.cell_class),
            b.box.x0 * fx,
            b.box.y0 * fy,
            b.box.x1 * fx,
            b.box.y1 * fy,
        )
        for b in picture.boxes
    ]
    boxes = np.array(rows, np.float32).reshape(-1, 5)
    return ScaledField(pixels=shrunk, boxes=boxes, ground=background_of(shrunk), um_per_px=wanted)


def canvas(
    draw: Callable[[], ScaledField],
    rng: np.random.Generator,
    *,
    size: int,
    um_per_px: float,
    zoom: tuple[float, float],
    squashed: float = 0.2,
) -> tuple[Pixels, Boxes]:
    """One field anywhere, or up to four, each in its quarter. `zoom` is a factor on the scale;
    a share of canvases is pressed in x, as public copies of leukaemia fields are."""
    factor = float(np.exp(rng.uniform(*np.log(zoom))))
    press = float(rng.uniform(0.72, 0.8)) if rng.random() < squashed else 1.0
    first = draw()
    done = np.empty((size, size, 3), np.uint8)
    done[:] = np.clip(first.ground, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        parts = [(0, 0, size, size)]
    else:
        x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * size)
        parts = [(0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)]
    boxes = []
    for n, part in enumerate(parts):
        field = first if n == 0 else draw()
        boxes.append(_laid(done, field, part, rng, um_per_px / factor, press))
    return done, np.concatenate(boxes)


def _laid(
    done: Pixels,
    field: ScaledField,
    part: tuple[int, int, int, int],
    rng: np.random.Generator,
    um_per_px: float,
    press: float,
) -> Boxes:
    """The field at a random place of `part`, turned and flipped; its boxes on the canvas."""
    pixels, boxes = _turned(field.pixels, field.boxes, int(rng.integers(8)))
    by = field.um_per_px / um_per_px
    height, width = pixels.shape[:2]
    size = max(4, round(width * by * press)), max(4, round(height * by))
    pixels = _resized(pixels, size)
    boxes = (
        boxes * np.array([1, size[0] / width, size[1] / height] * 2, np.float32)[[0, 1, 2, 1, 2]]
    )
    x0, y0, x1, y1 = part
    dx, dy = _place(x1 - x0, size[0], rng), _place(y1 - y0, size[1], rng)
    done[y0:y1, x0:x1] = np.clip(field.ground, 0, 255).astype(np.uint8)
    left, top = max(0, dx), max(0, dy)
    right, bottom = min(x1 - x0, dx + size[0]), min(y1 - y0, dy + size[1])
    done[y0 + top : y0 + bottom, x0 + left : x0 + right] = pixels[
        top - dy : bottom - dy, left - dx : right - dx
    ]
    moved = boxes + np.array([0, x0 + dx, y0 + dy, x0 + dx, y0 + dy], np.float32)
    return _seen(moved, (x0 + left, y0 + top, x0 + right, y0 + bottom))


def _place(room: int, length: int, rng: np.random.Generator) -> int:
    low, high = sorted((0, room - length))
    return int(rng.integers(low, high + 1))


def _seen(boxes: Boxes, window: tuple[int, int, int, int]) -> Boxes:
    """Clipped to what is shown; those of which too little is left are dropped."""
    clipped = boxes.copy()
    clipped[:, [1, 3]] = boxes[:, [1, 3]].clip(window[0], window[2])
    clipped[:, [2, 4]] = boxes[:, [2, 4]].clip(window[1], window[3])
    area = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
    left = (clipped[:, 3] - clipped[:, 1]) * (clipped[:, 4] - clipped[:, 2])
    sides = np.minimum(clipped[:, 3] - clipped[:, 1], clipped[:, 4] - clipped[:, 2])
    seen: Boxes = clipped[(left >= LEAST_SEEN * area) & (sides >= 3)]
    return seen


def _turned(pixels: Pixels, boxes: Boxes, way: int) -> tuple[Pixels, Boxes]:
    """One of the eight orientations."""
    height, width = pixels.shape[:2]
    kind, x0, y0, x1, y1 = boxes.T
    if way & 1:
        pixels, x0, x1 = pixels[:, ::-1], width - x1, width - x0
    if way & 2:
        pixels, y0, y1 = pixels[::-1], height - y1, height - y0
    if way & 4:
        pixels = pixels.transpose(1, 0, 2)
        x0, y0, x1, y1 = y0, x0, y1, x1
    return np.ascontiguousarray(pixels), np.stack([kind, x0, y0, x1, y1], axis=1)


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    shrinks = size[0] <= pixels.shape[1] and size[1] <= pixels.shape[0]
    resized = cv2.resize(pixels, size, interpolation=RESAMPLED[shrinks])
    return resized.astype(np.uint8, copy=False)
