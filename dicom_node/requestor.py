"""One association that this node opens, and the requests over it.

In      a peer and the presentation contexts wanted
Out     Link, whose `ask` gives the peer's answer; LinkLost with a typed reason when there is none
Source  PS3.8 7.1 (association), 9.3.4 (rejection); PS3.7 9.3 (requests and responses)
A peer is bounded here as it is when it calls: in time, in PDU length, in what it may answer.
"""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context
from pynetdicom.transport import AddressInformation

from dicom_node.conformance import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    MAX_PDU_BYTES,
)
from dicom_node.dimse import Command, CommandField, request
from dicom_node.errors import DicomNodeError
from dicom_node.limits import Limits
from dicom_node.peers import Peer, is_ae_title
from dicom_node.upper_layer import SMALLEST_PDU_BYTES, GuardedAssociation

__all__ = ["Link", "LinkLost", "Problem", "Timeouts", "open_link"]

_QUEUED_PDUS = 8  # enough to keep the line busy, few enough that a large object stays on disk
_RELEASE_SECONDS = 5.0  # every answer is known by then
_REJECTIONS = {  # (source, diagnostic), PS3.8 table 9-21
    (1, 2): "application context name is not supported",
    (1, 3): "calling AE title is not recognised",
    (1, 7): "called AE title is not recognised",
    (2, 2): "protocol version is not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class Problem(StrEnum):
    """Why an association or an instance came to nothing."""

    UNREACHABLE = "unreachable"  # no connection: name, route, refused, timed out
    REJECTED = "rejected"  # A-ASSOCIATE-RJ permanent: titles, policy
    BUSY = "busy"  # A-ASSOCIATE-RJ transient
    ABORTED = "aborted"  # A-ABORT or the connection closed
    NO_ANSWER = "no answer"  # deaf: accepted the connection or the request, then silence
    NO_CONTEXT = "no context"  # the class in this transfer syntax is not accepted
    UNREADABLE_FILE = "unreadable file"  # ours: no Part 10 file
    STATUS = "status"  # the peer answered with a failure

    @property
    def retryable(self) -> bool:
        """May go better later without anyone changing anything."""
        return self in (Problem.UNREACHABLE, Problem.BUSY, Problem.ABORTED, Problem.NO_ANSWER)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """In seconds: to connect, for the answer to A-ASSOCIATE, for each answer to a request."""

    connect: float = 10.0
    associate: float = 30.0
    response: float = 120.0


class LinkLost(DicomNodeError):
    """There is no association, or no longer."""

    def __init__(self, problem: Problem, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason


class Link:
    """An open association; use it from one thread."""

    def __init__(self, association: GuardedAssociation, timeouts: Timeouts) -> None:
        self._association = association
        self._timeouts = timeouts
        self._messages = 0

    def context_id(self, sop_class_uid: str, transfer_syntax: str) -> int | None:
        """The accepted context for exactly this pair, None when the peer refused it."""
        for context in self._association.accepted_contexts:
            if (context.abstract_syntax, context.transfer_syntax[0]) == (
                sop_class_uid,
                transfer_syntax,
            ):
                return context.context_id
        return None

    def ask(
        self,
        context_id: int,
        field: CommandField,
        sop_class_uid: str,
        sop_instance_uid: str = "",
        *,
        data_set: BinaryIO | None = None,
    ) -> Command:
        """Send a request, with the rest of `data_set` behind it, and wait for its answer.

        Raises LinkLost.
        """
        self._messages += 1
        message_id = (self._messages - 1) % 0xFFFF + 1
        command = request(
            field,
            message_id=message_id,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
        )
        self._association.post(context_id, command, is_command=True)
        if data_set is not None:
            self._pour(context_id, data_set)
        try:
            message = self._association.next_message(self._timeouts.response)
        except TimeoutError:
            raise LinkLost(
                Problem.NO_ANSWER, f"no answer within {self._timeouts.response:g} s"
            ) from None
        if message is None:
            raise self._gone()
        answer = message.command
        if (answer.field, answer.message_id) != (field, message_id):
            raise LinkLost(Problem.ABORTED, "the peer answered something else than was asked")
        return answer

    def _pour(self, context_id: int, data_set: BinaryIO) -> None:
        """Hand the data set to the sender no faster than it goes out."""
        association = self._association
        size = association.peer_fragment_bytes
        piece = data_set.read(size)
        while True:
            following = data_set.read(size) if len(piece) == size else b""
            deadline = time.monotonic() + self._timeouts.response
            while association.dul.to_provider_queue.qsize() >= _QUEUED_PDUS:
                if not association.dul.is_alive():
                    raise self._gone()
                if time.monotonic() > deadline:
                    raise LinkLost(Problem.NO_ANSWER, "the peer stopped reading")
                time.sleep(0.001)
            # message control header: data set, and whether it is the last fragment (PS3.8 E.2)
            association.post_value(context_id, (b"\0" if following else b"\2") + piece)
            if not following:
                return
            piece = following

    def _gone(self) -> LinkLost:
        fault = self._association.fault
        if fault:
            return LinkLost(Problem.ABORTED, f"the peer broke the protocol: {fault}")
        if self._association.reader.peer_aborted:
            return LinkLost(Problem.ABORTED, "the peer aborted the association")
        return LinkLost(Problem.ABORTED, "the peer closed the connection")


@contextlib.contextmanager
def open_link(
    to: Peer, *, calling_ae: str, contexts: Sequence[tuple[str, str]], timeouts: Timeouts
) -> Iterator[Link]:
    """An association with one presentation context for each (SOP class, transfer syntax), 1 to
    128 of them; released at the end, aborted when something went wrong inside.

    Raises LinkLost, and ValueError when `calling_ae` is no AE title.
    """
    if not is_ae_title(calling_ae):
        raise ValueError(f"AE title {calling_ae!r} is none; use 1 to 16 letters, digits, '_'")
    connected = _connected(to, timeouts)
    try:
        association = _requested(connected, to, calling_ae, contexts, timeouts)
    except OSError:
        connected.close()
        raise LinkLost(Problem.ABORTED, "the peer closed the connection at once") from None
    try:
        association.request()
        _check_admitted(association, timeouts)
        yield Link(association, timeouts)
        association.acse_timeout = _RELEASE_SECONDS
        association.acse.negotiate_release()
    finally:
        _hang_up(association)


def _connected(to: Peer, timeouts: Timeouts) -> socket.socket:
    try:
        return socket.create_connection((to.host, to.port), timeout=timeouts.connect)
    except TimeoutError:
        raise LinkLost(
            Problem.UNREACHABLE, f"no connection within {timeouts.connect:g} s"
        ) from None
    except (OSError, UnicodeError) as error:
        # UnicodeError: a host name that no name server could be asked for
        why = getattr(error, "strerror", None) or "no valid host name"
        raise LinkLost(Problem.UNREACHABLE, f"cannot connect: {why}") from None


def _requested(
    connected: socket.socket,
    to: Peer,
    calling_ae: str,
    contexts: Sequence[tuple[str, str]],
    timeouts: Timeouts,
) -> GuardedAssociation:
    entity = ApplicationEntity(calling_ae)
    entity.maximum_pdu_size = MAX_PDU_BYTES
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    limits = Limits(associate_seconds=timeouts.associate)
    association = GuardedAssociation(entity, "requestor", connected, limits)
    association.acceptor.ae_title = to.ae_title
    host, port = connected.getpeername()[:2]
    association.acceptor.address_info = AddressInformation(host, port)
    own_host, own_port = connected.getsockname()[:2]
    own = association.requestor
    own.address_info = AddressInformation(own_host, own_port)
    own.ae_title = calling_ae
    own.maximum_length = MAX_PDU_BYTES
    own.implementation_class_uid = entity.implementation_class_uid
    own.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    wanted = [build_context(sop_class, [syntax]) for sop_class, syntax in contexts]
    for number, context in enumerate(wanted):
        context.context_id = 2 * number + 1
    own.requested_contexts = wanted
    return association


def _check_admitted(association: GuardedAssociation, timeouts: Timeouts) -> None:
    if association.is_established:
        if 0 < association.peer_max_pdu < SMALLEST_PDU_BYTES:
            raise LinkLost(
                Problem.REJECTED,
                f"the peer takes PDUs of at most {association.peer_max_pdu} bytes only",
            )
        return
    if association.is_rejected:
        answer = association.acceptor.primitive
        source = getattr(answer, "result_source", None)
        why = _REJECTIONS.get((source or 0, getattr(answer, "diagnostic", None) or 0), "no reason")
        problem = Problem.BUSY if getattr(answer, "result", None) == 2 else Problem.REJECTED
        raise LinkLost(problem, f"the association was rejected: {why}")
    if association.rejected_contexts:
        raise LinkLost(
            Problem.NO_CONTEXT, "the peer accepts none of the SOP classes and transfer syntaxes"
        )
    if association.fault:
        raise LinkLost(Problem.ABORTED, f"the peer broke the protocol: {association.fault}")
    if association.gave_up:
        raise LinkLost(Problem.NO_ANSWER, f"no answer to A-ASSOCIATE in {timeouts.associate:g} s")
    raise LinkLost(Problem.ABORTED, "the peer hung up instead of answering A-ASSOCIATE")


def _hang_up(association: GuardedAssociation) -> None:
    """End whatever is still open: an A-ABORT where there is an association, then the socket."""
    if association.is_established:
        association.abort(block=False)
        association.reader.join(timeout=1.0)
    if association.reader.is_alive():
        association.reader.kill_dul()
        sock = association.reader.socket
        if sock is not None:
            sock.close()
        association.reader.join(timeout=1.0)
