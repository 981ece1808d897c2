from dataclasses import replace

import pytest

from domain.identities import derived_uid
from domain.study import (
    EvidenceRef,
    MixedStudyError,
    Patient,
    Specimen,
    StudyContext,
    merged_context,
)


def context(instance: str, **more) -> StudyContext:
    return StudyContext(
        patient=Patient(patient_id="1"),
        study_uid="2.25.1",
        evidence=(
            EvidenceRef(sop_class_uid="c", instance_uid=instance, series_uid="s", sha256="0" * 64),
        ),
        **more,
    )


def specimen(identifier: str) -> Specimen:
    return Specimen(identifier=identifier, uid="2.25.2", container_identifier="box")


def test_merged_context_has_everyones_evidence_in_order():
    merged = merged_context(
        [
            context("2", acquired_at="20260102", warnings=("soft",)),
            context("1", acquired_at="20260101", specimen=specimen("a"), warnings=("soft",)),
        ]
    )
    assert [e.instance_uid for e in merged.evidence] == ["1", "2"]
    assert merged.acquired_at == "20260101"
    assert merged.specimen == specimen("a")
    assert merged.warnings == ("soft",)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(context("2"), study_uid="2.25.9"), "two studies"),
        (replace(context("2"), patient=Patient(patient_id="2")), "two patients"),
        (replace(context("2"), patient=Patient(patient_id="")), "two patients"),
    ],
)
def test_mixed_studies_are_refused(other, said):
    with pytest.raises(MixedStudyError, match=said):
        merged_context([context("1"), other])


def of(*patients: Patient) -> list[StudyContext]:
    return [replace(context(str(n)), patient=p) for n, p in enumerate(patients)]


def test_an_issuer_that_is_not_stated_is_no_other_issuer():
    merged_context(of(*(Patient(patient_id="1", issuer=i) for i in ("", "X", " X"))))
    with pytest.raises(MixedStudyError, match="two patients"):
        merged_context(of(*(Patient(patient_id="1", issuer=i) for i in ("", "X", "Y"))))


@pytest.mark.parametrize(
    ("name", "birth", "same"),
    [
        ("doe^ JANE ^^", "1979-03-04", True),
        ("Doe^Jane=Other^Script", "19790304", True),
        ("Doe^John", "19790304", False),
        ("Doe^Jane", "19790305", False),
        ("", "", False),
    ],
)
def test_patients_without_an_id_are_told_apart_by_name_and_birth_date(name, birth, same):
    first = Patient(name="Doe^Jane", birth_date="19790304")
    contexts = of(first, Patient(name=name, birth_date=birth))
    if same:
        assert merged_context(contexts).patient == first
    else:
        with pytest.raises(MixedStudyError, match="two patients"):
            merged_context(contexts)


def test_two_specimens_are_refused():
    with pytest.raises(MixedStudyError, match="two specimens"):
        merged_context([context("1", specimen=specimen("a")), context("2", specimen=specimen("b"))])


def test_derived_uids_are_uids_and_tell_parts_apart():
    uid = derived_uid("case", "1", "pdf")
    assert uid == derived_uid("case", "1", "pdf")
    assert uid.startswith("2.25.")
    assert len(uid) <= 44
    assert derived_uid("case1", "pdf") != derived_uid("case", "1pdf")
