"""The road of a case through the database, step by step, on a real PostgreSQL."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db import queries
from db.analysing import (
    ATTEMPTS,
    AfterFailure,
    AnalysisClaim,
    claim_analysis,
    extend_lease,
    fail_analysis,
    finish_analysis,
    give_up_analysis,
)
from db.analysis_rows import load_analysis
from db.database import Database
from db.delivering import (
    DeliveryClaim,
    DeliveryOutcome,
    claim_delivery,
    finish_delivery,
    record_instance_status,
    retry_delivery,
)
from db.errors import NotProven, UnknownRow
from db.receiving import (
    Arrival,
    InstanceRole,
    IntakeKind,
    QuarantineReason,
    complete_case,
    receive_instance,
    record_quarantine,
)
from db.reporting_rows import (
    ObjectKind,
    ReportClaim,
    ReportObject,
    claim_report,
    fail_report,
    finish_report,
)
from db.retrying import retry_case
from db.sweeping import ANALYSIS_DEATHS, DELIVERY_ATTEMPTS, sweep
from domain.analysis import Analysis, BundleInfo, ModelInfo
from domain.cells import Cell, CellClass, Malignancy, Stage, Subtype, WbcClass
from domain.counts import AdequacyLimits, Numbers, Proportion, numbers_of
from domain.identities import (
    CaseId,
    InstanceUID,
    SeriesUID,
    Sha256,
    SopClassUID,
    StudyUID,
    derived_uid,
    derived_uuid,
)
from domain.image import (
    Box,
    Domain,
    ImageHeader,
    ImageReading,
    ScaleFrom,
    Verdict,
    Viability,
)
from domain.states import CaseState, CompletedBy, DeliveryState, ReportStatus
from domain.study import Patient

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
QUIET = timedelta(seconds=30)
LEASE = timedelta(minutes=5)


def arrival(
    number: int = 1, *, study: str = "1.2.3", content: str = "a", patient: str = "P1"
) -> Arrival:
    return Arrival(
        instance_uid=InstanceUID(f"{study}.9.{number}"),
        sop_class_uid=SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.2"),
        series_uid=SeriesUID(f"{study}.9"),
        study_uid=StudyUID(study),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        patient=Patient(name="Doe^Jane", patient_id=patient, birth_date="20100101", sex="F"),
        accession_number="A1",
        domain=Domain.SMEAR,
        role=InstanceRole.IMAGE,
        sha256=Sha256(content * 64),
        size_bytes=1000 + number,
        store_key=f"objects/{content}{number}",
        calling_ae="SCANNER",
    )


def receive(database: Database, given: Arrival, now: datetime = NOW) -> tuple[IntakeKind, CaseId]:
    with database.transaction() as tx:
        intake = receive_instance(tx, given, quiet=QUIET, now=now)
    return intake.kind, intake.case_id


def analysis_of(claim: AnalysisClaim) -> tuple[Analysis, Numbers]:
    """Two lymphoid cells, one of them a blast, on the claim's first image."""
    stored = claim.instances[0]
    reading = ImageReading(
        header=ImageHeader(
            source=stored.instance_uid,
            sha256=stored.sha256,
            width_px=640,
            height_px=480,
            frames=1,
            domain=Domain.SMEAR,
        ),
        viability=Viability(p=0.9, verdict=Verdict.VIABLE),
        um_per_px=(0.1, 0.1),
        scale_from=ScaleFrom.RED_CELLS,
        fields_read=1,
        fields_refused=0,
    )
    lymphocyte = Cell(
        number=1,
        image=0,
        frame=1,
        box_px=Box(1.5, 2.5, 30.25, 40.0),
        detection_p=0.75,
        cell_class=CellClass.WHITE_BLOOD_CELL,
        cell_class_p=(0.1, 0.2, 0.7),
        wbc_class=WbcClass.LYMPHOCYTES,
        wbc_class_p=(0.0,) * 10,
        malignancy=Malignancy.BENIGN,
        malignancy_p=(0.9, 0.1),
        final_class=WbcClass.LYMPHOCYTES,
    )
    blast = replace(
        lymphocyte,
        number=2,
        wbc_class=WbcClass.BLAST_CELLS,
        malignancy=Malignancy.MALIGNANT,
        malignancy_p=(0.1, 0.9),
        subtype=Subtype.PRE_B,
        subtype_p=(0.1, 0.8, 0.1),
        final_class=WbcClass.BLAST_CELLS,
    )
    model = ModelInfo(
        stage=Stage.WBC_CLASS,
        architecture="vit",
        sha256=Sha256("e" * 64),
        classes=tuple(c.value for c in list(WbcClass)[:10]),
        thresholds=(("reject", 0.5),),
    )
    analysis = Analysis(
        bundle=BundleInfo(
            id="starter",
            version="1",
            manifest_sha256=Sha256("f" * 64),
            untrained=True,
            domains=(Domain.SMEAR,),
            models=(model,),
            um_per_px=0.1,
        ),
        images=(reading,),
        cells=(lymphocyte, blast),
        stages=(),
        engine="torch cpu",
        processor="test",
        software="leukonode",
        leukocytes_wanted=200,
    )
    numbers = numbers_of(analysis.cells, wbc_classes=model.classes, limits=AdequacyLimits())
    return analysis, numbers


def ready_case(database: Database, *arrivals: Arrival) -> CaseId:
    for given in arrivals or (arrival(),):
        _, case_id = receive(database, given)
    with database.transaction() as tx:
        assert complete_case(tx, case_id, by=CompletedBy.TIMER, now=NOW + QUIET)
    return case_id


def claimed(
    database: Database, case_id: CaseId, now: datetime = NOW + QUIET, owner: str = "w1"
) -> AnalysisClaim:
    with database.transaction() as tx:
        claim = claim_analysis(tx, case_id, owner=owner, lease=LEASE, now=now)
    assert claim is not None
    return claim


def analysed_case(database: Database, *arrivals: Arrival) -> CaseId:
    case_id = ready_case(database, *arrivals)
    claim = claimed(database, case_id)
    with database.transaction() as tx:
        assert finish_analysis(tx, claim, *analysis_of(claim), now=NOW + QUIET)
    return case_id


PDF_AND_SR = ((ObjectKind.PDF, 0), (ObjectKind.SR, 0))


def objects_for(
    claim: ReportClaim, kinds: Sequence[tuple[ObjectKind, int]] = PDF_AND_SR
) -> list[ReportObject]:
    return [
        ReportObject(
            kind=kind,
            instance_uid=InstanceUID(derived_uid(claim.report_id, kind, str(image))),
            sop_class_uid=SopClassUID("1.2.840.10008.5.1.4.1.1.104.1"),
            series_uid=SeriesUID(derived_uid(claim.report_id, kind, "series")),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=Sha256("1" * 64),
            size_bytes=10,
            store_key=f"reports/{claim.report_id}/{kind}",
        )
        for kind, image in kinds
    ]


def report_claim(database: Database, case_id: CaseId, now: datetime = NOW + QUIET) -> ReportClaim:
    with database.transaction() as tx:
        claim = claim_report(tx, case_id, owner="w1", lease=LEASE, now=now)
    assert claim is not None
    return claim


def issue(
    database: Database, case_id: CaseId, destinations: Sequence[str], now: datetime = NOW + QUIET
) -> ReportClaim:
    claim = report_claim(database, case_id, now)
    with database.transaction() as tx:
        assert finish_report(
            tx,
            claim,
            objects=objects_for(claim),
            destinations=destinations,
            issued_at=now,
            now=now,
        )
    return claim


def delivery_claim(
    database: Database, delivery_id: str, now: datetime = NOW + QUIET
) -> DeliveryClaim:
    with database.transaction() as tx:
        claim = claim_delivery(tx, delivery_id, owner="w1", lease=LEASE, now=now)
    assert claim is not None
    return claim


def deliver(database: Database, delivery_id: str, status: int = 0) -> None:
    claim = delivery_claim(database, delivery_id)
    with database.transaction() as tx:
        for made in claim.objects:
            record_instance_status(
                tx,
                claim,
                instance_uid=made.instance_uid,
                status=status,
                comment="",
                now=NOW + QUIET,
            )
        assert finish_delivery(
            tx, claim, outcome=DeliveryOutcome.SUCCEEDED, reason="", now=NOW + QUIET
        )


def detail(database: Database, case_id: str) -> queries.CaseDetail:
    with database.reading() as conn:
        return queries.case(conn, case_id)


def jobs(database: Database) -> list[tuple[str, str]]:
    with database.reading() as conn:
        rows = conn.execute(
            text(
                "SELECT queue_name, args->>'key' FROM queue.procrastinate_jobs "
                "WHERE status = 'todo' ORDER BY id"
            )
        )
        return [(queue, key) for queue, key in rows]


def names(database: Database, case_id: CaseId) -> list[str]:
    return [e.event for e in detail(database, case_id).events]


def test_main_road_ends_delivered_with_every_step_in_the_trail(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS"])
    told = detail(database, case_id)
    assert told.line.state is CaseState.DELIVERING
    deliver(database, told.deliveries[0].delivery_id)
    told = detail(database, case_id[:8])
    assert told.line.state is CaseState.DELIVERED
    assert told.line.blasts == Proportion(1, 2)
    assert told.line.untrained is True
    assert told.analyses[0].subtypes == (("early_pre_b", 0), ("pre_b", 1), ("pro_b", 0))
    assert [i.cells for i in told.images] == [2]
    assert told.images[0].instance_uid == arrival().instance_uid
    assert told.deliveries[0].state is DeliveryState.DELIVERED
    assert [s.status for s in told.deliveries[0].instances] == [0, 0]
    assert [e.event for e in told.events] == [
        "object received",
        "study complete",
        "analysis started",
        "analysis finished",
        "report started",
        "report issued",
        "delivery started",
        "object sent",
        "object sent",
        "delivery succeeded",
        "case delivered",
    ]
    assert told.line.received_at == NOW
    assert told.line.received_at.tzinfo is not None


def test_annotations_are_sent_after_the_report_and_named_in_the_trail(database: Database) -> None:
    case_id = analysed_case(database)
    claim = report_claim(database, case_id)
    shown = [(ObjectKind.ANNOTATIONS, image) for image in (1, 2)]
    objects = objects_for(claim, [*shown, *reversed(PDF_AND_SR)])
    with database.transaction() as tx:
        assert finish_report(
            tx, claim, objects=objects, destinations=["pacs"], issued_at=NOW, now=NOW + QUIET
        )
    delivery = delivery_claim(database, str(derived_uuid("delivery", claim.report_id, "pacs")))
    assert [o.kind.value for o in delivery.objects] == ["pdf", "sr", "annotations", "annotations"]
    with database.reading() as conn:
        (details,) = conn.execute(
            text("SELECT details FROM audit.events WHERE event = 'report issued'")
        ).scalars()
    assert details["annotations_sha256"] == ", ".join(["1" * 64] * 2)
    assert details["pdf_sha256"] == "1" * 64


def test_a_report_has_one_pdf_and_one_sr(database: Database) -> None:
    case_id = analysed_case(database)
    claim = report_claim(database, case_id)
    objects = objects_for(claim)
    twin = replace(objects[-1], instance_uid=InstanceUID("2.25.9"))
    with (
        pytest.raises(IntegrityError, match="report_objects_report_id_kind_key"),
        database.transaction() as tx,
    ):
        finish_report(
            tx, claim, objects=[*objects, twin], destinations=[], issued_at=NOW, now=NOW + QUIET
        )


def test_five_at_once_give_one_new_and_four_again(database: Database) -> None:
    start = Barrier(5)

    def send(_: int) -> IntakeKind:
        start.wait()
        return receive(database, arrival())[0]

    with ThreadPoolExecutor(5) as pool:
        kinds = sorted(pool.map(send, range(5)))
    assert kinds == [IntakeKind.AGAIN] * 4 + [IntakeKind.NEW]
    with database.reading() as conn:
        assert len(queries.cases(conn)) == 1
        assert queries.cases(conn)[0].instances == 1


def test_many_studies_at_once_from_many_threads_lose_nothing(database: Database) -> None:
    given = [arrival(n, study=f"1.2.{s}") for s in range(4) for n in range(6)]

    with ThreadPoolExecutor(8) as pool:
        kinds = [kind for kind, _ in pool.map(lambda a: receive(database, a), given)]
    assert kinds == [IntakeKind.NEW] * 24
    with database.reading() as conn:
        assert [c.instances for c in queries.cases(conn)] == [6] * 4
        assert len(queries.events(conn)) == 24
    assert sorted(jobs(database)) == sorted(
        ("complete", line.case_id) for line in _all_cases(database)
    )


def _all_cases(database: Database) -> tuple[queries.CaseLine, ...]:
    with database.reading() as conn:
        return queries.cases(conn)


def test_again_changes_nothing_but_the_trail(database: Database) -> None:
    _, case_id = receive(database, arrival())
    before = detail(database, case_id)
    kind, _ = receive(database, arrival(), NOW + timedelta(seconds=10))
    after = detail(database, case_id)
    assert kind is IntakeKind.AGAIN
    assert (after.line, after.due_at) == (before.line, before.due_at)
    assert names(database, case_id) == ["object received", "object received again"]


def test_same_uid_with_other_content_is_a_conflict_and_goes_to_quarantine(
    database: Database,
) -> None:
    receive(database, arrival())
    kind, case_id = receive(database, arrival(content="b"))
    assert kind is IntakeKind.CONFLICT
    other_syntax = replace(arrival(), transfer_syntax_uid="1.2.840.10008.1.2")
    assert receive(database, other_syntax)[0] is IntakeKind.CONFLICT
    given = arrival(content="b")
    with database.transaction() as tx:
        record_quarantine(
            tx,
            reason=QuarantineReason.CONFLICT,
            detail="other content",
            instance_uid=given.instance_uid,
            sop_class_uid=given.sop_class_uid,
            study_uid=given.study_uid,
            sha256=given.sha256,
            size_bytes=given.size_bytes,
            store_key="quarantine/1",
            calling_ae=given.calling_ae,
            now=NOW,
            case_id=case_id,
        )
    assert detail(database, case_id).line.instances == 1
    with database.reading() as conn:
        assert conn.execute(text("SELECT count(*) FROM leukonode.quarantine")).scalar() == 1
    assert names(database, case_id)[-2:] == ["object conflicts", "object quarantined"]


def test_a_study_under_another_patient_is_refused(database: Database) -> None:
    _, case_id = receive(database, arrival())
    kind, other = receive(database, arrival(2, patient="P2"))
    assert (kind, other) == (IntakeKind.OTHER_PATIENT, case_id)
    assert detail(database, case_id).line.instances == 1


def test_a_name_with_nul_and_half_a_surrogate_is_stored_and_compared(database: Database) -> None:
    strange = replace(arrival(), patient=Patient(patient_id="P\0", name="D\ud800oe"))
    assert receive(database, strange)[0] is IntakeKind.NEW
    again = replace(strange, instance_uid=InstanceUID("1.2.3.9.77"))
    assert receive(database, again)[0] is IntakeKind.NEW


def test_the_timer_waits_for_the_last_object(database: Database) -> None:
    _, case_id = receive(database, arrival(1))
    receive(database, arrival(2), NOW + timedelta(seconds=20))
    with database.transaction() as tx:
        assert not complete_case(tx, case_id, by=CompletedBy.TIMER, now=NOW + QUIET)
    assert detail(database, case_id).line.state is CaseState.RECEIVING
    assert ("complete", case_id) in jobs(database)
    with database.transaction() as tx:
        assert complete_case(tx, case_id, by=CompletedBy.DECLARED, now=NOW + QUIET)
    told = detail(database, case_id)
    assert told.line.state is CaseState.READY
    assert told.analyses[0].completed_by is CompletedBy.DECLARED
    with database.transaction() as tx:
        assert not complete_case(tx, case_id, by=CompletedBy.DECLARED, now=NOW + QUIET)


def test_two_workers_cannot_take_one_case(database: Database) -> None:
    case_id = ready_case(database)
    start = Barrier(4)

    def take(number: int) -> bool:
        start.wait()
        with database.transaction() as tx:
            hold = claim_analysis(tx, case_id, owner=f"w{number}", lease=LEASE, now=NOW + QUIET)
        return hold is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, range(4))) == [False, False, False, True]


def test_late_object_opens_a_second_analysis_and_an_amended_report(database: Database) -> None:
    case_id = analysed_case(database)
    first = issue(database, case_id, [])
    assert detail(database, case_id).line.state is CaseState.REPORTED
    later = NOW + timedelta(hours=1)
    assert receive(database, arrival(2), later)[1] == case_id
    with database.transaction() as tx:
        assert complete_case(tx, case_id, by=CompletedBy.TIMER, now=later + QUIET)
    claim = claimed(database, case_id, later + QUIET)
    assert (claim.ordinal, len(claim.instances)) == (2, 2)
    with database.transaction() as tx:
        assert finish_analysis(tx, claim, *analysis_of(claim), now=later + QUIET)
    second = issue(database, case_id, ["PACS"], later + QUIET)
    told = detail(database, case_id)
    assert second.status is ReportStatus.AMENDED
    assert second.previous is not None
    assert second.previous.report_id == first.report_id
    assert second.previous.object(ObjectKind.SR).instance_uid == objects_for(first)[1].instance_uid
    assert [r.predecessor for r in told.reports] == [None, first.report_id]
    assert len({r.report_id for r in told.reports}) == 2
    assert "case reopened" in names(database, case_id)


def test_late_object_during_analysis_takes_the_hold_away(database: Database) -> None:
    case_id = ready_case(database)
    claim = claimed(database, case_id)
    receive(database, arrival(2), NOW + QUIET)
    with database.transaction() as tx:
        assert not finish_analysis(tx, claim, *analysis_of(claim), now=NOW + QUIET)
        assert not extend_lease(tx, claim, lease=LEASE, now=NOW + QUIET)
        gone = fail_analysis(tx, claim, reason="x", now=NOW + QUIET)
        assert gone is AfterFailure.HOLD_GONE
        assert not give_up_analysis(tx, claim, reason="x", now=NOW + QUIET)
    told = detail(database, case_id)
    assert told.line.state is CaseState.RECEIVING
    assert told.analyses[0].superseded
    assert told.images == ()
    with database.reading() as conn, pytest.raises(UnknownRow):
        load_analysis(conn, claim.analysis_id)


def test_expired_lease_is_swept_and_the_old_holder_finds_it_gone(database: Database) -> None:
    case_id = ready_case(database)
    dead = claimed(database, case_id)
    late = NOW + QUIET + LEASE + timedelta(seconds=1)
    with database.transaction() as tx:
        assert sweep(tx, now=late - timedelta(seconds=10)).leases_ended == 0
    with database.transaction() as tx:
        assert sweep(tx, now=late).leases_ended == 1
    with database.transaction() as tx:
        assert not finish_analysis(tx, dead, *analysis_of(dead), now=late)
    living = claimed(database, case_id, late)
    assert living.attempt == 2
    with database.transaction() as tx:
        assert finish_analysis(tx, living, *analysis_of(living), now=late)
    with database.transaction() as tx:
        again = sweep(tx, now=late)
    assert (again.leases_ended, again.given_up) == (0, 0)


def test_extended_lease_is_not_swept(database: Database) -> None:
    case_id = ready_case(database)
    claim = claimed(database, case_id)
    later = NOW + QUIET + LEASE
    with database.transaction() as tx:
        assert extend_lease(tx, claim, lease=LEASE, now=later)
    with database.transaction() as tx:
        assert sweep(tx, now=later + timedelta(seconds=1)).leases_ended == 0


def test_the_leases_of_a_dead_owner_end_at_once(database: Database) -> None:
    case_id = ready_case(database)
    claimed(database, case_id, owner="w1")
    with database.transaction() as tx:
        assert sweep(tx, now=NOW + QUIET, gone="w2").leases_ended == 0
    with database.transaction() as tx:
        assert sweep(tx, now=NOW + QUIET, gone="w1").leases_ended == 1
    assert claimed(database, case_id, owner="w3").attempt == 2


def test_sweeping_gives_each_waiting_row_one_job(database: Database) -> None:
    _, received = receive(database, arrival(1, study="1.1"))
    ready = ready_case(database, arrival(1, study="1.2"))
    analysed = analysed_case(database, arrival(1, study="1.3"))
    reported = analysed_case(database, arrival(1, study="1.4"))
    issue(database, reported, ["PACS"])
    with database.transaction() as tx:
        tx.connection.execute(text("DELETE FROM queue.procrastinate_jobs"))
    later = NOW + QUIET + timedelta(seconds=1)
    with database.transaction() as tx:
        assert sweep(tx, now=later).woken == 4
    delivery = detail(database, reported).deliveries[0].delivery_id
    wanted = [("analyse", ready), ("complete", received), ("deliver", delivery)]
    assert sorted(jobs(database)) == sorted([*wanted, ("report", analysed)])
    with database.transaction() as tx:
        assert sweep(tx, now=later).woken == 0


def test_failed_analysis_is_tried_again_later_and_then_given_up(database: Database) -> None:
    case_id = ready_case(database)
    now = NOW + QUIET
    for attempt in range(1, ATTEMPTS):
        claim = claimed(database, case_id, now)
        assert claim.attempt == attempt
        with database.transaction() as tx:
            again = fail_analysis(tx, claim, reason="child died", now=now)
        assert again is AfterFailure.AGAIN
        with database.transaction() as tx:
            assert claim_analysis(tx, case_id, owner="w", lease=LEASE, now=now) is None
        now += timedelta(hours=1)
    last = claimed(database, case_id, now)
    with database.transaction() as tx:
        ended = fail_analysis(tx, last, reason="child died", now=now)
        assert ended is AfterFailure.NO_MORE
        assert finish_analysis(tx, last, *analysis_of(last), now=now)
    assert names(database, case_id).count("analysis failed") == ATTEMPTS


def test_claims_that_all_died_are_marked_exhausted(database: Database) -> None:
    case_id = ready_case(database)
    now = NOW + QUIET
    for _ in range(ATTEMPTS):
        assert not claimed(database, case_id, now).exhausted
        now += timedelta(hours=1)
        with database.transaction() as tx:
            sweep(tx, now=now)
    assert claimed(database, case_id, now).exhausted


def test_reports_that_cannot_be_made_fail_the_case_and_a_late_object_opens_it(
    database: Database,
) -> None:
    case_id = analysed_case(database)
    now = NOW + QUIET
    for attempt in range(1, ATTEMPTS + 1):
        claim = report_claim(database, case_id, now)
        with database.transaction() as tx:
            told = fail_report(tx, claim, reason="no font", now=now)
        assert told is (AfterFailure.AGAIN if attempt < ATTEMPTS else AfterFailure.GIVEN_UP)
        now += timedelta(hours=1)
    assert detail(database, case_id).line.state is CaseState.FAILED
    receive(database, arrival(2), now)
    assert detail(database, case_id).line.state is CaseState.RECEIVING


def test_report_workers_that_all_die_fail_the_case(database: Database) -> None:
    case_id = analysed_case(database)
    now = NOW + QUIET
    results = []
    for _ in range(ATTEMPTS):
        report_claim(database, case_id, now)
        now += timedelta(hours=1)
        with database.transaction() as tx:
            results.append(sweep(tx, now=now).given_up)
    assert results == [0] * (ATTEMPTS - 1) + [1]
    assert detail(database, case_id).line.state is CaseState.FAILED


def test_an_analysis_whose_workers_die_even_when_exhausted_fails_the_case(
    database: Database,
) -> None:
    case_id = ready_case(database)
    now = NOW + QUIET
    results = []
    for _ in range(ANALYSIS_DEATHS):
        claimed(database, case_id, now)
        now += timedelta(hours=1)
        with database.transaction() as tx:
            results.append(sweep(tx, now=now).given_up)
    assert results == [0] * (ANALYSIS_DEATHS - 1) + [1]
    assert detail(database, case_id).line.state is CaseState.FAILED
    assert names(database, case_id)[-1] == "case given up"
    with database.transaction() as tx:
        assert sweep(tx, now=now + timedelta(days=1)).woken == 0


def test_what_was_not_the_cases_fault_is_not_counted(database: Database) -> None:
    case_id = ready_case(database)
    now = NOW + QUIET
    for _ in range(ATTEMPTS + 2):
        claim = claimed(database, case_id, now)
        assert (claim.attempt, claim.exhausted) == (1, False)
        with database.transaction() as tx:
            told = fail_analysis(tx, claim, reason="disk full", now=now, counts=False)
        assert told is AfterFailure.AGAIN
        assert detail(database, case_id).due_at == now + timedelta(seconds=30)
        now += timedelta(seconds=30)
    claim = claimed(database, case_id, now)
    with database.transaction() as tx:
        assert finish_analysis(tx, claim, *analysis_of(claim), now=now)
    for _ in range(ATTEMPTS + 2):
        made = report_claim(database, case_id, now)
        assert made.attempt == 1
        with database.transaction() as tx:
            told = fail_report(tx, made, reason="disk full", now=now, counts=False)
        assert told is AfterFailure.AGAIN
        now += timedelta(seconds=30)
    said = names(database, case_id)
    assert said.count("analysis put back") == said.count("report put back") == ATTEMPTS + 2
    assert not {"analysis failed", "report failed"} & set(said)


def test_a_failed_case_is_tried_again_by_a_person_from_where_it_failed(database: Database) -> None:
    case_id = ready_case(database)
    claim = claimed(database, case_id)
    now = NOW + QUIET
    with database.transaction() as tx:
        assert not retry_case(tx, case_id, by="anna", now=now)
        assert give_up_analysis(tx, claim, reason="files are gone", now=now)
        assert not give_up_analysis(tx, claim, reason="files are gone", now=now)
    assert detail(database, case_id).line.state is CaseState.FAILED
    with database.transaction() as tx:
        assert retry_case(tx, case_id, by="anna", now=now)
        assert not retry_case(tx, case_id, by="anna", now=now)
    assert detail(database, case_id).line.state is CaseState.READY
    assert ("analyse", case_id) in jobs(database)
    claim = claimed(database, case_id)
    assert (claim.attempt, claim.exhausted) == (1, False)
    with database.transaction() as tx:
        assert finish_analysis(tx, claim, *analysis_of(claim), now=now)
    for _ in range(ATTEMPTS):
        made = report_claim(database, case_id, now)
        now += timedelta(hours=1)
        with database.transaction() as tx:
            fail_report(tx, made, reason="no font", now=now)
        now += timedelta(hours=1)
    assert detail(database, case_id).line.state is CaseState.FAILED
    with database.transaction() as tx:
        assert retry_case(tx, case_id, by="anna", now=now)
    told = detail(database, case_id)
    assert (told.line.state, len(told.analyses)) == (CaseState.ANALYSED, 1)
    assert ("report", case_id) in jobs(database)
    issue(database, case_id, [], now)
    assert names(database, case_id)[-2:] == ["report issued", "case reported"]
    assert names(database, case_id).count("case retried") == 2
    for unknown in (str(uuid4()), "no id"):
        with pytest.raises(UnknownRow), database.transaction() as tx:
            retry_case(tx, CaseId(unknown), by="anna", now=now)


def test_a_delivery_whose_workers_all_die_is_given_up(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS", "ARCHIVE"])
    ids = [d.delivery_id for d in detail(database, case_id).deliveries]
    now = NOW + QUIET
    results = []
    for _ in range(DELIVERY_ATTEMPTS):
        for delivery_id in ids:
            delivery_claim(database, delivery_id, now)
        now += timedelta(hours=1)
        with database.transaction() as tx:
            results.append(sweep(tx, now=now).given_up)
    assert results == [0] * (DELIVERY_ATTEMPTS - 1) + [2]
    told = detail(database, case_id)
    assert told.line.state is CaseState.UNDELIVERED
    assert {d.state for d in told.deliveries} == {DeliveryState.DEAD}
    assert "died" in told.deliveries[0].last_error
    assert names(database, case_id)[-3:] == [
        "delivery given up",
        "delivery given up",
        "case undelivered",
    ]
    with database.transaction() as tx:
        assert retry_delivery(tx, ids[0], by="anna", now=now)
    assert delivery_claim(database, ids[0], now).attempt == 1


def amended(database: Database, case_id: CaseId, number: int, now: datetime) -> None:
    """A late object, and the report that comes of it."""
    receive(database, arrival(number), now)
    with database.transaction() as tx:
        assert complete_case(tx, case_id, by=CompletedBy.DECLARED, now=now)
    claim = claimed(database, case_id, now)
    with database.transaction() as tx:
        assert finish_analysis(tx, claim, *analysis_of(claim), now=now)
    issue(database, case_id, ["PACS"], now)


def ended(
    database: Database,
    delivery_id: str,
    outcome: DeliveryOutcome,
    now: datetime,
    next_attempt_at: datetime | None = None,
) -> None:
    claim = delivery_claim(database, delivery_id, now)
    with database.transaction() as tx:
        assert finish_delivery(
            tx, claim, outcome=outcome, reason="away", now=now, next_attempt_at=next_attempt_at
        )


def taken(database: Database, delivery_id: str, now: datetime) -> bool:
    with database.transaction() as tx:
        hold = claim_delivery(tx, delivery_id, owner="w1", lease=LEASE, now=now)
        return hold is not None


def test_an_amended_report_waits_for_the_one_it_replaces(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS", "OTHER"])
    other, first = (d.delivery_id for d in detail(database, case_id).deliveries)
    now, far = NOW + timedelta(minutes=5), NOW + timedelta(hours=5)
    ended(database, first, DeliveryOutcome.FAILED, now, next_attempt_at=far)
    amended(database, case_id, 2, now)
    second = detail(database, case_id).deliveries[0].delivery_id
    assert not taken(database, second, now)  # and brings the earlier one forward, once
    late = now + timedelta(minutes=1)
    ended(database, first, DeliveryOutcome.FAILED, now, next_attempt_at=far)
    assert not taken(database, second, late)
    assert not taken(database, second, far)
    assert not taken(database, first, late)
    hold = delivery_claim(database, first, far)
    assert not taken(database, second, far + timedelta(minutes=2))
    with database.transaction() as tx:
        assert finish_delivery(tx, hold, outcome=DeliveryOutcome.GIVEN_UP, reason="x", now=far)
    assert taken(database, second, far)  # given up is ended too
    assert taken(database, other, far)


def test_three_reports_arrive_in_their_order(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS"])
    for number in (2, 3):
        amended(database, case_id, number, NOW + timedelta(hours=number))
    order = []
    now = NOW + timedelta(hours=4)
    for _ in range(4):
        for line in detail(database, case_id).deliveries:
            if line.state is DeliveryState.PENDING and taken(database, line.delivery_id, now):
                order.append(line.revision)
                now += timedelta(hours=1)
                with database.transaction() as tx:
                    sweep(tx, now=now)  # its worker died
                claim = delivery_claim(database, line.delivery_id, now)
                with database.transaction() as tx:
                    finish_delivery(
                        tx, claim, outcome=DeliveryOutcome.GIVEN_UP, reason="x", now=now
                    )
        now += timedelta(minutes=1)
    assert order == [1, 2, 3]
    assert detail(database, case_id).line.state is CaseState.UNDELIVERED


def test_a_claim_on_what_the_destination_takes_alone(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS"])
    claim = delivery_claim(database, detail(database, case_id).deliveries[0].delivery_id)
    narrowed = claim.only({ObjectKind.SR})
    (sr,) = narrowed.objects
    assert sr.kind is ObjectKind.SR
    assert claim.only({ObjectKind.HL7}).objects == ()
    with database.transaction() as tx:
        record_instance_status(
            tx, claim, instance_uid=sr.instance_uid, status=0, comment="", now=NOW + QUIET
        )
        assert finish_delivery(
            tx, narrowed, outcome=DeliveryOutcome.SUCCEEDED, reason="", now=NOW + QUIET
        )


def test_a_delivery_is_tried_again_and_keeps_what_was_taken(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS"])
    delivery_id = detail(database, case_id).deliveries[0].delivery_id
    claim = delivery_claim(database, delivery_id)
    pdf, sr = claim.objects
    now, later = NOW + QUIET, NOW + timedelta(hours=1)
    with database.transaction() as tx:
        record_instance_status(
            tx, claim, instance_uid=pdf.instance_uid, status=0xB000, comment="coerced", now=now
        )
        record_instance_status(
            tx, claim, instance_uid=sr.instance_uid, status=0xA700, comment="full", now=now
        )
        with pytest.raises(NotProven):
            finish_delivery(tx, claim, outcome=DeliveryOutcome.SUCCEEDED, reason="", now=now)
        assert finish_delivery(
            tx,
            claim,
            outcome=DeliveryOutcome.FAILED,
            reason="peer is full",
            now=now,
            next_attempt_at=later,
        )
    with database.transaction() as tx:
        assert claim_delivery(tx, delivery_id, owner="w", lease=LEASE, now=now) is None
    second = delivery_claim(database, delivery_id, later)
    assert (second.attempt, second.taken) == (2, {pdf.instance_uid})
    line = detail(database, case_id).deliveries[0]
    assert (line.state, line.last_error) == (DeliveryState.SENDING, "peer is full")


def test_dead_letters_are_listed_and_sent_again_by_a_person(database: Database) -> None:
    case_id = analysed_case(database)
    issue(database, case_id, ["PACS", "ARCHIVE"])
    archive, pacs = (d.delivery_id for d in detail(database, case_id).deliveries)
    deliver(database, archive)
    claim = delivery_claim(database, pacs)
    with database.transaction() as tx:
        assert finish_delivery(
            tx, claim, outcome=DeliveryOutcome.GIVEN_UP, reason="refused", now=NOW + QUIET
        )
    assert detail(database, case_id).line.state is CaseState.UNDELIVERED
    with database.reading() as conn:
        assert [d.delivery_id for d in queries.deliveries(conn, failed=True)] == [pacs]
    with database.transaction() as tx:
        assert retry_delivery(tx, pacs, by="anna", now=NOW + QUIET)
        assert not retry_delivery(tx, pacs, by="anna", now=NOW + QUIET)
        with pytest.raises(UnknownRow):
            retry_delivery(tx, str(uuid4()), by="anna", now=NOW)
        with pytest.raises(UnknownRow):
            retry_delivery(tx, "no id", by="anna", now=NOW)
    assert detail(database, case_id).line.state is CaseState.DELIVERING
    deliver(database, pacs)
    assert detail(database, case_id).line.state is CaseState.DELIVERED


def test_two_last_deliveries_that_end_together_end_the_case(database: Database) -> None:
    for turn in range(4):
        case_id = analysed_case(database, arrival(study=f"1.2.3.{turn}"))
        issue(database, case_id, ["A", "B"])
        ids = [d.delivery_id for d in detail(database, case_id).deliveries]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda key: deliver(database, key), ids))
        assert detail(database, case_id).line.state is CaseState.DELIVERED


def test_a_killed_connection_leaves_nothing(database: Database, admin_database_url: str) -> None:

    def killed() -> None:
        with database.transaction() as tx:
            receive_instance(tx, arrival(), quiet=QUIET, now=NOW)
            with psycopg.connect(admin_database_url, autocommit=True) as admin:
                pid = tx.driver.info.backend_pid
                admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with pytest.raises(DBAPIError):
        killed()
    assert _all_cases(database) == ()
    assert jobs(database) == []
    with database.reading() as conn:
        assert queries.events(conn) == ()
    assert receive(database, arrival())[0] is IntakeKind.NEW


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def raising() -> None:
        with database.transaction() as tx:
            receive_instance(tx, arrival(), quiet=QUIET, now=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        raising()
    assert (_all_cases(database), jobs(database)) == ((), [])


def test_worklist_filters(database: Database) -> None:
    blasts = analysed_case(database, arrival(study="1.5", patient="AB_1"))
    receive(database, arrival(study="1.6", patient="ABC1"), NOW + timedelta(days=1))

    def found(**given: object) -> list[str]:
        with database.reading() as conn:
            return [c.study_uid for c in queries.cases(conn, **given)]  # type: ignore[arg-type]

    assert found() == ["1.6", "1.5"]
    assert found(blasts_over_percent=49.9) == ["1.5"]
    assert found(blasts_over_percent=50.0) == []
    assert found(state=CaseState.RECEIVING) == ["1.6"]
    assert found(since=NOW + timedelta(hours=1)) == ["1.6"]
    assert found(patient="ab_1") == ["1.5"]
    assert found(patient="doe") == ["1.6", "1.5"]
    assert found(limit=1) == ["1.6"]
    with database.reading() as conn:
        for wrong in ("", "zz", "%", blasts + "0"):
            with pytest.raises(UnknownRow):
                queries.case(conn, wrong)


def test_a_naive_time_is_refused(database: Database) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="zone"), database.transaction() as tx:
        receive_instance(tx, arrival(), quiet=QUIET, now=naive)


def test_errors_do_not_tell_the_row_they_are_about(database: Database) -> None:
    def wrong() -> None:
        with database.transaction() as tx:
            receive_instance(tx, arrival(), quiet=QUIET, now=NOW)
            tx.connection.execute(text("UPDATE leukonode.cases SET state = 'lost'"))

    with pytest.raises(IntegrityError, match="cases_state_check") as caught:
        wrong()
    assert "Doe" not in str(caught.value)
    assert "Doe" not in repr(caught.value.__cause__)
