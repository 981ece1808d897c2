from dataclasses import replace
from datetime import UTC, datetime

import pytest

from domain.cells import Mark
from domain.counts import AdequacyLimits, numbers_of_analysis
from domain.reviews import (
    CLASSES_FOR_PERSONS,
    Reclassification,
    Review,
    ReviewKind,
    called_of,
    counted_after,
    person_calls,
    reclassifications_of,
    reviewed,
    signature_of,
)
from tests import reporting_cases as cases

WHEN = datetime(2026, 11, 24, 12, tzinfo=UTC)
PLAN = [
    {"n": 2, "kind": "red_blood_cell"},
    {"n": 3, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"},
    {"n": 3, "kind": "lymphocytes", "malignancy": "malignant", "subtype": "pro_b"},
    {"n": 2, "kind": "neutrophil", "marks": (Mark.OVERRULED, Mark.AT_BORDER)},
    {"n": 1, "kind": "unclassified", "marks": (Mark.REJECTED,)},
]


def act(ordinal: int, kind=ReviewKind.SIGNATURE, *, analysis: int = 1, change=None) -> Review:
    return Review(
        ordinal=ordinal,
        kind=kind,
        by="Anna",
        at=WHEN,
        comment="",
        analysis_ordinal=analysis,
        revision=ordinal,
        change=change,
    )


def renamed(ordinal: int, cell, name: str, *, analysis: int = 1) -> Review:
    change = Reclassification(
        cell=cell.number, before=called_of(cell), after=person_calls(cell, name)
    )
    return act(ordinal, ReviewKind.RECLASSIFICATION, analysis=analysis, change=change)


@pytest.mark.parametrize("name", CLASSES_FOR_PERSONS)
def test_every_class_can_be_said_of_every_cell_and_counted(name):
    analysis = cases.analysis_of(PLAN)
    for cell in analysis.cells:
        after = reviewed(analysis, [renamed(1, cell, name)], analysis_ordinal=1)
        counted = numbers_of_analysis(after, limits=AdequacyLimits())
        assert sum(n for _, n in counted.counts) == len(analysis.cells)
        assert sum(c.proportion.count for c in counted.differential) == counted.leukocytes
        patterned = sum(c.proportion.count for c in counted.subtypes)
        assert patterned + dict(counted.unclassified)["subtype"] == counted.blasts.count


def test_a_persons_blast_keeps_the_pattern_that_the_cell_had():
    _, _, blast, *_ = cells = cases.analysis_of(PLAN).cells
    assert person_calls(blast, "blast_cells").subtype == "pre_b"
    assert person_calls(cells[5], "blast_cells").words == ("blast_cells", "malignant", "pro_b")
    assert person_calls(cells[8], "blast_cells").subtype == "unclassified"
    assert person_calls(blast, "pro_b").subtype == "pro_b"
    assert person_calls(blast, "lymphocytes").words == ("lymphocytes", "benign")
    with pytest.raises(ValueError, match="is no class; it is one of immature_neutrophil"):
        person_calls(blast, "blast")


def test_no_probability_and_no_doubt_of_a_network_stays_beside_a_persons_word():
    analysis = cases.analysis_of(PLAN)
    cell = next(c for c in analysis.cells if c.marks)
    after = reviewed(analysis, [renamed(1, cell, "monocytes")], analysis_ordinal=1)
    changed = after.cells[cell.number - 1]
    assert (changed.wbc_class_p, changed.malignancy_p, changed.subtype_p) == ((), (), ())
    assert changed.marks == (Mark.AT_BORDER,)
    assert changed.box_px == cell.box_px
    others = [c for c in after.cells if c.number != cell.number]
    assert others == [c for c in analysis.cells if c.number != cell.number]


def test_only_the_reviews_of_this_analysis_count():
    analysis = cases.analysis_of(PLAN)
    reviews = [
        renamed(1, analysis.cells[2], "platelet"),
        renamed(2, analysis.cells[3], "platelet", analysis=2),
        renamed(3, analysis.cells[2], "monocytes"),
    ]
    of_first = reclassifications_of(reviews, analysis_ordinal=1)
    assert {n: [r.ordinal for r in made] for n, made in of_first.items()} == {3: [1, 3]}
    assert [counted_after(reviews, analysis_ordinal=n) for n in (1, 2, 3)] == [3, 2, 0]
    assert reviewed(analysis, reviews, analysis_ordinal=3) is analysis
    assert reviewed(analysis, reviews, analysis_ordinal=1).cells[2].final_class == "monocytes"


def test_a_signature_holds_until_anything_comes_after_it():
    signed = act(2)
    amended = act(3, ReviewKind.AMENDMENT)
    assert signature_of([], analysis_ordinal=1) is None
    assert signature_of([act(1, ReviewKind.AMENDMENT), signed], analysis_ordinal=1) is signed
    assert signature_of([signed, amended], analysis_ordinal=1) is None
    assert signature_of([signed, amended, act(4)], analysis_ordinal=1).ordinal == 4
    assert signature_of([signed], analysis_ordinal=2) is None


def test_a_signed_report_names_what_was_signed():
    with pytest.raises(ValueError, match="names the one that was signed"):
        cases.report(reviews=(act(1),))
    report = cases.report(reviews=(act(1),), predecessor=cases.predecessor(), revision=2)
    assert (report.verification, report.status.value) == ("VERIFIED", "verified")
    assert "For review" not in report.finding.text
    again = replace(report, reviews=(*report.reviews, act(2, ReviewKind.AMENDMENT)))
    assert again.verification == "UNVERIFIED"
