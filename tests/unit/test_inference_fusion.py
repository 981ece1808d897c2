"""The rules that make one cell of six answers, over every combination of answers there is."""

from itertools import product

import pytest

from domain.cells import (
    LYMPHOID,
    NOT_WHITE,
    UNCLASSIFIED,
    Cell,
    CellClass,
    Malignancy,
    Mark,
    Subtype,
    WbcClass,
)
from domain.image import Box
from inference.fusion import (
    final_class_of,
    marks_of,
    name_of,
    sees_malignancy,
    sees_subtype,
    sees_wbc,
)

WBC_ANSWERS = (None, UNCLASSIFIED, *WbcClass)
MALIGNANCY_ANSWERS = (None, UNCLASSIFIED, *Malignancy)
SUBTYPE_ANSWERS = (None, UNCLASSIFIED, *Subtype)


def cell(kind, wbc, malignancy):
    return Cell(
        number=1,
        image=0,
        frame=1,
        box_px=Box(0, 0, 1, 1),
        detection_p=1.0,
        cell_class=kind,
        cell_class_p=(),
        wbc_class=wbc,
        malignancy=malignancy,
        final_class=final_class_of(kind, wbc, malignancy),
    )


def test_inference_fusion_only_white_lymphoid_and_malignant_cells_go_on():
    assert [c for c in CellClass if sees_wbc(c)] == [CellClass.WHITE_BLOOD_CELL]
    assert tuple(c for c in WBC_ANSWERS if sees_malignancy(c)) == LYMPHOID
    assert [m for m in MALIGNANCY_ANSWERS if sees_subtype(m)] == [Malignancy.MALIGNANT]


@pytest.mark.parametrize("wbc", WBC_ANSWERS)
@pytest.mark.parametrize("kind", [CellClass.RED_BLOOD_CELL, CellClass.PLATELET])
def test_inference_fusion_red_cells_and_platelets_are_stage_3s(kind, wbc):
    assert final_class_of(kind, wbc, None) == kind.value


@pytest.mark.parametrize(("wbc", "malignancy"), list(product(WBC_ANSWERS, MALIGNANCY_ANSWERS)))
def test_inference_fusion_white_cells(wbc, malignancy):
    final = final_class_of(CellClass.WHITE_BLOOD_CELL, wbc, malignancy)
    if wbc in (None, UNCLASSIFIED) or (wbc in LYMPHOID and malignancy == UNCLASSIFIED):
        assert final == UNCLASSIFIED
    else:
        assert final == wbc


def test_inference_fusion_a_blast_is_a_malignant_lymphoid_cell_and_nothing_else():
    blasts = {
        (wbc, m)
        for wbc, m in product(WBC_ANSWERS, MALIGNANCY_ANSWERS)
        if cell(CellClass.WHITE_BLOOD_CELL, wbc, m).is_blast
    }
    assert blasts == {(c, Malignancy.MALIGNANT) for c in LYMPHOID}


def test_inference_fusion_an_overruled_cell_is_no_leukocyte():
    for wbc in NOT_WHITE:
        one = cell(CellClass.WHITE_BLOOD_CELL, wbc, None)
        assert one.final_class == wbc
        assert not one.is_leukocyte


@pytest.mark.parametrize(
    ("wbc", "malignancy", "subtype"),
    list(product(WBC_ANSWERS, MALIGNANCY_ANSWERS, SUBTYPE_ANSWERS)),
)
def test_inference_fusion_marks(wbc, malignancy, subtype):
    marks = marks_of(wbc_class=wbc, malignancy=malignancy, subtype=subtype, at_border=False)
    assert (Mark.OVERRULED in marks) == (
        wbc in ("platelet", "red_blood_cell", "nucleated_red_blood_cells")
    )
    assert (Mark.DISAGREEMENT in marks) == (
        (wbc, malignancy) in {("blast_cells", "benign"), ("lymphocytes", "malignant")}
    )
    assert (Mark.REJECTED in marks) == ("unclassified" in (wbc, malignancy, subtype))
    assert Mark.AT_BORDER not in marks
    at_border = marks_of(wbc_class=wbc, malignancy=malignancy, subtype=subtype, at_border=True)
    assert set(at_border) == {*marks, Mark.AT_BORDER}


def test_inference_fusion_a_name_needs_its_own_probability():
    rule = {"classes": ("a", "b"), "reject_below": {"a": 0.9, "b": 0.2}}
    assert name_of((0.89, 0.11), **rule) == UNCLASSIFIED
    assert name_of((0.9, 0.1), **rule) == "a"
    assert name_of((0.4, 0.6), **rule) == "b"
    assert name_of((0.5, 0.5), **rule) == UNCLASSIFIED  # the first of equals, and it is not enough
