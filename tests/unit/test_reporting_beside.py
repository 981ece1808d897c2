"""What a report puts beside its numbers, and the pages' words for it."""

import io

import pikepdf
import pytest

from domain.counts import Against, Proportion, against
from reporting.beside import Beside, Range, ReferenceRange, range_of
from reporting.pdf_frame import Paper, sheet_of
from reporting.pdf_numbers import BELOW_RESOLUTION
from reporting.pdf_paragraph import Text
from reporting.pdf_sections import ADVICE, NO_LEUKOCYTES_ADVICE, story
from tests import reporting_cases as cases

NEUTROPHILS = ReferenceRange(name="neutrophil", low=40, high=75)


def words(report) -> str:
    """Every paragraph of a report's story, tables included, in order."""
    said: list[str] = []

    def walk(part):
        if isinstance(part, Text):
            said.append(part.getPlainText())
        for inner in getattr(part, "_content", None) or []:
            walk(inner)
        for row in getattr(part, "_cellvalues", None) or []:
            for cell in row:
                for inner in cell if isinstance(cell, list | tuple) else [cell]:
                    walk(inner)

    for flowable in story(report, sheet_of(report, Paper.A4)):
        walk(flowable)
    return " ".join(" ".join(said).split())


def test_reporting_range_is_judged_by_the_printed_percentage():
    assert range_of(Proportion(62, 204), NEUTROPHILS) is Range.LOW
    assert range_of(Proportion(81, 200), NEUTROPHILS) is Range.WITHIN
    assert range_of(Proportion(1502, 2000), NEUTROPHILS) is Range.HIGH  # 75.1
    assert range_of(Proportion(15009, 20000), NEUTROPHILS) is Range.WITHIN  # 75.045, printed 75.0
    assert range_of(Proportion(0, 0), NEUTROPHILS) is None


def test_reporting_range_must_be_one():
    with pytest.raises(ValueError, match="neutrophil"):
        ReferenceRange(name="neutrophil", low=50, high=40)


def test_reporting_statement_has_three_answers():
    fraction = Proportion(73, 204)  # 29.2 to 42.8
    assert against(fraction, 20) is Against.ABOVE
    assert against(fraction, 30) is Against.UNTOLD
    assert against(fraction, 50) is Against.BELOW
    assert against(Proportion(0, 0), 20) is None


def test_reporting_page_says_thresholds_ranges_earlier_cases_and_checkpoint():
    said = words(cases.all_cases()["beside"])
    assert "above 20 %" in said
    assert "5 %: above; 30 %: cannot be told from this count; 50 %: below" in said
    assert "Neutrophil 62 30.4 24.2 to 37.2 40.0 to 75.0 LOW" in said
    assert "Monocyte 14 6.9 3.8 to 11.2 2.0 to 6.5 HIGH" in said
    assert "Earlier cases of this patient" in said
    assert "event 4711" in said
    assert cases.BESIDE.checkpoint.digest in said


def test_reporting_page_without_them_has_no_empty_columns():
    report = cases.report(cases.analysis_of(cases.NORMAL), beside=Beside())
    said = words(report)
    assert "Reference" not in said
    assert "Earlier cases" not in said
    assert "no audit trail stands behind it" in said


def test_reporting_page_says_what_is_below_the_classifiers_resolution():
    assert BELOW_RESOLUTION in words(cases.all_cases()["below_resolution"])
    assert BELOW_RESOLUTION not in words(cases.all_cases()["blasts"])


@pytest.mark.parametrize(
    ("name", "finding", "advice"),
    [
        ("non_viable", "Not evaluable: the image is not viable", "image_not_viable"),
        ("wrong_domain", "Not evaluable: its domain", "domain_not_covered"),
        ("stage_failed", "The analysis is incomplete: subtype failed.", "stage_failed"),
        ("run_failed", "Not evaluable", "image_unreadable"),
        ("none", "No leukocytes were found", ""),
        ("empty", "No leukocytes were found", ""),
    ],
)
def test_reporting_failure_is_said_first_and_with_what_to_do(name, finding, advice):
    said = words(cases.all_cases()[name])
    told = {flag.value: text for flag, text in ADVICE.items()}.get(advice, NO_LEUKOCYTES_ADVICE)
    assert (
        said.index(finding) < said.index(told) < said.index("Flags:" if advice else "Differential")
    )


def test_reporting_chart_tells_its_numbers_to_a_screen_reader():
    from reporting.pdf import pdf_bytes

    with pikepdf.open(io.BytesIO(pdf_bytes(cases.all_cases()["beside"]))) as document:
        alts = [str(kid.Alt) for kid in document.Root.StructTreeRoot.K[0].K if kid.S == "/Figure"]
    (chart,) = [a for a in alts if a.startswith("Chart")]
    assert "2026-09-01: 22.7 % (95 % CI 15.3 to 31.7)" in chart
    assert "2026-10-20: no percentage (nothing counted)" in chart
