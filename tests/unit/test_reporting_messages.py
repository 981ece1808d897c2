"""HL7 and FHIR drawings of the report: their form, what is missing, and text that means harm."""

import json
import re
from dataclasses import replace
from pathlib import Path

import hl7
import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import ValidationError
from hl7apy.parser import parse_message

from domain.analysis import StageFailure
from domain.cells import Stage
from domain.states import ReportStatus
from domain.study import Patient
from reporting import codes, fhir
from reporting.answers import Answer, acknowledgement_of, transaction_answer
from reporting.fhir import fhir_bundle
from reporting.figures import figures_of
from reporting.hl7 import addressed, control_id_of, oru_message
from reporting.measurements import Standing, standing_of
from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from tests import reporting_cases as cases

PDF = b"%PDF-1.4 as made elsewhere"
ALL = cases.all_cases()
every_case = pytest.mark.parametrize("report", ALL.values(), ids=ALL.keys())


def segments(message: bytes, name: str) -> list[list[str]]:
    """Fields of each such segment, by their number in the standard."""
    lines = message.decode().split("\r")
    return [line.split("|") for line in lines if line.startswith(f"{name}|")]


def resources(bundle: bytes, kind: str) -> list[dict]:
    entries = json.loads(bundle)["entry"]
    return [e["resource"] for e in entries if e["resource"]["resourceType"] == kind]


@every_case
def test_hl7_is_a_valid_oru_of_version_2_5_1(report):
    message = oru_message(report)
    assert numbers_in_hl7(message) == figures_of(report)
    assert message == oru_message(report)
    # hl7apy holds every OBX-5 for an ST of 199 characters; a TX has 65536
    short = re.sub(r"(OBX\|\d+\|TX\|[^|]*\|\d+\|)[^|]{199,}", r"\1(long)", message.decode())
    if not report.context.patient.patient_id:  # none is made up
        with pytest.raises(ValidationError, match="PID_3"):
            parse_message(short, validation_level=VALIDATION_LEVEL.STRICT).validate()
        return
    parsed = parse_message(short, validation_level=VALIDATION_LEVEL.STRICT)
    assert parsed.validate()
    assert parsed.name == "ORU_R01"


@every_case
def test_fhir_is_a_valid_bundle(report):
    made = fhir_bundle(report, PDF)
    assert numbers_in_fhir(made) == figures_of(report)
    assert made == fhir_bundle(report, PDF)
    bundle = Bundle.model_validate_json(made)
    names = [e.fullUrl for e in bundle.entry]
    assert len(names) == len(set(names))
    document = bundle.entry[-1].resource
    assert {r.reference for r in document.result} == set(names[1:-1])
    for entry in bundle.entry:
        assert entry.request.method == "POST"
        own = entry.resource.identifier[0]
        assert entry.request.ifNoneExist == f"identifier={own.system}|{own.value}"


def test_hl7_header_patient_and_order():
    message = oru_message(ALL["blasts"])
    (header,) = segments(message, "MSH")
    assert header[8:12] == ["ORU^R01^ORU_R01", header[9], "P", "2.5.1"]
    assert header[17] == "UNICODE UTF-8"
    (patient,) = segments(message, "PID")
    assert patient[3] == "PID-0042^^^HOSPITAL^PI"
    assert patient[5] == "Müller^Anna^^^Dr.^^L^A"
    assert patient[7:9] == ["19790304", "F"]
    (request,) = segments(message, "OBR")
    assert request[3].startswith(ALL["blasts"].case_id)
    assert request[7] == "20261120101500+0100"
    assert request[18] == "ACC-2026-001"
    assert request[25] == "P"
    (specimen,) = segments(message, "SPM")
    assert specimen[2:5] == ["SP-77&&2.25.888&ISO", "", "258433009^Smear sample^SCT"]


def test_hl7_blasts_and_their_interval_share_a_sub_id():
    rows = segments(oru_message(ALL["blasts"]), "OBX")
    (percent,) = [r for r in rows if r[3].startswith("26446-5^")]
    assert percent[2] == "NM"
    assert percent[5:7] == ["35.8", "%^Percent^UCUM"]
    (interval,) = [r for r in rows if r[4] == percent[4] and r[2] == "SN"]
    assert interval[3].startswith("CI95EXACT^")
    assert interval[5] == "^29.2^-^42.8"


def test_fhir_blasts_and_their_interval():
    rows = resources(fhir_bundle(ALL["blasts"], PDF), "Observation")
    (blasts,) = [r for r in rows if r["code"]["coding"][0]["code"] == "26446-5"]
    assert blasts["status"] == "preliminary"
    assert blasts["valueQuantity"]["value"] == 35.8
    assert blasts["valueQuantity"]["code"] == "%"
    (component,) = blasts["component"]
    assert component["valueRange"]["low"]["value"] == 29.2
    assert component["valueRange"]["high"]["value"] == 42.8


def test_what_was_not_measured_has_a_reason_and_no_number():
    report = cases.report(
        cases.analysis_of(
            cases.NORMAL, failures=(StageFailure(stage=Stage.MALIGNANCY, reason="no memory"),)
        )
    )
    lines = oru_message(report).decode().split("\r")
    at = next(i for i, line in enumerate(lines) if "|26446-5^" in line)
    fields = lines[at].split("|")
    assert (fields[2], fields[5], fields[11]) == ("NM", "", "X")
    assert "Measurement failure (114006, DCM)" in lines[at + 1]
    rows = resources(fhir_bundle(report, PDF), "Observation")
    (blasts,) = [r for r in rows if r["code"]["coding"][0]["code"] == "26446-5"]
    assert "valueQuantity" not in blasts
    assert [c["code"] for c in blasts["dataAbsentReason"]["coding"]] == ["error", "114006"]
    (pattern,) = [r for r in rows if r["code"]["coding"][0]["code"] == "PREBPCT"]
    assert pattern["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    (failed,) = [r for r in rows if r["code"]["coding"][0]["code"] == codes.FAILED_STAGE.value]
    assert failed["valueString"] == "malignancy: no memory"


def test_no_leukocytes_give_no_percentage_and_no_zero():
    rows = resources(fhir_bundle(ALL["none"], PDF), "Observation")
    (blasts,) = [r for r in rows if r["code"]["coding"][0]["code"] == "26446-5"]
    assert blasts["dataAbsentReason"]["coding"][0]["code"] == "not-a-number"
    (percent,) = [r for r in segments(oru_message(ALL["none"]), "OBX") if "26446-5^" in r[3]]
    assert (percent[5], percent[11]) == ("", "X")


@pytest.mark.parametrize("status", ReportStatus)
def test_every_state_of_a_report_has_a_standing(status):
    assert standing_of(replace(ALL["few"], status=status)) in Standing


@pytest.mark.parametrize(
    ("standing", "in_hl7", "in_fhir"),
    [
        (Standing.PRELIMINARY, "P", ("partial", "preliminary")),
        (Standing.FINAL, "F", ("final", "final")),
        (Standing.CORRECTED, "C", ("corrected", "corrected")),
    ],
)
def test_every_standing_has_its_status(standing, in_hl7, in_fhir, monkeypatch):
    for module in ("hl7", "fhir"):
        monkeypatch.setattr(f"reporting.{module}.standing_of", lambda _report: standing)
    message = oru_message(ALL["stage_failed"])
    assert segments(message, "OBR")[0][25] == in_hl7
    assert {row[11] for row in segments(message, "OBX")} == {in_hl7, "X"}
    made = fhir_bundle(ALL["stage_failed"], PDF)
    assert resources(made, "DiagnosticReport")[0]["status"] == in_fhir[0]
    assert {r["status"] for r in resources(made, "Observation")} == {in_fhir[1]}


def test_untrained_results_are_marked_as_no_patients_data():
    assert segments(oru_message(ALL["untrained"]), "MSH")[0][10] == "T"
    made = fhir_bundle(ALL["untrained"], PDF)
    for kind in ("Observation", "DiagnosticReport"):
        for resource in resources(made, kind):
            assert resource["meta"]["security"][0]["code"] == "HTEST"
    assert resources(made, "DiagnosticReport")[0]["conclusion"].startswith("UNTRAINED MODELS.")


def test_an_amended_report_names_the_one_it_replaces():
    (document,) = resources(fhir_bundle(ALL["amended"], PDF), "DiagnosticReport")
    (extension,) = document["extension"]
    replaced = ALL["amended"].predecessor.sr.instance_uid
    assert extension["valueReference"]["identifier"]["value"] == f"urn:oid:{replaced}"
    first, second = (segments(oru_message(ALL[n]), "OBR")[0][3] for n in ("blasts", "amended"))
    assert first == second


def test_no_diagnosis_is_coded():
    (document,) = resources(fhir_bundle(ALL["blasts"], PDF), "DiagnosticReport")
    assert "conclusionCode" not in document
    assert document["status"] == "partial"
    assert "UNVERIFIED" in document["conclusion"]


HOSTILE = 'A|B^C~D&E\\F\r\nOBX|99|NM|26446-5^Blasts^LN|1|0.0|%\x0b\x1c\r<b>"\u202e\ud800'


def test_hostile_text_ends_no_field_and_comes_back_as_it_was_meant():
    context = cases.context(
        patient=Patient(name=HOSTILE, patient_id=HOSTILE, issuer=HOSTILE, birth_date="19-01-01"),
        accession_number=HOSTILE,
        referring_physician=HOSTILE,
        warnings=(HOSTILE,),
    )
    report = cases.report(cases.analysis_of(cases.FEW), context=context)
    message = oru_message(report)
    assert numbers_in_hl7(message) == figures_of(report)
    assert not re.search(rb"[\x00-\x0c\x0e-\x1f]", message)
    parsed = hl7.parse(message.decode())
    assert len(parsed.segment("PID")) <= 7  # a birth date that is none is not said
    accession = parsed.unescape(str(parsed.segment("OBR")(18)))
    assert accession.startswith(
        "A|B^C~D&E\\F OBX|99|NM|26446-5^Blasts^LN|1|0.0|%[U+000B][U+001C] <b>"
    )
    assert accession.endswith("[U+202E][U+D800]")
    made = fhir_bundle(report, PDF)
    assert numbers_in_fhir(made) == figures_of(report)
    (document,) = resources(made, "DiagnosticReport")
    assert document["basedOn"][0]["identifier"]["value"] == accession


def test_names_in_three_scripts_and_with_joiners():
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    message = oru_message(cases.report(context=cases.context(patient=Patient(name=name))))
    (patient,) = segments(message, "PID")
    assert patient[5] == "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P"
    persian = "می\u200cخواهم"
    message = oru_message(cases.report(context=cases.context(patient=Patient(name=persian))))
    assert segments(message, "PID")[0][5].startswith(persian)


def test_addressed_hl7_has_its_receiver_and_the_same_results():
    made = oru_message(ALL["blasts"])
    sent = addressed(made, application="LIS|1", facility="Ward & Co", control_id="ABC")
    (header,) = segments(sent, "MSH")
    assert header[4:6] == ["LIS\\F\\1", "Ward \\T\\ Co"]
    assert header[9] == "ABC"
    assert sent.split(b"\r")[1:] == made.split(b"\r")[1:]
    assert control_id_of("a") == control_id_of("a") != control_id_of("b")
    assert len(control_id_of("a")) == 20


def test_addressed_fhir_refers_to_the_servers_own_patient():
    made = fhir_bundle(ALL["blasts"], PDF)
    assert fhir.addressed(made, patient_system="") == made
    sent = fhir.addressed(made, patient_system="urn:oid:1.2.3")
    Bundle.model_validate_json(sent)
    for resource in resources(sent, "Observation"):
        assert resource["subject"]["reference"] == "Patient?identifier=urn:oid:1.2.3|PID-0042"
    odd = cases.report(context=cases.context(patient=Patient(patient_id="a|b&c,d")))
    sent = fhir.addressed(fhir_bundle(odd, PDF), patient_system="urn:oid:1.2.3")
    (document,) = resources(sent, "DiagnosticReport")
    assert document["subject"]["reference"].endswith("|a%5C%7Cb%26c%5C%2Cd")


def ack(said: str, control_id: str = "ID", more: str = "") -> bytes:
    return f"MSH|^~\\&|LIS||||2026||ACK|1|P|2.5.1\rMSA|{said}|{control_id}|words\r{more}".encode()


@pytest.mark.parametrize(
    ("block", "answer", "reason"),
    [
        (ack("AA"), Answer.ACCEPTED, ""),
        (ack("CA"), Answer.ACCEPTED, ""),
        (ack("AE"), Answer.ERROR, "the peer answered AE"),
        (
            ack("AR", more="ERR||PID^1|101^Required field missing^HL70357|E||||Doe, Jane\r"),
            Answer.REJECTED,
            "the peer answered AR (error 101, severity E)",
        ),
        (ack("AA", "OTHER"), Answer.UNKNOWN, "the answer is to another message"),
        (ack("XX"), Answer.UNKNOWN, "MSA-1 of the answer is no code"),
        (b"MSH|^~\\&|LIS\r", Answer.UNKNOWN, "the answer is to another message"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Answer.UNKNOWN, "the answer is no HL7 message"),
        (b"", Answer.UNKNOWN, "the answer is no HL7 message"),
    ],
)
def test_acknowledgements(block, answer, reason):
    said = acknowledgement_of(block, control_id="ID")
    assert (said.answer, said.reason) == (answer, reason)
    assert "Jane" not in said.reason
    assert ("Jane" in said.comment) == (b"Jane" in block)


def response(*statuses: str, kind: str = "transaction-response") -> bytes:
    entries = [{"response": {"status": s}} for s in statuses]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


def outcome(code: str, words: str) -> bytes:
    issue = {"severity": "error", "code": code, "diagnostics": words}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "answer", "reason"),
    [
        (200, response("201 Created", "200 OK"), Answer.ACCEPTED, ""),
        (200, response("201 Created"), Answer.UNKNOWN, "without a success for each of 2"),
        (200, response("201", "404"), Answer.UNKNOWN, "without a success for each of 2"),
        (200, response("201", "201", kind="batch-response"), Answer.UNKNOWN, "without"),
        (200, b"<html>welcome</html>", Answer.UNKNOWN, "without a success"),
        (412, outcome("multiple-matches", "Doe"), Answer.REJECTED, "412 (multiple-matches)"),
        (422, outcome("Jane Doe", "Doe"), Answer.REJECTED, "the server answered 422"),
        (401, b"", Answer.REJECTED, "the server answered 401"),
        (307, b"", Answer.REJECTED, "the server answered 307"),
        (409, b"[]", Answer.ERROR, "the server answered 409"),
        (429, b"{}", Answer.ERROR, "the server answered 429"),
        (503, b'{"issue": 7}', Answer.ERROR, "the server answered 503"),
    ],
)
def test_transaction_answers(status, body, answer, reason):
    said = transaction_answer(status, body, entries=2)
    assert said.answer is answer
    assert reason in said.reason
    assert "Doe" not in said.reason
    assert answer.retryable == (answer in (Answer.ERROR, Answer.UNKNOWN))


def test_the_manual_names_the_system_of_local_codes():
    manual = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    assert fhir.SYSTEMS[codes.LOCAL_SCHEME] in manual
