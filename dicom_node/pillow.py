"""Pillow, without its leniency: a cut-off picture is an error whatever others set in this process
(some packages switch that off for all when imported).
"""

from PIL import Image, ImageFile

__all__ = ["BROKEN_PICTURE", "PICTURE_FORMATS", "load_whole"]

PICTURE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")

# what Pillow raises for a picture that is broken, cut off or far too large
BROKEN_PICTURE = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    AttributeError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def load_whole(image: Image.Image) -> None:
    """Decode now; OSError when bytes are missing."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
