"""Messages to real receivers over loopback: what arrives, and what each answer leads to."""

import json
import socket
import ssl
import subprocess
from pathlib import Path

import hl7
import pytest

from leukonode.doctor import _destinations
from leukonode.messages import call, send_bundle, send_message
from leukonode.settings import FhirDestination, Hl7Destination, Settings
from reporting.answers import Answer
from reporting.fhir import fhir_bundle
from reporting.figures import figures_of
from reporting.hl7 import control_id_of, oru_message
from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from tests import reporting_cases as cases
from tests.message_peers import acknowledged, fhir_server, mllp_listener

REPORT = cases.report()
ORU = oru_message(REPORT)
BUNDLE = fhir_bundle(REPORT, b"%PDF-1.4")
SECONDS = 20


def lis(port: int, **more: object) -> Hl7Destination:
    values = {"name": "lis", "kind": "hl7", "host": "127.0.0.1", "port": port}
    return Hl7Destination.model_validate(values | more)


def ehr(port: int, scheme: str = "http", **more: object) -> FhirDestination:
    url = f"{scheme}://127.0.0.1:{port}/fhir"
    return FhirDestination.model_validate({"name": "ehr", "kind": "fhir", "url": url} | more)


def oru_to(destination: Hl7Destination, seconds: float = SECONDS):
    return send_message(ORU, to=destination, delivery_id="d1", seconds=seconds)


def test_message_arrives_whole_and_the_repeated_one_is_known():
    with mllp_listener(acknowledged("AE"), acknowledged("AA")) as listener:
        to = lis(listener.port, receiving_application="LIS", receiving_facility="LAB")
        first, second = oru_to(to), oru_to(to)
    assert (first.answer, second.answer) == (Answer.ERROR, Answer.ACCEPTED)
    assert listener.blocks[0] == listener.blocks[1]
    message = hl7.parse(listener.blocks[0].decode("utf-8"))
    assert str(message.segment("MSH")(10)) == control_id_of("d1")
    assert str(message.segment("MSH")(5)) == "LIS"
    assert str(message.segment("PID")(5)(1)(1)(1)) == "Müller"
    assert numbers_in_hl7(listener.blocks[0]) == figures_of(REPORT)


HEADER = b"MSH|^~\\&|LIS||||2026||ACK|1|P|2.5.1\r"


@pytest.mark.parametrize(
    ("answering", "answer", "reason"),
    [
        (acknowledged("AR"), Answer.REJECTED, "the peer answered AR"),
        (lambda _: b"\x0b" + HEADER + b"MSA|AA|another\r\x1c\r", Answer.UNKNOWN, "another message"),
        (lambda _: b"", Answer.UNKNOWN, "closed the connection without an answer"),
        (lambda _: HEADER + b"\x1c\r", Answer.UNKNOWN, "InvalidBlockError"),
        (lambda _: b"\x0b" + b"A" * 200_000 + b"\x1c\r", Answer.UNKNOWN, "too long"),
        (lambda _: b"\x0bHELO\x1c\r", Answer.UNKNOWN, "no HL7 message"),
    ],
)
def test_every_answer_of_a_peer_has_its_consequence(answering, answer, reason):
    with mllp_listener(answering) as listener:
        said = oru_to(lis(listener.port))
    assert said.answer is answer
    assert reason in said.reason


def test_a_deaf_peer_and_an_absent_one():
    with mllp_listener(lambda _: None) as listener:
        said = oru_to(lis(listener.port), seconds=1)
        assert said.reason == "no answer within 1 s"
        assert said.answer.retryable
        assert call(lis(listener.port), seconds=SECONDS) == ""
    for gone in (lis(_free_port()), lis(1, host="..")):
        said = oru_to(gone)
        assert said.answer is Answer.UNKNOWN
        assert said.reason
        assert call(gone, seconds=SECONDS)


def test_bundle_arrives_and_sent_again_changes_nothing():
    with fhir_server() as server:
        first = send_bundle(BUNDLE, to=ehr(server.port), seconds=SECONDS)
        held = json.dumps(server.resources)
        second = send_bundle(BUNDLE, to=ehr(server.port), seconds=SECONDS)
    assert first.answer is second.answer is Answer.ACCEPTED
    assert json.dumps(server.resources) == held
    method, path, headers, body = server.requests[0]
    assert (method, path) == ("POST", "/fhir")
    assert headers["Content-Type"].startswith("application/fhir+json")
    assert body == BUNDLE
    assert numbers_in_fhir(body) == figures_of(REPORT)


@pytest.mark.parametrize(
    ("status", "answer"),
    [(503, Answer.ERROR), (422, Answer.REJECTED), (307, Answer.REJECTED), (401, Answer.REJECTED)],
)
def test_every_status_of_a_server_has_its_consequence(status, answer, monkeypatch):
    # of the environment nothing is heeded: no proxy is asked
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{_free_port()}")
    with fhir_server(status) as server:
        said = send_bundle(BUNDLE, to=ehr(server.port), seconds=SECONDS)
    assert said.answer is answer
    assert said.reason == f"the server answered {status} (processing)"
    assert "Jane" in said.comment
    assert len(server.requests) == 1  # a redirect is not followed
    assert server.resources == {}


def test_doctor_calls_receivers_of_both_kinds():
    with mllp_listener(acknowledged("AA")) as listener, fhir_server() as server:
        here = [lis(listener.port), ehr(server.port)]
        away = [lis(_free_port(), name="away"), ehr(_free_port(), name="gone")]
        found = list(_destinations(Settings(destinations=(*here, *away))))
    assert [f.verdict.value for f in found] == ["good", "good", "wrong", "wrong"]
    assert [f.said for f in found[:2]] == ["accepts connections", "answers metadata"]
    assert listener.blocks == []


def test_patient_system_names_the_servers_patient():
    with fhir_server() as server:
        to = ehr(server.port, patient_system="urn:oid:1.2.3")
        assert send_bundle(BUNDLE, to=to, seconds=SECONDS).answer is Answer.ACCEPTED
        assert call(to, seconds=SECONDS) == ""
    body = json.loads(server.requests[0][3])
    subject = body["entry"][-1]["resource"]["subject"]
    assert subject["reference"] == "Patient?identifier=urn:oid:1.2.3|PID-0042"
    assert server.requests[1][:2] == ("GET", "/fhir/metadata")


def test_an_absent_server():
    said = send_bundle(BUNDLE, to=ehr(_free_port()), seconds=SECONDS)
    assert said.answer is Answer.UNKNOWN
    assert said.reason


@pytest.fixture(scope="module")
def certificate(program, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_tls_both_ways_and_a_stranger_is_told_nothing(certificate):
    held, key = certificate
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=held)
    server.load_cert_chain(held, key)
    server.verify_mode = ssl.CERT_REQUIRED
    ours = {"ca_file": held, "certificate": held, "key": key}
    with mllp_listener(acknowledged("AA"), tls=server) as listener:
        assert oru_to(lis(listener.port, tls=True, **ours)).answer is Answer.ACCEPTED
        stranger = oru_to(lis(listener.port, tls=True))
        assert stranger.reason.startswith("the peer's certificate is not to be believed")
        assert oru_to(lis(listener.port)).answer is Answer.UNKNOWN
    assert len(listener.blocks) == 1
    with fhir_server(tls=server) as peer:
        to = ehr(peer.port, "https", **ours)
        assert send_bundle(BUNDLE, to=to, seconds=SECONDS).answer is Answer.ACCEPTED
        stranger = send_bundle(BUNDLE, to=ehr(peer.port, "https"), seconds=SECONDS)
        assert stranger.answer is Answer.UNKNOWN
    assert len(peer.requests) == 1


def test_a_token_goes_with_the_request_and_a_lost_file_is_named(certificate, tmp_path):
    held, key = certificate
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(held, key)
    token = tmp_path / "token"
    token.write_text("secret\n")
    with fhir_server(tls=server) as peer:
        to = ehr(peer.port, "https", ca_file=held, token_file=token)
        assert send_bundle(BUNDLE, to=to, seconds=SECONDS).answer is Answer.ACCEPTED
        token.unlink()
        said = send_bundle(BUNDLE, to=to, seconds=SECONDS)
    assert peer.requests[0][2]["Authorization"] == "Bearer secret"
    assert said.reason.startswith("a file that the destination names cannot be read")


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]
