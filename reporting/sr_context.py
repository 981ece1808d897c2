"""Who observed what, in the SR (TID 1001): the device, the person who verified it, the specimen."""

from highdicom.sr import (
    DeviceObserverIdentifyingAttributes,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    SubjectContext,
    SubjectContextSpecimen,
)

from domain.reviews import Review
from reporting import codes
from reporting.headers import concept
from reporting.report import Report
from reporting.sr_items import writable

__all__ = ["observation_context"]

_MOST_CHARACTERS = 64  # of LO, and of a component group of PN


def observation_context(report: Report) -> ObservationContext:
    """The device, the person once there is a signature, and the specimen where one is known."""
    signature = report.signature
    return ObservationContext(
        observer_person_context=None if signature is None else _person(signature),
        observer_device_context=_device(report),
        subject_context=_specimen(report),
    )


def _person(signature: Review) -> ObserverContext:
    """TID 1003. A name of one component gets the delimiter that says so."""
    name = _value(signature.by)
    return ObserverContext(
        observer_type=concept(codes.PERSON),
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(
            name=name if "^" in name else f"{name}^",
            organization_name=_value(signature.organization) or None,
        ),
    )


def _device(report: Report) -> ObserverContext:
    """TID 1004."""
    producer = report.producer
    return ObserverContext(
        observer_type=concept(codes.DEVICE),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=producer.device_uid,
            name=f"{producer.model} {producer.version}",
            manufacturer_name=producer.manufacturer,
            model_name=producer.model,
            serial_number=producer.serial_number,
        ),
    )


def _specimen(report: Report) -> SubjectContext | None:
    """TID 1009, whose Specimen UID is mandatory."""
    specimen = report.context.specimen
    if specimen is None or not specimen.uid:
        return None
    return SubjectContext(
        subject_class=concept(codes.SPECIMEN),
        subject_class_specific_context=SubjectContextSpecimen(
            uid=specimen.uid,
            identifier=writable(specimen.identifier) or None,
            container_identifier=writable(specimen.container_identifier) or None,
            specimen_type=concept(specimen.type_code) if specimen.type_code else None,
        ),
    )


def _value(text: str) -> str:
    """What a person typed, as LO and PN hold it: no backslash, which parts values, no control
    character, 64 characters at most (PS3.5 6.2)."""
    plain = "".join(" " if c < " " or c in "\\\x7f" else c for c in writable(text))
    return plain.strip()[:_MOST_CHARACTERS].rstrip()
