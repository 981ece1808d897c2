"""Single fields and multi-frame objects: each frame is a field, or a cell.

In      an opened instance that is no slide
Out     a pixel source (see `sources.PixelSource`)
Flow cytometry: a frame is one cell in one channel; only those of the brightfield channel are read.
The house mapping (PS3.3 A.8.4 used for it) names the channels in a private block, and a frame's
channel is its In-Stack Position Number (PS3.3 C.7.6.16.2.2).
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from dicom_node.domain_of import CHANNELS, IFC_CREATOR, IFC_GROUP, IS_BRIGHTFIELD_CHANNEL
from dicom_node.frame_pixels import frame_pixels
from dicom_node.geometry import clipped, fitting_factor, smaller
from dicom_node.headers import Instance
from domain.image import Box, Domain, Field, ImageHeader, Pixels

__all__ = ["FrameSource"]

_CHANNEL_NUMBER = re.compile(r"[1-9]\d{0,4}", re.ASCII)


class FrameSource:
    """Frames of one object, decoded one at a time."""

    def __init__(self, instance: Instance, *, image: int, single_cell: bool) -> None:
        self._instance = instance
        self._image = image
        header = instance.header.image
        self._single_cell = single_cell or header.domain is Domain.IFC_BRIGHTFIELD
        self._channels = _channels(instance) if header.domain is Domain.IFC_BRIGHTFIELD else None
        if self._channels is not None and not self._channels and not header.refusal:
            header = replace(
                header, refusal="no frame is said to be of the brightfield channel; see the mapping"
            )
        self._header = header

    @property
    def header(self) -> ImageHeader:
        return self._header

    def fields(self) -> Iterator[Field]:
        header = self._header
        if header.refusal:
            return
        chosen = range(header.frames) if self._channels is None else self._channels
        for index in chosen:
            yield Field(
                pixels=self._pixels(index),
                image=self._image,
                frame=index + 1,
                origin_px=(0, 0),
                core_px=Box(0, 0, header.width_px, header.height_px),
                um_per_px=header.um_per_px,
                domain=header.domain,
                single_cell=self._single_cell,
            )

    def region(self, box: Box, *, frame: int) -> Pixels:
        x0, y0, x1, y1 = clipped(box, width=self._header.width_px, height=self._header.height_px)
        return self._pixels(frame - 1)[y0:y1, x0:x1]

    def overview(self, max_px: int) -> tuple[Pixels, float]:
        width, height = self._header.width_px, self._header.height_px
        factor = fitting_factor(width, height, max_px)
        first = self._channels[0] if self._channels else 0
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return smaller(self._pixels(first), *size), factor

    def _pixels(self, index: int) -> Pixels:
        if not 0 <= index < self._header.frames:
            raise ValueError(f"the image has no frame {index + 1}")
        return frame_pixels(self._instance, index)


def _channels(instance: Instance) -> list[int]:
    """Indices of the brightfield frames. All of them, when no more than one channel is named and no
    frame says that it is of another."""
    elements = instance.file.elements
    names = elements.private(IFC_GROUP, IFC_CREATOR, CHANNELS).split("\\")
    frames = instance.header.image.frames
    positions = []
    for _, groups in zip(range(frames), instance.file.per_frame(), strict=False):
        content = groups.first("FrameContentSequence")
        positions.append(content.integer("InStackPositionNumber") if content else None)
    if len(names) == 1 and all(p is None or p <= 1 for p in positions):
        return list(range(frames))
    told = elements.private(IFC_GROUP, IFC_CREATOR, IS_BRIGHTFIELD_CHANNEL)
    if not _CHANNEL_NUMBER.fullmatch(told):
        return []
    return [index for index, position in enumerate(positions) if position == int(told)]
