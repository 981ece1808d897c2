"""From images to an analysis: the six stages in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.analysis import Analysis
from domain.image import Field, ImageHeader
from inference.bundle import Bundle

__all__ = ["FieldSource", "Options", "analyse"]


class FieldSource(Protocol):
    """One image: what is known of it, and its fields one after the other."""

    @property
    def header(self) -> ImageHeader: ...

    def fields(self) -> Iterator[Field]:
        """May raise domain.image.UnreadablePixels, at once or between fields."""
        ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is asked for. `software` goes into the analysis, e.g. "leukonode 0.1.0"."""

    software: str
    leukocytes_wanted: int = 200
    stop_when_enough: bool = True


def analyse(
    sources: Sequence[FieldSource],
    *,
    bundle: Bundle,
    options: Options,
    progress: Callable[[str, int, int], None] | None = None,
) -> Analysis:
    """Read the images; `progress(what, done, of)`. Never raises for what is in the images."""
    raise NotImplementedError
