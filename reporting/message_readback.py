"""Read the numbers back out of made messages, to compare them with `figures.figures_of`.

In      bytes of an HL7 message or of a FHIR Bundle
Out     the same flat names and forms as `figures_of`, as in `readback`
Read by hl7 and fhir.resources and by codes alone, not by how the messages were made. A number said
in two ways raises Ambiguous.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from reporting import codes
from reporting.figures import one_decimal, ratio
from reporting.readback import Ambiguous, coded_names

__all__ = ["numbers_in_fhir", "numbers_in_hl7"]

_INTERVALS = (codes.INTERVAL_EXACT, codes.INTERVAL_CORRECTED)


def numbers_in_hl7(message: bytes) -> dict[str, str]:
    """Numbers by name, from the OBX segments: NM values, and SN intervals of the same sub-id."""
    import hl7

    known = {(c.scheme, c.value): (name, kind) for c, name, kind in coded_names()}
    named: dict[str, str] = {}  # sub-id -> the percentage it belongs to
    found: dict[str, str] = {}
    for segment in hl7.parse(message.decode("utf-8")).segments("OBX"):
        kind, sub_id, value = (str(segment(n)) for n in (2, 4, 5))
        concept = str(segment(3)(1)(1)(1)), str(segment(3)(1)(3)(1))
        name, form = known.get(concept[::-1], ("", ""))
        if kind == "NM" and name and value:
            if form == "fraction":
                named[sub_id] = name
            _say(found, _figure(name, form, Decimal(value)))
        elif kind == "SN" and concept[::-1] in {(c.scheme, c.value) for c in _INTERVALS}:
            low, high = str(segment(5)(1)(2)(1)), str(segment(5)(1)(4)(1))
            _say(found, _limits(named[sub_id], Decimal(low), Decimal(high)))
    return found


def numbers_in_fhir(bundle: bytes) -> dict[str, str]:
    """Numbers by name, from the Observations' quantities and the intervals that are their components."""
    from fhir.resources.R4B.bundle import Bundle

    systems = {"http://loinc.org": "LN"}
    known = {(c.scheme, c.value): (name, kind) for c, name, kind in coded_names()}
    found: dict[str, str] = {}
    read: Any = Bundle.model_validate_json(bundle)  # its resources' types are told at run time
    for entry in read.entry:
        if entry.resource.get_resource_type() != "Observation":
            continue
        observed = entry.resource
        coding = observed.code.coding[0]
        scheme = systems.get(coding.system, codes.LOCAL_SCHEME)
        name, form = known.get((scheme, coding.code), ("", ""))
        if not name or observed.valueQuantity is None:
            continue
        _say(found, _figure(name, form, observed.valueQuantity.value))
        for component in observed.component or []:
            if component.code.coding[0].code in {c.value for c in _INTERVALS}:
                limits = component.valueRange
                _say(found, _limits(name, limits.low.value, limits.high.value))
    return found


def _figure(name: str, form: str, value: Decimal) -> Iterator[tuple[str, str]]:
    if form == "count":
        yield name, str(int(value))
    elif form == "ratio":
        yield name, ratio(float(value))
    elif form == "plain":
        yield name, one_decimal(float(value))
    else:
        yield f"{name}.percent", one_decimal(float(value))


def _limits(name: str, low: Decimal, high: Decimal) -> Iterator[tuple[str, str]]:
    yield f"{name}.low", one_decimal(float(low))
    yield f"{name}.high", one_decimal(float(high))


def _say(found: dict[str, str], said: Iterator[tuple[str, str]]) -> None:
    for name, value in said:
        if found.setdefault(name, value) != value:
            raise Ambiguous(f"{name} is said to be {found[name]} and {value}; look at the message")
