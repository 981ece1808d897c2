"""From an analysed case to receivers of messages: issued, queued, retried, given up, sent again.

The steps, the database, the store and the receivers are real; the networks' reading is a value.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from db import queries
from db.analysing import claim_analysis, finish_analysis
from db.database import Database
from db.delivering import retry_delivery
from db.receiving import Arrival, InstanceRole, complete_case, receive_instance
from db.reporting_rows import ObjectKind
from dicom_node.dicomize import PictureArray, dicomize
from dicom_node.headers import read_header
from dicom_node.made_objects import Labels
from domain.counts import AdequacyLimits, numbers_of
from domain.identities import CaseId
from domain.image import Domain
from domain.states import CaseState, CompletedBy, DeliveryState
from leukonode import steps
from leukonode.reading import Reading, pictures_to_bytes
from leukonode.settings import Settings
from leukonode.store import FolderStore, Shelf, sha256_of
from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from tests import reporting_cases as cases
from tests.message_peers import acknowledged, fhir_server, mllp_listener

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Road:
    """A case that waits for its report, and the hands that lead it on."""

    def __init__(self, database: Database, folder: Path, destinations: list[dict]) -> None:
        self.time = NOW
        settings = Settings.model_validate(
            {"destinations": destinations, "delivery_retry_seconds": [5, 30]}
        )
        store = FolderStore(folder / "store")
        self.house = steps.House(
            settings=settings,
            database=database,
            store=store,
            producer=cases.PRODUCER,
            bundle=folder,
            bundle_info=cases.bundle(),
            owner="w1",
            now=lambda: self.time,
            read=lambda _request: pytest.fail("nothing is read here"),
            stopping=lambda: False,
        )
        self.case_id = self._analysed(store, folder)

    def _analysed(self, store: FolderStore, folder: Path) -> CaseId:
        picture = PictureArray(name="field", pixels=np.full((60, 80, 3), 220, np.uint8))
        labels = Labels(patient_id="P|1", patient_name="DOE^JANE", accession="A-1")
        made = dicomize([picture], out=folder / "made", labels=labels, spacing_um=0.1, now=NOW)[0]
        digest = sha256_of(made)
        header = read_header(made, sha256=digest)
        arrival = Arrival(
            instance_uid=header.instance_uid,
            sop_class_uid=header.context.evidence[0].sop_class_uid,
            series_uid=header.context.evidence[0].series_uid,
            study_uid=header.study_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            patient=header.context.patient,
            accession_number="A-1",
            domain=Domain.SMEAR,
            role=InstanceRole.IMAGE,
            sha256=digest,
            size_bytes=made.stat().st_size,
            store_key=store.put(made.read_bytes(), shelf=Shelf.OBJECTS),
            calling_ae="SCOPE",
        )
        image = cases.reading(header=replace(header.image, source=header.instance_uid))
        analysis = cases.analysis_of(cases.BLASTS_35, images=(image,))
        numbers = numbers_of(analysis.cells, wbc_classes=cases.TEN, limits=AdequacyLimits())
        lease = timedelta(minutes=5)
        with self.house.database.transaction() as tx:
            case_id = receive_instance(tx, arrival, quiet=timedelta(0), now=NOW).case_id
        with self.house.database.transaction() as tx:
            assert complete_case(tx, case_id, by=CompletedBy.TIMER, now=NOW)
            claim = claim_analysis(tx, case_id, owner="w1", lease=lease, now=NOW)
            assert claim is not None
            assert finish_analysis(tx, claim, analysis, numbers, now=NOW)
        shown = Reading(analysis=analysis, gallery=(), overviews=())
        store.put_crops(pictures_to_bytes(shown), analysis=claim.analysis_id)
        return case_id

    @property
    def told(self) -> queries.CaseDetail:
        with self.house.database.reading() as conn:
            return queries.case(conn, self.case_id)

    def deliver_all(self) -> dict[str, queries.DeliveryLine]:
        """One attempt of each delivery that is not over, an hour after the last."""
        self.time += timedelta(hours=1)
        for delivery in self.told.deliveries:
            steps.deliver(self.house, delivery.delivery_id)
        return {d.destination: d for d in self.told.deliveries}


def lis(port: int) -> dict:
    return {"name": "lis", "kind": "hl7", "host": "127.0.0.1", "port": port}


def ehr(port: int) -> dict:
    return {"name": "ehr", "kind": "fhir", "url": f"http://127.0.0.1:{port}/fhir"}


def test_messages_are_issued_retried_and_delivered(database: Database, tmp_path: Path):
    with (
        mllp_listener(acknowledged("AE"), acknowledged("AA")) as listener,
        fhir_server(503) as server,
    ):
        road = Road(database, tmp_path, [lis(listener.port), ehr(server.port)])
        steps.report(road.house, road.case_id)
        kinds = [o.kind for o in road.told.reports[-1].objects]
        assert {ObjectKind.PDF, ObjectKind.SR, ObjectKind.HL7, ObjectKind.FHIR} <= set(kinds)

        first = road.deliver_all()
        assert {d.state for d in first.values()} == {DeliveryState.PENDING}
        assert first["lis"].last_error == "the peer answered AE"
        assert first["ehr"].last_error == "the server answered 503 (processing)"
        second = road.deliver_all()
        assert {d.state for d in second.values()} == {DeliveryState.DELIVERED}
        assert [i.status for i in second["lis"].instances] == [None, 0]
        road.deliver_all()
    assert road.told.line.state is CaseState.DELIVERED
    assert len(listener.blocks) == 2
    assert listener.blocks[0] == listener.blocks[1]
    body = server.requests[-1][3]
    in_hl7, in_fhir = numbers_in_hl7(listener.blocks[0]), numbers_in_fhir(body)
    assert in_hl7 == in_fhir
    assert in_hl7["blasts.count"] == "73"
    assert road.told.line.blasts is not None
    assert in_hl7["blasts.percent"] == f"{road.told.line.blasts.percent:.1f}"
    assert b"P\\F\\1" in listener.blocks[0]
    names = [e.event for e in road.told.events]
    assert names.count("object sent") == 4
    assert names.count("delivery failed") == names.count("delivery succeeded") == 2


def test_a_rejected_message_is_given_up_and_sent_again_by_a_person(
    database: Database, tmp_path: Path
):
    with mllp_listener(acknowledged("AR"), acknowledged("AA")) as listener:
        road = Road(database, tmp_path, [lis(listener.port)])
        steps.report(road.house, road.case_id)
        dead = road.deliver_all()["lis"]
        assert dead.state is DeliveryState.DEAD
        assert dead.last_error == "the peer answered AR"
        assert road.told.line.state is CaseState.UNDELIVERED
        with database.transaction() as tx:
            assert retry_delivery(tx, dead.delivery_id, by="anna", now=road.time)
        assert road.deliver_all()["lis"].state is DeliveryState.DELIVERED
    assert listener.blocks[0] == listener.blocks[1]
    assert road.told.line.state is CaseState.DELIVERED


def test_attempts_are_used_up(database: Database, tmp_path: Path):
    with mllp_listener(acknowledged("AE")) as listener:
        road = Road(database, tmp_path, [lis(listener.port)])
        steps.report(road.house, road.case_id)
        states = [road.deliver_all()["lis"].state for _ in range(3)]
    assert states == [DeliveryState.PENDING, DeliveryState.PENDING, DeliveryState.DEAD]


def test_a_destination_that_became_another_kind_gets_nothing_and_says_so(
    database: Database, tmp_path: Path
):
    with mllp_listener(acknowledged("AA")) as listener:
        road = Road(database, tmp_path, [lis(listener.port)])
        steps.report(road.house, road.case_id)
        other = Settings.model_validate({"destinations": [{**ehr(1), "name": "lis"}]})
        road.house = replace(road.house, settings=other)
        dead = road.deliver_all()["lis"]
    assert dead.state is DeliveryState.DEAD
    assert "kind fhir" in dead.last_error
    assert listener.blocks == []
