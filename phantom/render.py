"""From amounts of stain to a photograph, in tiles of the smear's own raster.

A tile is a pure function of (spec, tile): it is drawn with a margin as wide as the blur reaches,
then cut. Regions are put together from tiles, so that every way to cut a smear gives the same
pixels to the last bit.
"""

from functools import lru_cache
from math import ceil, cos, log, pi, sin, sqrt

import cv2
import numpy as np

from domain.image import Pixels
from phantom.cells import patch_of
from phantom.patch import Ink, Patch
from phantom.placement import Placed, placed_in
from phantom.shapes import Floats
from phantom.spec import SmearSpec

__all__ = ["TILE_PX", "patch_for", "photograph", "tile"]

TILE_PX = 512
OPTICS_UM = 0.09  # standard deviation of the blur of a good objective in focus
NOISE, GROUND = 5, 6  # streams of random numbers


@lru_cache(maxsize=512)
def patch_for(cell: Placed, seed: int, um_per_px: float) -> Patch:
    """A cell's patch; cells on the border of tiles are asked for more than once."""
    return patch_of(cell, seed=seed, um_per_px=um_per_px)


@lru_cache(maxsize=24)
def tile(spec: SmearSpec, column: int, row: int) -> Pixels:
    """(TILE_PX, TILE_PX, 3) uint8 of the smear from (column, row) * TILE_PX on, read-only."""
    pixels = photograph(spec, x0=column * TILE_PX, y0=row * TILE_PX, width=TILE_PX, height=TILE_PX)
    pixels.flags.writeable = False
    return pixels


def photograph(spec: SmearSpec, *, x0: int, y0: int, width: int, height: int) -> Pixels:
    """(height, width, 3) uint8, drawn at once. Other cuts of the same place may differ in noise."""
    sigma_px = sqrt(OPTICS_UM**2 + spec.defocus_um**2) / spec.um_per_px
    margin = ceil(3 * sigma_px) + 1
    full_h, full_w = height + 2 * margin, width + 2 * margin
    light = _transmitted(spec, x0 - margin, y0 - margin, full_w, full_h)
    blurred = cv2.GaussianBlur(light, (2 * margin - 1, 2 * margin - 1), sigma_px)
    sharp = blurred[margin : margin + height, margin : margin + width]
    lit = sharp * _lamp(spec, x0, y0, width, height)
    return _camera(spec, lit, np.random.default_rng([spec.seed, NOISE, x0 + 2**32, y0 + 2**32]))


def _transmitted(spec: SmearSpec, x0: int, y0: int, width: int, height: int) -> Floats:
    """(height, width, 3) float32: the share of the light that comes through the cells."""
    inks = np.zeros((len(Ink), height, width), np.float32)
    scale = spec.um_per_px
    for cell in placed_in(
        spec,
        x0_um=x0 * scale,
        y0_um=y0 * scale,
        x1_um=(x0 + width) * scale,
        y1_um=(y0 + height) * scale,
    ):
        patch = patch_for(cell, spec.seed, scale)
        left, top = max(patch.x0, x0), max(patch.y0, y0)
        right, bottom = min(patch.x1, x0 + width), min(patch.y1, y0 + height)
        if left >= right or top >= bottom:
            continue
        for ink, amount in zip(patch.used, patch.inks, strict=True):
            inks[ink, top - y0 : bottom - y0, left - x0 : right - x0] += amount[
                top - patch.y0 : bottom - patch.y0, left - patch.x0 : right - patch.x0
            ]
    stain = spec.stain
    colours = (stain.haemoglobin, stain.nucleus, stain.blue, stain.eosin, stain.purple)
    light = np.empty((height, width, 3), np.float32)
    # Summed by hand: a matrix product may round differently with the number of threads.
    for channel in range(3):
        density = np.zeros((height, width), np.float32)
        for ink in Ink:
            density += inks[ink] * colours[ink][channel]
        light[..., channel] = np.exp(density * (-log(10)))
    return light


def _lamp(spec: SmearSpec, x0: int, y0: int, width: int, height: int) -> Floats:
    """(height, width, 3): the colour of empty glass, a function of the place in the whole field."""
    x = (np.arange(x0, x0 + width, dtype=np.float32)[None, :] + 0.5) / spec.width_px
    y = (np.arange(y0, y0 + height, dtype=np.float32)[:, None] + 0.5) / spec.height_px
    u, v = 2 * x - 1, 2 * y - 1
    level = 1 - (spec.light.vignette / 2) * (u * u + v * v)
    level += (spec.light.gradient[0] / 2) * u + (spec.light.gradient[1] / 2) * v
    # A thin film of plasma: a few long waves of brightness, the same wherever the cut lies.
    rng = np.random.default_rng([spec.seed, GROUND])
    for _ in range(6):
        wave_um, turn, phase = rng.uniform(25, 120), *rng.uniform(0, 2 * pi, 2)
        k = 2 * pi * spec.um_per_px / wave_um
        level += 0.0025 * np.cos(
            (k * cos(turn) * spec.width_px) * x + (k * sin(turn) * spec.height_px) * y + phase
        )
    glass = np.array(spec.stain.background, np.float32) * np.array(spec.light.cast, np.float32)
    lamp: Floats = level[..., None] * glass * spec.light.exposure
    return lamp


def _camera(spec: SmearSpec, light: Floats, rng: np.random.Generator) -> Pixels:
    """Shot noise grows with the root of the light; grey levels end at 255."""
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    light = light + spec.noise * grain * np.sqrt(np.maximum(light, 0) / 255)
    pixels: Pixels = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return pixels
