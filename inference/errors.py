"""What can go wrong with a bundle of networks.

    BundleError                      a bundle that cannot be used; every problem, one a line
    ├── ManifestError                manifest.json is missing, unreadable or says something wrong
    ├── WeightsError                 a weights file is missing, altered, or does not fit its network
    └── BundleExists                 a bundle would be written over something that is there

Faults inside an analysis are no exceptions but values: see `domain.analysis.StageFailure`.
"""

from collections.abc import Sequence
from typing import Self

__all__ = ["BundleError", "BundleExists", "ManifestError", "WeightsError"]

MEND = "run leukonode models verify"


class BundleError(Exception):
    """A bundle that cannot be used. `problems` holds each problem with its place in the bundle."""

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)

    @classmethod
    def of(cls, bundle: str, problems: Sequence[str]) -> Self:
        """All problems at once, in one line: `bundle 'x', stage 4: ...; ...; run leukonode ...`."""
        return cls(f"bundle '{bundle}', {'; '.join(problems)}; {MEND}", problems=problems)


class ManifestError(BundleError):
    """The manifest is missing, unreadable, of an unknown format, or says something wrong."""


class WeightsError(BundleError):
    """A weights file is missing, altered, not safetensors, or does not fit its network."""


class BundleExists(BundleError):
    """A bundle would be written over something that is there."""
