"""Send issued objects to a destination of any kind: what each peer said, in one form.

DICOM objects go to a PACS, the HL7 message and the FHIR Bundle each to destinations of its kind. An
accepted message is kept as status 0000, as a stored object is; one that was not has no status, and
the peer's own words in the comment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from db.reporting_rows import ObjectKind, ReportObject
from dicom_node.peers import Peer
from dicom_node.requestor import Problem
from dicom_node.scu import Timeouts, send
from leukonode.settings import Destination, DicomDestination, Hl7Destination, Settings
from leukonode.store import FolderStore
from reporting.answers import Answer

__all__ = ["Said", "Sent", "kinds_for", "message_kinds", "send_to"]

_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.4.2.1.13
_DICOM = frozenset(k for k in ObjectKind if not k.is_message)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the peer said of one object; `status` None: it gave none, or none that means success.
    `unsupported`: it takes no object of this class from anybody."""

    status: int | None
    comment: str
    unsupported: bool = False


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One entry an object, in order. `reason` says what went wrong, as far as anything did."""

    instances: tuple[Said, ...]
    reason: str
    retryable: bool


def kinds_for(destination: Destination) -> frozenset[ObjectKind]:
    """What of a report goes to this destination."""
    if isinstance(destination, DicomDestination):
        return _DICOM
    is_hl7 = isinstance(destination, Hl7Destination)
    return frozenset({ObjectKind.HL7 if is_hl7 else ObjectKind.FHIR})


def message_kinds(destinations: Sequence[Destination]) -> frozenset[ObjectKind]:
    """The messages that somebody wants."""
    wanted = (kinds_for(d) for d in destinations)
    return frozenset[ObjectKind]().union(*wanted) - _DICOM


def send_to(
    destination: Destination,
    objects: Sequence[ReportObject],
    *,
    store: FolderStore,
    settings: Settings,
    delivery_id: str,
) -> Sent:
    """Send them in order; a peer's refusal, silence or absence is in the value."""
    if isinstance(destination, DicomDestination):
        return _stored(destination, objects, store=store, settings=settings)
    # loads the libraries of both kinds, which a site with a PACS alone never needs
    from leukonode.messages import send_bundle, send_message

    seconds = settings.delivery_timeout_seconds
    answers = []
    for one in objects:
        content = store.path(one.store_key).read_bytes()
        answers.append(
            send_message(content, to=destination, delivery_id=delivery_id, seconds=seconds)
            if isinstance(destination, Hl7Destination)
            else send_bundle(content, to=destination, seconds=seconds)
        )
    return Sent(
        instances=tuple(
            Said(status=0 if a.answer is Answer.ACCEPTED else None, comment=a.comment)
            for a in answers
        ),
        reason=next((a.reason for a in answers if a.reason), ""),
        retryable=any(a.answer.retryable for a in answers),
    )


def _stored(
    destination: DicomDestination,
    objects: Sequence[ReportObject],
    *,
    store: FolderStore,
    settings: Settings,
) -> Sent:
    wait = settings.delivery_timeout_seconds
    outcome = send(
        [store.path(o.store_key) for o in objects],
        to=Peer(ae_title=destination.ae_title, host=destination.host, port=destination.port),
        calling_ae=settings.ae_title,
        timeouts=Timeouts(connect=min(wait, 10.0), associate=wait, response=wait),
    )
    return Sent(
        instances=tuple(
            Said(
                status=i.status,
                comment=i.comment,
                unsupported=i.problem is Problem.NO_CONTEXT or i.status == _CLASS_NOT_SUPPORTED,
            )
            for i in outcome.instances
        ),
        reason=outcome.reason,
        retryable=outcome.retryable,
    )
