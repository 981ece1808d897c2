"""One association that a peer opened: admission, negotiation, and an answer to each request.

In      a connected socket and the House it comes to
Out     Arrivals to `on_store`, NodeEvents to `on_event`
Source  PS3.8 9.3.4 (A-ASSOCIATE-RJ), PS3.7 9.1.1 and 9.1.5, PS3.4 annex B
"""

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation

from dicom_node.arrivals import Arrival, EventKind, NodeEvent
from dicom_node.conformance import UNCOMPRESSED, VERIFICATION, input_classes_for
from dicom_node.dimse import Command, CommandField, response
from dicom_node.errors import MalformedObject, log_failure
from dicom_node.incoming import IncomingObject, has_room
from dicom_node.limits import Limits
from dicom_node.part10 import file_head, is_uid
from dicom_node.peers import PeerRule, Service, services_for
from dicom_node.scan import scan_dataset
from dicom_node.statuses import Reply, StoreStatus
from dicom_node.upper_layer import SMALLEST_PDU_BYTES, GuardedAssociation, Message

__all__ = ["Acceptor", "House"]

LOGGER = logging.getLogger(__name__)

_PERMANENT, _TRANSIENT = 0x01, 0x02
_BY_USER, _BY_PRESENTATION = 0x01, 0x03
_NO_REASON, _CALLING_AE, _CALLED_AE, _LOCAL_LIMIT = 0x01, 0x03, 0x07, 0x02


@dataclass(frozen=True, kw_only=True)
class House:
    """What all associations of one SCP share."""

    ae_title: str
    peers: Sequence[PeerRule] | None
    limits: Limits
    incoming_dir: Path
    transfer_syntaxes: Sequence[str]
    on_store: Callable[[Arrival], Reply]
    on_event: Callable[[NodeEvent], None]
    take_place: Callable[["Acceptor"], bool]  # at once or not at all; `left` gives it back
    left: Callable[["Acceptor"], None]


class _Admission(ACSE):
    """Who may come in, before pynetdicom negotiates contexts and sends the answer."""

    def __init__(self, assoc: "Acceptor", house: House) -> None:
        super().__init__(assoc)
        self._acceptor = assoc
        self._house = house

    def _negotiate_as_acceptor(self) -> None:
        caller = self._acceptor
        services = services_for(
            self._house.peers, ae_title=caller.calling_ae, address=caller.peer_address
        )
        if not services:
            self._reject(_PERMANENT, _BY_USER, _CALLING_AE, "calling AE title is not let in")
        elif caller.called_ae != self._house.ae_title:
            self._reject(_PERMANENT, _BY_USER, _CALLED_AE, "called AE title is not this node")
        elif 0 < caller.peer_max_pdu < SMALLEST_PDU_BYTES:
            self._reject(_PERMANENT, _BY_USER, _NO_REASON, "maximum PDU length is too small")
        elif not self._house.take_place(caller):
            self._reject(_TRANSIENT, _BY_PRESENTATION, _LOCAL_LIMIT, "too many associations")
        else:
            caller.acceptor.supported_contexts = _contexts_for(services, self._house)
            super()._negotiate_as_acceptor()
            caller.tell(EventKind.ASSOCIATION_ACCEPTED)

    def _reject(self, result: int, source: int, diagnostic: int, why: str) -> None:
        self.send_reject(result, source, diagnostic)
        self._acceptor.tell(EventKind.ASSOCIATION_REJECTED, reason=why)


def _contexts_for(services: frozenset[Service], house: House) -> list[PresentationContext]:
    contexts = []
    if Service.ECHO in services:
        contexts.append(build_context(VERIFICATION.uid, [entry.uid for entry in UNCOMPRESSED]))
    contexts += [
        build_context(entry.uid, list(house.transfer_syntaxes))
        for entry in input_classes_for(services)
    ]
    return contexts


class Acceptor(GuardedAssociation):
    """The thread of one association; `start` it."""

    def __init__(
        self, ae: ApplicationEntity, connected: socket.socket, peer_address: str, house: House
    ) -> None:
        super().__init__(ae, "acceptor", connected, house.limits)
        self.peer_address = peer_address
        self.calling_ae = ""
        self.called_ae = ""
        self.idle = threading.Event()  # no request is being worked on
        self.idle.set()
        self._house = house
        self.acse = _Admission(self, house)
        self.acceptor.ae_title = house.ae_title
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        host, port = connected.getsockname()[:2]
        self.acceptor.address_info = AddressInformation(host, port)
        self.requestor.address_info = AddressInformation(peer_address, connected.getpeername()[1])

    def tell(self, kind: EventKind, **facts: Any) -> None:
        """Observers never change what a peer is told: their failure is logged and no more."""
        event = NodeEvent(
            kind=kind,
            peer_address=self.peer_address,
            calling_ae=self.calling_ae,
            called_ae=self.called_ae,
            **facts,
        )
        try:
            self._house.on_event(event)
        except Exception as error:  # noqa: BLE001 - see the docstring
            log_failure(LOGGER, f"observer failed on '{kind}'", error)

    def run_reactor(self) -> None:
        """The thread: from the connection to its end, whatever ends it."""
        failed = ""
        try:
            self._converse()
        except Exception as error:  # noqa: BLE001 - one association must not take the node down
            failed = "internal failure"
            log_failure(LOGGER, "association failed", error)
        try:
            self._end(failed)
        finally:
            self._house.left(self)

    def _converse(self) -> None:
        self.dul.start()
        self._started_dul = True
        self._dul_ready.wait()
        limits = self.limits
        first: object = self.dul.receive_pdu(
            wait=True, timeout=limits.associate_seconds + limits.pdu_seconds
        )
        if not isinstance(first, A_ASSOCIATE):
            return
        self.requestor.primitive = first
        self.calling_ae = first.calling_ae_title.strip()
        self.called_ae = first.called_ae_title.strip()
        self.acse.negotiate_association()
        if self.is_established:
            self._run_reactor()

    def _end(self, failed: str) -> None:
        """Close, remove what is half there, say how it ended."""
        self.reader.join(timeout=2.0)
        if self.reader.is_alive():
            self.close_socket()
            self.reader.join(timeout=self.limits.associate_seconds)
        for broken in self.messages.left_over():
            broken.discard()
            self.tell(EventKind.TRANSFER_BROKEN, reason=self._why_ended())
        if self.is_rejected:
            return
        if self.is_released and not failed:
            self.tell(EventKind.ASSOCIATION_RELEASED)
        elif self.reader.heard:
            self.tell(EventKind.ASSOCIATION_ABORTED, reason=failed or self._why_ended())

    def _why_ended(self) -> str:
        if self.fault:
            return self.fault
        if self.reader.peer_aborted:
            return "aborted by the peer"
        if self.gave_up:
            return "ended by this node: silent for too long, or the node stops"
        return "the connection closed"

    def close_socket(self) -> None:
        """Wakes the reader wherever it waits."""
        sock = self.reader.socket
        if sock is not None:
            sock.close()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        message: Message = msg
        self.idle.clear()
        try:
            reply = self._reply_to(message, context_id)
            self.messages.answered = True
            self.post(context_id, response(message.command, reply), is_command=True)
        finally:
            # the work may have taken longer than a peer may be silent
            self.dul._idle_timer.restart()  # noqa: SLF001
            self.idle.set()

    def _reply_to(self, message: Message, context_id: int) -> Reply:
        """Whatever happens, there is a reply, and no file is left that was not moved away."""
        command = message.command
        try:
            if command.mistyped is not None:
                return Reply.of(StoreStatus.MISTYPED_ARGUMENT, command.mistyped)
            if command.field == CommandField.STORE:
                return self._store(command, message.sink, context_id)
            if command.field == CommandField.ECHO:
                reply = Reply.of(StoreStatus.SUCCESS)
                self.tell(EventKind.ECHO, status=reply.status)
                return reply
            return Reply.of(StoreStatus.UNRECOGNISED_OPERATION)
        except Exception as error:  # noqa: BLE001 - no memory, for one; the peer gets an answer
            log_failure(LOGGER, "request failed", error)
            return Reply.of(StoreStatus.PROCESSING_FAILURE)
        finally:
            if message.sink is not None:
                message.sink.discard()

    def sink_for(self, command: Command, context_id: int) -> IncomingObject | None:
        if command.field != CommandField.STORE or command.mistyped is not None:
            return None
        context = self._accepted_cx[context_id]
        refusal = None
        if not has_room(self._house.incoming_dir, self.limits):
            refusal = StoreStatus.OUT_OF_DISK
        elif command.sop_class_uid != context.abstract_syntax:
            refusal = StoreStatus.CLASS_NOT_IN_CONTEXT
        elif not is_uid(command.sop_instance_uid):
            refusal = StoreStatus.MALFORMED_INSTANCE_UID
        head = file_head(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax=str(context.transfer_syntax[0]),
        )
        return IncomingObject(self._house.incoming_dir, head, self.limits, refusal=refusal)

    def _store(self, command: Command, sink: Any, context_id: int) -> Reply:
        if not isinstance(sink, IncomingObject):
            return self._refused(command, Reply.of(StoreStatus.NO_DATA_SET), None)
        sink.finish()
        if sink.refusal is not None:
            return self._refused(command, Reply.of(sink.refusal), sink)
        syntax = str(self._accepted_cx[context_id].transfer_syntax[0])
        try:
            scan = scan_dataset(sink.path, syntax, self.limits)
        except MalformedObject as malformed:
            reply = Reply(malformed.status, malformed.reason, malformed.offending_tag)
            return self._refused(command, reply, sink)
        except OSError as error:
            log_failure(LOGGER, "received file cannot be read", error)
            return self._refused(command, Reply.of(StoreStatus.PROCESSING_FAILURE), sink)
        arrival = Arrival(
            path=sink.path,
            sop_class_uid=scan.sop_class_uid,
            sop_instance_uid=scan.sop_instance_uid,
            transfer_syntax=syntax,
            calling_ae=self.calling_ae,
            called_ae=self.called_ae,
            peer_address=self.peer_address,
            dataset_offset=sink.dataset_offset,
            dataset_bytes=sink.dataset_bytes,
            dataset_sha256=sink.dataset_sha256,
        )
        try:
            reply = self._house.on_store(arrival)
        except Exception as error:  # noqa: BLE001 - whatever it is, the peer gets an answer
            log_failure(LOGGER, "storing failed", error)
            reply = Reply.of(StoreStatus.PROCESSING_FAILURE)
        self.tell(
            EventKind.OBJECT_ANSWERED,
            status=reply.status,
            reason=reply.comment,
            sop_instance_uid=command.sop_instance_uid,
        )
        return reply

    def _refused(self, command: Command, reply: Reply, sink: IncomingObject | None) -> Reply:
        kept = sink is not None and sink.path.exists()
        self.tell(
            EventKind.OBJECT_REFUSED,
            status=reply.status,
            reason=reply.comment,
            sop_instance_uid=command.sop_instance_uid if is_uid(command.sop_instance_uid) else "",
            path=sink.path if sink is not None and kept else None,
        )
        return reply
