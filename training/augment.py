"""Pictures as another laboratory, another microscope or another turn of the slide would show them.

In      (N, 3, H, W) float32 RGB 0..1, a numpy generator that decides everything
Out     the same shape (or the wanted size), 0..1
The same generator state gives the same pictures. The geometric ones are the thesis's (rotation, flip,
scaling, translation, random crop); brightness, contrast and saturation are its colour ones; stain is
changed in optical density, where dyes add up (Beer-Lambert): a near-identity mixing of the three
densities, a gain, and a small offset.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Strength", "blurred", "geometric", "perturbed", "restained", "turned"]

Rng = np.random.Generator

DARKEST = 1 / 255


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How much is changed. Shares are probabilities per picture; `blur_px` is the largest sigma, and
    `coarsest` the largest factor by which resolution is lost."""

    turn: bool = True
    scale: tuple[float, float] = (0.85, 1.18)
    shift: float = 0.06
    restained: float = 0.85
    mix: float = 0.12
    gain: tuple[float, float] = (0.7, 1.4)
    offset: float = 0.05
    jitter: float = 0.15
    blur: float = 0.35
    blur_px: float = 1.6
    coarse: float = 0.35
    coarsest: float = 3.0
    noise: float = 0.02


def geometric(
    pictures: Tensor, rng: Rng, *, size: int, strength: Strength, margin: float
) -> tuple[Tensor, Tensor]:
    """Turn, flip, scale and shift, and cut the middle 1 / `margin` out: (N, C, size, size), and the
    grid (N, size, size, 2) that does the same to masks."""
    count = len(pictures)
    angle = rng.uniform(0, 2 * np.pi, count) if strength.turn else np.zeros(count)
    zoom = _between(rng, strength.scale, count) * margin
    flip = np.where(strength.turn & (rng.random(count) < 0.5), -1.0, 1.0)
    shift = rng.uniform(-strength.shift, strength.shift, (count, 2))
    affine = np.empty((count, 2, 3), np.float32)
    affine[:, 0, 0], affine[:, 0, 1] = flip * np.cos(angle) / zoom, -np.sin(angle) / zoom
    affine[:, 1, 0], affine[:, 1, 1] = flip * np.sin(angle) / zoom, np.cos(angle) / zoom
    affine[:, :, 2] = shift / margin
    grid = functional.affine_grid(
        torch.from_numpy(affine).to(pictures.device),
        [count, pictures.shape[1], size, size],
        align_corners=False,
    )
    return turned(pictures, grid), grid


def turned(pictures: Tensor, grid: Tensor) -> Tensor:
    """Sampled where `grid` says; outside, the border goes on."""
    return functional.grid_sample(
        pictures, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def perturbed(pictures: Tensor, rng: Rng, *, strength: Strength) -> Tensor:
    """Stain, light, sharpness, resolution and noise, each on its own share of the pictures."""
    pictures = _coarsened(pictures, rng, strength)
    pictures = _some_blurred(pictures, rng, strength)
    pictures = _some_restained(pictures, rng, strength)
    pictures = _jittered(pictures, rng, strength)
    if strength.noise:
        sigma = rng.uniform(0, strength.noise, len(pictures)).astype(np.float32)
        seed = int(rng.integers(2**31))
        grain = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
        pictures = pictures + (grain * _column(sigma)).to(pictures.device)
    return pictures.clamp(0, 1)


def restained(
    pictures: Tensor,
    *,
    mixing: npt.NDArray[np.float32],
    gain: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32],
) -> Tensor:
    """`mixing` (N, 3, 3) of the optical densities, `gain` (N,), `offset` (N, 3)."""
    density = -torch.log(pictures.clamp_min(DARKEST))
    mixed = torch.einsum("nij,njhw->nihw", torch.from_numpy(mixing).to(pictures.device), density)
    changed = mixed * _column(gain).to(pictures.device) + torch.from_numpy(
        offset[:, :, None, None]
    ).to(pictures.device)
    return torch.exp(-changed).clamp(0, 1)


def blurred(pictures: Tensor, sigma_px: npt.NDArray[np.float32]) -> Tensor:
    """Gaussian blur, a sigma for each picture; about 0 leaves it as it is."""
    count, channels = pictures.shape[:2]
    radius = max(1, int(np.ceil(3 * float(sigma_px.max(initial=0.0)))))
    radius = min(radius, min(pictures.shape[-2:]) - 1)
    at = np.arange(-radius, radius + 1, dtype=np.float32)
    kernels = np.exp(-(at**2) / (2 * np.maximum(sigma_px, 0.05)[:, None] ** 2))
    kernels /= kernels.sum(axis=1, keepdims=True)
    kernel = torch.from_numpy(kernels).repeat_interleave(channels, dim=0).to(pictures.device)
    flat = pictures.reshape(1, count * channels, *pictures.shape[-2:])
    across = kernel[:, None, None, :]
    flat = functional.pad(flat, (radius, radius, 0, 0), mode="reflect")
    flat = functional.conv2d(flat, across, groups=count * channels)
    flat = functional.pad(flat, (0, 0, radius, radius), mode="reflect")
    flat = functional.conv2d(flat, across.transpose(2, 3), groups=count * channels)
    return flat.reshape(pictures.shape)


def _some_restained(pictures: Tensor, rng: Rng, strength: Strength) -> Tensor:
    count = len(pictures)
    chosen = rng.random(count) < strength.restained
    eye = np.eye(3, dtype=np.float32)
    mixing = eye + rng.normal(0, strength.mix, (count, 3, 3)).astype(np.float32)
    gain = _between(rng, strength.gain, count).astype(np.float32)
    offset = rng.normal(0, strength.offset, (count, 3)).astype(np.float32)
    mixing[~chosen], gain[~chosen], offset[~chosen] = eye, 1, 0
    return restained(pictures, mixing=mixing, gain=gain, offset=offset)


def _some_blurred(pictures: Tensor, rng: Rng, strength: Strength) -> Tensor:
    sigma = rng.uniform(0.3, max(0.3, strength.blur_px), len(pictures)).astype(np.float32)
    chosen = np.flatnonzero(rng.random(len(pictures)) < strength.blur)
    if not len(chosen):
        return pictures
    done = pictures.clone()
    done[chosen] = blurred(pictures[chosen], sigma[chosen])
    return done


def _coarsened(pictures: Tensor, rng: Rng, strength: Strength) -> Tensor:
    factors = rng.uniform(1, max(1.0, strength.coarsest), len(pictures))
    chosen = rng.random(len(pictures)) < strength.coarse
    done = pictures
    size = pictures.shape[-2:]
    for i in np.flatnonzero(chosen):
        smaller = [max(8, round(s / factors[i])) for s in size]
        small = functional.interpolate(pictures[i : i + 1], smaller, mode="area")
        if done is pictures:
            done = pictures.clone()
        done[i : i + 1] = functional.interpolate(small, size, mode="bilinear", align_corners=False)
    return done


def _jittered(pictures: Tensor, rng: Rng, strength: Strength) -> Tensor:
    """Brightness, contrast, saturation."""
    low, high = 1 - strength.jitter, 1 + strength.jitter
    bright, contrast, colour = rng.uniform(low, high, (3, len(pictures))).astype(np.float32)
    device = pictures.device
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    pictures = (pictures - mean) * _column(contrast).to(device) + mean * _column(bright).to(device)
    grey = pictures.mean(dim=1, keepdim=True)
    return (pictures - grey) * _column(colour).to(device) + grey


def _between(rng: Rng, ends: tuple[float, float], count: int) -> npt.NDArray[np.float64]:
    """Factors, as likely above 1 as below when the ends are each other's inverse."""
    return np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]), count))


def _column(values: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).view(-1, 1, 1, 1)
