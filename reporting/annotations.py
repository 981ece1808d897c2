"""Every counted cell on its image: Microscopy Bulk Simple Annotations (PS3.3 A.87, C.37.1).

In      Report
Out     a Part 10 file for each image of a microscopy class that has cells, Explicit VR Little Endian
Coordinates are 2D, in pixels of the referenced image (of a slide: of its total pixel matrix), the
origin at the outer corner of the top left pixel (PS3.3 C.10.4), the same numbers as `box_px` of
`result.json`. Cells carry their number and probability as measurements, since an annotation has no
name of its own. Groups are highdicom's; the header is the one of all our objects.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.ann import AnnotationGroup, Measurements
from highdicom.ann.enum import AnnotationGroupGenerationTypeValues, GraphicTypeValues
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.uid import MicroscopyBulkSimpleAnnotationsStorage

from domain.cells import Cell, Stage
from domain.identities import InstanceUID, SopClassUID, derived_uid
from domain.image import Box
from domain.study import Code, EvidenceRef
from reporting import codes
from reporting.cell_groups import CellGroup, evidence_of, groups_of, malignancies, probabilities
from reporting.headers import code_item, concept, part10, reference, result_header
from reporting.report import UNTRAINED, Report

__all__ = ["ANNOTATED_CLASSES", "Annotations", "annotated", "annotations_of", "annotations_series"]

_SLIDE = SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.6")
_SLIDE_COORDINATES = SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.3")
# fields of a microscope; the cells of all other sources are regions in the SR
ANNOTATED_CLASSES = frozenset(
    {
        _SLIDE,
        _SLIDE_COORDINATES,
        SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.2"),  # VL Microscopic
        SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.4"),  # VL Photographic, through an eyepiece
    }
)
# beyond it single precision no longer tells hundredths of a pixel, which is how boxes are told
_SINGLE_PRECISION_PX = 131_072

_Points = npt.NDArray[np.float32 | np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """The object of one image."""

    instance_uid: InstanceUID
    image: int
    content: bytes


def annotations_of(report: Report) -> Iterator[Annotations]:
    """One object an image; none of an image without cells, or that is no microscopy image."""
    for number, (index, source) in enumerate(annotated(report), start=1):
        header = report.analysis.images[index].header
        dataset = _header(report, source, image=index, number=number)
        largest = max(header.width_px, header.height_px)
        precision = np.float32 if largest < _SINGLE_PRECISION_PX else np.float64
        dataset.AnnotationGroupSequence = [
            _annotation_group(report, group, image=index, number=n, precision=precision)
            for n, group in enumerate(groups_of(report, index), start=1)
        ]
        yield Annotations(
            instance_uid=InstanceUID(dataset.SOPInstanceUID), image=index, content=part10(dataset)
        )


def annotated(report: Report) -> Iterator[tuple[int, EvidenceRef]]:
    """The images that annotations are made of, by their place in the analysis, and what they are."""
    if not report.measured(Stage.CELL_CLASS):
        return
    with_cells = {cell.image for cell in report.analysis.cells}
    for index, image in enumerate(report.analysis.images):
        source = evidence_of(report, image)
        if index in with_cells and source and source.sop_class_uid in ANNOTATED_CLASSES:
            yield index, source


def annotations_series(report: Report) -> str:
    """Series Instance UID of the report's annotations."""
    return derived_uid(
        report.case_id, str(report.analysis_ordinal), str(report.revision), "annotations series"
    )


def _header(report: Report, source: EvidenceRef, *, image: int, number: int) -> Dataset:
    series = annotations_series(report)
    dataset = result_header(
        report,
        sop_class_uid=MicroscopyBulkSimpleAnnotationsStorage,
        instance_uid=derived_uid(series, "instance", str(image)),
        series_uid=series,
        modality="ANN",
    )
    title = "LeukoNode cell annotations"
    dataset.SeriesDescription = f"{UNTRAINED}: {title}" if report.untrained else title
    dataset.InstanceNumber = number
    dataset.ContentLabel = "CELLS"
    dataset.ContentDescription = f"Cells of image {image + 1}, numbered as in the report"
    dataset.ContentCreatorName = ""
    dataset.AnnotationCoordinateType = "2D"
    # a slide is referred to as a whole; a field is a single frame
    of_slide = source.sop_class_uid == _SLIDE
    dataset.PixelOriginInterpretation = "VOLUME" if of_slide else "FRAME"
    # a part of a concatenation must not be referred to (PS3.3 C.37.1.2)
    referred = source.concatenation_source_uid or source.instance_uid
    dataset.ReferencedImageSequence = [reference(source.sop_class_uid, referred)]
    series_item = Dataset()
    series_item.SeriesInstanceUID = source.series_uid
    series_item.ReferencedInstanceSequence = [reference(source.sop_class_uid, referred)]
    dataset.ReferencedSeriesSequence = [series_item]
    if source.frame_of_reference_uid:
        dataset.FrameOfReferenceUID = source.frame_of_reference_uid
        # PS3.3 C.7.4.1.1.2: the slide's; of other images it is not known what the point is
        on_slide = source.sop_class_uid in (_SLIDE, _SLIDE_COORDINATES)
        dataset.PositionReferenceIndicator = "SLIDE_CORNER" if on_slide else ""
    _add_specimen(dataset, report)
    return dataset


def _add_specimen(dataset: Dataset, report: Report) -> None:
    """PS3.3 C.7.6.22, where all that it must hold is known."""
    specimen = report.context.specimen
    if specimen is None or not (
        specimen.uid and specimen.identifier and specimen.container_identifier
    ):
        return
    described = Dataset()
    described.SpecimenIdentifier = specimen.identifier
    described.IssuerOfTheSpecimenIdentifierSequence = []
    described.SpecimenUID = specimen.uid
    if specimen.type_code is not None:
        described.SpecimenTypeCodeSequence = [code_item(specimen.type_code)]
    described.SpecimenPreparationSequence = []
    dataset.ContainerIdentifier = specimen.container_identifier
    dataset.IssuerOfTheContainerIdentifierSequence = []
    dataset.ContainerTypeCodeSequence = []
    dataset.SpecimenDescriptionSequence = [described]


def _annotation_group(
    report: Report, group: CellGroup, *, image: int, number: int, precision: type[np.floating]
) -> AnnotationGroup:
    outlined = any(cell.outline_px for cell in group.cells)
    bundle = report.analysis.bundle
    model = bundle.model(group.stage)
    made = AnnotationGroup(
        number=number,
        uid=report.uids.tracking(f"cells of image {image + 1}: {group.label}"),
        label=group.label,
        annotated_property_category=concept(codes.ANATOMICAL_STRUCTURE),
        annotated_property_type=concept(group.type_code),
        graphic_type=GraphicTypeValues.POLYGON if outlined else GraphicTypeValues.RECTANGLE,
        graphic_data=_outlines(group.cells, precision)
        if outlined
        else _boxes(group.cells, precision),
        algorithm_type=AnnotationGroupGenerationTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"{group.stage.value}: {model.architecture}"[:64],
            family=concept(codes.ARTIFICIAL_INTELLIGENCE),
            version=f"{bundle.id} {bundle.version}"[:64],
            source=report.producer.model,
            parameters={"weights SHA-256": model.sha256},
        ),
        measurements=_measurements(group.cells, report),
        display_color=CIELabColor.from_rgb(*group.rgb),
    )
    if group.form is not None:
        type_item = made.AnnotationPropertyTypeCodeSequence[0]
        type_item.AnnotationPropertyTypeModifierCodeSequence = [code_item(group.form)]
    return made


def _boxes(cells: Sequence[Cell], precision: type[np.floating]) -> list[_Points]:
    """(4, 2) a cell: top left, top right, bottom right, bottom left."""
    sides = chain.from_iterable(cell.box_px for cell in cells)
    boxes = np.fromiter(sides, dtype=precision, count=4 * len(cells)).reshape(-1, 4)
    return list(boxes[:, (0, 1, 2, 1, 2, 3, 0, 3)].reshape(-1, 4, 2))


def _outlines(cells: Sequence[Cell], precision: type[np.floating]) -> list[_Points]:
    """(n, 2) a cell; the box of a cell without an outline."""
    given = [cell.outline_px or _corners(cell.box_px) for cell in cells]
    ends = np.cumsum([len(outline) for outline in given])
    flat = np.fromiter(chain.from_iterable(given), dtype=precision, count=int(ends[-1]))
    return np.split(flat.reshape(-1, 2), ends[:-1] // 2)


def _corners(box: Box) -> tuple[float, ...]:
    return (box.x0, box.y0, box.x1, box.y0, box.x1, box.y1, box.x0, box.y1)


def _measurements(cells: Sequence[Cell], report: Report) -> list[Measurements]:
    """NaN is *no value*: the library then tells by index which cells have one."""
    given: list[tuple[Code, list[float | None]]] = [
        (codes.CELL_NUMBER, [cell.number for cell in cells]),
        (codes.PROBABILITY, probabilities(cells, report)),
        (codes.MALIGNANCY_PROBABILITY, malignancies(cells)),
    ]
    return [
        Measurements(
            name=concept(name),
            values=np.array(values, dtype=np.float64),
            unit=concept(codes.NO_UNITS),
        )
        for name, values in given
        if any(value is not None for value in values)
    ]
