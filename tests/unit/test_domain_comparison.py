from dataclasses import replace

import pytest

from domain.comparison import compared
from tests import reporting_cases as cases

STORED = cases.analysis_of(cases.FEW, warnings=("one",))


def with_cell(number: int, **changes):
    cells = tuple(replace(c, **changes) if c.number == number else c for c in STORED.cells)
    return replace(STORED, cells=cells)


def test_the_same_run_is_the_same_whatever_time_it_took():
    stages = tuple(replace(s, seconds=9.0) for s in STORED.stages)
    result = compared(STORED, replace(STORED, stages=stages))
    assert (result.same, result.cells, result.largest) == (True, len(STORED.cells), 0.0)
    assert result.surroundings == ()


def test_another_machine_is_told_beside_and_is_no_difference():
    engine = "torch 9 cuda"
    stages = tuple(replace(s, engine=engine) for s in STORED.stages)
    result = compared(STORED, replace(STORED, engine=engine, processor="other", stages=stages))
    assert result.same
    assert [d.field for d in result.surroundings] == ["engine", "processor"]


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (with_cell(3, final_class="platelet"), "cell 3: final_class was red_blood_cell, is plat"),
        (with_cell(3, detection_p=0.951), "cell 3: detection_p was 0.95, is 0.951"),
        (replace(STORED, cells=STORED.cells[:-1]), "cell 260: cell was neutrophil, is not there"),
        (replace(STORED, warnings=()), "analysis: warnings was ('one',), is ()"),
        (replace(STORED, images=()), "analysis: images was 1, is 0"),
        (
            replace(STORED, images=(replace(STORED.images[0], fields_read=5),)),
            "image 1: fields_read was 4, is 5",
        ),
        (replace(STORED, stages=STORED.stages[:-1]), "analysis: stages"),
        (replace(STORED, bundle=cases.bundle(untrained=True)), "analysis: bundle"),
    ],
)
def test_every_kind_of_difference_is_named(again, said):
    result = compared(STORED, again)
    assert not result.same
    assert len(result.differences) == 1
    assert result.differences[0].text.startswith(said)


def test_a_tolerance_is_for_numbers_of_cells_and_not_for_classes():
    near = with_cell(3, detection_p=0.9500004)
    assert not compared(STORED, near).same
    within = compared(STORED, near, tolerance=1e-6)
    assert within.same
    assert within.largest == pytest.approx(4e-7, rel=1e-3)
    assert not compared(STORED, with_cell(3, cell_class_p=()), tolerance=1).same
    assert not compared(STORED, with_cell(3, final_class="platelet"), tolerance=1).same
    boxed = STORED.cells[2].box_px._replace(x0=0.5 + STORED.cells[2].box_px.x0)
    assert not compared(STORED, with_cell(3, box_px=boxed)).same
    assert compared(STORED, with_cell(3, box_px=boxed), tolerance=0.5).differing_cells == 0
