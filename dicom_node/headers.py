"""Read what an instance says about itself, without decoding a pixel.

In      a DICOM file on disk and its digest
Out     InstanceHeader: identities, study context, the image as the cascade will see it
Refuses MalformedObject, with the C-STORE status, when mandatory things are missing or contradict
        each other. What is well formed but not to be analysed (a label, an absurd spacing, sparse
        tiling) is kept and carries its reason in `image.refusal`.
Source  PS3.3 C.7.1.1, C.7.2.1, C.7.6.3, C.7.6.22 (Specimen), C.8.12.4 (whole slide)
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicom_node.codecs import FrameLayout, proven_transfer_syntaxes
from dicom_node.colour import Palette, Window, palette_of, window_of
from dicom_node.conformance import IMAGE_CLASSES
from dicom_node.domain_of import SLIDE, domain_of
from dicom_node.elements import Elements
from dicom_node.faults import Fault, malformed
from dicom_node.files import DicomFile, FramePlaces, find_frames, open_dicom
from dicom_node.image_module import layout_of
from dicom_node.limits import Limits
from dicom_node.part10 import is_uid
from dicom_node.spacing import Spacing, spacing_of
from dicom_node.study_context import several_specimens, study_context_of
from dicom_node.tiling import Tiling, tiling_of
from domain.identities import InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.image import Domain, ImageHeader
from domain.study import StudyContext

__all__ = [
    "Concatenation",
    "ImageRole",
    "Instance",
    "InstanceHeader",
    "read_header",
    "read_instance",
]


class ImageRole(StrEnum):
    """What the instance shows; value 3 of Image Type says it (PS3.3 C.8.12.4.1.1)."""

    VOLUME = "volume"  # the slide's cells: to be analysed
    THUMBNAIL = "thumbnail"
    LABEL = "label"  # never analysed, never shown: may name the patient
    OVERVIEW = "overview"  # likewise
    FIELD = "field"  # no slide: a camera's field, or frames of single cells


@dataclass(frozen=True, kw_only=True)
class Concatenation:
    """The instance is one part of several (PS3.3 C.7.6.16.2.2.4). `total` may be unknown."""

    uid: str
    number: int  # 1-based
    total: int | None


@dataclass(frozen=True, kw_only=True)
class InstanceHeader:
    """All that the node knows of one received instance."""

    context: StudyContext  # its evidence is this one instance
    image: ImageHeader
    sop_class_uid: SopClassUID
    instance_uid: InstanceUID
    series_uid: SeriesUID
    study_uid: StudyUID
    transfer_syntax: str
    role: ImageRole
    concatenation: Concatenation | None
    size_bytes: int
    pyramid_uid: str = ""
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """An opened file with all that is needed to decode it. `tiling` only of a slide that is read."""

    header: InstanceHeader
    file: DicomFile
    layout: FrameLayout
    places: FramePlaces
    window: Window
    palette: Palette | None
    tiling: Tiling | None


def read_header(path: Path, *, sha256: Sha256, limits: Limits = Limits()) -> InstanceHeader:  # noqa: B008  frozen
    """The header of the DICOM file at `path`, whose bytes have the digest `sha256`.

    Raises MalformedObject (one line, no patient data, a documented status).
    """
    return read_instance(path, sha256=sha256, limits=limits).header


def read_instance(path: Path, *, sha256: Sha256, limits: Limits = Limits()) -> Instance:  # noqa: B008  frozen
    """The header, and where and how the pixels are stored. Raises MalformedObject."""
    file = open_dicom(path, limits)
    elements = file.elements
    sop_class = SopClassUID(_uid(elements, "SOPClassUID"))
    instance_uid = InstanceUID(_uid(elements, "SOPInstanceUID"))
    study_uid = StudyUID(_uid(elements, "StudyInstanceUID"))
    series_uid = SeriesUID(_uid(elements, "SeriesInstanceUID"))
    if sop_class not in IMAGE_CLASSES:
        raise malformed(
            Fault.CLASS_NOT_READ,
            "the object's class is none that is read; send slides, microscopic images or secondary "
            "captures",
            "SOPClassUID",
        )
    if file.transfer_syntax not in proven_transfer_syntaxes():
        raise malformed(
            Fault.SYNTAX_NOT_READ,
            "the transfer syntax has no proven decoder; send the object uncompressed",
        )
    layout, frames = layout_of(elements, transfer_syntax=file.transfer_syntax, limits=limits)
    is_slide = sop_class == SLIDE
    concatenation = _concatenation(elements)
    tiling: Tiling | str = ""
    if is_slide:
        tiling = tiling_of(
            elements,
            layout=layout,
            frames=frames,
            in_parts=concatenation is not None,
            limits=limits,
        )
    places = find_frames(file, layout, frames, limits)
    palette = palette_of(elements) if layout.photometric == "PALETTE COLOR" else None
    role = _role(elements, is_slide=is_slide)
    spacing = spacing_of(elements, is_slide=is_slide)
    domain, domain_warnings = domain_of(elements, sop_class=sop_class, samples=layout.samples)
    refusal = _refusal(elements, role, tiling, spacing)
    found = tiling if isinstance(tiling, Tiling) else None
    warnings = (*file.warnings, *spacing.warnings, *domain_warnings, *_remarks(elements, found))
    if not elements.has("ContainerIdentifier") or not elements.has("SpecimenDescriptionSequence"):
        warnings = (*warnings, "specimen not identified")
    image = ImageHeader(
        source=instance_uid,
        sha256=sha256,
        width_px=found.width_px if found else layout.columns,
        height_px=found.height_px if found else layout.rows,
        frames=1 if is_slide else frames,
        domain=domain,
        um_per_px=spacing.um_per_px,
        pixel_aspect=spacing.pixel_aspect,
        monochrome=layout.samples == 1 and palette is None and domain is not Domain.IFC_BRIGHTFIELD,
        refusal=refusal,
        warnings=warnings,
    )
    header = InstanceHeader(
        context=study_context_of(
            elements,
            sha256=sha256,
            frames=frames,
            sop_class_uid=sop_class,
            instance_uid=instance_uid,
            series_uid=series_uid,
            study_uid=study_uid,
            warnings=warnings,
        ),
        image=image,
        sop_class_uid=sop_class,
        instance_uid=instance_uid,
        series_uid=series_uid,
        study_uid=study_uid,
        transfer_syntax=file.transfer_syntax,
        role=role,
        concatenation=concatenation,
        size_bytes=file.size_bytes,
        pyramid_uid=elements.text("PyramidUID"),
        frame_of_reference_uid=elements.text("FrameOfReferenceUID"),
    )
    return Instance(
        header=header,
        file=file,
        layout=layout,
        places=places,
        window=window_of(elements, layout),
        palette=palette,
        tiling=found,
    )


def _uid(elements: Elements, keyword: str) -> str:
    uid = elements.text(keyword)
    if not uid:
        raise malformed(Fault.ATTRIBUTE_MISSING, f"{keyword} is missing or empty", keyword)
    if not is_uid(uid):
        raise malformed(Fault.MALFORMED_UID, f"{keyword} is no UID", keyword)
    return uid


def _concatenation(elements: Elements) -> Concatenation | None:
    uid = elements.text("ConcatenationUID")
    if not uid:
        return None
    return Concatenation(
        uid=uid,
        number=elements.integer("InConcatenationNumber") or 1,
        total=elements.integer("InConcatenationTotalNumber"),
    )


def _role(elements: Elements, *, is_slide: bool) -> ImageRole:
    words = elements.values("ImageType")[2:]
    for word, role in (("LABEL", ImageRole.LABEL), ("OVERVIEW", ImageRole.OVERVIEW)):
        if word in words:
            return role
    if not is_slide:
        return ImageRole.FIELD
    # LOCALIZER was retired; it showed the whole slide, so it is kept as private as an overview
    if "LOCALIZER" in words:
        return ImageRole.OVERVIEW
    return ImageRole.THUMBNAIL if "THUMBNAIL" in words else ImageRole.VOLUME


def _refusal(elements: Elements, role: ImageRole, tiling: Tiling | str, spacing: Spacing) -> str:
    if role in (ImageRole.LABEL, ImageRole.OVERVIEW, ImageRole.THUMBNAIL):
        return f"a slide's {role} is not analysed"
    if several_specimens(elements):
        return "several specimens in one container; send each as its own image"
    if isinstance(tiling, str) and tiling:
        return tiling
    return spacing.refusal


def _remarks(elements: Elements, tiling: Tiling | None) -> tuple[str, ...]:
    remarks = []
    if tiling is not None:
        path = elements.first("OpticalPathSequence")
        has_profile = bool(path and path.has("ICCProfile"))
        remarks.append(
            "the ICC profile is not applied; colours are read as sRGB"
            if has_profile
            else "no ICC profile; colours are read as sRGB"
        )
        if tiling.planes > 1:
            remarks.append(
                f"focal plane {tiling.plane + 1} of {tiling.planes} is read, the middle one"
            )
    if elements.text("LossyImageCompression") == "01":
        ratio = max((r for r in elements.decimals("LossyImageCompressionRatio")), default=0)
        if ratio > 30:
            remarks.append(f"lossy compression of {ratio:.0f} to 1")
    return tuple(remarks)
