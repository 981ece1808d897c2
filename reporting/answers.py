"""What receivers of messages answered: an HL7 acknowledgement, or a FHIR server's response.

In      what a peer sent
Out     Acknowledgement; whatever the bytes, no exception
Source  HL7 v2.5.1 2.9 (original and enhanced mode), tables 0008 and 0357; FHIR R4 http (3.1.0.11
        transaction) and operationoutcome
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import hl7

from reporting.words import harmless, short

__all__ = ["Acknowledgement", "Answer", "acknowledgement_of", "transaction_answer"]

_COMMENT = 512  # characters kept of a peer's own words


class Answer(StrEnum):
    """What the receiver did with the message."""

    ACCEPTED = "accepted"
    ERROR = "error"  # could not be processed this time
    REJECTED = "rejected"  # will not be taken as it is
    UNKNOWN = "unknown"  # that was no answer to this message

    @property
    def retryable(self) -> bool:
        """May go better later without anyone changing anything."""
        return self in (Answer.ERROR, Answer.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """`reason` holds codes alone; `comment` the peer's own words, which may name the patient."""

    answer: Answer
    reason: str = ""
    comment: str = ""


_ANSWERS: Mapping[str, Answer] = {  # table 0008; a commit accept (CA) says that it is safely stored
    "AA": Answer.ACCEPTED,
    "CA": Answer.ACCEPTED,
    "AE": Answer.ERROR,
    "CE": Answer.ERROR,
    "AR": Answer.REJECTED,
    "CR": Answer.REJECTED,
}


def acknowledgement_of(block: bytes, *, control_id: str) -> Acknowledgement:
    """Read a peer's answer to the message of this id. Whatever the bytes, no exception."""
    text = block.decode("utf-8", "replace").replace("\n", "\r").strip("\r ")
    if not hl7.ishl7(text):
        return Acknowledgement(answer=Answer.UNKNOWN, reason="the answer is no HL7 message")
    try:
        message = hl7.parse(text)
    except (hl7.HL7Exception, AssertionError, LookupError, ValueError):
        return Acknowledgement(answer=Answer.UNKNOWN, reason="the answer cannot be parsed")
    said, repeated = (_read(message, "MSA", n) for n in (1, 2))
    if repeated != control_id:
        return Acknowledgement(answer=Answer.UNKNOWN, reason="the answer is to another message")
    answer = _ANSWERS.get(said)
    if answer is None:
        return Acknowledgement(answer=Answer.UNKNOWN, reason="MSA-1 of the answer is no code")
    if answer is Answer.ACCEPTED:
        return Acknowledgement(answer=answer, comment=said)
    error, severity = _read(message, "ERR", 3), _read(message, "ERR", 4)
    coded = [
        f"{name} {value}"
        for name, value in (("error", error), ("severity", severity))
        if re.fullmatch(r"[A-Z0-9]{1,10}", value)
    ]
    reason = f"the peer answered {said}" + (f" ({', '.join(coded)})" if coded else "")
    words = (_read(message, "MSA", 3), _read(message, "ERR", 8))
    comment = short(harmless(" ".join((said, *filter(None, words)))), _COMMENT)
    return Acknowledgement(answer=answer, reason=reason, comment=comment)


def _read(message: hl7.Message, segment: str, field: int) -> str:
    """First component of a field of the first such segment, empty when there is none."""
    try:
        value = message.segment(segment)(field)
    except LookupError:
        return ""
    while isinstance(value, list):
        value = value[0] if value else ""
    return str(value)


# 409: the same identifier at the same moment; 429: too many requests
_LATER = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 507})


def transaction_answer(status: int, body: bytes, *, entries: int) -> Acknowledgement:
    """Read a server's response to a transaction of so many entries.

    Accepted means that the server has said success for each entry: a 200 from something between here
    and there is no proof."""
    said = _parsed(body)
    if not 200 <= status < 300:
        later = Answer.ERROR if status in _LATER else Answer.REJECTED
        issues = list(_issues(said))
        codes = sorted({c for c, _ in issues if re.fullmatch(r"[a-z][a-z-]{1,30}", c)})
        reason = f"the server answered {status}" + (f" ({', '.join(codes)})" if codes else "")
        words = " ".join((f"HTTP {status}", *(text for _, text in issues if text)))
        return Acknowledgement(
            answer=later, reason=reason, comment=short(harmless(words), _COMMENT)
        )
    each = [str(_at(_at(e, "response"), "status")) for e in _list(_at(said, "entry"))]
    if (
        _at(said, "type") == "transaction-response"
        and len(each) == entries
        and all(s.startswith("2") for s in each)
    ):
        return Acknowledgement(answer=Answer.ACCEPTED, comment=f"HTTP {status}")
    reason = f"the server answered {status} without a success for each of {entries} resources"
    return Acknowledgement(answer=Answer.UNKNOWN, reason=reason, comment=f"HTTP {status}")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _issues(outcome: Any) -> Iterator[tuple[str, str]]:
    """Code and words of an OperationOutcome's issues."""
    for issue in _list(_at(outcome, "issue"))[:5]:
        words = _at(issue, "diagnostics") or _at(_at(issue, "details"), "text") or ""
        yield str(_at(issue, "code")), str(words)


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
