"""Signatures, amendments, reclassified cells: new reports beside the old, on the real road."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
from pydicom import dcmread
from sqlalchemy.exc import DBAPIError

from db import queries
from db.audit import verify_chain
from db.database import Database
from db.errors import ReviewRefused, UnknownRow
from db.reporting_rows import IssuedReport, ObjectKind
from db.reviewing import amend_report, reclassify_cell, sign_report
from dicom_node.archive import FolderArchive
from domain.counts import AdequacyLimits
from domain.identities import CaseId
from domain.reviews import Review, ReviewKind
from domain.states import CaseState, ReportStatus
from leukonode import steps
from reporting.pdf_text import pdf_text
from reporting.readback import numbers_in_pdf_text, numbers_in_sr
from tests.revisions_house import Desk, desk

ANNA = "Müller^Anna"
BOTH = (ObjectKind.PDF, ObjectKind.SR)
FIRST_BLAST, FIRST_LYMPHOCYTE, FIRST_NEUTROPHIL = 35, 47, 67  # cell numbers of the plan


@pytest.fixture
def at(database: Database, tmp_path: Path) -> Iterator[Desk]:
    with FolderArchive(tmp_path / "pacs", ae_title="ARCHIVE") as archive:
        yield desk(database, tmp_path, archive=archive)


def sign(at: Desk, case_id: CaseId, by: str = ANNA, **more) -> Review:
    with at.database.transaction() as tx:
        return sign_report(tx, case_id, by=by, now=at.clock(), **more)


def reclassify(
    at: Desk, case_id: CaseId, cell: int, name: str, by: str = ANNA, comment: str = "", **more
):
    with at.database.transaction() as tx:
        return reclassify_cell(
            tx,
            case_id,
            cell,
            name,
            by=by,
            comment=comment,
            limits=AdequacyLimits(),
            now=at.clock(),
            **more,
        )


def detail(at: Desk, case_id: CaseId) -> queries.CaseDetail:
    with at.database.reading() as conn:
        return queries.case(conn, case_id)


def opened(at: Desk, report: IssuedReport):
    """SR data set, the PDF's object and the PDF's text, of the issued bytes."""
    paths = {kind: at.house.store.path(report.object(kind).store_key) for kind in BOTH}
    wrapped = dcmread(paths[ObjectKind.PDF])
    return dcmread(paths[ObjectKind.SR]), wrapped, pdf_text(bytes(wrapped.EncapsulatedDocument))


def numbers(at: Desk, report: IssuedReport) -> dict[str, str]:
    """As both drawings say them."""
    _, _, text = opened(at, report)
    sr = at.house.store.path(report.object(ObjectKind.SR).store_key).read_bytes()
    assert numbers_in_pdf_text(text) == numbers_in_sr(sr)
    return numbers_in_sr(sr)


def test_a_signature_issues_a_verified_report_that_names_the_old_one(at: Desk) -> None:
    case_id = at.reported()
    sign(at, case_id, organization="Haematology", comment="Seen on the slide")
    assert detail(at, case_id).line.state is CaseState.ANALYSED
    at.report(case_id)
    found = detail(at, case_id)
    old, new = found.reports
    assert (old.status, new.status) == (ReportStatus.PRELIMINARY, ReportStatus.VERIFIED)
    assert new.predecessor == old.report_id
    assert found.line.state is CaseState.DELIVERED

    sr, wrapped, text = opened(at, new)
    assert (sr.VerificationFlag, sr.PreliminaryFlag) == ("VERIFIED", "FINAL")
    assert wrapped.VerificationFlag == "VERIFIED"
    observer = sr.VerifyingObserverSequence[0]
    assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == (
        ANNA,
        "Haematology",
    )
    replaced = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert (
        replaced.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        == old.object(ObjectKind.SR).instance_uid
    )
    assert "Verified by Müller, Anna, Haematology" in " ".join(text.split())
    assert "UNVERIFIED" not in text
    assert "Seen on the slide" in text
    assert numbers(at, old) == numbers(at, new)
    held = [str(dcmread(p, force=True).SOPInstanceUID) for p in sorted(at.received.iterdir())]
    assert held == [o.instance_uid for r in (old, new) for o in r.objects]


def test_a_reclassified_cell_moves_every_number_and_the_old_answer_stays(at: Desk) -> None:
    case_id = at.reported()
    reclassify(at, case_id, FIRST_LYMPHOCYTE, "pro_b", comment="Platelets 3 in a clump")
    reclassify(at, case_id, FIRST_NEUTROPHIL, "eosinophil", by="Bo")
    reclassify(at, case_id, FIRST_BLAST, "unclassified")
    at.report(case_id)
    found = detail(at, case_id)
    old, new = (numbers(at, r) for r in found.reports)
    assert found.reports[1].status is ReportStatus.AMENDED
    assert (old["blasts.count"], old["leukocytes"]) == ("12", "60")
    assert (new["blasts.count"], new["leukocytes"]) == ("12", "59")
    assert (old["subtype.pro_b.count"], new["subtype.pro_b.count"]) == ("0", "1")
    assert "differential.eosinophil.count" not in old
    assert new["differential.eosinophil.count"] == "1"
    assert new["unclassified.wbc_class"] == "1"
    line = found.analyses[-1]
    assert (line.leukocytes, line.reviewed) == (59, 3)
    assert (found.line.leukocytes, found.line.blasts.count) == (59, 12)

    _, _, text = opened(at, found.reports[1])
    said = " ".join(text.split())
    assert "3 cells were reclassified by a person" in said
    assert "The networks alone counted 12 blasts of 60 leukocytes (20.0 %)" in said
    assert "Platelets 3 in a clump" in said
    kept = at.all_rows(f"SELECT wbc_class FROM leukonode.cells WHERE number = {FIRST_LYMPHOCYTE}")
    assert kept == [{"wbc_class": "lymphocytes"}]
    rows = at.all_rows(
        "SELECT person, cell, before_final_class, after_final_class, comment, issued_revision"
        " FROM auditor.reviews ORDER BY ordinal"
    )
    assert rows[0] == {
        "person": ANNA,
        "cell": FIRST_LYMPHOCYTE,
        "before_final_class": "lymphocytes",
        "after_final_class": "blast_cells",
        "comment": "Platelets 3 in a clump",
        "issued_revision": 2,
    }
    latest = at.all_rows(
        "SELECT name, count FROM auditor.results WHERE latest AND kind = 'summary' ORDER BY position"
    )
    assert [(r["name"], r["count"]) for r in latest][:2] == [("leukocytes", 59), ("blasts", 12)]


def test_the_second_word_about_a_cell_keeps_the_first(at: Desk) -> None:
    case_id = at.reported()
    first = reclassify(at, case_id, FIRST_LYMPHOCYTE, "monocytes")
    second = reclassify(at, case_id, FIRST_LYMPHOCYTE, "blast_cells", by="Bo")
    assert second.change.before == first.change.after
    assert [r.change.after.final_class for r in detail(at, case_id).reviews] == [
        "monocytes",
        "blast_cells",
    ]
    at.report(case_id)
    new = numbers(at, detail(at, case_id).reports[-1])
    assert (new["differential.monocytes.count"], new["blasts.count"]) == ("0", "13")
    assert new["unclassified.subtype"] == "1"  # a blast, and nobody named its pattern


def test_a_reclassification_after_the_signature_is_unverified_until_signed_again(at: Desk) -> None:
    case_id = at.reported()
    for act in (
        lambda: sign(at, case_id),
        lambda: reclassify(at, case_id, FIRST_NEUTROPHIL, "monocytes"),
        lambda: sign(at, case_id, by="Bo", revision=3),
    ):
        act()
        at.report(case_id)
    found = detail(at, case_id)
    assert [r.status.value for r in found.reports] == [
        "preliminary",
        "verified",
        "amended",
        "verified",
    ]
    flags = [opened(at, r)[0].VerificationFlag for r in found.reports]
    assert flags == ["UNVERIFIED", "VERIFIED", "UNVERIFIED", "VERIFIED"]
    assert numbers(at, found.reports[3]) == numbers(at, found.reports[2])
    assert [r.kind for r in found.reviews] == [
        ReviewKind.SIGNATURE,
        ReviewKind.RECLASSIFICATION,
        ReviewKind.SIGNATURE,
    ]
    issued = [r.issued_at for r in found.reports]
    assert issued == sorted(set(issued))
    with at.database.reading() as conn:
        verify_chain(conn)
        told = queries.events(
            conn, names=("report signed", "cell reclassified", "report issued"), case_id=case_id
        )
    assert [e.event for e in told] == [
        "report issued",
        "report signed",
        "report issued",
        "cell reclassified",
        "report issued",
        "report signed",
        "report issued",
    ]
    assert told[1].actor == f"person:{ANNA}"
    assert told[3].details["before"] == "neutrophil"


def test_an_amendment_is_a_comment_and_no_number(at: Desk) -> None:
    case_id = at.reported()
    with at.database.transaction() as tx:
        amend_report(
            tx, case_id, by="Bo", comment="Leukocytes counted 999, a smear of 3.", now=at.clock()
        )
    at.report(case_id)
    found = detail(at, case_id)
    assert found.reports[-1].status is ReportStatus.AMENDED
    assert found.line.state is CaseState.DELIVERED
    assert numbers(at, found.reports[0]) == numbers(at, found.reports[1])
    assert "Leukocytes counted 999" in opened(at, found.reports[1])[2]


def test_a_late_image_sets_reclassifications_and_signature_aside(at: Desk) -> None:
    case_id = at.reported()
    reclassify(at, case_id, FIRST_LYMPHOCYTE, "blast_cells")
    at.report(case_id)
    sign(at, case_id)
    at.analysed()
    at.report(case_id)
    found = detail(at, case_id)
    assert [r.status.value for r in found.reports] == ["preliminary", "amended", "amended"]
    assert numbers(at, found.reports[2])["blasts.count"] == "12"
    sr, _, text = opened(at, found.reports[2])
    assert sr.VerificationFlag == "UNVERIFIED"
    assert "VerifyingObserverSequence" not in sr
    assert "Müller, Anna" in text  # in the history


def test_what_cannot_be_done_gets_one_line_and_changes_nothing(at: Desk) -> None:
    case_id = at.receive()

    def refused(act, words: str) -> None:
        before = at.all_rows("SELECT count(*) FROM audit.events")
        with pytest.raises((ReviewRefused, UnknownRow), match=words) as caught:
            act()
        assert "\n" not in str(caught.value)
        assert at.all_rows("SELECT count(*) FROM audit.events") == before

    refused(lambda: sign(at, CaseId("0" * 8 + "-0000-0000-0000-" + "0" * 12)), "no case")
    refused(lambda: sign(at, case_id), "still arrive")
    at.clock.at = at.clock.at.replace(hour=12)
    steps.complete(at.house, case_id)
    refused(lambda: sign(at, case_id), "waits for a worker")
    steps.analyse(at.house, case_id)
    refused(lambda: sign(at, case_id), "first report is being made")
    refused(lambda: reclassify(at, case_id, 1, "platelet"), "first report is being made")
    at.report(case_id)
    refused(lambda: sign(at, case_id, by="  "), "give a name")
    refused(lambda: sign(at, case_id, revision=7), "revision 1, not 7")
    refused(lambda: reclassify(at, case_id, 1000, "platelet"), "cells are 1 to 94")
    refused(lambda: reclassify(at, case_id, 1, "leucocyte"), "no class")
    refused(lambda: reclassify(at, case_id, 1, "red_blood_cell"), "already")
    sign(at, case_id)
    refused(lambda: sign(at, case_id, by="Bo"), "being made")
    refused(lambda: reclassify(at, case_id, 1, "platelet"), "signed report is being made")
    at.report(case_id)
    refused(lambda: sign(at, case_id, by="Bo"), "signed already")
    at.receive()
    refused(lambda: sign(at, case_id, by="Bo"), "still arrive")


def test_two_persons_at_once_take_turns(at: Desk) -> None:
    case_id = at.reported()
    together = Barrier(2)

    def one(by: str) -> str:
        together.wait()
        try:
            sign(at, case_id, by=by)
        except ReviewRefused as error:
            return str(error)
        return "signed"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(one, ("Anna", "Bo")))
    assert said[1] == "signed"
    assert "being made" in said[0]
    assert len(detail(at, case_id).reviews) == 1


def test_a_reclassification_during_the_drawing_is_in_the_report_that_is_issued(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = at.reported()
    reclassify(at, case_id, FIRST_LYMPHOCYTE, "blast_cells")
    drawn = steps.issue

    def slowly(report, store, **given):
        made = drawn(report, store, **given)
        monkeypatch.setattr(steps, "issue", drawn)
        reclassify(at, case_id, FIRST_LYMPHOCYTE + 1, "blast_cells", by="Bo")
        return made

    monkeypatch.setattr(steps, "issue", slowly)
    at.report(case_id)  # its hold is gone when it wants to commit
    assert len(detail(at, case_id).reports) == 1
    at.report(case_id)
    found = detail(at, case_id)
    assert [r.revision for r in found.reports] == [1, 2]
    assert numbers(at, found.reports[1])["blasts.count"] == "14"


def test_a_connection_that_dies_before_the_commit_leaves_nothing(
    at: Desk, admin_database_url: str
) -> None:
    case_id = at.reported()
    before = at.all_rows("SELECT state FROM leukonode.cases")

    def killed() -> None:
        with at.database.transaction() as tx:
            reclassify_cell(
                tx,
                case_id,
                FIRST_LYMPHOCYTE,
                "blast_cells",
                by="Bo",
                limits=AdequacyLimits(),
                now=at.clock(),
            )
            with psycopg.connect(admin_database_url) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", [tx.driver.info.backend_pid])

    with pytest.raises(DBAPIError):
        killed()
    assert at.all_rows("SELECT state FROM leukonode.cases") == before
    assert at.all_rows("SELECT id FROM leukonode.reviews") == []
    assert at.all_rows("SELECT DISTINCT reviewed FROM leukonode.results") == [{"reviewed": 0}]


def test_the_service_may_not_change_a_review(at: Desk) -> None:
    case_id = at.reported()
    sign(at, case_id)
    for change in ("UPDATE leukonode.reviews SET person = 'x'", "DELETE FROM leukonode.reviews"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), at.database.transaction() as tx:
            tx.driver.execute(change)


@pytest.mark.parametrize("which", ["pdf", "sr"])
def test_a_drawing_with_one_wrong_digit_stays_here_and_raises_the_alarm(
    at: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    from leukonode import issuing

    right = {"pdf": issuing.pdf_bytes, "sr": issuing.sr_document}

    def wrong_pdf(report, **given):
        # as a drawing would that reads another value: one monocyte in place of none
        rows = [
            replace(r, proportion=replace(r.proportion, count=1)) if r.name == "monocytes" else r
            for r in report.numbers.differential
        ]
        return right["pdf"](
            replace(report, numbers=replace(report.numbers, differential=tuple(rows))), **given
        )

    def wrong_sr(report, **given):
        made = right["sr"](report, **given)
        at_value = made.index(b"DS\x02\x0060")  # of Measured Value: 60 leukocytes
        return made[: at_value + 4] + b"68" + made[at_value + 6 :]

    doubles = {"pdf": ("pdf_bytes", wrong_pdf), "sr": ("sr_document", wrong_sr)}
    monkeypatch.setattr(issuing, *doubles[which])
    case_id = at.reported()
    found = detail(at, case_id)
    assert found.line.state is CaseState.FAILED
    assert (found.reports, found.deliveries) == ((), ())
    assert not list(at.received.iterdir())
    event = found.events[-1]
    assert (event.event, event.outcome) == ("report blocked", "failure")
    assert which.upper() in event.details["first"]
    assert case_id in caplog.text
    assert "Doe" not in caplog.text
    with at.database.reading() as conn:
        assert queries.blocked_reports(conn) == (case_id,)
        verify_chain(conn)

    monkeypatch.undo()  # mended: a person sends it on
    from db.retrying import retry_case

    with at.database.transaction() as tx:
        assert retry_case(tx, case_id, by="admin", now=at.clock())
    at.report(case_id)
    assert detail(at, case_id).line.state is CaseState.DELIVERED
    with at.database.reading() as conn:
        assert queries.blocked_reports(conn) == ()


def test_an_object_that_changed_in_the_store_does_not_leave(at: Desk) -> None:
    case_id = at.analysed()
    at.clock.at = at.clock.at.replace(hour=12)
    steps.report(at.house, case_id)
    report = detail(at, case_id).reports[0]
    file = at.house.store.path(report.object(ObjectKind.SR).store_key)
    file.write_bytes(file.read_bytes().replace(b"DS\x02\x0060", b"DS\x02\x0068"))
    for delivery in at.waiting():
        steps.deliver(at.house, delivery)
    found = detail(at, case_id)
    assert found.line.state is CaseState.UNDELIVERED
    assert "not what was issued" in found.deliveries[0].last_error
    assert not list(at.received.iterdir())


def test_the_result_file_of_a_revised_report_keeps_its_schema(at: Desk) -> None:
    from db.analysis_rows import load_analysis
    from reporting.result_json import result_bytes, validate
    from tests import reporting_cases as cases

    case_id = at.reported()
    reclassify(at, case_id, FIRST_LYMPHOCYTE, "pre_b", comment="by eye")
    found = detail(at, case_id)
    with at.database.reading() as conn:
        analysis = load_analysis(conn, found.analyses[0].analysis_id)
    result = json.loads(
        result_bytes(cases.report(analysis, reviews=found.reviews), with_seconds=False)
    )
    validate(result)
    assert result["reviews"][0]["after"]["subtype"] == "pre_b"
    assert result["blasts"]["count"] == 13
    assert result["cells"][FIRST_LYMPHOCYTE - 1]["malignancy_p"] is None
