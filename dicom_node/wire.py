"""PDUs on the wire, behind bounds: what a peer declares is checked before it is believed.

pynetdicom keeps the state machine of PS3.8 section 9 and the PDU formats. Replaced here are the
places where it trusts the peer: it reads any declared PDU length into memory, limits only silence
and not slowness, and dies without A-ABORT on a malformed A-ASSOCIATE.
Promises  no PDU body is read before its length is allowed; each PDU and the negotiation have a
          time limit in all; every violation ends in an A-ABORT with its reason (PS3.8 9.3.8)
"""

import contextlib
import logging
import socket
import struct
import time
from enum import IntEnum
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from dicom_node.errors import DicomNodeError, log_failure
from dicom_node.limits import Limits

__all__ = ["AbortReason", "GuardedReader", "GuardedSocket", "Violation"]

LOGGER = logging.getLogger(__name__)

_FIXED_LENGTHS = {0x03: 4, 0x05: 4, 0x06: 4, 0x07: 4}  # RJ, RELEASE-RQ, RELEASE-RP, ABORT
_ASSOCIATE_RQ, _ASSOCIATE_AC, _P_DATA, _ABORT = 0x01, 0x02, 0x04, 0x07
_AWAITING_REQUEST = ("Sta1", "Sta2")  # Sta1: the connection is there, its event not yet processed
_AWAITING_ANSWER = "Sta5"
_CLOSING = "Sta13"


class AbortReason(IntEnum):
    """Provider reasons of A-ABORT (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class Violation(DicomNodeError):
    """The peer broke the protocol; the association is aborted."""

    def __init__(self, why: str, reason: AbortReason) -> None:
        super().__init__(why)
        self.reason = reason


class _DataPdu:
    """P-DATA-TF as its presentation data values: (context id, control header and fragment)."""

    def __init__(self, body: bytes) -> None:
        self.values: list[tuple[int, bytes]] = []
        position = 0
        while position < len(body):
            if position + 6 > len(body):
                raise Violation("a data value is cut off", AbortReason.INVALID_PARAMETER)
            (length,) = struct.unpack_from(">I", body, position)
            if length < 2 or position + 4 + length > len(body):
                raise Violation("a data value has a wrong length", AbortReason.INVALID_PARAMETER)
            self.values.append((body[position + 4], body[position + 5 : position + 4 + length]))
            position += 4 + length
        if not self.values:
            raise Violation("P-DATA-TF without a data value", AbortReason.INVALID_PARAMETER)

    def to_primitive(self) -> P_DATA:
        """Named as the state machine calls it."""
        primitive = P_DATA()
        primitive.presentation_data_value_list.extend(self.values)
        return primitive


class GuardedSocket(AssociationSocket):
    """A connected socket whose reads and writes have a time limit in all."""

    def __init__(
        self, assoc: Association, connected: socket.socket, *, send_seconds: float
    ) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connected = connected
        self._send_seconds = send_seconds
        if assoc.is_acceptor:
            super().__init__(assoc, client_socket=connected)
        else:
            super().__init__(assoc, address=AddressInformation("127.0.0.1", 0))

    def _create_socket(self, address: AddressInformation) -> socket.socket:  # noqa: ARG002
        return self._connected

    def connect(self, primitive: T_CONNECT) -> None:
        """It is connected before the association exists, so that failures keep their reason."""
        self._is_connected = True
        primitive.result = "Evt2"
        self.provider_queue.put(primitive)
        self._ready.set()

    def read(self, size: int, deadline: float) -> bytes:
        """Exactly `size` bytes. Raises TimeoutError, and OSError when the connection ends."""
        sock = self._open()
        data = bytearray(size)
        view = memoryview(data)
        have = 0
        while have < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            count = sock.recv_into(view[have:])
            if not count:
                raise OSError("the connection is closed")
            have += count
        return bytes(data)

    def send(self, bytestream: bytes) -> None:
        try:
            sock = self._open()
            sock.settimeout(self._send_seconds)
            sock.sendall(bytestream)
        except OSError:
            self.event_queue.put("Evt17")

    def close(self) -> None:
        """May be called from any thread, any number of times."""
        self._shutdown_socket()
        if self._is_connected:
            self._is_connected = False
            self.event_queue.put("Evt17")

    def _shutdown_socket(self) -> None:
        """Closes also where the shutdown fails, as it does after the peer's reset; the base class
        then leaves the file descriptor open."""
        sock, self.socket = self.socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _open(self) -> socket.socket:
        if self.socket is None:
            raise OSError("the connection is closed")
        return self.socket


class GuardedReader(DULServiceProvider):
    """The reader of PDUs. `fault` says what the peer did wrong, "" while it did nothing."""

    def __init__(self, assoc: Association, *, limits: Limits, max_pdu: int) -> None:
        super().__init__(assoc)
        self.name = f"{assoc.name}-reader"
        self.daemon = True
        self.fault = ""
        self.heard = False  # the peer said anything at all
        self.peer_aborted = False
        self._abort_reason: AbortReason | None = None
        self._began = time.monotonic()
        self._limits = limits
        self._max_pdu = max_pdu

    def violated(self, why: str, reason: AbortReason) -> None:
        """End the association for a violation of the peer's."""
        if self._abort_reason is None:
            self.fault, self._abort_reason = why, reason
            self.event_queue.put("Evt19")

    def _read_pdu_data(self) -> None:
        sock: Any = self.socket
        state = self.state_machine.current_state
        try:
            if state == _CLOSING or self._abort_reason is not None:
                # the association is over, ARTIM bounds how long its peer may go on talking
                sock.socket.settimeout(1.0)
                if not sock.socket.recv(65536):
                    self.event_queue.put("Evt17")
                return
            if state in _AWAITING_REQUEST:
                deadline = self._began + self._limits.associate_seconds
            elif state == _AWAITING_ANSWER:
                deadline = time.monotonic() + self._limits.associate_seconds
            else:
                deadline = time.monotonic() + self._limits.pdu_seconds
            head = sock.read(6, deadline)
            self.heard = True
            kind, _, length = struct.unpack(">BBI", head)
            self._check_length(kind, length)
            pdu, event = self._decoded(head + sock.read(length, deadline))
        except TimeoutError:
            self.heard = True
            self.violated("a PDU took too long", AbortReason.NOT_SPECIFIED)
        except (OSError, AttributeError):
            # AttributeError: closed by another thread between two calls
            self.event_queue.put("Evt17")
        except Violation as violation:
            self.violated(str(violation), violation.reason)
        else:
            self._recv_pdu.put(pdu)
            self.event_queue.put(event)

    def _check_length(self, kind: int, length: int) -> None:
        if kind in (_ASSOCIATE_RQ, _ASSOCIATE_AC):
            allowed = length <= self._limits.associate_bytes
        elif kind == _P_DATA:
            allowed = length <= self._max_pdu
        elif kind in _FIXED_LENGTHS:
            allowed = length == _FIXED_LENGTHS[kind]
        else:
            raise Violation("unknown PDU type", AbortReason.UNRECOGNIZED_PDU)
        if not allowed:
            raise Violation(
                "a PDU is longer than was agreed or may be", AbortReason.INVALID_PARAMETER
            )

    def _decoded(self, pdu: bytes) -> tuple[Any, str]:
        self.peer_aborted = self.peer_aborted or pdu[0] == _ABORT
        if pdu[0] == _P_DATA:
            return _DataPdu(pdu[6:]), "Evt10"
        try:
            decoded, event = self._decode_pdu(bytearray(pdu))
            if isinstance(decoded, A_ASSOCIATE_RQ):
                _check_contexts(
                    [item.presentation_context_id for item in decoded.presentation_context]
                )
            # the state machine converts it too, where an exception would end the reader
            decoded.to_primitive()
        except Violation:
            raise
        except Exception as error:
            LOGGER.info("malformed PDU: %s", type(error).__name__)
            raise Violation("a malformed PDU", AbortReason.INVALID_PARAMETER) from error
        return decoded, event

    def _send(self, pdu: Any) -> None:
        if isinstance(pdu, A_ABORT_RQ):
            if self._abort_reason is not None:
                pdu.source, pdu.reason_diagnostic = 0x02, int(self._abort_reason)
            elif self.assoc.is_acceptor and (
                pdu.source == 0x02 or self.state_machine.current_state == "Sta2"
            ):
                # the state machine itself: a PDU that its state does not know
                self.fault = self.fault or "an unexpected PDU"
                pdu.source, pdu.reason_diagnostic = 0x02, int(AbortReason.UNEXPECTED_PDU)
        super()._send(pdu)

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 - the reader must not die without a word
            log_failure(LOGGER, "upper layer failed", error)
            self.fault = self.fault or "an event that the association's state does not know"
            if self.socket is not None:
                abort = A_ABORT_RQ()
                abort.source, abort.reason_diagnostic = 0x02, int(AbortReason.UNEXPECTED_PDU)
                self.socket.send(abort.encode())
        finally:
            sock = self.socket
            if sock is not None:
                sock.close()
            # wake whoever waits for an answer that can no longer come
            self.to_user_queue.put(A_P_ABORT())
            self.assoc.dimse.msg_queue.put((None, None))


def _check_contexts(ids: list[int | None]) -> None:
    """Presentation context ids are odd, 1 to 255, each once (PS3.8 table 9-13)."""
    if not ids or len(set(ids)) != len(ids) or any(not i or i % 2 == 0 for i in ids):
        raise Violation(
            "presentation context ids are missing, even or repeated", AbortReason.INVALID_PARAMETER
        )
