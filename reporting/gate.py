"""The gate before anything leaves: drawings are read back and compared with the database's numbers.

In      the numbers that the database holds, by name (`figures.figures_of`); PDF, SR and messages as
        they would be sent
Out     the differences, one line each; nothing when every number is said, and no other
Text in which a number can be read in two ways counts as a difference: nobody knows which is seen.
"""

import io
import re
from collections.abc import Iterator, Mapping

from pydicom import dcmread

from reporting.message_readback import numbers_in_fhir, numbers_in_hl7
from reporting.pdf_text import pdf_text
from reporting.readback import Ambiguous, content_items, numbers_in_pdf_text, numbers_in_sr
from reporting.report import UNTRAINED, Report
from reporting.sr_items import writable

__all__ = [
    "differences",
    "differences_in_fhir",
    "differences_in_hl7",
    "differences_in_pdf_object",
    "differences_in_sr",
    "wrong_words_in_pdf_object",
    "wrong_words_in_sr",
]


def differences_in_pdf_object(expected: Mapping[str, str], document: bytes) -> tuple[str, ...]:
    """Of an Encapsulated PDF object."""
    try:
        pdf = bytes(dcmread(io.BytesIO(document)).EncapsulatedDocument)
        said = numbers_in_pdf_text(pdf_text(pdf))
    except ValueError as error:  # Ambiguous is one
        return (f"PDF: {error}",)
    return differences("PDF", expected, said)


def differences_in_sr(expected: Mapping[str, str], document: bytes) -> tuple[str, ...]:
    """Of a structured report."""
    try:
        said = numbers_in_sr(document)
    except Ambiguous as error:
        return (f"SR: {error}",)
    return differences("SR", expected, said)


def differences_in_hl7(expected: Mapping[str, str], message: bytes) -> tuple[str, ...]:
    """Of a result message."""
    try:
        said = numbers_in_hl7(message)
    except ValueError as error:
        return (f"HL7: {error}",)
    return differences("HL7", expected, said)


def differences_in_fhir(expected: Mapping[str, str], bundle: bytes) -> tuple[str, ...]:
    """Of a transaction."""
    try:
        said = numbers_in_fhir(bundle)
    except ValueError as error:
        return (f"FHIR: {error}",)
    return differences("FHIR", expected, said)


def wrong_words_in_pdf_object(report: Report, document: bytes) -> tuple[str, ...]:
    """What stands on every PDF whether it has numbers or not: whose case, who verified it or that
    nobody has, that its models are untrained. An empty page says none of them."""
    try:
        text = pdf_text(bytes(dcmread(io.BytesIO(document)).EncapsulatedDocument))
    except ValueError as error:
        return (f"PDF: {error}",)
    wanted = {
        "the case": re.escape(str(report.case_id)),
        "verification": rf"(?<![A-Z]){report.verification}(?![A-Z])",
        **({"untrained models": re.escape(UNTRAINED)} if report.untrained else {}),
    }
    return tuple(
        f"PDF: {what} is not said as the database has it"
        for what, words in wanted.items()
        if re.search(words, text) is None
    )


def wrong_words_in_sr(report: Report, document: bytes) -> tuple[str, ...]:
    """The same of a structured report, and that it holds the finding."""
    dataset = dcmread(io.BytesIO(document))
    texts = {str(item.get("TextValue", "")) for item in content_items(dataset)}
    said = {
        "its UID": dataset.SOPInstanceUID == report.uids.sr_instance,
        "verification": dataset.VerificationFlag == report.verification,
        "the finding": writable(report.finding.text) in texts,
        "untrained models": not report.untrained or UNTRAINED in texts,
    }
    return tuple(
        f"SR: {what} is not said as the database has it" for what, so in said.items() if not so
    )


def differences(
    drawing: str, expected: Mapping[str, str], said: Mapping[str, str]
) -> tuple[str, ...]:
    """
    >>> differences("SR", {"leukocytes": "204"}, {"leukocytes": "205"})
    ('SR: leukocytes is 205, the database has 204',)
    """
    return tuple(_differing(drawing, expected, said))


def _differing(drawing: str, expected: Mapping[str, str], said: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(expected.keys() | said.keys()):
        told, wanted = said.get(name, "not there"), expected.get(name, "none")
        if told != wanted:
            yield f"{drawing}: {name} is {told}, the database has {wanted}"
