"""The report as FHIR R4 resources: a transaction Bundle of a Device, Observations and the
DiagnosticReport that holds them together.

In      Report, and the PDF's bytes as `reporting.pdf` made them
Out     the Bundle as JSON in UTF-8, checked by fhir.resources; the same bytes for the same report
Source  FHIR R4 (4.0.1) http (transaction, conditional create), diagnosticreport, observation
Every entry is a conditional create by an identifier derived from the report: sent again it changes
nothing. A number that does not exist has a dataAbsentReason, never 0. Patient, specimen, study and
order are named by identifier; no such resource is made, for they are not ours.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from domain.identities import derived_uid, derived_uuid
from domain.study import Code
from reporting import codes
from reporting.measurements import (
    Measurement,
    Standing,
    Statement,
    acquired,
    measurements,
    standing_of,
    statements,
)
from reporting.report import UNTRAINED, Report
from reporting.words import harmless, person_words

__all__ = ["addressed", "fhir_bundle"]

Json = dict[str, Any]

SYSTEMS = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
    codes.LOCAL_SCHEME: f"urn:oid:{derived_uid('coding scheme', codes.LOCAL_SCHEME)}",
}
_UIDS = "urn:dicom:uid"
_URIS = "urn:ietf:rfc:3986"
_TERMS = "http://terminology.hl7.org/CodeSystem/"
_REPLACES = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-replaces"
# of a DiagnosticReport and of its Observations. R4 keeps a report's `preliminary` for verified early
# results; what nobody has verified is `partial`.
_STATUS = {
    Standing.PRELIMINARY: ("partial", "preliminary"),
    Standing.FINAL: ("final", "final"),
    Standing.CORRECTED: ("corrected", "corrected"),
}
_ABSENT = {  # data-absent-reason beside CID 42
    codes.MEASUREMENT_FAILURE: "error",
    codes.NOT_ATTEMPTED: "not-performed",
    codes.DIVIDE_BY_ZERO: "not-a-number",
}


def fhir_bundle(report: Report, pdf: bytes) -> bytes:
    """The transaction, to be posted to a server's base address.

    Raises ValueError when what was made is no FHIR."""
    # fhir.resources takes a second to load, and is wanted here alone
    from fhir.resources.R4B.bundle import Bundle

    device = _entry(_device(report), _device_name(report))
    observations = [
        _entry(resource, _uuid(report, key)) for key, resource in _observations(report, device)
    ]
    document = _entry(_document(report, pdf, observations), _uuid(report, "report"))
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [device, *observations, document],
    }
    made: str = Bundle.model_validate(bundle).model_dump_json()
    return made.encode("utf-8")


def addressed(bundle: bytes, *, patient_system: str) -> bytes:
    """The Bundle for a server that knows the patients by this identifier system: each subject becomes
    a conditional reference (http, 3.1.0.11.2), and the server refuses the whole when it has no such
    patient, or several. Without a system the patient stays named by identifier alone."""
    if not patient_system:
        return bundle
    made: Json = json.loads(bundle)
    for entry in made["entry"]:
        subject = entry["resource"].get("subject")
        value = subject and subject.get("identifier", {}).get("value")
        if value:
            subject["reference"] = f"Patient?identifier={_query(patient_system)}|{_query(value)}"
            subject["identifier"]["system"] = patient_system
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _query(text: str) -> str:
    """A part of a token in a search: its own separators escaped (search, 3.1.1.5), then as in a URL."""
    for mark in "\\$,|":
        text = text.replace(mark, f"\\{mark}")
    return quote(text, safe=":/")


def _uuid(report: Report, key: str) -> str:
    return f"urn:uuid:{derived_uuid('fhir', report.uids.sr_instance, key)}"


def _device_name(report: Report) -> str:
    """One for each installation, version and bundle."""
    producer, bundle = report.producer, report.analysis.bundle
    parts = (producer.device_uid, producer.version, bundle.manifest_sha256)
    return f"urn:uuid:{derived_uuid('fhir device', *parts)}"


def _entry(resource: Json, name: str) -> Json:
    """A conditional create: where a resource of this identifier exists, nothing happens."""
    if resource["resourceType"] == "Observation":
        resource = {**resource, "identifier": [{"system": _URIS, "value": name}]}
    return {
        "fullUrl": name,
        "resource": resource,
        "request": {
            "method": "POST",
            "url": resource["resourceType"],
            "ifNoneExist": f"identifier={_URIS}|{name}",
        },
    }


def _device(report: Report) -> Json:
    producer, bundle = report.producer, report.analysis.bundle
    versions = {
        "software": producer.version,
        "network bundle": f"{bundle.id} {bundle.version}",
        "network bundle manifest SHA-256": bundle.manifest_sha256,
        **{f"{m.stage.value} weights SHA-256": m.sha256 for m in bundle.models},
    }
    return {
        "resourceType": "Device",
        "identifier": [
            {"system": _URIS, "value": _device_name(report)},
            {"system": _UIDS, "value": f"urn:oid:{producer.device_uid}"},
        ],
        "manufacturer": producer.manufacturer,
        "serialNumber": producer.serial_number,
        "deviceName": [{"name": producer.model, "type": "model-name"}],
        "version": [
            {"type": {"text": kind}, "value": harmless(value)}
            for kind, value in versions.items()
            if harmless(value)
        ],
    }


def _observations(report: Report, device: Json) -> Iterator[tuple[str, Json]]:
    common = _common(report, device)
    for measurement in measurements(report):
        yield measurement.key, {**common, **_measured(measurement)}
    for said in statements(report):
        yield said.key, {**common, **_stated(said)}


def _common(report: Report, device: Json) -> Json:
    shared: Json = {
        "resourceType": "Observation",
        "status": _STATUS[standing_of(report)][1],
        "category": [{"coding": [_coding_of(f"{_TERMS}observation-category", "laboratory")]}],
        "issued": _instant(report.issued_at),
        "device": {"reference": device["fullUrl"]},
        "derivedFrom": [_study(report)],
        **_subject_and_time(report),
    }
    if report.untrained:
        shared["meta"] = _test_data()
    specimen = _specimen(report)
    return shared | ({"specimen": specimen} if specimen else {})


def _subject_and_time(report: Report) -> Json:
    said: Json = {}
    subject = _subject(report)
    if subject:
        said["subject"] = subject
    taken = acquired(report.context)
    if taken is not None:
        said["effectiveDateTime"] = _date_time(taken)
    return said


def _measured(measurement: Measurement) -> Json:
    said: Json = {
        "code": _concept(measurement.code),
        "method": _concept(codes.AUTOMATED),
    }
    if measurement.missing is not None:
        reason = _concept(measurement.missing)
        coding = _coding_of(f"{_TERMS}data-absent-reason", _ABSENT[measurement.missing])
        said["dataAbsentReason"] = {**reason, "coding": [coding, *reason["coding"]]}
        return said
    said["valueQuantity"] = _quantity(measurement.value, measurement.unit)
    if measurement.interval is not None:
        interval = measurement.interval
        said["component"] = [
            {
                "code": _concept(interval.code),
                "valueRange": {
                    "low": _quantity(interval.low, measurement.unit),
                    "high": _quantity(interval.high, measurement.unit),
                },
            }
        ]
    return said


def _stated(said: Statement) -> Json:
    value: Json = (
        {"valueCodeableConcept": _concept(said.value)}
        if isinstance(said.value, Code)
        else {"valueString": harmless(said.value)}
    )
    return {"code": _concept(said.code), **value}


def _document(report: Report, pdf: bytes, observations: list[Json]) -> Json:
    context = report.context
    conclusion = " ".join((*([UNTRAINED + "."] if report.untrained else []), report.finding.text))
    document: Json = {
        "resourceType": "DiagnosticReport",
        "identifier": [
            {"system": _URIS, "value": _uuid(report, "report")},
            {"system": _UIDS, "value": f"urn:oid:{report.uids.sr_instance}"},
            {"system": _UIDS, "value": f"urn:oid:{report.uids.pdf_instance}"},
        ],
        "status": _STATUS[standing_of(report)][0],
        "category": [{"coding": [_coding_of(f"{_TERMS}v2-0074", "HM")]}],
        "code": _concept(codes.PDF_TITLE),
        "issued": _instant(report.issued_at),
        "result": [{"reference": o["fullUrl"]} for o in observations],
        "imagingStudy": [_study(report)],
        "conclusion": harmless(f"{conclusion} {report.disclaimer}"),
        "presentedForm": [_attachment(report, pdf)],
        **_subject_and_time(report),
    }
    if report.untrained:
        document["meta"] = _test_data()
    specimen = _specimen(report)
    if specimen:
        document["specimen"] = [specimen]
    accession = harmless(context.accession_number)
    if accession:
        kind = {"coding": [_coding_of(f"{_TERMS}v2-0203", "ACSN")]}
        document["basedOn"] = [
            {"type": "ServiceRequest", "identifier": {"type": kind, "value": accession}}
        ]
    if report.predecessor is not None:
        replaced = {"system": _UIDS, "value": f"urn:oid:{report.predecessor.sr.instance_uid}"}
        reference = {"type": "DiagnosticReport", "identifier": replaced}
        document["extension"] = [{"url": _REPLACES, "valueReference": reference}]
    return document


def _attachment(report: Report, pdf: bytes) -> Json:
    return {
        "contentType": "application/pdf",
        "language": codes.LANGUAGE.value,
        "data": base64.b64encode(pdf).decode("ascii"),
        "size": len(pdf),
        # the format's own digest, against damage and not against forgery
        "hash": base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode("ascii"),
        "title": report.title,
        "creation": _instant(report.issued_at),
    }


def _subject(report: Report) -> Json:
    patient = report.context.patient
    identifier: Json = {}
    if harmless(patient.patient_id):
        identifier = {
            "type": {"coding": [_coding_of(f"{_TERMS}v2-0203", "PI")]},
            "value": harmless(patient.patient_id),
        }
        if harmless(patient.issuer):
            identifier["assigner"] = {"display": harmless(patient.issuer)}
    name = person_words(patient.name)
    if not identifier and not name:
        return {}
    return {
        "type": "Patient",
        **({"identifier": identifier} if identifier else {}),
        **({"display": name} if name else {}),
    }


def _study(report: Report) -> Json:
    return {
        "type": "ImagingStudy",
        "identifier": {"system": _UIDS, "value": f"urn:oid:{harmless(report.context.study_uid)}"},
    }


def _specimen(report: Report) -> Json:
    specimen = report.context.specimen
    if specimen is None:
        return {}
    words = [
        specimen.type_code.meaning if specimen.type_code else "",
        specimen.stain,
        f"container {specimen.container_identifier}" if specimen.container_identifier else "",
    ]
    display = ", ".join(filter(None, map(harmless, words)))
    identifier: Json = (
        {"value": harmless(specimen.identifier)} if specimen.identifier.strip() else {}
    )
    if specimen.uid:
        identifier = {"system": _UIDS, "value": f"urn:oid:{specimen.uid}"}
        display = ", ".join(filter(None, (harmless(specimen.identifier), display)))
    if not identifier and not display:
        return {}
    return {
        "type": "Specimen",
        **({"identifier": identifier} if identifier else {}),
        **({"display": display} if display else {}),
    }


def _test_data() -> Json:
    """Numbers of untrained networks: a label that servers know to keep apart."""
    return {"security": [_coding_of(f"{_TERMS}v3-ActReason", "HTEST")]}


def _concept(code: Code) -> Json:
    coding = {"code": code.value, "display": harmless(code.meaning)}
    system = SYSTEMS.get(code.scheme)
    return {"coding": [{"system": system, **coding} if system else coding]}


def _coding_of(system: str, code: str) -> Mapping[str, str]:
    return {"system": system, "code": code}


def _quantity(value: str | None, unit: Code) -> Json:
    return {"value": value, "unit": unit.meaning, "system": SYSTEMS["UCUM"], "code": unit.value}


def _instant(moment: datetime) -> str:
    return moment.isoformat()


def _date_time(moment: datetime | date) -> str:
    """With its zone, which FHIR wants beside a time of day; without one the day alone."""
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.date().isoformat()
    return moment.isoformat()
