"""The Storage SCP against peers that lie, dawdle and hang up: after each it serves the next one."""

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node import acceptor
from dicom_node.arrivals import EventKind
from dicom_node.dimse import parse_command
from dicom_node.statuses import Reply, StoreStatus
from dicom_node.upper_layer import Message
from tests import dicom_node_net as net


@pytest.fixture
def node(tmp_path: Path) -> Iterator[net.Node]:
    with net.running(tmp_path) as running:
        yield running
        assert net.echoes(running)
        assert running.left_files() == []


CONTEXTS = [(1, net.SECONDARY_CAPTURE, [net.EXPLICIT])]

BEFORE_AN_ASSOCIATION = {
    "huge A-ASSOCIATE-RQ": (net.pdu(0x01, b"", length=0xFFFFFFFF), 6),
    "unknown PDU type": (net.pdu(0x42, b"1234"), 1),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", 1),
    "P-DATA first": (net.p_data(1, 3, net.echo_rq()), 2),
    "release first": (net.pdu(0x05, bytes(4)), 2),
    "A-ASSOCIATE-AC first": (net.associate_ac([(1, 0, net.EXPLICIT)]), 2),
    "even context id": (net.associate_rq([(2, net.VERIFICATION, [net.IMPLICIT])]), 6),
    "context id zero": (net.associate_rq([(0, net.VERIFICATION, [net.IMPLICIT])]), 6),
    "repeated context id": (net.associate_rq(CONTEXTS + CONTEXTS), 6),
    "no context": (net.associate_rq([]), 6),
    "A-ASSOCIATE-RQ of zeros": (net.pdu(0x01, bytes(200)), 6),
    "A-ASSOCIATE-RQ cut inside": (net.pdu(0x01, net.associate_rq(CONTEXTS)[6:90]), 6),
    "AE title of control characters": (net.associate_rq(CONTEXTS, calling="a\nb\x1b[2J"), 6),
}


@pytest.mark.parametrize("case", BEFORE_AN_ASSOCIATION)
def test_before_an_association(node: net.Node, case: str) -> None:
    data, reason = BEFORE_AN_ASSOCIATION[case]
    with net.Raw.to(node) as peer:
        peer.say(data)
        assert peer.hear_abort() == (2, reason)
        assert peer.hear()[0] == -1
    assert node.wait_for(EventKind.ASSOCIATION_ABORTED).reason


def test_a_foreign_protocol_version_is_rejected(node: net.Node) -> None:
    with net.Raw.to(node) as peer:
        peer.say(net.associate_rq(CONTEXTS, version=2))
        kind, body = peer.hear()
        assert (kind, tuple(body[1:4])) == (0x03, (1, 2, 2))


def test_a_maximum_length_of_a_few_bytes_is_rejected(node: net.Node) -> None:
    with net.Raw.to(node) as peer:
        peer.say(net.associate_rq(CONTEXTS, max_pdu=7))
        assert peer.hear()[0] == 0x03


def test_a_slow_association_request_ends_in_time(node: net.Node) -> None:
    with net.Raw.to(node) as peer:
        began = time.monotonic()
        for byte in net.associate_rq(CONTEXTS):
            try:
                peer.say(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.05)
        assert time.monotonic() - began < 8
    assert "too long" in node.wait_for(EventKind.ASSOCIATION_ABORTED).reason


def test_silence_before_and_after_the_association_ends_in_time(tmp_path: Path) -> None:
    limits = replace(net.SMALL, idle_seconds=0.5, associate_seconds=0.5)
    with net.running(tmp_path, limits=limits) as node:
        with net.Raw.to(node) as silent, net.Raw.associated(node) as idle:
            assert silent.hear()[0] == -1
            assert idle.hear()[0] == 0x07
        assert net.echoes(node)


def test_a_health_check_that_says_nothing_is_no_event(node: net.Node) -> None:
    net.Raw.to(node).sock.close()
    assert net.echoes(node)
    assert node.events[0].kind is EventKind.ASSOCIATION_ACCEPTED


GOOD = net.dataset_bytes(net.image())
VALUE = struct.pack(">I", 10) + b"\x01\x03" + bytes(8)

IN_AN_ASSOCIATION = {
    "huge P-DATA": (net.pdu(0x04, b"", length=0xFFFFFFF0), 6),
    "P-DATA over what was agreed": (net.pdu(0x04, b"", length=16385), 6),
    "unknown PDU type": (net.pdu(0x99, b""), 1),
    "second A-ASSOCIATE-RQ": (net.associate_rq(CONTEXTS), 2),
    "release of four gigabytes": (net.pdu(0x05, b"", length=0xFFFFFFFF), 6),
    "data value longer than its PDU": (net.pdu(0x04, struct.pack(">I", 99) + b"\x01\x03"), 6),
    "data value of no length": (net.pdu(0x04, struct.pack(">I", 0)), 6),
    "empty P-DATA": (net.pdu(0x04, b""), 6),
    "context that was refused": (net.p_data(99, 3, net.store_rq()), 6),
    "data set without a command": (net.p_data(1, 2, GOOD), 5),
    "command inside a data set": (
        net.p_data(1, 3, net.store_rq()) + net.p_data(1, 0, GOOD) + net.p_data(1, 3, net.echo_rq()),
        5,
    ),
    "data set on another context": (net.p_data(1, 3, net.store_rq()) + net.p_data(3, 2, GOOD), 5),
    "command of noise": (net.p_data(1, 3, b"\xff" * 64), 6),
    "command without message id": (
        net.p_data(3, 3, net.command({0x0100: net.us(0x30), 0x0800: net.us(0x0101)})),
        6,
    ),
    "command without end": (net.p_data(1, 1, bytes(9000)) + net.p_data(1, 1, bytes(9000)), 6),
    "response instead of request": (net.p_data(3, 3, net.answer(0x8030, 0)), 5),
    "data for a query": (
        net.p_data(
            1,
            3,
            net.command(
                {
                    0x0002: net.uid_value("1.2.840.10008.5.1.4.1.2.2.1"),
                    0x0100: net.us(0x20),
                    0x0110: net.us(1),
                    0x0800: net.us(1),
                }
            ),
        )
        + net.p_data(1, 0, bytes(16000)) * 70,
        5,
    ),
}


@pytest.mark.parametrize("case", IN_AN_ASSOCIATION)
def test_in_an_association(node: net.Node, case: str) -> None:
    data, reason = IN_AN_ASSOCIATION[case]
    with net.Raw.associated(node) as peer:
        peer.say(data)
        assert peer.hear_abort() == (2, reason)
        assert peer.hear()[0] == -1
    assert node.wait_for(EventKind.ASSOCIATION_ABORTED).calling_ae == "RAW"
    assert node.arrivals == []


def test_a_slow_object_ends_in_time(node: net.Node) -> None:
    with net.Raw.associated(node) as peer:
        peer.say(net.p_data(1, 3, net.store_rq()))
        peer.say(net.p_data(1, 2, GOOD)[:50])
        assert peer.hear_abort() == (2, 0)
    assert "too long" in node.wait_for(EventKind.TRANSFER_BROKEN).reason


def test_an_object_of_many_quick_drops_ends_in_time(tmp_path: Path) -> None:
    limits = replace(net.SMALL, object_seconds=0.5)
    with net.running(tmp_path, limits=limits) as node, net.Raw.associated(node) as peer:
        peer.say(net.p_data(1, 3, net.store_rq()))
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                peer.say(net.p_data(1, 0, b"\0\0"))
                time.sleep(0.02)
        assert node.wait_for(EventKind.TRANSFER_BROKEN).reason == "an object took too long"


def test_requests_before_the_last_was_answered(tmp_path: Path) -> None:
    def slow(arrival: object) -> object:
        time.sleep(0.3)
        raise RuntimeError("nobody hears it")

    with (
        net.running(tmp_path, store=slow) as node,  # type: ignore[arg-type]
        net.Raw.associated(node) as peer,
    ):
        message = net.p_data(1, 3, net.store_rq()) + net.p_data(1, 2, GOOD)
        peer.say(message * 3)
        assert peer.hear_abort() == (2, 5)


def hang_up(peer: net.Raw) -> None:
    peer.sock.close()


def reset(peer: net.Raw) -> None:
    peer.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: RST instead of FIN
    peer.sock.close()


def abort(peer: net.Raw) -> None:
    peer.say(net.pdu(0x07, bytes([0, 0, 0, 0])))


def release(peer: net.Raw) -> None:
    peer.say(net.pdu(0x05, bytes(4)))


@pytest.mark.parametrize("leave", [hang_up, reset, abort, release])
def test_leaving_in_the_middle_of_an_object(
    node: net.Node, leave: Callable[[net.Raw], None]
) -> None:
    with net.Raw.associated(node) as peer:
        peer.say(net.p_data(1, 3, net.store_rq()))
        peer.say(net.p_data(1, 0, GOOD[:100]))
        leave(peer)
        node.wait_for(EventKind.TRANSFER_BROKEN)
    assert node.arrivals == []


def with_element(element: bytes) -> bytes:
    """The good data set with an element of group 0029 before Pixel Data."""
    at = GOOD.index(b"\xe0\x7f\x10\x00")
    return GOOD[:at] + element + GOOD[at:]


def private(number: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", 0x0029, number) + vr + struct.pack("<HI", 0, length) + value


def deep(levels: int) -> bytes:
    """Written by hand: at 400 levels pydicom's own writer does not end."""
    opened = private(0x1001, b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
    return with_element(opened * levels + closed * levels)


OBJECTS: dict[str, tuple[bytes, StoreStatus]] = {
    "empty": (b"", StoreStatus.NO_DATA_SET),
    "cut in Pixel Data": (GOOD[:-20], StoreStatus.BEYOND_THE_END),
    "cut in a head": (GOOD[:5], StoreStatus.BEYOND_THE_END),
    "other encoding": (
        net.dataset_bytes(net.image(), net.IMPLICIT),
        StoreStatus.NOT_AS_NEGOTIATED,
    ),
    "other instance": (
        net.dataset_bytes(net.image("2.25.99")),
        StoreStatus.UIDS_DIFFER,
    ),
    "too deep": (deep(33), StoreStatus.TOO_DEEP),
    "400 levels": (deep(400), StoreStatus.TOO_DEEP),
    "length of four gigabytes": (
        with_element(private(0x1001, b"OB", 0xFFFFFFFE)),
        StoreStatus.BEYOND_THE_END,
    ),
    "sequence without end": (
        GOOD[: GOOD.index(b"\xe0\x7f\x10\x00")] + private(0x1001, b"SQ", 0xFFFFFFFF),
        StoreStatus.NOT_TERMINATED,
    ),
    "stray item": (with_element(b"\xfe\xff\x00\xe0" + bytes(4)), StoreStatus.STRAY_ITEM),
    "short pixels": (
        net.dataset_bytes(net.image(PixelData=bytes(100))),
        StoreStatus.PIXEL_LENGTH,
    ),
    "pixel bomb": (
        net.dataset_bytes(net.image(Rows=65535, Columns=65535)),
        StoreStatus.TOO_LARGE_IMAGE,
    ),
    "no study": (
        net.dataset_bytes(net.image(StudyInstanceUID=None)),
        StoreStatus.ATTRIBUTE_MISSING,
    ),
    "noise": (bytes(range(256)) * 8, StoreStatus.NOT_AS_NEGOTIATED),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_objects_that_are_not_what_they_claim(node: net.Node, case: str) -> None:
    data_set, status = OBJECTS[case]
    with net.Raw.associated(node) as peer:
        assert peer.store(data_set) == status
        assert peer.store(GOOD) == 0x0000  # the same association goes on
    event = node.wait_for(EventKind.OBJECT_REFUSED)
    assert (event.status, event.sop_instance_uid) == (status, net.INSTANCE)
    assert node.quarantined[0].endswith(data_set)
    assert len(node.arrivals) == 1


@pytest.mark.parametrize(
    "uid",
    ["../../etc/passwd", "1.2/3", "1..2", "1.02", "1.2." + "9" * 64, "abc", "1.2\0.3", ".", "1.2 "],
)
def test_malformed_instance_uids(node: net.Node, uid: str) -> None:
    with net.Raw.associated(node) as peer:
        status = peer.store(GOOD, net.store_rq(uid))
        # a single space is padding of old devices: then it is another UID than the data set's
        assert status == (0xA900 if uid == "1.2 " else 0x0117)
    event = node.wait_for(EventKind.OBJECT_REFUSED)
    assert event.sop_instance_uid in ("", "1.2")
    assert node.quarantined[0].endswith(GOOD)


def test_a_class_that_is_not_the_contexts(node: net.Node) -> None:
    with net.Raw.associated(node) as peer:
        assert peer.store(GOOD, net.store_rq(sop_class=net.TRUE_COLOR)) == 0x0122


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(net.store_rq(instance=""), id="no instance uid"),
        pytest.param(net.store_rq(sop_class="x"), id="class is no uid"),
        pytest.param(
            net.store_rq().replace(net.store_rq()[8:12], b"\x04\0\0\0", 1), id="wrong group length"
        ),
    ],
)
def test_mistyped_commands(node: net.Node, request_bytes: bytes) -> None:
    request = request_bytes
    with net.Raw.associated(node) as peer:
        assert peer.store(GOOD, request) == 0x0212
        assert peer.echo() == 0


def test_an_operation_that_is_not_served(node: net.Node) -> None:
    find = {0x0002: net.uid_value(net.VERIFICATION), 0x0100: net.us(0x0020), 0x0110: net.us(3)}
    with net.Raw.associated(node) as peer:
        peer.say(net.p_data(3, 3, net.command({**find, 0x0800: net.us(0x0101)})))
        assert peer.hear_answer()[0] == 0x0211
        peer.say(net.p_data(3, 3, net.command({**find, 0x0800: net.us(1)})))
        peer.say(net.p_data(3, 2, bytes(40)))
        status, elements = peer.hear_answer()
        assert (status, elements[0x0100]) == (0x0211, net.us(0x8020))
        assert peer.echo() == 0


def test_below_the_disk_mark_nothing_is_taken(tmp_path: Path) -> None:
    limits = replace(net.SMALL, free_disk_bytes=2**62)
    with net.running(tmp_path, limits=limits) as node, net.Raw.associated(node) as peer:
        assert peer.store(GOOD) == 0xA700
        assert peer.echo() == 0
        assert node.wait_for(EventKind.OBJECT_REFUSED).path is None


def test_an_object_over_the_limit_is_answered_and_not_kept(tmp_path: Path) -> None:
    limits = replace(net.SMALL, object_bytes=5000)
    big = net.dataset_bytes(net.image(ImageComments="x" * 10000))
    with net.running(tmp_path, limits=limits) as node, net.Raw.associated(node) as peer:
        assert peer.store(big) == StoreStatus.OBJECT_TOO_LARGE
        assert node.quarantined == []
        assert peer.store(GOOD) == 0x0000


def test_no_memory_for_an_object_is_answered_and_leaves_no_file(
    node: net.Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(acceptor, "scan_dataset", exhausted)
    with net.Raw.associated(node) as peer:
        assert peer.store(GOOD) == 0x0110
        assert node.left_files() == []
        monkeypatch.undo()
        assert peer.store(GOOD) == 0x0000


def test_an_object_that_nobody_came_to_answer_leaves_no_file(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(_: object) -> Reply:
        entered.set()
        leave.wait(10)
        return Reply.of(StoreStatus.SUCCESS)

    with net.running(tmp_path, store=slow) as node:
        with net.Raw.associated(node) as peer:
            peer.say(net.p_data(1, 3, net.store_rq()) + net.p_data(1, 2, GOOD))
            assert entered.wait(10)
            association = next(iter(node.scp._open))
            # complete and waiting, when the association ends
            sink = association.sink_for(parse_command(net.store_rq()), 1)
            assert sink is not None
            association.messages.msg_queue.put(
                (1, Message(command=parse_command(net.store_rq()), sink=sink))
            )
            peer.say(net.pdu(0x07, bytes(4)))
            association.reader.join(5)
        leave.set()
        association.join(10)
        assert node.left_files() == []


def test_one_association_too_many_is_told_so(tmp_path: Path) -> None:
    with net.running(tmp_path, max_associations=2) as node:
        with (
            net.Raw.associated(node),
            net.Raw.associated(node, "127.0.0.2"),
            net.Raw.to(node, "127.0.0.3") as third,
        ):
            third.say(net.associate_rq(CONTEXTS))
            kind, body = third.hear()
            assert (kind, tuple(body[1:4])) == (0x03, (2, 3, 2))
        for _ in range(100):
            if not node.scp._open:
                break
            time.sleep(0.05)
        assert net.echoes(node)


def test_one_address_does_not_take_all_places(tmp_path: Path) -> None:
    limits = replace(net.SMALL, associations_per_address=1)
    with (
        net.running(tmp_path, limits=limits) as node,
        net.Raw.associated(node),
        net.Raw.to(node) as second,
    ):
        second.say(net.associate_rq(CONTEXTS))
        assert second.hear()[0] == 0x03


def test_silent_connections_of_one_host_leave_room_for_others(tmp_path: Path) -> None:
    with net.running(tmp_path, max_associations=3) as node:
        flood = [net.Raw.to(node) for _ in range(20)]
        node.wait_for(EventKind.CONNECTION_REFUSED, 16)
        with net.Raw.associated(node, "127.0.0.2") as other:
            assert other.echo() == 0
        for peer in flood:
            peer.sock.close()


def test_associations_of_one_host_leave_a_place_for_others(tmp_path: Path) -> None:
    with (
        net.running(tmp_path, max_associations=3) as node,
        net.Raw.associated(node),
        net.Raw.associated(node),
        net.Raw.to(node) as third,
    ):
        third.say(net.associate_rq(CONTEXTS))
        kind, body = third.hear()
        assert (kind, tuple(body[1:4])) == (0x03, (2, 3, 2))
        with net.Raw.associated(node, "127.0.0.2") as other:
            assert other.echo() == 0


def test_places_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """Negotiations that run at the same moment all see the places as they are."""
    with net.running(tmp_path, max_associations=3) as node:
        peers = [net.Raw.to(node, f"127.0.0.{n}") for n in range(2, 7)]
        for peer in peers:
            peer.say(net.associate_rq(CONTEXTS))
        assert sorted(peer.hear()[0] for peer in peers) == [0x02] * 3 + [0x03] * 2
        for peer in peers:
            peer.sock.close()


def test_a_thread_that_cannot_be_had_costs_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with net.running(tmp_path, max_associations=2) as node:
        with monkeypatch.context() as patched:
            patched.setattr(acceptor.Acceptor, "start", none_left)
            for _ in range(8):
                with net.Raw.to(node) as peer:
                    assert peer.hear()[0] == -1
        assert net.echoes(node)


@pytest.mark.parametrize("header", [0, 1])
def test_empty_fragments_are_bounded(node: net.Node, header: int) -> None:
    with net.Raw.associated(node) as peer:
        if header == 0:
            peer.say(net.p_data(1, 3, net.store_rq()))
        peer.say(net.p_data(1, header, b"") * 17)
        assert peer.hear_abort() == (2, 6)
    assert "empty" in node.wait_for(EventKind.ASSOCIATION_ABORTED).reason


def test_a_last_fragment_may_be_empty(node: net.Node) -> None:
    with net.Raw.associated(node) as peer:
        peer.say(net.p_data(1, 3, net.store_rq()) + net.p_data(1, 0, GOOD) + net.p_data(1, 2, b""))
        assert peer.hear_answer()[0] == 0


def test_a_command_in_drops_ends_in_time(tmp_path: Path) -> None:
    limits = replace(net.SMALL, pdu_seconds=0.5)
    with net.running(tmp_path, limits=limits) as node, net.Raw.associated(node) as peer:
        with contextlib.suppress(ConnectionError):
            for byte in net.store_rq():
                peer.say(net.p_data(1, 1, bytes([byte])))
                time.sleep(0.02)
        aborted = node.wait_for(EventKind.ASSOCIATION_ABORTED)
        assert aborted.reason == "a command took too long"


def test_an_objects_time_begins_with_its_command(tmp_path: Path) -> None:
    limits = replace(net.SMALL, object_seconds=0.3)
    with net.running(tmp_path, limits=limits) as node, net.Raw.associated(node) as peer:
        command = net.store_rq()
        peer.say(net.p_data(1, 1, command[:20]))
        time.sleep(0.4)
        peer.say(net.p_data(1, 3, command[20:]) + net.p_data(1, 2, GOOD))
        assert peer.hear_abort() == (2, 0)
        assert node.wait_for(EventKind.TRANSFER_BROKEN).reason == "an object took too long"


def test_a_flood_of_silent_connections_is_cut_off(tmp_path: Path) -> None:
    with net.running(tmp_path, max_associations=2) as node:
        flood = [net.Raw.to(node) for _ in range(12)]
        node.wait_for(EventKind.CONNECTION_REFUSED)
        for peer in flood:
            peer.sock.close()
        for _ in range(100):
            if not node.scp._open:
                break
            time.sleep(0.05)
        assert net.echoes(node)
