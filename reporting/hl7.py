"""The report as an HL7 v2.5.1 result message, ORU^R01^ORU_R01.

In      Report
Out     the message in UTF-8 (MSH-18), segments ended by a carriage return, without MLLP's frame
Source  HL7 v2.5.1 chapters 2 (2.10 escapes, 2.15 segments), 3 (PID) and 7 (7.3.1 ORU)
The same report gives the same bytes. A number that does not exist is an OBX without a value, OBX-11
X and the reason in a note; never 0. Text of a source is escaped: it can't end a field or a segment.
"""

from collections.abc import Iterator
from datetime import date, datetime

from domain.identities import derived_uuid
from domain.study import Code
from reporting import codes
from reporting.measurements import (
    Standing,
    Statement,
    acquired,
    measurements,
    standing_of,
    statements,
)
from reporting.report import Report
from reporting.words import harmless

__all__ = ["addressed", "control_id_of", "oru_message"]

VERSION = "2.5.1"
NAMESPACE_CHARACTERS = 20
# tables 0123 (OBR-25) and 0085 (OBX-11)
_STATUS = {Standing.PRELIMINARY: "P", Standing.FINAL: "F", Standing.CORRECTED: "C"}
_NOT_OBTAINED = "X"
_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"})

Field = str  # encoded: components and repetitions joined, their text escaped


def oru_message(report: Report) -> bytes:
    """The message, not yet addressed to a receiver."""
    lines = [
        _header(report),
        _segment("SFT", *_software(report)),
        _patient(report),
        _segment("ORC", "RE", "", _order(report)),
        _request(report),
        *(_segment("NTE", str(n), "L", _text(note)) for n, note in enumerate(_notes(report), 1)),
        *_results(report),
        *_specimen(report),
    ]
    return "".join(f"{line}\r" for line in lines).encode("utf-8")


def addressed(message: bytes, *, application: str, facility: str, control_id: str) -> bytes:
    """The message with its receiver (MSH-5, MSH-6) and the id that the answer must repeat (MSH-10)."""
    header, _, rest = message.decode("utf-8").partition("\r")
    fields = header.split("|")
    fields[4], fields[5], fields[9] = _text(application), _text(facility), _text(control_id)
    return f"{'|'.join(fields)}\r{rest}".encode()


def control_id_of(name: str) -> str:
    """MSH-10, at most 20 characters: the same whenever the same thing is sent again, so that a
    receiver knows the repeated message (2.9.2.1)."""
    return derived_uuid("hl7 control id", name).hex[:20]


def _header(report: Report) -> str:
    untrained = "T" if report.untrained else "P"  # table 0103: training, production
    return "|".join(
        (
            "MSH",
            "^~\\&",
            _maker(report),
            "",
            "",
            "",
            _time(report.issued_at),
            "",
            "ORU^R01^ORU_R01",
            control_id_of(report.uids.sr_instance),
            untrained,
            VERSION,
            *("", "", "", "", ""),
            "UNICODE UTF-8",
            "en^English^ISO639",
        )
    )


def _software(report: Report) -> tuple[Field, ...]:
    producer, bundle = report.producer, report.analysis.bundle
    return (
        _text(producer.manufacturer),
        _text(producer.version),
        _text(producer.model),
        _text(bundle.manifest_sha256[:20]),
        _text(f"Bundle {bundle.id}, version {bundle.version}"),
    )


def _patient(report: Report) -> str:
    patient = report.context.patient
    born = patient.birth_date.strip()
    identifier = f"{_parts(patient.patient_id)}^^^{_authority(patient.issuer)}^PI"
    names = [_person(group, representation=r) for group, r in _groups(patient.name)]
    return _segment(
        "PID",
        "1",
        "",
        identifier if patient.patient_id.strip() else "",
        "",
        "~".join(names) or "^^^^^^U",  # required; table 0200, unspecified
        "",
        born if _is_day(born) else "",
        patient.sex.strip() if patient.sex.strip() in ("M", "F", "O") else "",
    )


def _groups(name: str) -> Iterator[tuple[str, str]]:
    """The groups of a PN (PS3.5 6.2.1) with HL7's table 0465: alphabetic, ideographic, phonetic."""
    for group, representation in zip(name.split("="), "AIP", strict=False):
        if group.strip(" ^"):
            yield group, representation


def _person(group: str, *, representation: str) -> Field:
    """XPN. DICOM writes the prefix before the suffix, HL7 after it."""
    family, given, middle, prefix, suffix = (*group.split("^"), "", "", "", "", "")[:5]
    return _parts(family, given, middle, suffix, prefix, "", "L", representation)


def _request(report: Report) -> str:
    context = report.context
    physicians = [
        _parts("", *(p.strip() for p in group.split("^")[:3]))
        for group, representation in _groups(context.referring_physician)
        if representation == "A"
    ]
    fields = dict.fromkeys(range(1, 26), "") | {
        1: "1",
        3: _order(report),
        4: _coded(codes.PDF_TITLE),
        7: _when(acquired(context)),
        16: "~".join(physicians),
        18: _text(context.accession_number),  # as IHE's radiology profiles have it
        22: _time(report.issued_at),
        24: "HM",
        25: _STATUS[standing_of(report)],
    }
    return _segment("OBR", *fields.values())


def _order(report: Report) -> Field:
    """Filler order number (EI): the case, so that each revision replaces the one before it."""
    return f"{_text(report.case_id)}^{_maker(report)}"


def _notes(report: Report) -> Iterator[str]:
    yield report.disclaimer
    yield "The interval of a percentage follows it under the same sub-id (OBX-4)."
    yield f"Report revision {report.revision}, analysis {report.analysis_ordinal}"


def _results(report: Report) -> Iterator[str]:
    number = 0
    for group, measurement in enumerate(measurements(report), 1):
        number += 1
        yield _observation(report, number, "NM", measurement.code, measurement.value or "",
                           group=group, unit=measurement.unit, missing=measurement.missing)  # fmt: skip
        if measurement.missing is not None:
            yield _segment("NTE", "1", "L", _text(_why(measurement.missing)))
        if measurement.interval is not None:
            number += 1
            limits = f"^{measurement.interval.low}^-^{measurement.interval.high}"
            yield _observation(report, number, "SN", measurement.interval.code, limits,
                               group=group, unit=measurement.unit)  # fmt: skip
    for sub_id, said in enumerate(_said(report), 1):
        number += 1
        kind, value = (
            ("CWE", _coded(said.value))
            if isinstance(said.value, Code)
            else ("TX", _text(said.value))
        )
        yield _observation(report, number, kind, said.code, value, group=sub_id)


def _said(report: Report) -> Iterator[Statement]:
    yield from statements(report)
    for code, uid in (
        (codes.STUDY_INSTANCE_UID, report.context.study_uid),
        (codes.PDF_UID, report.uids.pdf_instance),
        (codes.SR_UID, report.uids.sr_instance),
    ):
        yield Statement(key=code.value, code=code, value=uid)


def _why(reason: Code) -> str:
    return f"Not measured: {reason.meaning} ({reason.value}, {reason.scheme})"


def _observation(
    report: Report,
    number: int,
    kind: str,
    code: Code,
    value: Field,
    *,
    group: int,
    unit: Code | None = None,
    missing: Code | None = None,
) -> str:
    """OBX. The sub-id joins a percentage and its interval, and tells equal codes apart."""
    fields = dict.fromkeys(range(1, 20), "") | {
        1: str(number),
        2: kind,
        3: _coded(code),
        4: str(group),
        5: value,
        6: _coded(unit) if unit else "",
        11: _NOT_OBTAINED if missing else _STATUS[standing_of(report)],
        17: _coded(codes.AUTOMATED),
        18: _maker(report),
        19: _time(report.issued_at),
    }
    return _segment("OBX", *fields.values())


def _specimen(report: Report) -> Iterator[str]:
    specimen = report.context.specimen
    if specimen is None:
        return
    # SPM-4 is required; a type that the source did not state is not guessed
    kind = _coded(specimen.type_code) if specimen.type_code else "^Not stated"
    named = _subparts(specimen.identifier, "", specimen.uid, "ISO" if specimen.uid else "")
    stain = f"Stain: {specimen.stain}" if specimen.stain.strip() else ""
    yield _segment("SPM", "1", named, "", kind, *[""] * 9, _text(stain))
    if specimen.container_identifier.strip():
        fields = ("1", "ST", _coded(codes.CONTAINER_IDENTIFIER), "",
                  _text(specimen.container_identifier))  # fmt: skip
        yield _segment("OBX", *fields, *[""] * 5, _STATUS[standing_of(report)])


def _maker(report: Report) -> Field:
    """The device that says it, as HD and EI name it: model, then its UID."""
    return f"{_text(report.producer.model)}^{_text(report.producer.device_uid)}^ISO"


def _segment(name: str, *fields: Field) -> str:
    return "|".join((name, *fields)).rstrip("|")


def _coded(code: Code) -> Field:
    return _parts(code.value, code.meaning, code.scheme)


def _parts(*components: str) -> Field:
    return "^".join(map(_text, components)).rstrip("^")


def _authority(name: str) -> Field:
    """HD (2.A.36): a namespace of 20 characters at most; a longer one is a universal id of local type."""
    escaped = _text(name)
    return escaped if len(escaped) <= NAMESPACE_CHARACTERS else f"&{escaped}&L"


def _subparts(*components: str) -> Field:
    return "&".join(map(_text, components)).rstrip("&")


def _text(text: str) -> Field:
    """One component: on one line, with HL7's own characters escaped (2.10)."""
    return harmless(text).translate(_ESCAPES)


def _time(moment: datetime) -> str:
    """TS. The offset is left out where none is known."""
    return moment.strftime("%Y%m%d%H%M%S%z")


def _when(moment: datetime | date | None) -> str:
    if moment is None:
        return ""
    return _time(moment) if isinstance(moment, datetime) else moment.strftime("%Y%m%d")


def _is_day(text: str) -> bool:
    try:
        return len(text) == 8 and text.isascii() and bool(datetime.strptime(text, "%Y%m%d"))  # noqa: DTZ007 a birth date has no zone
    except ValueError:
        return False
