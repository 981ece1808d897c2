"""For any cells: figures, SR and result.json say the same numbers, and what failed says none."""

import io
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from domain.analysis import StageFailure
from domain.cells import Stage, WbcClass
from domain.study import Code, Equipment, EvidenceRef, Patient, Specimen, StudyContext
from reporting.encapsulated import encapsulated_pdf
from reporting.figures import figures_of
from reporting.fonts import drawable, face_of
from reporting.gallery import gallery_cells
from reporting.pdf import pdf_bytes
from reporting.readback import numbers_in_result, numbers_in_sr
from reporting.result_json import result_bytes, validate
from reporting.sr import sr_document
from reporting.words import legible, person_words
from tests import reporting_cases as cases

LYMPHOID = ("blast_cells", "lymphocytes")
SUBTYPES = ("early_pre_b", "pre_b", "pro_b", "unclassified")


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
slow = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(plans, failures, confusions)
def test_reporting_drawings_say_the_same_numbers(plan, failed, confusion):
    report = cases.report(
        cases.analysis_of(
            plan,
            failures=[StageFailure(stage=s, reason="as drawn") for s in failed],
            confusion=confusion,
        )
    )
    figures = figures_of(report)
    assert numbers_in_sr(sr_document(report)) == figures
    result = json.loads(result_bytes(report, with_seconds=False))
    validate(result)
    assert numbers_in_result(result) == {k: v for k, v in figures.items() if k != "cells"}
    if not failed or set(failed) == {None}:
        assert "subtype.pro_b.count" in figures


nasty = st.text(max_size=80) | st.sampled_from(
    ("", " ", "1.2.3", "01.2", "1" * 65, "\\", "\x00\x1b", "\ud800", "=" * 9, "^" * 9, "x" * 200)
)
uids = nasty | st.sampled_from(("1.2.840.10008.5.1.4.1.1.77.1.6", "2.25.1001", "2.25.900"))
keywords = nasty | st.sampled_from(
    ("MediaStorageSOPClassUID", "AffectedSOPInstanceUID", "SpecificCharacterSet", "PatientWeight",
     "PatientAge", "PixelData", "ContentSequence", "Modality", "FileSetID", "TransferSyntaxUID",
     "PatientSpeciesCodeSequence", "OtherPatientNames", "NumberOfFrames")
)  # fmt: skip
contexts = st.builds(
    StudyContext,
    patient=st.builds(
        Patient,
        name=nasty,
        patient_id=nasty,
        issuer=nasty,
        birth_date=nasty,
        sex=nasty,
        further=st.lists(st.tuples(keywords, nasty), max_size=4).map(tuple),
    ),
    study_uid=uids,
    study_id=nasty,
    study_date=nasty,
    study_time=nasty,
    study_description=nasty,
    accession_number=nasty,
    referring_physician=nasty,
    acquired_at=nasty,
    timezone_offset=nasty,
    specimen=st.none()
    | st.builds(
        Specimen,
        identifier=nasty,
        uid=uids,
        container_identifier=nasty,
        type_code=st.none() | st.builds(Code, value=nasty, scheme=nasty, meaning=nasty),
        stain=nasty,
    ),
    scanner=st.none()
    | st.builds(Equipment, manufacturer=nasty, model=nasty, serial_number=nasty, software=nasty),
    evidence=st.lists(
        st.builds(
            EvidenceRef,
            sop_class_uid=uids,
            instance_uid=uids,
            series_uid=uids,
            sha256=st.just(cases.digest("image1")),
        ),
        max_size=3,
    ).map(tuple),
    warnings=st.lists(nasty, max_size=2).map(tuple),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contexts)
def test_reporting_objects_are_made_of_any_context(context):
    report = cases.report(cases.analysis_of(cases.FEW), context=context)
    document = sr_document(report)
    assert numbers_in_sr(document) == figures_of(report)
    dcmread(io.BytesIO(encapsulated_pdf(report, b"%PDF-1.4")))
    left_out = len(context.evidence) - len(report.context.evidence)
    assert bool(left_out) == any("not named as evidence" in w for w in report.context.warnings)


@given(plans)
def test_reporting_sums_are_sums(plan):
    figures = figures_of(cases.report(cases.analysis_of(plan)))
    classes = [int(v) for k, v in figures.items() if k.startswith("differential") and "count" in k]
    assert sum(classes) == int(figures["leukocytes"])
    patterns = [int(v) for k, v in figures.items() if k.startswith("subtype") and "count" in k]
    assert sum(patterns) + int(figures["unclassified.subtype"]) == int(figures["blasts.count"])


@given(plans, st.integers(1, 60))
def test_reporting_gallery_is_bounded_and_full(plan, limit):
    analysis = cases.analysis_of(plan)
    shown = gallery_cells(analysis, limit=limit)
    white = [c for c in analysis.cells if c.cell_class == "white_blood_cell"]
    eligible = [c for c in white if c.final_class not in ("red_blood_cell", "platelet")]
    assert len(eligible) >= len(shown) >= min(limit, len(eligible))
    assert len({c.number for c in shown}) == len(shown)


@settings(deadline=None)  # the first character of a further face waits for that face to be read
@given(st.text())
def test_reporting_text_is_one_line_of_the_faces_characters(text):
    shown = drawable(text)
    assert all(face_of(c) is not None for c in shown)
    assert "\n" not in legible(text)
    person_words(text)


@settings(max_examples=12, deadline=None)
@given(st.text(max_size=400), st.text(max_size=400))
def test_reporting_any_text_can_be_drawn(name, other):
    patient = cases.Patient(name=name, patient_id=other, sex=other)
    report = cases.report(
        cases.analysis_of(cases.FEW, warnings=(name,)),
        context=cases.context(
            patient=patient, accession_number=other, study_date=name, warnings=(other,)
        ),
    )
    assert pdf_bytes(report).startswith(b"%PDF-")
    sr_document(report)
