"""Figures as plain values for JSON, and as words for tables.

What a value computes of itself (a share's value, a mean over classes) is written out with it, so that
nobody has to compute it again; NaN, which JSON does not have, is null; pixels are left out.
"""

import math
from dataclasses import fields, is_dataclass
from io import BytesIO
from typing import Any

import numpy as np

from training.metrics import Estimate, Share

__all__ = ["estimate_text", "plain", "png_of", "share_text"]


def plain(value: Any) -> Any:
    """Numbers, texts, lists and dictionaries only."""
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: getattr(value, f.name) for f in fields(value)}
        computed = {
            name: getattr(value, name)
            for name, what in vars(type(value)).items()
            if isinstance(what, property)
        }
        return {
            name: plain(part)
            for name, part in (own | computed).items()
            if not isinstance(part, np.ndarray)
        }
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def share_text(one: Share | None) -> str:
    """E.g. `0.9412 (0.713 to 0.999) of 17`."""
    if one is None or not one.of:
        return "-"
    return f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f}) of {one.of}"


def estimate_text(one: Estimate | None, *, digits: int = 4) -> str:
    """E.g. `0.9412 (0.713 to 0.999)`."""
    if one is None or math.isnan(one.value):
        return "-"
    if math.isnan(one.low):
        return f"{one.value:.{digits}f}"
    return f"{one.value:.{digits}f} ({one.low:.{digits - 1}f} to {one.high:.{digits - 1}f})"


def png_of(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    buffer = BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
