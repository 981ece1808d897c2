"""Associations and DIMSE messages over the guarded wire.

pynetdicom keeps the association negotiation. Its message layer is replaced: it takes data sets
into memory or the system's temporary folder and decodes commands into live data sets; here each
data set goes to a sink as it arrives, and only one message is open at a time.
Source  PS3.7 6.3 (messages), PS3.8 annex E (fragments)
"""

import queue
import socket
import time
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.conformance import MAX_PDU_BYTES
from dicom_node.dimse import BrokenCommand, Command, fragments, parse_command
from dicom_node.limits import Limits
from dicom_node.wire import AbortReason, GuardedReader, GuardedSocket, Violation

__all__ = ["SMALLEST_PDU_BYTES", "GuardedAssociation", "Message", "Sink"]

_MOST_EMPTY_FRAGMENTS = 16  # none is needed; some senders end a data set with one
SMALLEST_PDU_BYTES = 256  # a peer that announces less wants a packet for every few bytes


class Sink(Protocol):
    """Takes a data set as it arrives. `write` must not raise: it is on the network's thread."""

    def write(self, data: bytes) -> None: ...

    def discard(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Message:
    """A command that is complete, with the sink that has its data set."""

    command: Command
    sink: Sink | None


class _Nowhere:
    """For a data set that nobody asked for; the bound keeps it short."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def write(self, data: bytes) -> None:
        self.left -= len(data)

    def discard(self) -> None:
        """Nothing was kept."""


class _Dimse(DIMSEServiceProvider):
    """Puts messages together from their fragments, one at a time (PS3.7 6.3, PS3.8 annex E)."""

    def __init__(self, assoc: "GuardedAssociation") -> None:
        super().__init__(assoc)
        self._guarded = assoc
        self.answered = True
        self._limits = assoc.limits
        self._context = 0
        self._command_bytes = bytearray()
        self._command: Command | None = None
        self._sink: Sink | None = None
        self._begun = False  # the first fragment of a message is there, though it may be empty
        self._command_deadline = 0.0
        self._deadline = 0.0
        self._empty = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            for context_id, value in primitive.presentation_data_value_list:
                self._take(context_id, value[0], value[1:])
        except Violation as violation:
            self._guarded.reader.violated(str(violation), violation.reason)
        except BrokenCommand as broken:
            self._guarded.reader.violated(str(broken), AbortReason.INVALID_PARAMETER)

    def _take(self, context_id: int, header: int, fragment: bytes) -> None:
        if context_id not in self._guarded.accepted_ids:
            raise Violation(
                "data on a presentation context that was not accepted",
                AbortReason.INVALID_PARAMETER,
            )
        if self._begun and context_id != self._context:
            raise Violation("a message changes its context", AbortReason.UNEXPECTED_PARAMETER)
        now = time.monotonic()
        if not self._begun:
            self._begun, self._context, self._empty = True, context_id, 0
            self._command_deadline = now + self._limits.pdu_seconds
            self._deadline = now + self._limits.object_seconds
        is_command, is_last = header & 1, header & 2
        self._empty += not fragment
        if self._empty > _MOST_EMPTY_FRAGMENTS:
            raise Violation("a message of empty fragments", AbortReason.INVALID_PARAMETER)
        if is_command:
            if self._command is not None:
                raise Violation("a command inside a data set", AbortReason.UNEXPECTED_PARAMETER)
            if now > self._command_deadline:
                raise Violation("a command took too long", AbortReason.NOT_SPECIFIED)
            self._command_bytes += fragment
            if len(self._command_bytes) > self._limits.command_bytes:
                raise Violation("a command is too long", AbortReason.INVALID_PARAMETER)
            if is_last:
                self._begin(parse_command(bytes(self._command_bytes)))
            return
        if self._command is None or self._sink is None:
            raise Violation("a data set without a command", AbortReason.UNEXPECTED_PARAMETER)
        if now > self._deadline:
            raise Violation("an object took too long", AbortReason.NOT_SPECIFIED)
        self._sink.write(fragment)
        if isinstance(self._sink, _Nowhere) and self._sink.left < 0:
            raise Violation("a data set that nobody asked for", AbortReason.UNEXPECTED_PARAMETER)
        if is_last:
            self._complete()

    def _begin(self, command: Command) -> None:
        if command.is_response != self._guarded.is_requestor:
            raise Violation("a message in the wrong direction", AbortReason.UNEXPECTED_PARAMETER)
        if not self.answered:
            raise Violation(
                "a request before the last was answered", AbortReason.UNEXPECTED_PARAMETER
            )
        self._command = command
        if not command.has_data_set:
            self._complete()
            return
        self._sink = self._guarded.sink_for(command, self._context) or _Nowhere(
            64 * self._limits.command_bytes
        )

    def _complete(self) -> None:
        if self._command is None:
            raise Violation("a message without a command", AbortReason.UNEXPECTED_PARAMETER)
        message = Message(command=self._command, sink=self._sink)
        self._command, self._sink, self._begun = None, None, False
        self._command_bytes.clear()
        self.answered = self._guarded.is_requestor
        # the queue is typed for pynetdicom's own messages
        self.msg_queue.put((self._context, cast(Any, message)))

    def left_over(self) -> list[Sink]:
        """The sinks of data sets that never became complete, or were complete and nobody's turn
        came to answer them; asked when the reader has ended."""
        sinks = [] if self._sink is None else [self._sink]
        self._sink = None
        while True:
            try:
                _, message = self.msg_queue.get_nowait()
            except queue.Empty:
                return sinks
            waiting = cast("Message | None", message)
            if waiting is not None and waiting.sink is not None:
                sinks.append(waiting.sink)


class GuardedAssociation(Association):
    """An association over a connected socket. Subclasses say where data sets go."""

    def __init__(
        self, ae: ApplicationEntity, mode: str, connected: socket.socket, limits: Limits
    ) -> None:
        self.limits = limits
        super().__init__(ae, mode)
        self.name = f"dicom-{self.name}"
        self.own_max_pdu = ae.maximum_pdu_size
        self.reader = GuardedReader(self, limits=limits, max_pdu=self.own_max_pdu)
        self.dul = self.reader
        self.messages = _Dimse(self)
        self.dimse = self.messages
        # the setters hand the limits to the timers of the reader just made
        self.acse_timeout = limits.associate_seconds
        self.network_timeout = limits.idle_seconds
        self.set_socket(GuardedSocket(self, connected, send_seconds=limits.pdu_seconds))

    def _bind_defaults(self) -> None:
        """pynetdicom's log handlers, which print titles and identifiers, stay out."""
        for event in evt._INTERVENTION_EVENTS:  # noqa: SLF001 - as the base class does
            self.bind(event, evt.get_default_handler(event))

    @property
    def accepted_ids(self) -> frozenset[int]:
        return frozenset(self._accepted_cx)

    @property
    def fault(self) -> str:
        """What the peer did wrong, "" when nothing."""
        return self.reader.fault

    @property
    def gave_up(self) -> bool:
        """This side sent the A-ABORT: it waited too long, or is stopping."""
        return bool(self._sent_abort)

    def sink_for(self, command: Command, context_id: int) -> Sink | None:  # noqa: ARG002
        """Where the data set that follows goes; None when nobody wants it."""
        return None

    def post(self, context_id: int, data: bytes, *, is_command: bool) -> None:
        """Hand a whole command set, or a piece of a data set that is its last, to the sender."""
        for value in fragments(data, is_command=is_command, size=self.peer_fragment_bytes):
            self.post_value(context_id, value)

    def post_value(self, context_id: int, value: bytes) -> None:
        """Hand one presentation data value, control header included, to the sender."""
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, value))
        self.dul.send_pdu(primitive)

    @property
    def peer_max_pdu(self) -> int:
        """What the peer announced; 0 is no limit (PS3.8 D.1)."""
        peer = self.acceptor if self.is_requestor else self.requestor
        return int(peer.maximum_length or 0)

    @property
    def peer_fragment_bytes(self) -> int:
        """Payload of one presentation data value: length, context id and header take 6 bytes, and
        fragments are even (PS3.8 E.1)."""
        announced = self.peer_max_pdu
        return ((min(announced, MAX_PDU_BYTES) if announced else MAX_PDU_BYTES) - 6) & ~1

    def next_message(self, seconds: float) -> Message | None:
        """The next message of the peer; None when the association ended.

        Raises TimeoutError.
        """
        try:
            _, message = self.messages.msg_queue.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        return cast("Message | None", message)
