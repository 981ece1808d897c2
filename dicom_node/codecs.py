"""Which transfer syntaxes can be decoded here, proven at start-up, and the decoding of one frame.

Each syntax has one pinned decoder; there is no second try with another one.
Source  PS3.5 A.4 and 8.2; PS3.3 C.7.6.3.1.2 (photometric interpretation)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FrameLayout", "decode_frame", "proven_transfer_syntaxes"]


@dataclass(frozen=True, kw_only=True)
class FrameLayout:
    """How the pixels of one frame are stored (Image Pixel module)."""

    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool = False
    planar: bool = False


def proven_transfer_syntaxes() -> tuple[str, ...]:
    """UIDs that the installed codecs decode a known sample of to its known pixels, tried once."""
    raise NotImplementedError


def decode_frame(data: bytes, layout: FrameLayout) -> npt.NDArray[np.generic]:
    """One frame's stored bytes to (rows, columns) grey or indices, or (rows, columns, 3) RGB.

    Raises UnreadablePixels.
    """
    raise NotImplementedError
