"""The gate lets whole drawings through and stops empty ones and those of another state."""

import io
from dataclasses import replace

import pytest
from pydicom import dcmread
from reportlab.pdfgen.canvas import Canvas

from reporting.encapsulated import encapsulated_pdf
from reporting.gate import wrong_words_in_pdf_object, wrong_words_in_sr
from reporting.pdf import pdf_bytes
from reporting.sr import sr_document
from tests import reporting_cases as cases

CASES = cases.all_cases()


@pytest.mark.parametrize("name", CASES)
def test_every_report_says_whose_it_is_and_who_verified_it(name):
    report = CASES[name]
    assert wrong_words_in_pdf_object(report, encapsulated_pdf(report, pdf_bytes(report))) == ()
    assert wrong_words_in_sr(report, sr_document(report)) == ()


def test_an_empty_page_of_a_report_without_numbers_does_not_pass():
    report = CASES["non_viable"]
    sink = io.BytesIO()
    page = Canvas(sink)
    page.showPage()
    page.save()
    said = wrong_words_in_pdf_object(report, encapsulated_pdf(report, sink.getvalue()))
    assert [s.split(" is ")[0] for s in said] == ["PDF: the case", "PDF: verification"]


def test_a_drawing_of_another_state_does_not_pass():
    signed, unsigned = CASES["signed"], replace(CASES["signed"], reviews=())
    pdf = encapsulated_pdf(unsigned, pdf_bytes(unsigned))
    assert wrong_words_in_pdf_object(signed, pdf) == (
        "PDF: verification is not said as the database has it",
    )
    dataset = dcmread(io.BytesIO(sr_document(signed)))
    dataset.VerificationFlag = "UNVERIFIED"
    sink = io.BytesIO()
    dataset.save_as(sink)
    assert wrong_words_in_sr(signed, sink.getvalue()) == (
        "SR: verification is not said as the database has it",
    )
