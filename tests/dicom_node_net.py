"""What the network tests of the node share: small real objects, and a peer of bare sockets.

The objects are written by pydicom and the PDUs by hand, so that neither comes from the code under
test. Source of the PDU layouts: PS3.8 section 9.3.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicom_node.arrivals import Arrival, EventKind, NodeEvent
from dicom_node.conformance import SYNTAXES, accepted_syntaxes
from dicom_node.limits import Limits
from dicom_node.peers import PeerRule
from dicom_node.scp import StorageScp
from dicom_node.statuses import Reply, StoreStatus

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
TRUE_COLOR = "1.2.840.10008.5.1.4.1.1.7.4"
VERIFICATION = "1.2.840.10008.1.1"
INSTANCE = "2.25.1001"
PATIENT_NAME = "Zzyzx^Quincunx"
SMALL = Limits(
    associate_seconds=1.0, pdu_seconds=1.0, idle_seconds=5.0, stop_seconds=2.0, free_disk_bytes=0
)


def image(instance_uid: str = INSTANCE, **changes: Any) -> Dataset:
    """An 8 x 6 RGB field as Secondary Capture; a change of None removes the attribute."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = SECONDARY_CAPTURE
    ds.SOPInstanceUID = instance_uid
    ds.StudyInstanceUID = "2.25.1"
    ds.SeriesInstanceUID = "2.25.2"
    ds.PatientName = PATIENT_NAME
    ds.PatientID = "P-1"
    ds.Modality = "SM"
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows = 6
    ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    ds.PixelData = bytes(range(144))
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def encapsulated(frames: list[bytes], **changes: Any) -> Dataset:
    """The same image with compressed frames, whose content nobody looks at here."""
    ds = image(SOPClassUID=TRUE_COLOR, NumberOfFrames=len(frames), **changes)
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def part10(ds: Dataset, syntax: str = EXPLICIT) -> bytes:
    """A Part 10 file, written by pydicom."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", SECONDARY_CAPTURE)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", INSTANCE)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dataset_bytes(ds: Dataset, syntax: str = EXPLICIT) -> bytes:
    """The data set alone, as it goes over the network."""
    file = part10(ds, syntax)
    (meta_length,) = struct.unpack_from("<I", file, 140)
    return file[144 + meta_length :]


@dataclass
class Node:
    """A running SCP with what it handed out."""

    scp: StorageScp
    incoming: Path
    arrivals: list[Arrival] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    events: list[NodeEvent] = field(default_factory=list)
    quarantined: list[bytes] = field(default_factory=list)

    def wait_for(self, kind: EventKind, count: int = 1) -> NodeEvent:
        """The last of `count` events of a kind, once there are so many."""
        for _ in range(1000):
            found = [e for e in self.events if e.kind is kind]
            if len(found) >= count:
                return found[-1]
            time.sleep(0.01)
        raise AssertionError(f"no {kind} among {[e.kind.value for e in self.events]}")

    def left_files(self) -> list[Path]:
        return [path for path in self.incoming.rglob("*") if path.is_file()]


@contextmanager
def running(
    folder: Path,
    *,
    peers: tuple[PeerRule, ...] | None = None,
    limits: Limits = SMALL,
    store: Callable[[Arrival], Reply] | None = None,
    observe: Callable[[NodeEvent], None] | None = None,
    max_associations: int = 10,
    max_pdu: int = 16384,
    ae_title: str = "LEUKONODE",
) -> Iterator[Node]:
    """An SCP on loopback that answers every object with success, or as `store` says."""
    node: Node

    def on_store(arrival: Arrival) -> Reply:
        node.arrivals.append(arrival)
        node.files.append(arrival.path.read_bytes())
        return store(arrival) if store else Reply.of(StoreStatus.SUCCESS)

    def on_event(event: NodeEvent) -> None:
        if event.path is not None:
            node.quarantined.append(event.path.read_bytes())
        node.events.append(event)
        if observe:
            observe(event)

    scp = StorageScp(
        ae_title=ae_title,
        bind="127.0.0.1",
        port=0,
        peers=peers,
        max_associations=max_associations,
        max_pdu=max_pdu,
        limits=limits,
        incoming_dir=folder,
        transfer_syntaxes=accepted_syntaxes(entry.uid for entry in SYNTAXES),
        on_store=on_store,
        on_event=on_event,
    )
    node = Node(scp, folder)
    scp.start()
    try:
        yield node
    finally:
        scp.stop()


# PDUs by hand


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body) if length is None else length) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def user_information(max_pdu: int = 16384) -> bytes:
    return _item(
        0x50,
        _item(0x51, struct.pack(">I", max_pdu)) + _item(0x52, b"1.2.3.4") + _item(0x55, b"RAW"),
    )


def associate_rq(
    contexts: list[tuple[int, str, list[str]]],
    *,
    called: str = "LEUKONODE",
    calling: str = "RAW",
    version: int = 1,
    max_pdu: int = 16384,
) -> bytes:
    """`contexts`: (id, abstract syntax, transfer syntaxes)."""
    body = struct.pack(">HH", version, 0) + called.ljust(16).encode() + calling.ljust(16).encode()
    body += bytes(32) + _item(0x10, b"1.2.840.10008.3.1.1.1")
    for context_id, abstract, syntaxes in contexts:
        inner = bytes([context_id, 0, 0, 0]) + _item(0x30, abstract.encode())
        inner += b"".join(_item(0x40, syntax.encode()) for syntax in syntaxes)
        body += _item(0x20, inner)
    return pdu(0x01, body + user_information(max_pdu))


def associate_ac(contexts: list[tuple[int, int, str]], *, max_pdu: int = 16384) -> bytes:
    """`contexts`: (id, result, transfer syntax)."""
    body = struct.pack(">HH", 1, 0) + b"LEUKONODE".ljust(16) + b"RAW".ljust(16) + bytes(32)
    body += _item(0x10, b"1.2.840.10008.3.1.1.1")
    for context_id, result, syntax in contexts:
        body += _item(0x21, bytes([context_id, 0, result, 0]) + _item(0x40, syntax.encode()))
    return pdu(0x02, body + user_information(max_pdu))


def p_data(context_id: int, header: int, value: bytes) -> bytes:
    """P-DATA-TF with one value; header 3: whole command, 2: last of a data set, 0: not the last."""
    return pdu(0x04, struct.pack(">I", len(value) + 2) + bytes([context_id, header]) + value)


def command(elements: dict[int, bytes], *, group_length: int | None = None) -> bytes:
    body = b"".join(
        struct.pack("<HHI", 0, element, len(value)) + value
        for element, value in sorted(elements.items())
    )
    length = len(body) if group_length is None else group_length
    return struct.pack("<HHII", 0, 0, 4, length) + body


def uid_value(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def us(value: int) -> bytes:
    return struct.pack("<H", value)


def store_rq(
    instance: str = INSTANCE, sop_class: str = SECONDARY_CAPTURE, *, message_id: int = 1
) -> bytes:
    return command(
        {
            0x0002: uid_value(sop_class),
            0x0100: us(0x0001),
            0x0110: us(message_id),
            0x0700: us(0),
            0x0800: us(0x0001),
            0x1000: uid_value(instance),
        }
    )


def echo_rq(message_id: int = 1) -> bytes:
    return command(
        {
            0x0002: uid_value(VERIFICATION),
            0x0100: us(0x0030),
            0x0110: us(message_id),
            0x0800: us(0x0101),
        }
    )


def answer(field_code: int, status: int, message_id: int = 1) -> bytes:
    """A response's command set."""
    return command(
        {
            0x0100: us(field_code),
            0x0120: us(message_id),
            0x0800: us(0x0101),
            0x0900: us(status),
        }
    )


def elements_of(command_set: bytes) -> dict[int, bytes]:
    found = {}
    position = 0
    while position < len(command_set):
        _, element, length = struct.unpack_from("<HHI", command_set, position)
        found[element] = command_set[position + 8 : position + 8 + length]
        position += 8 + length
    return found


class Raw:
    """A peer that says whatever bytes it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(10.0)

    @classmethod
    def to(cls, node: Node, source: str = "127.0.0.1") -> "Raw":
        """`source` is any address of 127.0.0.0/8, each another host to the node."""
        there = ("127.0.0.1", node.scp.port)
        return cls(socket.create_connection(there, timeout=10.0, source_address=(source, 0)))

    @classmethod
    def associated(cls, node: Node, source: str = "127.0.0.1", **changes: Any) -> "Raw":
        """Contexts 1: Secondary Capture, explicit; 3: Verification; 5: multi-frame, JPEG."""
        peer = cls.to(node, source)
        peer.say(
            associate_rq(
                [
                    (1, SECONDARY_CAPTURE, [EXPLICIT]),
                    (3, VERIFICATION, [IMPLICIT]),
                    (5, TRUE_COLOR, [JPEG_BASELINE]),
                ],
                **changes,
            )
        )
        kind, _ = peer.hear()
        assert kind == 0x02, kind
        return peer

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> tuple[int, bytes]:
        """The next PDU: type and body; type -1 when the connection is closed."""
        head = self._exactly(6)
        if head is None:
            return -1, b""
        kind, _, length = struct.unpack(">BBI", head)
        return kind, self._exactly(length) or b""

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                piece = self.sock.recv(size - len(data))
            except ConnectionError:
                return None
            if not piece:
                return None
            data += piece
        return data

    def hear_answer(self) -> tuple[int, dict[int, bytes]]:
        """Status and elements of the next response."""
        kind, body = self.hear()
        assert kind == 0x04, f"PDU type {kind} instead of a response"
        found = elements_of(body[6:])
        return int.from_bytes(found[0x0900], "little"), found

    def hear_abort(self) -> tuple[int, int]:
        """Source and reason of an A-ABORT, read past whatever comes before it."""
        kind, body = self.hear()
        assert kind == 0x07, f"PDU type {kind} instead of A-ABORT"
        return body[2], body[3]

    def store(self, data_set: bytes, request: bytes | None = None, context: int = 1) -> int:
        """C-STORE over fragments of 4,000 bytes; the status that is answered."""
        self.say(p_data(context, 3, request or store_rq()))
        for start in range(0, max(len(data_set), 1), 4000):
            last = start + 4000 >= len(data_set)
            self.say(p_data(context, 2 if last else 0, data_set[start : start + 4000]))
        return self.hear_answer()[0]

    def echo(self) -> int:
        self.say(p_data(3, 3, echo_rq(9)))
        return self.hear_answer()[0]

    def __enter__(self) -> "Raw":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()


def echoes(node: Node) -> bool:
    """The node still serves a well-behaved peer."""
    with Raw.associated(node) as peer:
        return peer.echo() == 0
