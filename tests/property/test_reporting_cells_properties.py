"""For any cells: annotations say each cell as the record and `result.json` do, and the same counts."""

import dataclasses
import io

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from domain.cells import UNCLASSIFIED, Cell
from domain.identities import InstanceUID, SeriesUID, SopClassUID
from domain.image import Box
from domain.study import EvidenceRef
from reporting.annotations import annotations_of
from reporting.cell_groups import probabilities
from reporting.figures import figures_of
from reporting.readback_annotations import cells_in_annotations, numbers_in_annotations
from reporting.report import Report
from reporting.result_json import result_of
from reporting.sr import sr_document
from tests import reporting_cases as cases
from tests.property.test_reporting_properties import rows

SLIDE, CAPTURE = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.7"
slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# hundredths of a pixel, as the cascade tells them
places = st.integers(0, 10_000_000).map(lambda v: v / 100)
sizes = st.integers(1, 90_000).map(lambda v: v / 100)
chances = st.floats(0, 1).map(lambda v: round(v, 6))


@st.composite
def reports(draw, sop_class: str = SLIDE) -> Report:
    plan = draw(st.lists(rows(), max_size=5))
    plan = [row | {"n": min(row["n"], 12)} for row in plan]
    analysis = cases.analysis_of(plan)
    width = draw(st.sampled_from((101_000, 150_000)))  # in single and in double precision
    header = dataclasses.replace(analysis.images[0].header, width_px=width, height_px=101_000)
    analysis = dataclasses.replace(
        analysis,
        images=(dataclasses.replace(analysis.images[0], header=header),),
        cells=tuple(_moved(draw, cell) for cell in analysis.cells),
    )
    source = EvidenceRef(
        sop_class_uid=SopClassUID(sop_class),
        instance_uid=InstanceUID("2.25.1001"),
        series_uid=SeriesUID("2.25.900"),
        sha256=cases.digest("image1"),
    )
    return cases.report(analysis, context=cases.context(evidence=(source,)))


def _moved(draw, cell: Cell) -> Cell:
    x, y, width, height = draw(places), draw(places), draw(sizes), draw(sizes)
    box = Box(x, y, round(x + width, 2), round(y + height, 2))
    outline = ()
    if draw(st.booleans()):
        outline = (box.x0, box.y0, box.x1, box.y0, box.x1, box.y1)
    return dataclasses.replace(
        cell,
        box_px=box,
        outline_px=outline,
        wbc_class_p=tuple(draw(chances) for _ in cell.wbc_class_p),
        malignancy_p=tuple(draw(chances) for _ in cell.malignancy_p),
    )


@slow
@given(reports())
def test_annotations_say_what_the_record_and_result_say(report):
    objects = [made.content for made in annotations_of(report)]
    said = {c.number: c for document in objects for c in cells_in_annotations(document)}
    result = result_of(report, with_seconds=False)
    assert sorted(said) == [c["number"] for c in result["cells"]]
    for cell, row in zip(report.analysis.cells, result["cells"], strict=True):
        told = said[cell.number]
        assert (told.counted_as, told.blast) == (row["final_class"], cell.is_blast)
        x0, y0, x1, y1 = row["box_px"]
        corners = (x0, y0, x1, y0, x1, y1, x0, y1)
        assert told.points_px == (cell.outline_px or corners)
        assert told.malignant_p == (row["malignancy_p"] or {}).get("malignant")
        if row["final_class"] != UNCLASSIFIED:
            by_form = row["final_class"] == row["wbc_class"]
            p = row["wbc_class_p" if by_form else "cell_class_p"]
            assert told.p == p[row["final_class"]]


@slow
@given(reports())
def test_annotations_count_what_the_report_counts(report):
    said = numbers_in_annotations(made.content for made in annotations_of(report))
    figures = figures_of(report)
    unclassified = said.pop("unclassified", "0")
    assert unclassified == str(dict(report.numbers.counts).get("unclassified", 0))
    counted = {
        name: value
        for name, value in figures.items()
        if value != "0"
        and name.startswith(("differential.", "blasts."))
        and name.endswith(".count")
    }
    for name in ("red_cells", "platelets", "nucleated_red.count"):
        if figures.get(name, "0") != "0":
            counted[name] = figures[name]
    assert said == counted


@slow
@given(reports(CAPTURE))
def test_regions_say_what_the_record_says(report):
    def items(dataset):
        for child in dataset.get("ContentSequence", []):
            yield child
            yield from items(child)

    dataset = dcmread(io.BytesIO(sr_document(report)))
    groups = [
        i
        for i in items(dataset)
        if i.ValueType == "CONTAINER"
        and i.get("ContentTemplateSequence")
        and i.ContentTemplateSequence[0].TemplateIdentifier == "1410"
    ]
    by_number = {c.number: c for c in report.analysis.cells}
    white = [c for c in by_number.values() if c.final_class not in ("red_blood_cell", "platelet")]
    assert len(groups) == len(white)
    for group in groups:
        numbers = {
            i.ConceptNameCodeSequence[0].CodeValue: i
            for i in group.ContentSequence
            if i.ValueType == "NUM"
        }
        cell = by_number[int(numbers["CELLNO"].MeasuredValueSequence[0].NumericValue)]
        (region,) = [i for i in group.ContentSequence if i.ValueType == "SCOORD"]
        x0, y0, x1, y1 = cell.box_px
        points = cell.outline_px or (x0, y0, x1, y0, x1, y1, x0, y1)
        told = [round(v, 2) for v in region.GraphicData]
        assert told == [*points, *points[:2]]
        p = numbers["122157"].MeasuredValueSequence
        (probability,) = probabilities([cell], report)
        assert [float(v.NumericValue) for v in p] == ([] if probability is None else [probability])
