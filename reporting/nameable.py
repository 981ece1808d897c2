"""What of a source's own references and codes a result object can repeat.

In      StudyContext as received
Out     the same without what would make an object that no reader takes: instances whose UIDs are
        none, a specimen UID that is none, a specimen type that is no code; each with a warning
Names, dates and numbers of patient and study are not touched: those are repeated as they came.
"""

import re
from dataclasses import replace

from domain.study import Code, EvidenceRef, Specimen, StudyContext

__all__ = ["nameable"]

MEANING = 64  # LO: characters of a code's meaning (PS3.3 8.3)
SHORT = 16  # SH: characters of its value and its scheme

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")  # PS3.5 9.1


def nameable(context: StudyContext) -> StudyContext:
    """The context that a report is made of."""
    evidence = tuple(e for e in context.evidence if _is_instance(e))
    specimen, said = _specimen(context.specimen)
    left_out = len(context.evidence) - len(evidence)
    if left_out:
        said.append(f"{left_out} instances are not named as evidence: their UIDs are none")
    warnings = dict.fromkeys((*context.warnings, *said))
    return replace(context, evidence=evidence, specimen=specimen, warnings=tuple(warnings))


def _specimen(specimen: Specimen | None) -> tuple[Specimen | None, list[str]]:
    said: list[str] = []
    if specimen is None:
        return None, said
    uid, type_code = specimen.uid, specimen.type_code
    if uid and not _is_uid(uid):
        uid = ""
        said.append("the specimen's UID is none and is left out")
    if type_code is not None:
        type_code = _code(type_code)
        if type_code is None:
            said.append("the specimen's type is no code and is left out")
    return replace(specimen, uid=uid, type_code=type_code), said


def _code(code: Code) -> Code | None:
    """With its meaning cut to size; None when it is not in the form of a code."""
    value, scheme, meaning = (
        " ".join(_plain(t).split()) for t in (code.value, code.scheme, code.meaning)
    )
    if not (0 < len(value) <= SHORT and 0 < len(scheme) <= SHORT and meaning):
        return None
    return Code(value=value, scheme=scheme, meaning=meaning[:MEANING].rstrip())


def _plain(text: str) -> str:
    """Without what separates values, controls a terminal, or is half a character (PS3.5 6.1)."""
    writable = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(" " if c < " " or c in "\\\x7f" else c for c in writable)


def _is_instance(one: EvidenceRef) -> bool:
    return all(map(_is_uid, (one.sop_class_uid, one.instance_uid, one.series_uid)))


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.fullmatch(text) is not None
