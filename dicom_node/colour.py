"""Stored samples to the eight-bit RGB that the networks and the report see.

In      one decoded frame, its layout, palette and window
Out     (H, W, 3) uint8 RGB
Source  PS3.3 C.7.6.3.1.2 and C.7.6.3.1.5 (palette); 16 bits are brought to 8 by one fixed window for
        all frames of an object, never by a frame's own extremes: its Window Center and Width where
        it has them, else the whole range of Bits Stored
"""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from dicom_node.codecs import FrameLayout
from dicom_node.elements import Elements
from dicom_node.faults import Fault, malformed
from domain.image import Pixels

__all__ = ["Palette", "Window", "palette_of", "rgb_of", "window_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Palette:
    """`first` is the stored value of the first of (n, 3) uint8 colours; ends are extended."""

    first: int
    colours: npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Stored values that become black and white."""

    low: float
    high: float


def palette_of(elements: Elements) -> Palette:
    """The three lookup tables of a PALETTE COLOR image."""
    channels, first = [], 0
    for name in ("Red", "Green", "Blue"):
        keyword = f"{name}PaletteColorLookupTableData"
        described = elements.integers(f"{name}PaletteColorLookupTableDescriptor")
        data = elements.data(keyword)
        if len(described) != 3 or not data:
            raise malformed(
                Fault.ATTRIBUTE_MISSING, "a PALETTE COLOR image without a plain palette", keyword
            )
        entries, first, bits = described[0] or 65_536, described[1], described[2]
        if bits not in (8, 16) or len(data) < entries * bits // 8:
            raise malformed(Fault.IMAGE_CONTRADICTION, "the palette is too short", keyword)
        table = np.frombuffer(data, "u1" if bits == 8 else "<u2", count=entries)
        channels.append((table if bits == 8 else table >> 8).astype(np.uint8))
    if len({c.size for c in channels}) != 1:
        raise malformed(Fault.IMAGE_CONTRADICTION, "the palette's colours differ in length")
    return Palette(first=first, colours=np.stack(channels, axis=-1))


def window_of(elements: Elements, layout: FrameLayout) -> Window:
    """The fixed window of all frames (PS3.3 C.11.2.1.2, linear)."""
    centre, width = elements.decimals("WindowCenter"), elements.decimals("WindowWidth")
    told = len(centre) == len(width) == 1 and isfinite(centre[0]) and isfinite(width[0])
    if told and layout.bits_stored > 8 and width[0] > 1:
        low = centre[0] - 0.5 - (width[0] - 1) / 2
        return Window(low=low, high=low + width[0] - 1)
    base = -(1 << layout.bits_stored - 1) if layout.signed else 0
    return Window(low=base, high=base + (1 << layout.bits_stored) - 1)


def rgb_of(
    samples: npt.NDArray[np.generic],
    layout: FrameLayout,
    *,
    window: Window,
    palette: Palette | None = None,
) -> Pixels:
    """One frame for the eye."""
    if palette is not None:
        index = samples.astype(np.int64) - palette.first
        return palette.colours[np.clip(index, 0, len(palette.colours) - 1)]
    if samples.dtype == np.uint8 and (window.low, window.high) == (0, 255):
        eight = samples.view(np.uint8)
    else:
        scaled = (samples.astype(np.float32) - window.low) * (255 / (window.high - window.low))
        eight = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if layout.photometric == "MONOCHROME1":
        eight = 255 - eight
    if eight.ndim == 2:
        eight = np.repeat(eight[:, :, np.newaxis], 3, axis=2)
    return np.ascontiguousarray(eight)
