"""Who observed what, in the SR (TID 1001): the device, the person who verified it, the specimen."""

from datetime import datetime
from typing import Protocol

from highdicom.sr import (
    DeviceObserverIdentifyingAttributes,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    SubjectContext,
    SubjectContextSpecimen,
)
from pydicom.dataset import Dataset

from reporting import codes
from reporting.headers import concept
from reporting.report import Report
from reporting.sr_items import writable

__all__ = ["Signed", "observation_context", "verifying_observers"]

_MOST_CHARACTERS = 64  # of LO, and of a component group of PN
_NOT_STATED = "not stated"


class Signed(Protocol):
    """A person's signature under the report: name (`Family^Given`, or as it was given), organisation
    (may be empty), and the time."""

    @property
    def by(self) -> str: ...
    @property
    def organization(self) -> str: ...
    @property
    def at(self) -> datetime: ...


def observation_context(report: Report, signature: Signed | None) -> ObservationContext:
    """The device, the person once there is a signature, and the specimen where one is known."""
    return ObservationContext(
        observer_person_context=None if signature is None else _person(signature),
        observer_device_context=_device(report),
        subject_context=_specimen(report),
    )


def verifying_observers(signature: Signed) -> list[Dataset]:
    """PS3.3 C.17.2, Verifying Observer Sequence: who takes responsibility, and when."""
    item = Dataset()
    item.VerifyingObserverName = _value(signature.by)
    item.VerifyingObserverIdentificationCodeSequence = []
    item.VerifyingOrganization = _value(signature.organization) or _NOT_STATED
    item.VerificationDateTime = signature.at.strftime("%Y%m%d%H%M%S.%f%z")
    return [item]


def _person(signature: Signed) -> ObserverContext:
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
