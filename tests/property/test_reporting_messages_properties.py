"""For any cells, HL7 and FHIR say the numbers of the report; any context and any answer is survived."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.analysis import StageFailure
from domain.cells import Stage, WbcClass
from domain.study import Patient
from reporting.answers import Answer, acknowledgement_of, transaction_answer
from reporting.fhir import fhir_bundle
from reporting.figures import figures_of
from reporting.hl7 import oru_message
from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from reporting.readback import numbers_in_result
from reporting.result_json import result_of
from tests import reporting_cases as cases

PDF = b"%PDF-1.4"
LYMPHOID = ("blast_cells", "lymphocytes")
SUBTYPES = ("early_pre_b", "pre_b", "pro_b", "unclassified")
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def rows(draw):
    kind = draw(st.sampled_from((*cases.TEN, "unclassified")))
    row = {"n": draw(st.integers(0, 60)), "kind": kind}
    if kind in LYMPHOID:
        row["malignancy"] = draw(st.sampled_from(("benign", "malignant", "unclassified")))
        if row["malignancy"] == "malignant":
            row["subtype"] = draw(st.sampled_from(SUBTYPES))
    if kind in (WbcClass.RED_BLOOD_CELL, WbcClass.PLATELET):
        row["n"] = draw(st.integers(0, 300))
    return row


plans = st.lists(rows(), max_size=7)
failures = st.lists(st.sampled_from((None, *Stage)), max_size=2)
confusions = st.none() | st.tuples(
    st.tuples(st.integers(60, 99), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(60, 99)),
)


@few
@given(plans, failures, confusions)
def test_messages_say_the_numbers_of_the_report(plan, failed, confusion):
    report = cases.report(
        cases.analysis_of(
            plan,
            failures=[StageFailure(stage=s, reason="as drawn") for s in failed],
            confusion=confusion,
        )
    )
    figures = figures_of(report)
    assert numbers_in_hl7(oru_message(report)) == figures
    assert numbers_in_fhir(fhir_bundle(report, PDF)) == figures
    in_result = numbers_in_result(result_of(report, with_seconds=False))
    assert in_result == {k: v for k, v in figures.items() if k != "cells"}


nasty = st.text(max_size=60) | st.sampled_from(
    ("|^~\\&", "\rOBX|1|NM|26446-5^x^LN|1|9|", "\x0b\x1c\r", "\ud800", "=^=^", " ", "20261399")
)


@few
@given(nasty, nasty, nasty)
def test_messages_are_made_of_any_context(first, second, third):
    report = cases.report(
        cases.analysis_of(cases.FEW, warnings=(first,)),
        context=cases.context(
            patient=Patient(
                name=first, patient_id=second, issuer=third, birth_date=first, sex=second
            ),
            study_date=third,
            study_time=second,
            acquired_at=first,
            timezone_offset=second,
            accession_number=third,
            referring_physician=first,
            warnings=(second, third),
        ),
    )
    figures = figures_of(report)
    message = oru_message(report)
    assert numbers_in_hl7(message) == figures
    assert not {*range(0x0D), *range(0x0E, 0x20)} & set(message)
    assert numbers_in_fhir(fhir_bundle(report, PDF)) == figures


bits = st.sampled_from((b"MSH", b"|", b"^~\\&", b"\r", b"\n", b"MSA|AA|ID", b"ERR|", b"~", b" "))


@given(st.lists(bits | st.binary(max_size=4), max_size=12).map(b"".join))
def test_any_answer_to_an_hl7_message_is_read(block):
    said = acknowledgement_of(block, control_id="ID")
    assert said.answer is not Answer.ACCEPTED or b"|AA|ID" in block
    assert said.answer is Answer.ACCEPTED or said.reason


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("type", "entry", "response", "status", "issue", "code")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 599), trees.map(json.dumps).map(str.encode) | st.binary(max_size=20))
def test_any_response_to_a_transaction_is_read(status, body):
    assert transaction_answer(status, body, entries=3).answer is not Answer.ACCEPTED
