"""Annotations: what they refer to, how cells are grouped, what is said of each."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from domain.analysis import StageFailure
from domain.cells import CellClass, Stage
from domain.identities import InstanceUID, SeriesUID, SopClassUID
from domain.study import EvidenceRef
from reporting import codes
from reporting.annotations import annotations_of, annotations_series
from reporting.encapsulated import encapsulated_pdf
from reporting.figures import figures_of
from reporting.readback_annotations import cells_in_annotations, numbers_in_annotations
from reporting.report import Report
from reporting.sr import sr_document
from reporting.sr_regions import MOST_REGIONS
from tests import reporting_cases as cases

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MICROSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.2"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7.4"


def evidence(sop_class: str, number: int = 1, **more: str | int) -> EvidenceRef:
    return EvidenceRef(
        sop_class_uid=SopClassUID(sop_class),
        instance_uid=InstanceUID(f"2.25.{1000 + number}"),
        series_uid=SeriesUID("2.25.900"),
        sha256=cases.digest(f"image{number}"),
        **more,
    )


def report(*sources: EvidenceRef, plan=cases.BLASTS_35, images=None, **changes) -> Report:
    readings = tuple(cases.reading(n) for n in range(1, len(sources) + 1))
    analysis = cases.analysis_of(plan, images=images or readings, **changes)
    return cases.report(analysis, context=cases.context(evidence=sources))


def read(made):
    return dcmread(io.BytesIO(made.content))


def items(dataset):
    for child in dataset.get("ContentSequence", []):
        yield child
        yield from items(child)


def regions(made: Report, **how) -> list:
    document = dcmread(io.BytesIO(sr_document(made, **how)))
    return [i for i in items(document) if i.ValueType == "SCOORD"]


def test_a_slide_is_referred_to_as_a_whole_in_its_own_frame_of_reference():
    made = report(evidence(SLIDE, frame_of_reference_uid="2.25.77"))
    (one,) = annotations_of(made)
    dataset = read(one)
    assert (dataset.Modality, dataset.SOPInstanceUID) == ("ANN", one.instance_uid)
    assert dataset.SeriesInstanceUID == annotations_series(made)
    assert (dataset.AnnotationCoordinateType, dataset.PixelOriginInterpretation) == ("2D", "VOLUME")
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "2.25.1001"
    assert dataset.FrameOfReferenceUID == "2.25.77"
    assert dataset.PositionReferenceIndicator == "SLIDE_CORNER"
    assert dataset.ContainerIdentifier == "SLIDE-77-1"
    assert dataset.ContentQualification == "RESEARCH"


def test_a_part_of_a_concatenation_is_referred_to_by_its_source():
    (one,) = annotations_of(report(evidence(SLIDE, concatenation_source_uid="2.25.5")))
    dataset = read(one)
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "2.25.5"
    series = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert series[0].ReferencedSOPInstanceUID == "2.25.5"


@pytest.mark.parametrize("sop_class", [MICROSCOPIC, "1.2.840.10008.5.1.4.1.1.77.1.4"])
def test_a_field_without_a_frame_of_reference_is_a_frame(sop_class):
    (one,) = annotations_of(report(evidence(sop_class)))
    dataset = read(one)
    assert dataset.PixelOriginInterpretation == "FRAME"
    assert "FrameOfReferenceUID" not in dataset


def test_each_image_has_its_own_object_in_one_series_and_a_revision_new_ones():
    plan = [
        {"n": 3, "kind": "neutrophil"},
        {"n": 4, "kind": "monocytes", "image": 1},
        {"n": 2, "kind": "platelet", "image": 2},
    ]
    sources = (evidence(SLIDE), evidence(MICROSCOPIC, 2), evidence(CAPTURE, 3))
    made = report(*sources, plan=plan)
    objects = list(annotations_of(made))
    assert [o.image for o in objects] == [0, 1]
    assert [len(cells_in_annotations(o.content)) for o in objects] == [3, 4]
    assert [read(o).InstanceNumber for o in objects] == [1, 2]
    assert len({read(o).SeriesInstanceUID for o in objects}) == 1
    later = annotations_of(dataclasses.replace(made, revision=2))
    assert not {o.instance_uid for o in objects} & {o.instance_uid for o in later}


def test_the_same_report_gives_the_same_bytes():
    made = report(evidence(SLIDE))
    assert [o.content for o in annotations_of(made)] == [o.content for o in annotations_of(made)]


def test_groups_are_the_classes_of_the_counts_blasts_first():
    made = report(evidence(SLIDE))
    (one,) = annotations_of(made)
    groups = read(one).AnnotationGroupSequence
    assert [g.AnnotationGroupLabel for g in groups][:3] == [
        "Blast (blast cell by form)",
        "Blast (lymphocyte by form)",
        "Immature neutrophil",
    ]
    assert [g.AnnotationGroupNumber for g in groups] == list(range(1, len(groups) + 1))
    assert groups[1].AnnotationPropertyTypeCodeSequence[0].CodeValue == codes.BLAST_CELL.value
    said = numbers_in_annotations([one.content])
    figures = figures_of(made)
    assert said.pop("unclassified") == str(dict(made.numbers.counts)["unclassified"])
    assert said == {k: figures[k] for k in said}
    assert said["blasts.count"] == "73"
    for group in groups:
        algorithm = group.AnnotationGroupAlgorithmIdentificationSequence[0]
        assert "weights SHA-256=" in algorithm.AlgorithmParameters


@pytest.mark.parametrize(
    ("stage", "labels"),
    [
        (Stage.MALIGNANCY, {"Lymphocyte", "Blast cell (morphology)"}),
        (Stage.WBC_CLASS, {"White cell", "Red blood cell"}),
        (Stage.CELL_CLASS, set()),
    ],
)
def test_what_was_not_measured_makes_no_group(stage, labels):
    plan = [
        {"n": 2, "kind": "red_blood_cell"},
        {"n": 3, "kind": "blast_cells", "malignancy": "malignant"},
        {"n": 4, "kind": "lymphocytes", "malignancy": "benign"},
    ]
    made = report(
        evidence(SLIDE), plan=plan, failures=[StageFailure(stage=stage, reason="as said")]
    )
    found = {
        g.AnnotationGroupLabel
        for o in annotations_of(made)
        for g in read(o).AnnotationGroupSequence
    }
    assert labels <= found
    assert not any("Blast (" in label for label in found)
    if stage is Stage.WBC_CLASS:
        assert found == labels


def test_an_outline_is_a_polygon_and_a_cell_without_one_keeps_its_box():
    made = report(evidence(SLIDE), plan=[{"n": 2, "kind": "neutrophil"}])
    first, second = made.analysis.cells
    outline = (110.25, 20.5, 150.0, 40.0, 115.75, 90.01)
    analysis = dataclasses.replace(
        made.analysis, cells=(dataclasses.replace(first, outline_px=outline), second)
    )
    (one,) = annotations_of(dataclasses.replace(made, analysis=analysis))
    group = read(one).AnnotationGroupSequence[0]
    assert group.GraphicType == "POLYGON"
    polygon, box = cells_in_annotations(one.content)
    assert polygon.points_px == outline
    x0, y0, x1, y1 = second.box_px
    assert box.points_px == (x0, y0, x1, y0, x1, y1, x0, y1)


def test_far_out_on_a_slide_coordinates_are_told_in_double_precision():
    made = report(evidence(SLIDE), plan=[{"n": 1, "kind": "neutrophil"}])
    (image,), (cell,) = made.analysis.images, made.analysis.cells
    header = dataclasses.replace(image.header, width_px=400_000, height_px=300_000)
    box = cell.box_px._replace(x0=399_001.37, x1=399_071.94)
    analysis = dataclasses.replace(
        made.analysis,
        images=(dataclasses.replace(image, header=header),),
        cells=(dataclasses.replace(cell, box_px=box),),
    )
    (one,) = annotations_of(dataclasses.replace(made, analysis=analysis))
    assert "DoublePointCoordinatesData" in read(one).AnnotationGroupSequence[0]
    assert cells_in_annotations(one.content)[0].points_px[0] == 399_001.37


def test_a_cell_that_a_person_named_has_no_probability_of_a_network():
    made = report(evidence(SLIDE), plan=[{"n": 2, "kind": "neutrophil"}])
    first, second = made.analysis.cells
    named = dataclasses.replace(
        first, wbc_class="monocytes", wbc_class_p=(), final_class="monocytes"
    )
    analysis = dataclasses.replace(made.analysis, cells=(named, second))
    (one,) = annotations_of(dataclasses.replace(made, analysis=analysis))
    found = {c.number: (c.counted_as, c.p) for c in cells_in_annotations(one.content)}
    assert found == {1: ("monocytes", None), 2: ("neutrophil", round(max(second.wbc_class_p), 6))}


def test_cells_of_other_sources_are_regions_of_the_sr():
    plan = [
        {"n": 5, "kind": "red_blood_cell"},
        {"n": 2, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
        {"n": 1, "kind": "neutrophil"},
    ]
    made = report(evidence(CAPTURE, frames=9), plan=plan)
    assert list(annotations_of(made)) == []
    found = regions(made)
    assert len(found) == 3
    for region, cell in zip(found, made.analysis.cells[5:], strict=True):
        points = np.array(region.GraphicData).reshape(-1, 2)
        assert points[0].tolist() == points[-1].tolist() == list(cell.box_px[:2])
        source = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert source.ReferencedSOPInstanceUID == "2.25.1001"
        assert source.ReferencedFrameNumber == cell.frame
    assert regions(made, cells=False) == []


def test_regions_are_bounded_and_what_is_left_out_is_said():
    made = report(evidence(CAPTURE), plan=[{"n": MOST_REGIONS + 7, "kind": "neutrophil"}])
    document = dcmread(io.BytesIO(sr_document(made)))
    said = [i.TextValue for i in items(document) if i.ValueType == "TEXT"]
    assert (
        f"Regions are given of the first {MOST_REGIONS} of {MOST_REGIONS + 7} white cells" in said
    )
    assert sum(i.ValueType == "SCOORD" for i in items(document)) == MOST_REGIONS


def test_the_sr_says_which_series_shows_the_cells():
    made = report(evidence(SLIDE))
    document = dcmread(io.BytesIO(sr_document(made)))
    said = [i.TextValue for i in items(document) if i.ValueType == "TEXT"]
    assert any(annotations_series(made) in text for text in said)
    document = dcmread(io.BytesIO(sr_document(made, cells=False)))
    said = [i.TextValue for i in items(document) if i.ValueType == "TEXT"]
    assert not any(annotations_series(made) in text for text in said)


def test_no_cells_no_objects():
    made = report(evidence(SLIDE), plan=[])
    assert list(annotations_of(made)) == []


def test_every_class_has_a_type_of_its_own():
    types = {(c.scheme, c.value) for c in codes.CELL_TYPE.values()}
    assert len(types) == len(codes.CELL_TYPE)
    assert CellClass.WHITE_BLOOD_CELL.value in codes.CELL_TYPE


CONFORMANCE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.mark.parametrize("heading", ["Encapsulated PDF", "Comprehensive 3D SR", "Microscopy Bulk"])
def test_the_conformance_statement_names_what_is_made(heading):
    """Each attribute that the statement calls always present is in the object."""
    made = report(evidence(SLIDE, frame_of_reference_uid="2.25.77"))
    content = {
        "Encapsulated PDF": lambda: encapsulated_pdf(made, b"%PDF-1.4"),
        "Comprehensive 3D SR": lambda: sr_document(made),
        "Microscopy Bulk": lambda: next(annotations_of(made)).content,
    }[heading]()
    dataset = dcmread(io.BytesIO(content))
    names = {element.name for element in dataset.iterall()}
    section = CONFORMANCE.read_text(encoding="utf-8").split(f"### {heading}", 1)[1].split("\n#")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    listed = [(n.strip(), when.strip()) for names, when, _ in rows for n in names.split(",")]
    assert len(listed) > 6
    for name, when in listed:
        if when in ("always", "empty"):
            assert any(n.startswith(name) for n in names), name
