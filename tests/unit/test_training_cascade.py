"""The arithmetic of the whole cascade, on fields that were read by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cells import UNCLASSIFIED, Cell, CellClass, Malignancy, Subtype, WbcClass
from domain.image import Box
from inference.fusion import final_class_of
from training.evaluation.cascade_fields import Kind, TrueCell, WholeField
from training.evaluation.cascade_figures import (
    blast_rows,
    count_rows,
    drawn_rows,
    kind_of,
    loss_rows,
    scale_rows,
)
from training.evaluation.cascade_judged import CascadeJudged
from training.evaluation.cascade_pages import cascade_plots, cascade_text
from training.evaluation.cascade_run import FieldRead, matched
from training.evaluation.judged import sampled
from training.evaluation.plain import plain
from training.metrics import share

RED, PLATELET, WHITE = (
    CellClass.RED_BLOOD_CELL,
    CellClass.PLATELET,
    CellClass.WHITE_BLOOD_CELL,
)


def box(at, size=10):
    return Box(at, 0, at + size, size)


def cell(at, kind, wbc=None, malignancy=None, subtype=None):
    return Cell(
        number=1,
        image=0,
        frame=1,
        box_px=box(at),
        detection_p=0.9,
        cell_class=kind,
        cell_class_p=(0.2, 0.2, 0.6),
        wbc_class=wbc,
        malignancy=malignancy,
        subtype=subtype,
        final_class=final_class_of(kind, wbc, malignancy),
    )


def read(truth, found, *, kind=Kind.BOXED, lab="a", group="g", measured=(0.1, 0.1), unjudged=()):
    field = WholeField(
        name="f",
        laboratory=lab,
        kind=kind,
        group=group,
        pixels=np.zeros((10, 100, 3), np.uint8),
        um_per_px=(0.1, 0.1),
        cells=tuple(truth),
        unjudged=unjudged,
    )
    nuclei = kind in (Kind.BENIGN, Kind.LEUKAEMIC)
    return FieldRead(
        field=field,
        refused=False,
        not_evaluable="",
        um_per_px=measured,
        cells=tuple(found),
        matches=matched(truth, found, nuclei=nuclei),
    )


def true(at, kind=WHITE, *, blast=False, wbc="", size=10):
    return TrueCell(box=box(at, size), cell_class=kind, blast=blast, wbc_class=wbc)


BLAST = {"wbc": WbcClass.BLAST_CELLS, "malignancy": Malignancy.MALIGNANT}


def test_training_cascade_matches_one_to_one_and_the_best_first():
    truth = [true(0), true(6)]
    found = [cell(5, RED), cell(40, RED)]
    first, second = matched(truth, found, nuclei=False)
    assert first is None  # it overlaps too, but less than the other does
    assert second is found[0]
    nucleus = [true(8, size=4)]
    assert matched(nucleus, [cell(5, RED)], nuclei=True) == (cell(5, RED),)
    assert matched(nucleus, [cell(11, RED)], nuclei=True) == (None,)
    assert matched(truth, [], nuclei=False) == (None, None)


def test_training_cascade_counts_found_against_boxed():
    reads = [
        read([true(0), true(20, RED)], [cell(0, WHITE, UNCLASSIFIED), cell(20, RED)]),
        read(
            [true(0), true(20, RED), true(40, RED)],
            [cell(0, WHITE, WbcClass.NEUTROPHIL), cell(20, WHITE, WbcClass.RED_BLOOD_CELL)],
            group="h",
        ),
        read([true(0)], [cell(20, RED)], unjudged=(RED,), group="i"),
    ]
    rows = {r.cell_class: r for r in count_rows(reads)}
    red, white = rows[RED.value], rows[WHITE.value]
    assert (red.fields, red.true, red.found) == (2, 3, 2)  # the third field's are not judged
    assert red.bias.value == -0.5
    assert red.absolute_error.value == 0.5
    assert red.pairs == ((1, 1), (2, 1))
    assert (white.fields, white.true, white.found) == (3, 3, 2)
    assert white.ratio.value == pytest.approx(2 / 3)
    assert white.ratio.low <= white.ratio.value <= white.ratio.high


def test_training_cascade_takes_a_cell_for_what_the_report_counts():
    assert kind_of(cell(0, WHITE, WbcClass.PLATELET)) is PLATELET
    assert kind_of(cell(0, WHITE, UNCLASSIFIED)) is WHITE
    assert kind_of(cell(0, WHITE, WbcClass.NUCLEATED_RED_BLOOD_CELLS)) is WHITE
    assert kind_of(cell(0, PLATELET)) is PLATELET


def test_training_cascade_scale_is_a_ratio_to_the_known_one():
    reads = [
        read([], [], measured=(0.1, 0.1)),
        read([], [], measured=(0.1188, 0.1)),
        read([], [], measured=(0.15, 0.15)),
        read([], [], measured=None),
        read([], [], kind=Kind.DRAWN, lab="drawn", measured=None),
    ]
    whole, lab = scale_rows(reads)
    assert (whole.laboratory, lab.laboratory) == ("all", "a")
    assert (whole.measured.count, whole.measured.of) == (3, 4)  # drawn ones came with theirs
    assert whole.median.value == pytest.approx(1.188**0.5)
    assert (whole.outside.count, whole.outside.of) == (1, 3)


def test_training_cascade_blasts_are_pooled_and_known_only_where_somebody_knows():
    leukaemic = [
        read(
            [true(0, blast=None)],
            [
                cell(0, WHITE, subtype=Subtype.PRE_B, **BLAST),
                cell(20, WHITE, WbcClass.NEUTROPHIL),
                cell(40, WHITE, UNCLASSIFIED),
            ],
            kind=Kind.LEUKAEMIC,
        ),
        read([], [cell(0, WHITE, WbcClass.NEUTROPHIL)], kind=Kind.LEUKAEMIC, group="h"),
    ]
    normal = [read([true(0)], [cell(0, WHITE, WbcClass.NEUTROPHIL)], lab="b")]
    a, b = blast_rows([*leukaemic, *normal])
    assert (a.with_blasts.count, a.with_blasts.of) == (1, 2)
    assert (a.fraction.count, a.fraction.of) == (1, 3)
    assert (a.unclassified.count, a.unclassified.of) == (1, 4)
    assert a.true is None
    assert a.per_field == (0.5, 0.0)
    assert (b.true, b.fraction.count) == (0.0, 0)


def test_training_cascade_losses_name_the_stage_that_lost_the_cell():
    truth = [true(20 * i, blast=i < 5) for i in range(7)]
    found = [
        cell(0, WHITE, subtype=Subtype.PRE_B, **BLAST),
        cell(20, WHITE, subtype=UNCLASSIFIED, **BLAST),
        cell(40, WHITE, WbcClass.LYMPHOCYTES, UNCLASSIFIED),
        cell(60, WHITE, UNCLASSIFIED),
        cell(80, RED),
        cell(100, WHITE, WbcClass.NEUTROPHIL),
    ]
    every, blasts = loss_rows([read(truth, found, kind=Kind.DRAWN, lab="drawn")])
    assert [n for _, n, _ in every.steps] == [7, 6, 5, 3, 2, 1]
    assert [u for _, _, u in every.steps] == [0, 0, 0, 1, 1, 1]
    assert [n for _, n, _ in blasts.steps] == [5, 5, 4, 3, 2, 1]
    assert "blasts" in blasts.seen_by


def test_training_cascade_drawn_smear_is_inside_its_intervals_or_not():
    truth = [true(0, blast=True), true(20), *(true(40, RED) for _ in range(30))]
    found = [
        cell(0, WHITE, subtype=Subtype.PRE_B, **BLAST),
        cell(20, WHITE, WbcClass.NEUTROPHIL),
        *(cell(40, RED) for _ in range(10)),
    ]
    (row,) = drawn_rows(
        [read(truth, found, kind=Kind.DRAWN, lab="drawn")], wbc_classes=tuple(map(str, WbcClass))
    )
    counts = {c.name: c for c in row.counts}
    assert counts["blasts, percent"].found == counts["blasts, percent"].true == 50
    assert counts["blasts, percent"].inside
    assert not counts[RED.value].inside  # 10 found, 4.8 to 18.4; 30 are there
    assert (counts[RED.value].low, counts[RED.value].high) == pytest.approx(
        (4.795, 18.39), abs=0.01
    )
    assert counts[PLATELET.value].inside  # none found, none there
    assert counts[PLATELET.value].high == pytest.approx(3.689, abs=0.001)


def test_training_cascade_pages_hold_the_figures():
    reads = [
        read([true(0), true(20, RED)], [cell(0, WHITE, **BLAST), cell(20, RED)], group=str(i))
        for i in range(3)
    ]
    judged = CascadeJudged(
        bundle="mine",
        manifest_sha256="ab" * 32,
        untrained=True,
        fields=3,
        refused=(("a, boxed", share(0, 3)),),
        counts=count_rows(reads),
        scales=scale_rows(reads),
        scale_use=(),
        blasts=blast_rows(reads),
        losses=loss_rows(reads),
        replaced=(),
        drawn=(),
        seconds=1.0,
    )
    text = cascade_text(judged)
    assert "UNTRAINED" in text
    assert "1.0000 (0.292 to 1.000) of 3" in text  # every field with a blast, exact interval
    assert set(cascade_plots(judged)) == {"counts", "scale", "blasts", "losses"}
    assert all(png.startswith(b"\x89PNG") for png in cascade_plots(judged).values())
    document = plain(judged)
    assert document["blasts"][0]["fraction"]["value"] == 1.0
    assert document["counts"][0]["correlation"]["value"] is None  # nothing varies: not known


@given(st.integers(0, 60), st.integers(1, 40))
def test_training_samples_are_even_and_in_order(number, most):
    items = list(range(number))
    chosen = sampled(items, most)
    assert len(chosen) == min(number, most)
    assert chosen == sorted(set(chosen))
    if most > 1 and number:
        assert (chosen[0], chosen[-1]) == (0, number - 1)
        steps = np.diff(chosen)
        assert not len(steps) or steps.max() - steps.min() <= 1
