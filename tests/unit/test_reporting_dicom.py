"""SR and Encapsulated PDF: headers, references, flags, values that are not there."""

import dataclasses
import io

import highdicom as hd
import pytest
from pydicom import dcmread

from domain.analysis import StageFailure
from domain.cells import Stage
from domain.study import Code
from reporting import codes
from reporting.encapsulated import encapsulated_pdf
from reporting.figures import figures_of
from reporting.readback import numbers_in_result, numbers_in_sr
from reporting.result_json import result_of
from reporting.sr import sr_document
from tests import reporting_cases as cases

CASES = cases.all_cases()
PDF = b"%PDF-1.4 odd"


def read(document):
    return dcmread(io.BytesIO(document))


def sr_of(name):
    return read(sr_document(CASES[name]))


def wrapped(name, pdf=PDF):
    return read(encapsulated_pdf(CASES[name], pdf))


def items(dataset):
    for child in dataset.get("ContentSequence", []):
        yield child
        yield from items(child)


def texts(dataset, code):
    return [
        i.TextValue
        for i in items(dataset)
        if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0].CodeValue == code.value
    ]


@pytest.mark.parametrize("name", CASES)
def test_reporting_sr_says_the_numbers_of_the_report(name):
    document = sr_document(CASES[name])
    assert document == sr_document(CASES[name])
    assert numbers_in_sr(document) == figures_of(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_reporting_result_says_the_numbers_of_the_report(name):
    said = numbers_in_result(result_of(CASES[name], with_seconds=False))
    wanted = {k: v for k, v in figures_of(CASES[name]).items() if k != "cells"}
    # with white cells unnamed the counts by class are left out as a whole
    assert said == wanted


@pytest.mark.parametrize("make", [sr_of, wrapped])
def test_reporting_objects_repeat_patient_and_study_verbatim(make):
    dataset = make("amended")
    context = CASES["amended"].context
    assert str(dataset.PatientName) == context.patient.name
    assert dataset.PatientID == "PID-0042"
    assert dataset.IssuerOfPatientID == "HOSPITAL"
    assert dataset.PatientBirthDate == "19790304"
    assert dataset.PatientSex == "F"
    assert dataset.PatientAge == "047Y"
    assert dataset.PatientComments == "from ward 3"
    assert dataset.StudyInstanceUID == context.study_uid
    assert (dataset.StudyID, dataset.StudyDate, dataset.StudyTime) == ("S1", "20261120", "101500")
    assert dataset.AccessionNumber == "ACC-2026-001"
    assert str(dataset.ReferringPhysicianName) == "House^Gregory"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.VerificationFlag == "UNVERIFIED"
    # 09:30:15 UTC in the source's own offset
    assert dataset.TimezoneOffsetFromUTC == "+0100"
    assert (dataset.ContentDate, dataset.ContentTime) == ("20261124", "103015.000000")
    assert dataset.SoftwareVersions == "0.1.0"
    assert dataset.DeviceUID == "2.25.4711"
    purposes = [
        i.PurposeOfReferenceCodeSequence[0].CodeValue for i in dataset.ContributingEquipmentSequence
    ]
    assert purposes == ["109101", "109102"]


def test_reporting_a_signature_is_in_the_header_of_both_objects():
    document, pdf = sr_of("signed"), wrapped("signed")
    assert (document.VerificationFlag, pdf.VerificationFlag) == ("VERIFIED", "VERIFIED")
    assert document.PreliminaryFlag == "FINAL"
    assert document.ContentQualification == "RESEARCH"
    (observer,) = document.VerifyingObserverSequence
    assert str(observer.VerifyingObserverName) == "Müller^Anna^^Prof. Dr."
    assert observer.VerifyingOrganization == "University Hospital"
    assert observer.VerificationDateTime == "20261124101200.000000+0000"
    said = " ".join(texts(document, codes.COMMENT))
    assert "2 cells were reclassified by a person" in said
    assert "The networks alone counted 12 blasts of 60 leukocytes" in said
    assert "Cell 235: Neutrophil became Eosinophil" in said


@pytest.mark.parametrize("make", [sr_of, wrapped])
def test_reporting_objects_survive_hostile_values_and_keep_them(make):
    dataset = make("hostile")
    patient = CASES["hostile"].context.patient
    assert str(dataset.PatientName) == patient.name
    assert dataset["PatientID"].value.rstrip("\x00 ") == patient.patient_id
    assert dataset.TimezoneOffsetFromUTC == "+0000"


@pytest.mark.parametrize("make", [sr_of, wrapped])
def test_reporting_amended_names_the_object_it_replaces(make):
    assert "PredecessorDocumentsSequence" not in make("normal")
    dataset = make("amended")
    old = CASES["amended"].predecessor
    reference = old.sr if dataset.Modality == "SR" else old.pdf
    series = dataset.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == reference.series_uid
    item = series.ReferencedSOPSequence[0]
    assert item.ReferencedSOPInstanceUID == reference.instance_uid
    assert item.ReferencedSOPClassUID == reference.sop_class_uid
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121360"


def test_reporting_pdf_and_sr_name_each_other_and_lie_in_series_of_their_own():
    sr, pdf = sr_of("blasts"), wrapped("blasts")
    assert sr.SeriesInstanceUID != pdf.SeriesInstanceUID
    assert sr.SeriesNumber >= 9000 <= pdf.SeriesNumber != sr.SeriesNumber
    rendering = sr.ReferencedInstanceSequence[0]
    assert rendering.ReferencedSOPInstanceUID == pdf.SOPInstanceUID
    assert rendering.PurposeOfReferenceCodeSequence[0].CodeValue == "121332"
    *images, report = pdf.SourceInstanceSequence
    assert report.ReferencedSOPInstanceUID == sr.SOPInstanceUID
    assert report.PurposeOfReferenceCodeSequence[0].CodeValue == "128225"
    assert [i.ReferencedSOPInstanceUID for i in images] == ["2.25.1001", "2.25.1002"]
    assert {i.PurposeOfReferenceCodeSequence[0].CodeValue for i in images} == {"121324"}


def test_reporting_sr_lists_all_evidence_by_series():
    study = sr_of("blasts").CurrentRequestedProcedureEvidenceSequence[0]
    assert study.StudyInstanceUID == "2.25.777"
    assert [
        (s.SeriesInstanceUID, [i.ReferencedSOPInstanceUID for i in s.ReferencedSOPSequence])
        for s in study.ReferencedSeriesSequence
    ] == [("2.25.900", ["2.25.1001"]), ("2.25.901", ["2.25.1002"])]


@pytest.mark.parametrize("pdf", [b"%PDF-1.4 even", b"%PDF-1.4 odd!!!"])
def test_reporting_wrapped_pdf_keeps_its_true_length(pdf):
    dataset = wrapped("normal", pdf)
    assert dataset.EncapsulatedDocumentLength == len(pdf)
    assert dataset.EncapsulatedDocument[: len(pdf)] == pdf
    assert len(dataset.EncapsulatedDocument) % 2 == 0
    assert (dataset.Modality, dataset.ConversionType) == ("DOC", "WSD")
    assert dataset.BurnedInAnnotation == "YES"
    assert dataset.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "11502-2"


def test_reporting_wraps_nothing_but_a_pdf():
    with pytest.raises(ValueError, match="no PDF"):
        encapsulated_pdf(CASES["normal"], b"<html>")


@pytest.mark.parametrize(
    ("name", "completion", "summary"),
    [
        ("normal", "COMPLETE", "111241"),
        ("blasts", "COMPLETE", "111242"),
        ("malignancy_failed", "PARTIAL", "111243"),
        ("stage_failed", "PARTIAL", "111244"),
        ("non_viable", "COMPLETE", "111245"),
        ("unreadable", "PARTIAL", "111243"),
        ("run_failed", "PARTIAL", "111245"),
    ],
)
def test_reporting_sr_says_how_far_the_cascade_came(name, completion, summary):
    dataset = sr_of(name)
    assert dataset.CompletionFlag == completion
    assert dataset.PreliminaryFlag == "PRELIMINARY"
    said = [
        i.ConceptCodeSequence[0].CodeValue
        for i in items(dataset)
        if i.ConceptNameCodeSequence[0].CodeValue == codes.SUMMARY.value
    ]
    assert said == [summary]
    assert len(texts(dataset, codes.FAILED_STAGE)) == len(CASES[name].analysis.failures)


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("non_viable", codes.CELLS_COUNTED, "114007"),
        ("run_failed", codes.CELLS_COUNTED, "114006"),
        ("malignancy_failed", codes.BLAST_FRACTION, "114006"),
        ("malignancy_failed", codes.SUBTYPE_FRACTION["pre_b"], "114007"),
        ("none", codes.BLAST_FRACTION, "114003"),
    ],
)
def test_reporting_sr_gives_a_reason_and_no_value_for_what_was_not_measured(name, code, reason):
    numbers = [
        i
        for i in items(sr_of(name))
        if i.ValueType == "NUM" and i.ConceptNameCodeSequence[0].CodeValue == code.value
    ]
    assert len(numbers) == 1
    assert len(numbers[0].MeasuredValueSequence) == 0
    assert numbers[0].NumericValueQualifierCodeSequence[0].CodeValue == reason


def test_reporting_sr_says_untrained_and_finding_in_words():
    dataset = sr_of("untrained")
    assert texts(dataset, codes.UNTRAINED_MODELS) == ["UNTRAINED MODELS"]
    assert dataset.SeriesDescription.startswith("UNTRAINED MODELS")
    assert texts(dataset, codes.FINDING) == [CASES["untrained"].finding.text]
    assert texts(sr_of("normal"), codes.UNTRAINED_MODELS) == []


def test_reporting_sr_names_each_network_with_digest_and_thresholds():
    parameters = [
        i.TextValue
        for i in items(sr_of("normal"))
        if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0].CodeValue == "111002"
    ]
    for model in CASES["normal"].analysis.bundle.models:
        assert f"weights SHA-256 {model.sha256}" in parameters
    assert parameters.count("reject = 0.5") == 6


def test_reporting_sr_reads_as_tid_1500_in_highdicom():
    document = hd.sr.srread(io.BytesIO(sr_document(CASES["blasts"])))
    report = document.content
    groups = report.get_image_measurement_groups()
    assert len(groups) == 2 + 5 + 1  # two images, each stage after the first, adequacy
    context = report.get_subject_contexts()[0].subject_class_specific_context
    assert context.specimen_identifier == "SP-77"
    values = {
        m.name.value: m.value
        for group in groups
        for m in group.get_measurements()
        if m[0].MeasuredValueSequence
    }
    assert values["26446-5"] == 35.8
    assert values["11282-1"] == 204


def test_reporting_sr_has_no_finding_of_a_stage_that_failed():
    """Blasts that were counted before stage 5 failed are no finding."""
    failure = StageFailure(stage=Stage.MALIGNANCY, reason="nan")
    made = cases.report(cases.analysis_of(cases.FEW, failures=[failure]))
    said = [
        i.ConceptCodeSequence[0].CodeValue
        for i in items(read(sr_document(made)))
        if i.ConceptNameCodeSequence[0].CodeValue == codes.SUMMARY.value
    ]
    assert said == ["111243"]


def test_reporting_sr_knows_the_source_of_a_measurement_by_its_bytes():
    """On the command line the source is named after its file."""
    named = cases.reading(1)
    header = dataclasses.replace(named.header, source="smear.dcm")
    image = dataclasses.replace(named, header=header)
    made = cases.report(cases.analysis_of(cases.FEW, images=(image,)))
    sources = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for i in items(read(sr_document(made)))
        if i.ConceptNameCodeSequence[0].CodeValue == codes.SOURCE_OF_MEASUREMENT.value
    ]
    assert sources == ["2.25.1001"]


def test_reporting_morphological_blasts_count_those_that_stage_5_rejected():
    figures = figures_of(CASES["rejected_blasts"])
    assert figures["differential.blast_cells.count"] == "2"
    assert figures["morphological_blasts.count"] == "11"
    # 214 leukocytes and the 9 rejected ones
    assert figures["morphological_blasts.percent"] == f"{100 * 11 / 223:.1f}"
    assert numbers_in_sr(sr_document(CASES["rejected_blasts"])) == figures


def test_reporting_platelets_per_field_only_where_there_are_fields():
    assert figures_of(CASES["normal"])["platelets_per_field"] == "8.500"  # 34 over 4
    single = figures_of(CASES["single_cells"])
    assert single["platelets"] == "4"
    assert "platelets_per_field" not in single


def test_reporting_leaves_out_references_and_codes_that_are_none_and_says_so():
    good, bad = cases.context().evidence
    specimen = cases.context().specimen
    long_type = Code(value="258433009", scheme="SCT", meaning="Smear " * 30)
    given = cases.context(
        evidence=(good, dataclasses.replace(bad, instance_uid="no uid")),
        specimen=dataclasses.replace(specimen, type_code=long_type),
    )
    made = cases.report(context=given)
    assert made.context.evidence == (good,)
    assert made.context.specimen.type_code.meaning == ("Smear " * 30)[:64].rstrip()
    said = texts(read(sr_document(made)), codes.COMMENT)
    assert "Warning: 1 instances are not named as evidence: their UIDs are none" in said
    bare = dataclasses.replace(specimen, uid="x", type_code=Code(value="", scheme="", meaning="a"))
    made = cases.report(context=cases.context(specimen=bare))
    assert made.context.specimen.type_code is None
    assert made.context.specimen.identifier == "SP-77"
    assert len(made.context.warnings) == 2
    sr_document(made)


def test_reporting_objects_without_specimen_or_evidence():
    dataset = sr_of("bare")
    assert "121027" not in [
        c.CodeValue for i in items(dataset) for c in i.get("ConceptCodeSequence", [])
    ]
    plain = cases.report(context=cases.context(evidence=()))
    dataset = read(sr_document(plain))
    assert "CurrentRequestedProcedureEvidenceSequence" not in dataset
    assert len(read(encapsulated_pdf(plain, PDF)).SourceInstanceSequence) == 1
