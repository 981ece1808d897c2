"""What can go wrong in the room of the networks.

    InferenceError
    ├── BundleError                  a bundle that cannot be used; every problem, in one line
    │   ├── ManifestError            manifest.json is missing, unreadable or says something wrong
    │   ├── WeightsError             a weights file is missing, altered, or does not fit its network
    │   └── BundleExists             a bundle would be written over something that is there
    ├── NotFinite                    a network answered with NaN or infinity
    ├── UnfitField                   a decoded field that the bundle cannot read as it is
    └── ExplanationWithheld          an overlay that would say nothing about the network

`cascade.analyse` raises none of them: what fails there is a value, `domain.analysis.StageFailure`,
or an image that is not evaluable.
"""

from collections.abc import Sequence
from typing import Self

__all__ = [
    "BundleError",
    "BundleExists",
    "ExplanationWithheld",
    "InferenceError",
    "ManifestError",
    "NotFinite",
    "UnfitField",
    "WeightsError",
]


class InferenceError(Exception):
    """Root of the tree."""


class BundleError(InferenceError):
    """A bundle that cannot be used. `problems` holds each problem with its place in the bundle."""

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)

    @classmethod
    def of(cls, bundle: str, problems: Sequence[str], *, mend: str) -> Self:
        """All problems at once, in one line: `bundle 'x', stage 4: ...; stage 5: ...; mend`."""
        return cls(f"bundle '{bundle}', {'; '.join(problems)}; {mend}", problems=problems)


class ManifestError(BundleError):
    """The manifest is missing, unreadable, of an unknown format, or says something wrong."""


class WeightsError(BundleError):
    """A weights file is missing, altered, not safetensors, or does not fit its network."""


class BundleExists(BundleError):
    """A bundle would be written over something that is there."""


class NotFinite(InferenceError, ArithmeticError):
    """A network answered with NaN or infinity."""


class UnfitField(InferenceError, ValueError):
    """Pixels that were decoded, but are of a scale or a shape that no network can be shown."""


class ExplanationWithheld(InferenceError):
    """An overlay that would say nothing about the network is not shown."""
