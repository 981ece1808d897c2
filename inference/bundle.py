"""Six networks from a folder, loaded strictly or not at all."""

from dataclasses import dataclass
from pathlib import Path

from domain.analysis import BundleInfo

__all__ = ["Bundle", "load_bundle", "read_bundle_info"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """Loaded networks and what is known of them."""

    info: BundleInfo


def read_bundle_info(folder: Path, *, verify_hashes: bool = False) -> BundleInfo:
    """Read and validate the manifest, without torch. Raises BundleError."""
    raise NotImplementedError


def load_bundle(folder: Path, *, threads: int | None = None) -> Bundle:
    """Load the six networks strictly. Raises BundleError with every problem."""
    raise NotImplementedError
