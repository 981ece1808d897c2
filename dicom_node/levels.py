"""Of a slide's pyramid, the one level that is to be analysed.

Pure: headers in, headers out.
Source  PS3.3 C.8.12.14 (Pyramid UID). Without one: a series holds one frame of reference by the
        information model (PS3.3 A.1.2.5), so levels are of one series and container; some writers
        give each level a frame of reference of its own, and those are told by showing the same area.
"""

from collections.abc import Iterable, Sequence

from dicom_node.headers import ImageRole, InstanceHeader

__all__ = ["choose_levels"]

_SAME_AREA = 0.02  # relative difference of width or height in micrometres, beyond two pixels
_SAME_SCALE = 1.05
_ANALYSED = (ImageRole.VOLUME, ImageRole.FIELD)


def choose_levels(
    headers: Sequence[InstanceHeader], *, um_per_px: float | None = None
) -> tuple[tuple[InstanceHeader, ...], tuple[tuple[InstanceHeader, str], ...]]:
    """(to be analysed, (left out, why)), each in the order given.

    `um_per_px` is the scale of the networks: of each slide the coarsest level that is no coarser
    is taken, without one the finest. A field is to be analysed, and so is a slide that is refused,
    unless another level of it is read: its refusal has to be reported. Labels, overviews and
    thumbnails are left out beside anything else, so that no result counts them as images that
    could not be read.
    """
    why: dict[str, str] = {}
    if any(h.role in _ANALYSED for h in headers):
        why = {
            h.instance_uid: f"a slide's {h.role} is not analysed"
            for h in headers
            if h.role not in _ANALYSED
        }
    for slide in _slides(h for h in headers if h.role is ImageRole.VOLUME):
        best = _best([h for h in slide if not h.image.refusal] or slide, um_per_px)
        part_of = best.concatenation.uid if best.concatenation else None
        for other in slide:
            if other is best or (other.concatenation and other.concatenation.uid == part_of):
                continue
            same = _scale(other) == _scale(best)
            why[other.instance_uid] = (
                "the same level of the slide again"
                if same
                else "another level of the slide is read"
            )
    left_out = tuple((h, why[h.instance_uid]) for h in headers if h.instance_uid in why)
    return tuple(h for h in headers if h.instance_uid not in why), left_out


def _slides(headers: Iterable[InstanceHeader]) -> list[list[InstanceHeader]]:
    slides: list[list[InstanceHeader]] = []
    for header in headers:
        home = next((s for s in slides if _is_level_of(header, s[0])), None)
        if home is None:
            slides.append([header])
        else:
            home.append(header)
    return slides


def _is_level_of(header: InstanceHeader, other: InstanceHeader) -> bool:
    if header.pyramid_uid or other.pyramid_uid:
        return header.pyramid_uid == other.pyramid_uid
    if (header.series_uid, _container(header)) != (other.series_uid, _container(other)):
        return False
    same_frame = header.frame_of_reference_uid == other.frame_of_reference_uid
    return same_frame or _same_area(header, other)


def _container(header: InstanceHeader) -> str:
    specimen = header.context.specimen
    return specimen.container_identifier if specimen else ""


def _same_area(a: InstanceHeader, b: InstanceHeader) -> bool:
    if a.image.um_per_px is None or b.image.um_per_px is None:
        return False
    for axis, side in ((0, "width_px"), (1, "height_px")):
        scales = a.image.um_per_px[axis], b.image.um_per_px[axis]
        first, second = getattr(a.image, side) * scales[0], getattr(b.image, side) * scales[1]
        if abs(first - second) > 2 * max(scales) + _SAME_AREA * max(first, second):
            return False
    return True


def _best(levels: Sequence[InstanceHeader], wanted: float | None) -> InstanceHeader:
    finest_first = sorted(levels, key=_scale)
    fine_enough = [h for h in finest_first if wanted and _scale(h) <= wanted * _SAME_SCALE]
    return _first_of_scale(fine_enough[-1], fine_enough) if fine_enough else finest_first[0]


def _first_of_scale(chosen: InstanceHeader, levels: Iterable[InstanceHeader]) -> InstanceHeader:
    return next(h for h in levels if _scale(h) == _scale(chosen))


def _scale(header: InstanceHeader) -> float:
    return max(header.image.um_per_px) if header.image.um_per_px else float("inf")
