"""Pixels of one image, whatever it is stored as: picture file, single field, frames, slide.

In      a file
Out     PixelSource: its header, an iterator of fields, crops, an overview
Refuses to open: NotAnImage (no picture, cut off, over a limit), MalformedObject (DICOM that
        contradicts itself); to decode: UnreadablePixels. Each message is one line without patient
        data
Memory  bounded by the cache of decoded frames, whatever the size of the slide
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dicom_node.begin import data_set_begin, looks_like_dicom
from dicom_node.domain_of import SLIDE
from dicom_node.frame_source import FrameSource
from dicom_node.headers import read_instance
from dicom_node.limits import Limits
from dicom_node.pictures import NotAnImage, PictureSource, is_picture
from dicom_node.scan import scan_dataset
from dicom_node.slide import SlideSource
from domain.identities import Sha256
from domain.image import Box, Field, ImageHeader, Pixels

__all__ = ["NotAnImage", "PixelSource", "open_any", "open_picture", "open_source"]

_PIECE_BYTES = 1024**2


class PixelSource(Protocol):
    """One image, opened. Its methods may be called in any order and again."""

    @property
    def header(self) -> ImageHeader: ...

    def fields(self) -> Iterator[Field]:
        """The pieces that the cascade reads, in reading order. Each cell's centre lies in the
        core of exactly one of them. Nothing when `header.refusal` says so. The pixels must not
        be written to. Raises UnreadablePixels at the first piece that cannot be decoded."""
        ...

    def region(self, box: Box, *, frame: int) -> Pixels:
        """The pixels under `box` (image coordinates), clipped to the image. (h, w, 3) RGB.
        Raises UnreadablePixels, and ValueError for a box outside the image."""
        ...

    def overview(self, max_px: int) -> tuple[Pixels, float]:
        """The whole image at most `max_px` on its longer side, and overview pixels per image
        pixel (at most 1). Of a multi-frame object: its first frame. Never a slide's label."""
        ...


def open_source(
    path: Path, *, image: int, single_cell: bool = False, sha256: Sha256
) -> PixelSource:
    """A DICOM file. `image` is its index in the analysis; `single_cell` takes each frame for one
    cell (always so for flow cytometry)."""
    instance = read_instance(path, sha256=sha256)
    if instance.header.sop_class_uid == SLIDE:
        return SlideSource(instance, image=image)
    return FrameSource(instance, image=image, single_cell=single_cell)


def open_picture(path: Path, *, image: int, single_cell: bool = False) -> PictureSource:
    """A JPEG, PNG, BMP or TIFF file, told by its content."""
    return PictureSource(path, image=image, single_cell=single_cell)


def open_any(path: Path, *, image: int, single_cell: bool = False) -> PixelSource:
    """A picture or a DICOM file, told by its content. A foreign DICOM file is walked first, as
    the network side does with what it receives; its digest is likewise that of its data set."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
        is_dicom = head[128:] == b"DICM" or (looks_like_dicom(head) and not is_picture(head))
        if is_dicom:
            sha256 = _scanned(path, bare=head[128:] != b"DICM")
    except OSError as unreadable:
        raise NotAnImage(f"the file cannot be opened: {unreadable.strerror}") from unreadable
    if not is_dicom:
        return open_picture(path, image=image, single_cell=single_cell)
    return open_source(path, image=image, single_cell=single_cell, sha256=sha256)


def _scanned(path: Path, *, bare: bool) -> Sha256:
    """Digest of the data set, which begins after the file meta where there is one."""
    with path.open("rb") as file:
        if bare:
            begin = data_set_begin(file)
            scan = scan_dataset(path, begin.transfer_syntax, Limits(), dataset_offset=begin.offset)
        else:
            scan = scan_dataset(path, None, Limits())
        digest = hashlib.sha256()
        file.seek(scan.dataset_offset)
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return Sha256(digest.hexdigest())
