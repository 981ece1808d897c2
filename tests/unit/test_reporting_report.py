"""The report value, the choice for the gallery, codes and words."""

import doctest
from datetime import datetime, timedelta, timezone

import pytest
from highdicom.sr import CodedConcept
from pydicom.sr._concepts_dict import concepts

import reporting.figures
import reporting.fonts
import reporting.headers
import reporting.words
from domain.analysis import StageFailure
from domain.cells import LEUKOCYTES, Stage, Subtype
from domain.finding import Flag
from domain.states import ReportStatus
from domain.study import Code
from reporting import codes
from reporting.figures import figures_of
from reporting.gallery import certainty, gallery_cells, most_uncertain
from reporting.words import legible
from tests import reporting_cases as cases


@pytest.mark.parametrize(
    "module", [reporting.figures, reporting.fonts, reporting.headers, reporting.words]
)
def test_reporting_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_reporting_uids_are_the_same_for_the_same_report_and_new_for_a_revision():
    first, again, second = cases.report(), cases.report(), cases.report(revision=2)
    assert first.uids == again.uids
    uids = [
        uid
        for one in (first, second)
        for uid in (
            one.uids.pdf_series,
            one.uids.pdf_instance,
            one.uids.sr_series,
            one.uids.sr_instance,
            one.uids.tracking("Differential"),
            one.uids.tracking("Blasts"),
        )
    ]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 64 and uid.startswith("2.25.") for uid in uids)


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001
)
def test_reporting_refuses_a_time_that_is_not_utc(moment):
    with pytest.raises(ValueError, match="UTC"):
        cases.report(issued_at=moment)


def test_reporting_status_is_amended_only_with_a_predecessor():
    assert cases.report().status is ReportStatus.PRELIMINARY
    assert cases.report(predecessor=cases.predecessor()).status is ReportStatus.AMENDED


def test_reporting_title_says_untrained_and_fits_a_long_string():
    made = cases.report(cases.analysis_of(untrained=True), predecessor=cases.predecessor())
    assert made.title.startswith("UNTRAINED MODELS")
    assert len(made.title) <= 64


@pytest.mark.parametrize(
    ("failed", "absent", "present"),
    [
        (Stage.SUBTYPE, "subtype.pre_b.count", "blasts.count"),
        (Stage.MALIGNANCY, "blasts.count", "leukocytes"),
        (Stage.WBC_CLASS, "leukocytes", "red_cells"),
        (Stage.CELL_CLASS, "red_cells", "cells"),
    ],
)
def test_reporting_has_no_figure_from_the_failed_stage_on(failed, absent, present):
    failure = StageFailure(stage=failed, reason="no memory")
    figures = figures_of(cases.report(cases.analysis_of(cases.BLASTS_35, failures=[failure])))
    assert absent not in figures
    assert present in figures


def test_reporting_not_evaluable_has_no_figure_at_all():
    assert figures_of(cases.report(cases.analysis_of(images=(cases.REFUSED,)))) == {}


@pytest.mark.parametrize("limit", [1, 7, 40, 1000])
def test_reporting_gallery_shows_blasts_first_and_each_other_class(limit):
    analysis = cases.analysis_of(cases.BLASTS_35)
    shown = gallery_cells(analysis, limit=limit)
    assert len(shown) <= limit
    assert len({c.number for c in shown}) == len(shown)
    is_blast = [c.is_blast for c in shown]
    assert is_blast == sorted(is_blast, reverse=True)
    blasts = [certainty(c) for c in shown if c.is_blast]
    assert blasts == sorted(blasts)
    assert all(c.final_class not in ("red_blood_cell", "platelet") for c in shown)
    if limit == 40:
        assert sum(is_blast) == 20
        kinds = {c.final_class for c in shown if not c.is_blast}
        assert {"neutrophil", "monocytes", "lymphocytes", "unclassified"} <= kinds
    if limit == 1000:
        assert len(shown) == 73 + 41 + 14 + 3 + 62 + 2 + 9 + 5 + 9


def test_reporting_gallery_of_blasts_alone_uses_every_place():
    plan = [{"n": 60, "kind": "blast_cells", "malignancy": "malignant", "subtype": "pre_b"}]
    analysis = cases.analysis_of(plan)
    shown = gallery_cells(analysis, limit=40)
    assert len(shown) == 40
    assert most_uncertain(shown) == {c.number for c in shown[:4]}


def _all_codes():
    def walk(value):
        if isinstance(value, Code):
            yield value
        elif isinstance(value, dict):
            for one in value.values():
                yield from walk(one)

    return [
        c for name in dir(codes) if not name.startswith("__") for c in walk(getattr(codes, name))
    ]


def test_reporting_codes_agree_with_the_tables_of_pydicom():
    """PS3.16 as pydicom carries it; meaning and value together, so that neither can be mistyped."""
    known = {
        (scheme, value): meaning
        for scheme, keywords in concepts.items()
        for values in keywords.values()
        for value, (meaning, *_) in values.items()
    }
    # "Source" in TID 1600, "Source (attribute)" in pydicom; cell types are not of DICOM's subset
    allowed = {("SCT", "260753009"), *((c.scheme, c.value) for c in codes.CELL_TYPE.values())}
    checked = 0
    for code in _all_codes():
        if code.scheme in {"DCM", "SCT"} and (code.scheme, code.value) not in allowed:
            assert known[code.scheme, code.value] == code.meaning
            checked += 1
    assert checked > 40


def test_reporting_codes_fit_their_attributes_and_mean_one_thing():
    by_value: dict[tuple[str, str], str] = {}
    for code in _all_codes():
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
        assert by_value.setdefault((code.scheme, code.value), code.meaning) == code.meaning
        CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _check_digit(loinc: str) -> bool:
    """LOINC's mod 10 check digit."""
    digits, check = loinc.split("-")
    total = sum(
        sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(digits))
    )
    return (10 - total % 10) % 10 == int(check)


def test_reporting_loinc_codes_have_right_check_digits():
    loinc = [c.value for c in _all_codes() if c.scheme == "LN"]
    assert len(loinc) > 8
    assert all(map(_check_digit, loinc))


_D = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
      [3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
      [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
      [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]  # fmt: skip
_P = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
      [8, 9, 1, 6, 0, 4, 3, 5, 2, 7], [9, 4, 5, 3, 1, 2, 6, 8, 7, 0], [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
      [2, 7, 9, 3, 8, 0, 6, 4, 1, 5], [7, 0, 4, 6, 9, 1, 3, 2, 5, 8]]  # fmt: skip


def _verhoeff(identifier: str) -> bool:
    """SNOMED CT's check digit (Verhoeff's dihedral one)."""
    check = 0
    for i, digit in enumerate(reversed(identifier)):
        check = _D[check][_P[i % 8][int(digit)]]
    return check == 0


def test_reporting_snomed_codes_have_right_check_digits():
    snomed = [c.value for c in _all_codes() if c.scheme == "SCT"]
    assert len(snomed) > 20
    assert all(map(_verhoeff, snomed))
    assert not _verhoeff("312256008")


def test_reporting_codes_cover_every_class_flag_and_stage():
    assert set(codes.DIFFERENTIAL) == set(LEUKOCYTES)
    assert set(codes.FLAGS) == set(Flag)
    assert set(codes.SUBTYPE_FRACTION) == set(Subtype) == set(codes.SUBTYPE_COUNT)
    assert set(codes.STAGE_GROUPS) == set(Stage)
    assert set(reporting.words.FLAG_WORDS) == set(Flag)


@pytest.mark.parametrize("character", ["\u202e", "\u200f", "\x00", "\x1b", "\ue000", "\u2066"])
def test_reporting_legible_names_what_cannot_be_seen(character):
    assert legible(f"a{character}b") == f"a[U+{ord(character):04X}]b"
