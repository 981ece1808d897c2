"""The content of the SR, held against TID 1500 row by row, and every code against a table."""

import dataclasses
import io
import re
from functools import cache

import pytest
from pydicom import dcmread
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes as dicom_codes

from domain.cells import Stage
from domain.study import Code
from reporting import codes
from reporting.sr import sr_document
from tests import reporting_cases as cases

CASES = cases.all_cases()


@cache
def read(name):
    return dcmread(io.BytesIO(sr_document(CASES[name])))


def children(item, code=None, kind=None):
    return [
        c
        for c in item.get("ContentSequence", [])
        if (code is None or concept_of(c) == (code.scheme, code.value))
        and (kind is None or c.ValueType == kind)
    ]


def concept_of(item):
    names = item.get("ConceptNameCodeSequence", [])
    return (names[0].CodingSchemeDesignator, names[0].CodeValue) if names else None


def one(item, code, kind):
    (found,) = children(item, code, kind)
    return found


def dcm(value, meaning=""):
    return Code(value=value, scheme="DCM", meaning=meaning)


def everything(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from everything(child)


@pytest.mark.parametrize("name", CASES)
def test_every_mandatory_row_of_tid_1500_is_there(name):
    root = read(name)
    # TID 1500 row 1, and its template
    assert (root.ValueType, concept_of(root)) == ("CONTAINER", ("DCM", "126000"))
    assert root.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert root.ContentTemplateSequence[0].MappingResource == "DCMR"
    # row 2: TID 1204, language
    language = one(root, dcm("121049"), "CODE")
    assert language.RelationshipType == "HAS CONCEPT MOD"
    assert language.ConceptCodeSequence[0].CodeValue == "en-US"
    # row 3: TID 1001 > 1002 > 1004, a device with its UID, after the person who signed
    observers = children(root, dcm("121005"), "CODE")
    assert {o.RelationshipType for o in observers} == {"HAS OBS CONTEXT"}
    types = [o.ConceptCodeSequence[0].CodeValue for o in observers]
    person = [codes.PERSON.value] if CASES[name].signature else []
    assert types == [*person, codes.DEVICE.value]
    device = one(root, dcm("121012"), "UIDREF").UID
    assert device == CASES[name].producer.device_uid
    # TID 1006 > 1009: a specimen has its UID
    if CASES[name].context.specimen is not None:
        subject = one(root, dcm("121024"), "CODE")
        assert subject.ConceptCodeSequence[0].CodeValue == codes.SPECIMEN.value
        specimen = one(root, dcm("121039"), "UIDREF").UID
        assert specimen == CASES[name].context.specimen.uid
    # row 4: procedure reported, of CID 100
    reported = one(root, codes.PROCEDURE_REPORTED, "CODE").ConceptCodeSequence[0]
    assert reported.CodeValue in {c.value for c in dicom_codes.cid100.concepts.values()}
    # row 5: TID 1600, every instance of the evidence once
    evidence = CASES[name].context.evidence
    if evidence:
        library = one(root, codes.IMAGE_LIBRARY, "CONTAINER")
        groups = children(library, codes.IMAGE_LIBRARY_GROUP, "CONTAINER")
        images = [i for group in groups for i in children(group, kind="IMAGE")]
        assert all(children(group, codes.MODALITY, "CODE") for group in groups)
        referred = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images]
        assert sorted(referred) == sorted(e.instance_uid for e in evidence)
    # row 6: imaging measurements, and row 12: qualitative evaluations
    assert children(one(root, codes.IMAGING_MEASUREMENTS, "CONTAINER"))
    assert children(one(root, codes.QUALITATIVE_EVALUATIONS, "CONTAINER"))


@pytest.mark.parametrize("name", CASES)
def test_every_group_has_its_mandatory_rows(name):
    """TID 1501 and TID 4019: tracking, algorithm with version, numbers with method."""
    root = read(name)
    groups = children(one(root, codes.IMAGING_MEASUREMENTS, "CONTAINER"))
    names = []
    for group in groups:
        assert concept_of(group) == ("DCM", "125007")
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
        names.append(one(group, dcm("112039"), "TEXT").TextValue)
        assert one(group, dcm("112040"), "UIDREF").UID
        assert one(group, dcm("111001"), "TEXT").TextValue
        assert one(group, dcm("111003"), "TEXT").TextValue
        assert children(group, kind="NUM")
    wanted = [codes.STAGE_GROUPS[stage] for stage in list(Stage)[1:]]
    assert names[-6:] == [*wanted, "Adequacy"]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", CASES)
def test_every_number_has_unit_and_method_and_either_a_value_or_a_reason(name):
    reasons = {c.value for c in dicom_codes.cid42.concepts.values()}
    for item in everything(read(name)):
        if item.ValueType != "NUM":
            continue
        measured = item.MeasuredValueSequence
        if measured:
            unit = measured[0].MeasurementUnitsCodeSequence[0]
            assert unit.CodingSchemeDesignator == "UCUM"
            assert len(str(measured[0].NumericValue)) <= 16
            assert "NumericValueQualifierCodeSequence" not in item
        else:
            assert item.NumericValueQualifierCodeSequence[0].CodeValue in reasons
        if item.RelationshipType == "CONTAINS":
            method = one(item, codes.MEASUREMENT_METHOD, "CODE")
            assert method.ConceptCodeSequence[0].CodeValue == codes.AUTOMATED.value


def coded(dataset):
    for element in dataset:
        if element.VR != "SQ":
            continue
        for item in element.value:
            if "CodeMeaning" in item:
                yield item
            yield from coded(item)


@pytest.mark.parametrize("name", CASES)
def test_every_code_is_one_of_a_table(name):
    """PS3.16 as pydicom carries it, else the one table of our own."""
    known = {
        (scheme, value)
        for scheme, keywords in concepts.items()
        for values in keywords.values()
        for value in values
    }
    ours = {(c.scheme, c.value): c.meaning for c in table()}
    specimen = CASES[name].context.specimen
    given = {specimen.type_code.value} if specimen and specimen.type_code else set()
    for item in coded(read(name)):
        key = (item.CodingSchemeDesignator, item.CodeValue)
        if key[1] in given:
            continue
        assert key in known or key in ours, key
        if key in ours:
            assert item.CodeMeaning == ours[key]
        if key[0] == codes.LOCAL_SCHEME:
            assert re.fullmatch(r"[A-Z0-9-]{1,16}", key[1])


def table():
    def walk(value):
        if isinstance(value, Code):
            yield value
        elif isinstance(value, dict):
            for each in value.values():
                yield from walk(each)

    return [c for name in dir(codes) for c in walk(getattr(codes, name))]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("blasts", codes.PRESENT),
        ("normal", codes.ABSENT),
        ("none", codes.UNDETERMINED),
        ("malignancy_failed", codes.UNDETERMINED),
        ("non_viable", codes.UNDETERMINED),
    ],
)
def test_whether_blasts_were_seen_is_coded(name, seen):
    (said,) = [
        i
        for i in everything(read(name))
        if concept_of(i) == (codes.BLASTS_SEEN.scheme, codes.BLASTS_SEEN.value)
    ]
    assert said.ConceptCodeSequence[0].CodeValue == seen.value


@pytest.mark.parametrize("name", ["normal", "blasts", "few", "none", "wbc_failed"])
def test_adequacy_is_a_group_of_its_own(name):
    from domain.analysis import StageFailure

    failed = cases.report(
        cases.analysis_of(cases.FEW, failures=[StageFailure(stage=Stage.WBC_CLASS, reason="nan")])
    )
    report = CASES.get(name, failed)
    root = dcmread(io.BytesIO(sr_document(report)))
    group = children(one(root, codes.IMAGING_MEASUREMENTS, "CONTAINER"))[-1]
    said = one(group, codes.ADEQUACY, "CODE").ConceptCodeSequence[0].CodeValue
    measured = report.measured(Stage.WBC_CLASS)
    wanted = codes.ADEQUACY_IS[report.numbers.adequacy.value] if measured else codes.UNDETERMINED
    assert said == wanted.value
    numbers = {
        concept_of(i)[1]: int(i.MeasuredValueSequence[0].NumericValue)
        for i in children(group, kind="NUM")
    }
    assert numbers == {
        "LEUKWANTED": report.leukocytes_wanted,
        "FIELDSREAD": sum(i.fields_read for i in report.analysis.images),
        "FIELDSREFUSED": sum(i.fields_refused for i in report.analysis.images),
        "FIELDSLEFT": sum(i.fields_left for i in report.analysis.images),
    }


def test_a_signed_report_is_verified_by_a_person_and_names_its_predecessor():
    dataset = read("signed")
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("VERIFIED", "FINAL")
    (observer,) = dataset.VerifyingObserverSequence
    assert str(observer.VerifyingObserverName) == "Müller^Anna^^Prof. Dr."
    assert observer.VerifyingOrganization == "University Hospital"
    assert observer.VerificationDateTime == "20261124101200.000000+0000"
    assert dataset.PredecessorDocumentsSequence
    types = [c.ConceptCodeSequence[0].CodeValue for c in children(dataset, dcm("121005"), "CODE")]
    assert types == [codes.PERSON.value, codes.DEVICE.value]
    assert str(one(dataset, dcm("121008"), "PNAME").PersonName) == "Müller^Anna^^Prof. Dr."
    assert one(dataset, dcm("121009"), "TEXT").TextValue == "University Hospital"
    said = [i.TextValue for i in everything(dataset) if i.ValueType == "TEXT"]
    assert not any("UNVERIFIED" in text for text in said)


def test_what_a_person_typed_is_written_as_its_attributes_hold_it():
    *acts, last = CASES["signed"].reviews
    typed = dataclasses.replace(last, by="Dr. A\\B\x00 " + "x" * 90, organization="")
    signed = dataclasses.replace(CASES["signed"], reviews=(*acts, typed))
    (observer,) = dcmread(io.BytesIO(sr_document(signed))).VerifyingObserverSequence
    assert str(observer.VerifyingObserverName) == ("Dr. A B  " + "x" * 90)[:64]
    assert observer.VerifyingOrganization == "not stated"


def test_an_unsigned_report_is_unverified_and_says_so():
    dataset = read("normal")
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in dataset
    assert not children(dataset, dcm("121008"))
    performed = dataset.PerformedProcedureCodeSequence[0]
    assert performed.CodeValue == codes.LIGHT_MICROSCOPY.value
