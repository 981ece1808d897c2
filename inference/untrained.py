"""A bundle with fixed-seed weights, for the time before trained ones exist."""

from collections.abc import Callable
from pathlib import Path

from domain.analysis import BundleInfo

__all__ = ["init_untrained"]


def init_untrained(
    folder: Path,
    *,
    seed: int = 20240901,
    detector: str = "yolov5n",
    progress: Callable[[str, int, int], None] | None = None,
) -> BundleInfo:
    """Write an untrained bundle; `progress(what, done, of)`. Raises BundleExists."""
    raise NotImplementedError
