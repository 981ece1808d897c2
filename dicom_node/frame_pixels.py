"""One frame of an opened instance, as RGB.

In      an instance, a frame's index
Out     pixels that must not be written to, from the cache where it has them
Refuses UnreadablePixels, also for a label or an overview: those are never shown
"""

from dicom_node.codecs import decode_frame
from dicom_node.colour import rgb_of
from dicom_node.frame_cache import DECODED
from dicom_node.headers import ImageRole, Instance
from domain.image import Pixels, UnreadablePixels

__all__ = ["frame_pixels"]


def frame_pixels(instance: Instance, index: int) -> Pixels:
    """(rows, columns, 3) of frame `index`, counted from 0."""
    header = instance.header
    if header.role in (ImageRole.LABEL, ImageRole.OVERVIEW):
        raise UnreadablePixels(f"a slide's {header.role} is never shown")

    def decode() -> Pixels:
        with instance.file.path.open("rb") as file:
            data = instance.places.read(file, index)
        samples = decode_frame(data, instance.layout)
        pixels = rgb_of(samples, instance.layout, window=instance.window, palette=instance.palette)
        return pixels.copy() if pixels.base is not None else pixels

    return DECODED.get((str(instance.file.path), header.image.sha256, index), decode)
