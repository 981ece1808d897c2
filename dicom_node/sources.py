"""Pixels of one image, whatever it is stored as: picture file, single field, frames, slide.

In      a file
Out     PixelSource: its header, an iterator of fields, crops, an overview
Refuses NotAnImage (no picture at all), UnreadablePixels (cut off, broken, over a limit),
        MalformedObject (DICOM that contradicts itself); each message is one line without patient
        data
Memory  bounded by the cache of decoded frames, whatever the size of the slide
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from domain.identities import Sha256
from domain.image import Box, Field, ImageHeader, Pixels, UnreadablePixels

__all__ = ["NotAnImage", "PixelSource", "open_any", "open_picture", "open_source"]


class NotAnImage(UnreadablePixels):
    """The file holds no picture of a kind that is read: text, empty, cut off, another format."""


class PixelSource(Protocol):
    """One image, opened. Its methods may be called in any order and again."""

    @property
    def header(self) -> ImageHeader: ...

    def fields(self) -> Iterator[Field]:
        """The pieces that the cascade reads, in reading order. Each cell's centre lies in the
        core of exactly one of them. Nothing when `header.refusal` says so."""
        ...

    def region(self, box: Box, *, frame: int) -> Pixels:
        """The pixels under `box` (image coordinates), clipped to the image. (h, w, 3) RGB."""
        ...

    def overview(self, max_px: int) -> tuple[Pixels, float]:
        """The whole image at most `max_px` on its longer side, and overview pixels per image
        pixel (at most 1). Of a multi-frame object: its first frame."""
        ...


def open_source(
    path: Path, *, image: int, single_cell: bool = False, sha256: Sha256
) -> PixelSource:
    """A DICOM file. `image` is its index in the analysis; `single_cell` takes each frame for one
    cell (always so for flow cytometry)."""
    raise NotImplementedError


def open_picture(path: Path, *, image: int, single_cell: bool = False) -> PixelSource:
    """A JPEG, PNG, BMP or TIFF file, told by its content."""
    raise NotImplementedError


def open_any(path: Path, *, image: int, single_cell: bool = False) -> PixelSource:
    """A picture or a DICOM file, told by its content."""
    raise NotImplementedError
