"""The physical size of a pixel, as the object says it, and whether it can be true.

In      elements
Out     Spacing: micrometres (x, y), or the pixel's shape alone, or why the image is not analysed
Source  PS3.3 10.7 and C.7.6.16.2.1: Pixel Spacing is row spacing first, in mm. Of a slide and of
        multi-frame objects it stands in the functional groups; a slide's top level is not believed.
"""

from dataclasses import dataclass
from math import isfinite

from dicom_node.elements import Elements

__all__ = ["MAX_UM_PER_PX", "MIN_UM_PER_PX", "Spacing", "spacing_of"]

MIN_UM_PER_PX, MAX_UM_PER_PX = 0.01, 2.0  # at 2 um a red cell is four pixels wide
_MM_IN_UM = 1000.0


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """`um_per_px` is (x, y); `pixel_aspect` is height over width of a pixel, where only that is
    told (1.0 is told too), None where nothing is; `refusal` is why the image must not be analysed, "" when it may."""

    um_per_px: tuple[float, float] | None = None
    pixel_aspect: float | None = None
    refusal: str = ""
    warnings: tuple[str, ...] = ()


def spacing_of(elements: Elements, *, is_slide: bool) -> Spacing:
    """The scale of one image. There is no default, and none is taken from a magnification."""
    groups = elements.first("SharedFunctionalGroupsSequence")
    measures = groups.first("PixelMeasuresSequence") if groups else None
    told = measures.decimals("PixelSpacing") if measures else ()
    if not told and not is_slide:
        told = elements.decimals("PixelSpacing")
    if not told:
        return _shape_only(elements)
    if len(told) != 2 or not all(isfinite(v) and v > 0 for v in told):
        return Spacing(refusal="pixel spacing is no pair of positive numbers; correct it")
    y, x = (v * _MM_IN_UM for v in told)
    if not all(MIN_UM_PER_PX <= v <= MAX_UM_PER_PX for v in (x, y)):
        return Spacing(
            um_per_px=(x, y),
            refusal=f"pixel spacing of {x:.4g} x {y:.4g} um is outside {MIN_UM_PER_PX:g} to "
            f"{MAX_UM_PER_PX:g} um: no blood cell can be read at it, or it is wrong",
        )
    return Spacing(um_per_px=(x, y))


def _shape_only(elements: Elements) -> Spacing:
    """Pixel Aspect Ratio is height and width (PS3.3 C.7.6.3.1.7). Imager Pixel Spacing is that of
    the sensor, before the objective: only its ratio says something of the cells."""
    for keyword in ("PixelAspectRatio", "ImagerPixelSpacing"):
        pair = elements.decimals(keyword)
        if len(pair) == 2 and all(isfinite(v) and v > 0 for v in pair):
            warnings: tuple[str, ...] = ()
            if keyword == "ImagerPixelSpacing":
                warnings = (
                    "imager pixel spacing is that of the camera; no scale is taken from it",
                )
            return Spacing(pixel_aspect=pair[0] / pair[1], warnings=warnings)
    return Spacing()
