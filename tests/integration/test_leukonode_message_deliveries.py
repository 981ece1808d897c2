"""From an analysed case to receivers of messages: issued, queued, retried, given up, sent again."""

from dataclasses import replace
from pathlib import Path

from db.database import Database
from db.delivering import retry_delivery
from db.reporting_rows import ObjectKind
from domain.states import CaseState, DeliveryState
from leukonode import steps
from leukonode.settings import Settings
from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from tests.message_peers import acknowledged, fhir_server, mllp_listener
from tests.road import Road


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
