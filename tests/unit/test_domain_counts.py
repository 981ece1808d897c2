from itertools import count

import pytest

from domain.cells import Cell, CellClass, Malignancy, Mark, Stage, Subtype, WbcClass
from domain.counts import (
    Adequacy,
    AdequacyLimits,
    Proportion,
    corrected_fraction,
    numbers_of,
)
from domain.image import Box

LIMITS = AdequacyLimits()
TEN = tuple(c.value for c in list(WbcClass)[:10])
number = count(1)


def cell(final: str, **more) -> Cell:
    white = final not in (CellClass.RED_BLOOD_CELL, CellClass.PLATELET)
    return Cell(
        number=next(number),
        image=0,
        frame=1,
        box_px=Box(0, 0, 10, 10),
        detection_p=0.9,
        cell_class=CellClass.WHITE_BLOOD_CELL if white else CellClass(final),
        cell_class_p=(0.1, 0.1, 0.8),
        wbc_class=final if white else None,
        final_class=final,
        **more,
    )


def blast(subtype: str = Subtype.PRE_B) -> Cell:
    return cell(WbcClass.BLAST_CELLS, malignancy=Malignancy.MALIGNANT, subtype=subtype)


def test_numbers_example():
    cells = [blast(), blast("unclassified"), cell(WbcClass.NEUTROPHIL), cell("red_blood_cell")]
    n = numbers_of(cells, wbc_classes=TEN, limits=LIMITS)
    assert n.leukocytes == 3
    assert n.blasts == Proportion(2, 3)
    assert [(s.name, s.proportion.count, s.proportion.total) for s in n.subtypes] == [
        ("early_pre_b", 0, 1),
        ("pre_b", 1, 1),
        ("pro_b", 0, 1),
    ]
    assert dict(n.unclassified)[Stage.SUBTYPE] == 1
    assert n.adequacy is Adequacy.INSUFFICIENT


def test_lymphocyte_called_malignant_is_a_blast_and_stays_a_lymphocyte_in_the_differential():
    cells = [
        cell(WbcClass.LYMPHOCYTES, malignancy=Malignancy.MALIGNANT, marks=(Mark.DISAGREEMENT,))
    ]
    n = numbers_of(cells, wbc_classes=TEN, limits=LIMITS)
    assert (n.blasts.count, n.morphological_blasts.count, n.disagreements) == (1, 0, 1)
    assert n.count(WbcClass.LYMPHOCYTES) == 1


def test_cells_rejected_at_stage_4_or_5_are_outside_and_bound_the_fraction():
    rejected_4 = cell("unclassified")
    rejected_5 = Cell(
        number=99,
        image=0,
        frame=1,
        box_px=Box(0, 0, 1, 1),
        detection_p=1,
        cell_class=CellClass.WHITE_BLOOD_CELL,
        cell_class_p=(0, 0, 1),
        wbc_class=WbcClass.BLAST_CELLS,
        malignancy="unclassified",
        final_class="unclassified",
    )
    n = numbers_of(
        [blast(), cell(WbcClass.MONOCYTES), rejected_4, rejected_5],
        wbc_classes=TEN,
        limits=LIMITS,
    )
    assert n.leukocytes == 2
    assert n.morphological_blasts == Proportion(2, 3)  # stage 4 named the one that stage 5 did not
    assert n.white_unclassified == 2
    assert n.blast_bounds == (25.0, 75.0)
    assert n.reject_rate == 0.5


def test_nucleated_red_cells_are_counted_beside():
    cells = [cell(WbcClass.NUCLEATED_RED_BLOOD_CELLS)] + [cell(WbcClass.NEUTROPHIL)] * 4
    n = numbers_of(cells, wbc_classes=TEN, limits=LIMITS)
    assert n.leukocytes == 4
    assert n.nucleated_red_per_100 == 25.0
    assert WbcClass.NUCLEATED_RED_BLOOD_CELLS not in {r.name for r in n.differential}


def test_nothing_counted_gives_no_percentages():
    n = numbers_of([], wbc_classes=TEN, limits=LIMITS)
    assert n.adequacy is Adequacy.NONE
    assert n.blasts.percent is None
    assert n.blasts.low is None
    assert n.blast_bounds is None
    assert n.reject_rate is None
    assert n.platelets_per_red_cell is None


def test_class_outside_the_bundle_is_refused():
    with pytest.raises(ValueError, match="eosinophil"):
        numbers_of([cell(WbcClass.EOSINOPHIL)], wbc_classes=TEN, limits=LIMITS)


@pytest.mark.parametrize(
    ("leukocytes", "adequacy"),
    [
        (0, Adequacy.NONE),
        (1, Adequacy.INSUFFICIENT),
        (99, Adequacy.INSUFFICIENT),
        (100, Adequacy.LIMITED),
        (199, Adequacy.LIMITED),
        (200, Adequacy.ADEQUATE),
    ],
)
def test_adequacy_limits(leukocytes, adequacy):
    assert LIMITS.of(leukocytes) is adequacy


# Rümke's table (1985), 95 % limits of a percentage in a differential, rounded outwards there
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 100, 0, 4), (5, 100, 1, 12), (20, 100, 12, 30), (50, 100, 39, 61), (10, 200, 2, 10)],
)
def test_interval_is_that_of_the_table_laboratories_know(k, n, low, high):
    p = Proportion(k, n)
    assert abs(p.low - low) < 1.0
    assert abs(p.high - high) < 1.0


def test_corrected_fraction_of_a_perfect_classifier_is_the_observed():
    c = corrected_fraction(Proportion(30, 100), ((1000, 0), (0, 1000)))
    assert c.percent == pytest.approx(30.0)


def test_corrected_fraction_takes_false_positives_out():
    c = corrected_fraction(Proportion(5, 100), ((95, 5), (0, 100)))
    assert c.percent == pytest.approx(0.0)
    assert c.low == 0.0
    assert c.high > 0.0


def test_corrected_fraction_of_a_guess_is_none():
    assert corrected_fraction(Proportion(5, 100), ((50, 50), (50, 50))) is None
    assert corrected_fraction(Proportion(0, 0), ((9, 1), (1, 9))) is None
