"""Good fields made bad on purpose, for stage 1: real bad ones are too few to learn from.

In      (H, W, 3) uint8 RGB, what its pixels measure, a numpy generator
Out     a spoiled copy, and how readable it still is, 1 to 0
Scores on such fields are scores on artificial faults, and every figure says so. The faults of
`HELD_BACK` are never trained on: they tell whether the network learned *unreadable* or only a list.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from domain.image import Pixels

__all__ = ["FAULTS", "HELD_BACK", "blur_readable", "defocused", "no_smear", "spoiled"]

Rng = np.random.Generator
Fault = Callable[[Pixels, float, Rng], tuple[Pixels, float]]

READABLE_UM, RUINED_UM = 0.45, 1.1  # sigma of blur: nothing is lost, nothing can be told apart


def blur_readable(sigma_um: float) -> float:
    """How readable a field with that blur is: 1 below READABLE_UM, 0 above RUINED_UM."""
    return float(np.clip((RUINED_UM - sigma_um) / (RUINED_UM - READABLE_UM), 0, 1))


def defocused(pixels: Pixels, um_per_px: float, sigma_um: float) -> Pixels:
    """Blurred by a gaussian of `sigma_um`."""
    sigma = sigma_um / um_per_px
    return pixels if sigma < 0.2 else _bytes(cv2.GaussianBlur(pixels, (0, 0), sigma))


def spoiled(
    pixels: Pixels, um_per_px: float, rng: Rng, *, faults: Mapping[str, Fault]
) -> tuple[Pixels, float]:
    """One of the faults."""
    names = sorted(faults)
    return faults[names[int(rng.integers(len(names)))]](pixels, um_per_px, rng)


def no_smear(rng: Rng, size: int) -> Pixels:
    """(size, size, 3): something that is no smear: noise of some grain, stripes, a board, blots."""
    kind = int(rng.integers(5))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    if kind == 0:  # grain of all sizes, as in most photographs
        spectrum = np.fft.rfft2(rng.normal(size=(size, size)))
        fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
        falling = np.maximum(np.hypot(fy, fx), 1 / size) ** rng.uniform(1, 2)
        level = np.fft.irfft2(spectrum / falling, s=(size, size))
    elif kind == 1:
        turn, period = rng.uniform(0, np.pi), rng.uniform(4, 60)
        level = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period)
    elif kind == 2:
        side = int(rng.integers(6, 60))
        level = ((x // side + y // side) % 2).astype(np.float32)
    elif kind == 3:  # letters and lines
        page = np.full((size, size), 255, np.uint8)
        for _ in range(int(rng.integers(3, 20))):
            a, b = (tuple(int(v) for v in rng.integers(0, size, 2)) for _ in range(2))
            cv2.line(page, a, b, int(rng.integers(0, 128)), int(rng.integers(1, 6)))
            cv2.putText(page, "0123", a, cv2.FONT_HERSHEY_SIMPLEX, float(rng.uniform(0.4, 2)), 0, 2)
        level = page.astype(np.float32)
    else:  # one large thing
        level = np.hypot(x - rng.uniform(0, size), y - rng.uniform(0, size)) < size * rng.uniform(
            0.2, 0.7
        )
        level = cv2.GaussianBlur(level.astype(np.float32), (0, 0), rng.uniform(1, size / 6))
    spread = (level - level.min()) / max(float(np.ptp(level)), 1e-6)
    dark, light = rng.uniform(0, 140, 3), rng.uniform(100, 255, 3)
    if rng.random() < 0.4:
        dark[:], light[:] = dark[0], light[0]
    coloured = dark + spread[..., None] * (light - dark) + rng.normal(0, 4, (size, size, 3))
    drawn: Pixels = np.clip(coloured, 0, 255).astype(np.uint8)
    return drawn


def _defocus(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    sigma = float(rng.uniform(READABLE_UM, 3.0))
    return defocused(pixels, um_per_px, sigma), blur_readable(sigma)


def _moved(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    length_um = float(rng.uniform(2.5, 10))
    length = max(3, round(length_um / um_per_px))
    kernel = np.zeros((length, length), np.float32)
    turn, middle = rng.uniform(0, np.pi), (length - 1) / 2
    step = np.array([np.cos(turn), np.sin(turn)]) * middle
    a, b = (tuple(round(v) for v in middle + s * step) for s in (-1, 1))
    cv2.line(kernel, a, b, 1.0, 1)
    readable = float(np.clip((5 - length_um) / 2.5, 0, 1))
    shaken = cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return _bytes(shaken), readable


def _burnt(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    shift = float(rng.uniform(90, 190))
    return np.clip(pixels.astype(np.float32) * rng.uniform(1, 1.6) + shift, 0, 255).astype(
        np.uint8
    ), 0.0


def _dark(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    factor = rng.uniform(0.02, 0.18)
    noise = rng.normal(0, rng.uniform(0, 8), pixels.shape)
    return np.clip(pixels * factor + noise, 0, 255).astype(np.uint8), 0.0


def _empty(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Plain ground with a lamp's slope and a little dirt."""
    flat = pixels.reshape(-1, 3)
    ground = np.median(flat[flat.sum(axis=1) >= np.percentile(flat.sum(axis=1), 80)], axis=0)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    slope = (
        1
        + rng.uniform(-0.12, 0.12) * (x / width - 0.5)
        + rng.uniform(-0.12, 0.12) * (y / height - 0.5)
    )
    drawn = np.clip(
        ground * slope[..., None] + rng.normal(0, rng.uniform(0.5, 4), pixels.shape), 0, 255
    )
    plain = np.ascontiguousarray(drawn.astype(np.uint8))
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(width)), int(rng.integers(height))
        colour = [int(v * rng.uniform(0.5, 0.95)) for v in ground]
        cv2.circle(plain, at, int(rng.integers(1, max(2, width // 60))), colour, -1, cv2.LINE_AA)
    return plain, 0.0


def _covered(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """More than half of the field is hidden."""
    done = pixels.copy()
    height, width = pixels.shape[:2]
    share, colour = rng.uniform(0.6, 0.95), rng.integers(0, 256, 3)
    if rng.random() < 0.5:
        colour[:] = rng.choice([0, 255])
    if rng.random() < 0.5:
        cut = round(width * share)
        done[:, :cut] = colour
    else:
        cut = round(height * share)
        done[height - cut :] = colour
    return done, 0.0


def _noisy(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    noise = rng.normal(0, rng.uniform(60, 120), pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8), 0.0


def _faded(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Nearly no contrast left, at any brightness."""
    level = rng.uniform(40, 230)
    kept = rng.uniform(0.02, 0.1)
    return np.clip(level + (pixels - pixels.mean()) * kept, 0, 255).astype(np.uint8), 0.0


def _something_else(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    size = max(pixels.shape[:2])
    return no_smear(rng, size)[: pixels.shape[0], : pixels.shape[1]], 0.0


def _shuffled(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Cut into pieces smaller than a cell, which change places."""
    side = max(2, round(rng.uniform(1.5, 7) / um_per_px))
    rows, columns = len(pixels) // side, pixels.shape[1] // side
    if rows * columns < 4:
        return _noisy(pixels, um_per_px, rng)
    cut = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    pieces = cut.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)[
        rng.permutation(rows * columns)
    ]
    whole = pieces.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    done = pixels.copy()
    done[: rows * side, : columns * side] = whole.reshape(rows * side, columns * side, 3)
    return done, 0.0


def _ghosted(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """The picture and its shifted ghost, nearly as strong."""
    by = (rng.uniform(1.5, 5, 2) * rng.choice([-1, 1], 2) / um_per_px).round().astype(int)
    ghost = np.roll(pixels, tuple(by), axis=(0, 1)).astype(np.float32)
    weight = rng.uniform(0.35, 0.5)
    return (pixels * (1 - weight) + ghost * weight).astype(np.uint8), 0.0


def _taken_twice(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Several exposures on each other."""
    layers = [pixels.astype(np.float32)]
    for _ in range(3):
        turned = np.rot90(pixels, 2) if rng.random() < 0.5 else pixels[::-1]
        by = round(rng.uniform(2, 6) / um_per_px)
        layers.append(np.roll(turned, (by, -by), axis=(0, 1)).astype(np.float32))
    return np.mean(layers, axis=0).astype(np.uint8), 0.0


def _torn(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Rows out of step, as of a camera that lost its beat."""
    done = pixels.copy()
    width = pixels.shape[1]
    for row in range(0, len(done), max(1, len(done) // 64)):
        step = int(rng.integers(-width // 4, width // 4 + 1))
        done[row : row + max(1, len(done) // 64)] = np.roll(
            done[row : row + max(1, len(done) // 64)], step, axis=1
        )
    return done, 0.0


def _stirred(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Every place taken from another place within a cell's size: shapes dissolve, colours stay."""
    height, width = pixels.shape[:2]
    grain = rng.uniform(0.6, 2.0) / um_per_px
    reach = rng.uniform(2.0, 5.0) / um_per_px
    moves = []
    for _ in range(2):
        noise = cv2.GaussianBlur(
            rng.normal(size=(height, width)).astype(np.float32), (0, 0), max(0.6, grain)
        )
        moves.append(noise / max(float(noise.std()), 1e-6) * reach)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    warped = cv2.remap(
        pixels, x + moves[0], y + moves[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return _bytes(warped), 0.0


def _wandered(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """The stage wandered while the shutter was open: the blur of a random walk."""
    reach = rng.uniform(3, 8) / um_per_px
    steps = np.cumsum(rng.normal(size=(60, 2)), axis=0)
    steps -= steps.mean(axis=0)
    steps *= reach / 2 / max(float(np.abs(steps).max()), 1e-6)
    side = 2 * int(np.ceil(reach / 2)) + 3
    kernel = np.zeros((side, side), np.float32)
    for dx, dy in steps:
        kernel[round(side / 2 + dy - 0.5), round(side / 2 + dx - 0.5)] += 1
    walk = cv2.GaussianBlur(kernel / kernel.sum(), (0, 0), 0.6)
    moved = cv2.filter2D(pixels, -1, walk, borderType=cv2.BORDER_REFLECT)
    return _bytes(moved), 0.0


def _too_thick(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Layers of cells on each other: optical densities add up."""
    ground = np.percentile(pixels.reshape(-1, 3), 90, axis=0).clip(1)
    through = np.ones(pixels.shape, np.float32)
    for _ in range(int(rng.integers(3, 6))):
        layer = np.rot90(pixels, 2) if rng.random() < 0.5 else pixels[:, ::-1]
        by = tuple(int(v) for v in rng.integers(0, min(pixels.shape[:2]), 2))
        through *= np.roll(layer, by, axis=(0, 1)) / ground
    return _bytes(np.clip(through * ground, 0, 255)), 0.0


def _lines_lost(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Bands of rows or columns without a picture."""
    done = pixels.copy()
    turned = rng.random() < 0.5
    plane = done.transpose(1, 0, 2) if turned else done
    colour = rng.integers(0, 256, 3)
    at = 0
    while at < len(plane):
        height = max(1, round(len(plane) * rng.uniform(0.01, 0.08)))
        if rng.random() < 0.62:
            plane[at : at + height] = colour
        at += height
    return done, 0.0


def _posterised(pixels: Pixels, _um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Two or three levels a channel, perhaps inverted."""
    levels = int(rng.integers(1, 3))
    shifted = np.clip(pixels.astype(np.float32) + rng.uniform(-70, 70, 3), 0, 255)
    few = np.round(shifted / 255 * levels) * (255 / levels)
    return _bytes(255 - few if rng.random() < 0.5 else few), 0.0


def _littered(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Dirt, stain precipitate and scratches over most of the field."""
    done = pixels.copy()
    height, width = done.shape[:2]
    colour = [int(v) for v in rng.integers(0, 160, 3)]
    covered = np.zeros((height, width), np.uint8)
    share = rng.uniform(0.45, 0.8)
    for _ in range(4000):
        if covered.mean() >= share:
            break
        at = int(rng.integers(width)), int(rng.integers(height))
        radius = max(1, round(float(rng.uniform(0.5, 4)) / um_per_px))
        if rng.random() < 0.1:
            to = int(rng.integers(width)), int(rng.integers(height))
            cv2.line(covered, at, to, 1, max(1, radius // 2))
        else:
            cv2.circle(covered, at, radius, 1, -1)
    done[covered > 0] = colour
    return done, 0.0


def _blocky(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Compressed until only blocks are left."""
    side = max(2, round(rng.uniform(3.5, 6) / um_per_px))
    height, width = pixels.shape[:2]
    small = cv2.resize(
        pixels, (max(2, width // side), max(2, height // side)), interpolation=cv2.INTER_AREA
    )
    return _bytes(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)), 0.0


def _shaken(pixels: Pixels, um_per_px: float, rng: Rng) -> tuple[Pixels, float]:
    """Moved in two directions while the shutter was open."""
    for _ in range(2):
        pixels, _ = _moved(pixels, um_per_px / rng.uniform(1.6, 2.4), rng)
    return pixels, 0.0


def _bytes(pixels: npt.NDArray[Any]) -> Pixels:
    return pixels.astype(np.uint8, copy=False)


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "defocused": _defocus,
        "defocused again": _defocus,
        "moved": _moved,
        "burnt out": _burnt,
        "dark": _dark,
        "empty": _empty,
        "covered": _covered,
        "noisy": _noisy,
        "faded": _faded,
        "something else": _something_else,
        "shuffled": _shuffled,
        "ghosted": _ghosted,
        "stirred": _stirred,
        "wandered": _wandered,
        "too thick": _too_thick,
        "lines lost": _lines_lost,
        "posterised": _posterised,
        "littered": _littered,
    }
)
HELD_BACK: Mapping[str, Fault] = MappingProxyType(
    {"taken twice": _taken_twice, "torn": _torn, "blocky": _blocky, "shaken": _shaken}
)
