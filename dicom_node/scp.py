"""The Storage SCP: C-ECHO and C-STORE from the peers that are let in.

In      objects over the network, written bit-exact to files of our own naming
Out     for each an Arrival handed to `on_store`, whose Reply is what the peer is told
Promises  an answer for every object; a partial object leaves no file; the node goes on after
          whatever a peer does
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pynetdicom.ae import ApplicationEntity

from dicom_node.acceptor import Acceptor, House
from dicom_node.arrivals import Arrival, EventKind, NodeEvent
from dicom_node.conformance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.errors import DicomNodeError, log_failure
from dicom_node.incoming import IncomingFolder
from dicom_node.limits import Limits
from dicom_node.peers import PeerRule, is_ae_title
from dicom_node.statuses import Reply

__all__ = ["Arrival", "EventKind", "NodeEvent", "StorageScp"]

LOGGER = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_BACKLOG = 128


class StorageScp:
    """Listens from `start` to `stop`. Every association has a thread of its own, in which
    `on_store` and `on_event` are called: both must bear being called at once from several."""

    def __init__(
        self,
        *,
        ae_title: str,
        bind: str,
        port: int,
        peers: Sequence[PeerRule] | None,
        max_associations: int,
        max_pdu: int,
        limits: Limits,
        incoming_dir: Path,
        transfer_syntaxes: Sequence[str],
        on_store: Callable[[Arrival], Reply],
        on_event: Callable[[NodeEvent], None],
    ) -> None:
        """`port` 0 takes a free one. `transfer_syntaxes`: conformance.accepted_syntaxes. Objects
        are received in a folder of this run's own inside `incoming_dir`.

        Raises ValueError when the AE title is none.
        """
        if not is_ae_title(ae_title):
            raise ValueError(f"AE title {ae_title!r} is none; use 1 to 16 letters, digits, '_'")
        self._address = (bind, port)
        self._max_associations = max_associations
        # one place is left to others, and one connection over them: no host shuts out the rest
        self._per_address = min(limits.associations_per_address, max(1, max_associations - 1))
        self._incoming = IncomingFolder(incoming_dir)
        self._house = House(
            ae_title=ae_title.strip(),
            peers=peers,
            limits=limits,
            incoming_dir=self._incoming.path,
            transfer_syntaxes=tuple(transfer_syntaxes),
            on_store=on_store,
            on_event=on_event,
            take_place=self._take_place,
            left=self._left,
        )
        self._ae = ApplicationEntity(ae_title)
        self._ae.maximum_pdu_size = max_pdu
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._lock = threading.Lock()
        self._open: set[Acceptor] = set()  # connections
        self._seated: set[Acceptor] = set()  # those with an association
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._port = port

    def start(self) -> None:
        """Listen, and remove what runs that are gone left half-received.

        Raises DicomNodeError when the address or port, or the folder, cannot be had.
        """
        host, port = self._address
        try:
            self._listener = _listen(host, port)
        except OSError as error:
            raise DicomNodeError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another port or end the program that has it"
            ) from error
        try:
            left = self._incoming.open()
        except OSError as error:
            self._listener.close()
            raise DicomNodeError(
                f"cannot use the folder for what is received: {error.strerror or error}; "
                "let this program write there"
            ) from error
        if left:
            LOGGER.info("removed %d half-received files of an earlier run", left)
        self._port = self._listener.getsockname()[1]
        self._stopping.clear()
        self._thread = threading.Thread(target=self._accept, name="dicom-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, let answers that are being worked out be given, end all associations."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            remaining = list(self._open)
        deadline = time.monotonic() + self._house.limits.stop_seconds
        for association in remaining:
            association.idle.wait(max(0.0, deadline - time.monotonic()))
            if association.is_established:
                association.abort(block=False)
            else:
                association.close_socket()
        for association in remaining:
            association.join(max(1.0, deadline - time.monotonic()))
            if association.is_alive():
                association.close_socket()
        self._incoming.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def _accept(self) -> None:
        listener = self._listener
        assert listener is not None  # noqa: S101 - set by start before this thread runs
        with listener:
            while not self._stopping.is_set():
                try:
                    connected, address = listener.accept()
                except TimeoutError:
                    continue
                except OSError as error:
                    # out of file descriptors, or a peer that hung up first: the next may fare better
                    LOGGER.warning("accept failed: %s", type(error).__name__)
                    self._stopping.wait(_POLL_SECONDS)
                    continue
                self._welcome(connected, address[0])

    def _welcome(self, connected: socket.socket, peer_address: str) -> None:
        # twice the places, so that one over the limit still gets its A-ASSOCIATE-RJ
        total = 2 * self._max_associations
        with self._lock:
            neighbours = sum(a.peer_address == peer_address for a in self._open)
            crowded = len(self._open) >= total or neighbours >= min(
                2 * self._per_address, total - 1
            )
        if crowded:
            connected.close()
            self._tell_crowded(peer_address)
            return
        association = None
        try:
            association = Acceptor(self._ae, connected, peer_address, self._house)
            with self._lock:
                self._open.add(association)
            association.start()
        except (OSError, RuntimeError) as error:
            # the peer is gone already, or no thread can be had
            LOGGER.warning("connection dropped: %s", type(error).__name__)
            connected.close()
            if association is not None:
                self._left(association)

    def _tell_crowded(self, peer_address: str) -> None:
        event = NodeEvent(
            kind=EventKind.CONNECTION_REFUSED,
            peer_address=peer_address,
            reason="too many open connections",
        )
        try:
            self._house.on_event(event)
        except Exception as error:  # noqa: BLE001 - observers never stop the node
            log_failure(LOGGER, f"observer failed on '{event.kind}'", error)

    def _take_place(self, caller: Acceptor) -> bool:
        with self._lock:
            neighbours = sum(a.peer_address == caller.peer_address for a in self._seated)
            if len(self._seated) >= self._max_associations or neighbours >= self._per_address:
                return False
            self._seated.add(caller)
            return True

    def _left(self, association: Acceptor) -> None:
        with self._lock:
            self._open.discard(association)
            self._seated.discard(association)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listener.settimeout(_POLL_SECONDS)
    return listener
