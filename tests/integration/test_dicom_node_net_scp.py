"""The Storage SCP with well-behaved peers: pynetdicom's own SCU, and bare sockets."""

import hashlib
import logging
import socket
import threading
import time
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from dicom_node.arrivals import Arrival, EventKind
from dicom_node.errors import DicomNodeError
from dicom_node.limits import Limits
from dicom_node.peers import PeerRule, Service
from dicom_node.scp import StorageScp
from dicom_node.statuses import Reply, StoreStatus
from tests import dicom_node_net as net


def test_what_arrives_is_what_was_sent(tmp_path: Path) -> None:
    ds = net.image()
    sent = net.dataset_bytes(ds)
    with net.running(tmp_path) as node:
        ae = AE("SENDER")
        ae.add_requested_context(net.SECONDARY_CAPTURE, net.EXPLICIT)
        assoc = ae.associate("127.0.0.1", node.scp.port, ae_title="LEUKONODE")
        assert assoc.is_established
        status = assoc.send_c_store(ds)
        assoc.release()
        assert status.Status == 0x0000
        released = node.wait_for(EventKind.ASSOCIATION_RELEASED)
    arrival, file = node.arrivals[0], node.files[0]
    assert file[: arrival.dataset_offset][:132] == bytes(128) + b"DICM"
    assert file[arrival.dataset_offset :] == sent
    assert arrival.dataset_bytes == len(sent)
    assert arrival.dataset_sha256 == hashlib.sha256(sent).hexdigest()
    assert (arrival.sop_class_uid, arrival.sop_instance_uid) == (
        net.SECONDARY_CAPTURE,
        net.INSTANCE,
    )
    assert (arrival.calling_ae, arrival.called_ae) == ("SENDER", "LEUKONODE")
    assert (arrival.transfer_syntax, arrival.peer_address) == (net.EXPLICIT, "127.0.0.1")
    assert released.calling_ae == "SENDER"
    assert node.left_files() == []
    read = pydicom.dcmread(pydicom.filebase.DicomBytesIO(file))
    assert read.file_meta.MediaStorageSOPInstanceUID == net.INSTANCE
    assert read.PatientName == net.PATIENT_NAME


def test_a_moved_file_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    def keep(arrival: Arrival) -> Reply:
        arrival.path.rename(kept)
        return Reply.of(StoreStatus.SUCCESS)

    with net.running(tmp_path / "in", store=keep) as node, net.Raw.associated(node) as peer:
        assert peer.store(net.dataset_bytes(net.image())) == 0x0000
    assert kept.read_bytes().endswith(net.dataset_bytes(net.image()))


def test_the_reply_of_the_store_is_what_the_peer_hears(tmp_path: Path) -> None:
    reply = Reply(0xC011, "known with other content", 0x00080018)
    with net.running(tmp_path, store=lambda _: reply) as node, net.Raw.associated(node) as peer:
        peer.say(net.p_data(1, 3, net.store_rq(message_id=77)))
        peer.say(net.p_data(1, 2, net.dataset_bytes(net.image())))
        status, elements = peer.hear_answer()
    assert status == 0xC011
    assert elements[0x0120] == net.us(77)
    assert elements[0x0902].rstrip() == b"known with other content"
    assert elements[0x0901] == bytes.fromhex("08001800")
    assert elements[0x1000] == net.uid_value(net.INSTANCE)


def test_a_failing_store_is_0110_and_its_words_stay_inside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(arrival: Arrival) -> Reply:
        raise RuntimeError(net.PATIENT_NAME)

    with (
        caplog.at_level(logging.DEBUG),
        net.running(tmp_path, store=fail) as node,
        net.Raw.associated(node) as peer,
    ):
        assert peer.store(net.dataset_bytes(net.image())) == 0x0110
        assert peer.echo() == 0
    assert "storing failed: RuntimeError" in caplog.text
    assert net.PATIENT_NAME not in caplog.text
    assert "P-1" not in caplog.text
    assert node.left_files() == []


def test_a_failing_observer_changes_nothing(tmp_path: Path) -> None:
    def fail(event: object) -> None:
        raise RuntimeError("observer")

    with net.running(tmp_path, observe=fail) as node, net.Raw.associated(node) as peer:
        assert peer.store(net.dataset_bytes(net.image())) == 0x0000


def test_every_accepted_syntax_is_negotiated_and_others_are_not(tmp_path: Path) -> None:
    offered = [
        (1, net.SECONDARY_CAPTURE, ["1.2.840.10008.1.2.1.99"]),  # deflated
        (3, net.SECONDARY_CAPTURE, ["1.2.840.10008.1.2.2"]),  # big endian
        (5, net.SECONDARY_CAPTURE, ["1.2.840.10008.1.2.4.94"]),  # JPIP
        (7, "1.2.840.10008.5.1.4.1.1.2", [net.EXPLICIT]),  # CT
        (9, net.SECONDARY_CAPTURE, [net.JPEG_BASELINE]),
        (255, net.SECONDARY_CAPTURE, [net.EXPLICIT, net.IMPLICIT]),
    ]
    with net.running(tmp_path) as node, net.Raw.to(node) as peer:
        peer.say(net.associate_rq(offered))
        kind, body = peer.hear()
    assert kind == 0x02
    results = {}
    position = 68
    while position < len(body):
        length = int.from_bytes(body[position + 2 : position + 4], "big")
        if body[position] == 0x21:
            results[body[position + 4]] = body[position + 6]
        position += 4 + length
    assert results == {1: 4, 3: 4, 5: 4, 7: 3, 9: 0, 255: 0}


def test_128_contexts_are_served(tmp_path: Path) -> None:
    offered = [(2 * n + 1, net.SECONDARY_CAPTURE, [net.EXPLICIT]) for n in range(128)]
    with net.running(tmp_path) as node, net.Raw.to(node) as peer:
        peer.say(net.associate_rq(offered))
        assert peer.hear()[0] == 0x02
        assert peer.store(net.dataset_bytes(net.image()), context=255) == 0x0000


def test_what_an_earlier_run_left_is_removed_and_the_rest_is_not(tmp_path: Path) -> None:
    left = tmp_path / "node-1-00ff" / "incoming-0123.part"
    left.parent.mkdir()
    other = tmp_path / "notes.txt"
    left.write_bytes(b"half")
    other.write_bytes(b"not ours")
    with net.running(tmp_path):
        assert not left.parent.exists()
        assert other.exists()
    assert list(tmp_path.iterdir()) == [other]


def test_a_second_node_leaves_alone_what_the_first_is_receiving(tmp_path: Path) -> None:
    good = net.dataset_bytes(net.image())
    with net.running(tmp_path) as first, net.Raw.associated(first) as peer:
        peer.say(net.p_data(1, 3, net.store_rq()) + net.p_data(1, 0, good[:100]))
        while not first.left_files():
            time.sleep(0.01)
        with net.running(tmp_path):
            peer.say(net.p_data(1, 2, good[100:]))
            assert peer.hear_answer()[0] == 0
        assert first.files[0].endswith(good)


def test_a_node_that_cannot_listen_clears_nothing(tmp_path: Path) -> None:
    with net.running(tmp_path / "a") as node:
        left = tmp_path / "b" / "node-1-00ff" / "incoming-0123.part"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")
        with pytest.raises(DicomNodeError, match="cannot listen"):
            second_at(node.scp.port, tmp_path / "b").start()
        assert left.exists()


def test_a_folder_that_cannot_be_had_is_one_line_and_frees_the_port(tmp_path: Path) -> None:
    with net.running(tmp_path) as node:
        node.scp.stop()
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DicomNodeError, match="cannot use the folder"):
            second_at(node.scp.port, tmp_path / "file").start()
        node.scp.start()
        assert net.echoes(node)


def second_at(port: int, folder: Path) -> StorageScp:
    return StorageScp(
        ae_title="OTHER",
        bind="127.0.0.1",
        port=port,
        peers=None,
        max_associations=1,
        max_pdu=16384,
        limits=net.SMALL,
        incoming_dir=folder,
        transfer_syntaxes=(),
        on_store=lambda arrival: Reply(0),
        on_event=lambda event: None,
    )


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with (
        net.running(tmp_path) as node,
        pytest.raises(DicomNodeError, match=f"cannot listen on 127.0.0.1:{node.scp.port}"),
    ):
        second_at(node.scp.port, tmp_path).start()


def test_the_port_is_free_after_stop_and_can_be_had_again(tmp_path: Path) -> None:
    with net.running(tmp_path) as node:
        node.scp.stop()
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", node.scp.port))
        node.scp.start()
        assert net.echoes(node)


def test_stop_lets_a_running_answer_be_given(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(arrival: Arrival) -> Reply:
        entered.set()
        leave.wait(10)
        return Reply.of(StoreStatus.SUCCESS)

    with (
        net.running(
            tmp_path, limits=Limits(stop_seconds=10, free_disk_bytes=0), store=slow
        ) as node,
        net.Raw.associated(node) as peer,
    ):
        peer.say(net.p_data(1, 3, net.store_rq()))
        peer.say(net.p_data(1, 2, net.dataset_bytes(net.image())))
        entered.wait(10)
        stopping = threading.Thread(target=node.scp.stop)
        stopping.start()
        time.sleep(0.8)  # past the listener's poll, so that stop is waiting for the answer
        leave.set()
        assert peer.hear_answer()[0] == 0x0000
        assert peer.hear()[0] == 0x07
        stopping.join()
    assert not [t for t in threading.enumerate() if t.name.startswith("dicom-")]


def test_several_peers_at_once(tmp_path: Path) -> None:
    statuses: list[int] = []

    def talk(number: int) -> None:
        with net.Raw.associated(node) as peer:
            for n in range(5):
                uid = f"2.25.{number}.{n + 1}"
                data_set = net.dataset_bytes(net.image(uid))
                statuses.append(peer.store(data_set, net.store_rq(uid)))

    with net.running(tmp_path) as node:
        threads = [threading.Thread(target=talk, args=(n + 1,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [0] * 30
        assert len({a.sop_instance_uid for a in node.arrivals}) == 30
        assert node.left_files() == []


RULES = (
    PeerRule(ae_title="RAW", address="127.0.0.0/8"),
    PeerRule(ae_title="CAMERA", services=frozenset({Service.STORE, Service.PHOTOGRAPHIC})),
    PeerRule(ae_title="PROBE", services=frozenset({Service.ECHO})),
    PeerRule(ae_title="FAR", address="192.0.2.1"),
)


@pytest.mark.parametrize(
    ("calling", "called", "rules", "rejected"),
    [
        ("RAW", "LEUKONODE", RULES, None),
        ("STRANGER", "LEUKONODE", RULES, (1, 1, 3)),
        ("FAR", "LEUKONODE", RULES, (1, 1, 3)),  # known by another address
        ("RAW", "SOMEONE", RULES, (1, 1, 7)),
        ("RAW", "LEUKONODE", (), (1, 1, 3)),  # an empty list means nobody
        ("ANYONE", "LEUKONODE", None, None),  # no list: this machine itself
    ],
)
def test_who_is_let_in(
    tmp_path: Path,
    calling: str,
    called: str,
    rules: tuple[PeerRule, ...] | None,
    rejected: tuple[int, int, int] | None,
) -> None:
    with net.running(tmp_path, peers=rules) as node, net.Raw.to(node) as peer:
        contexts = [(1, net.VERIFICATION, [net.IMPLICIT])]
        peer.say(net.associate_rq(contexts, calling=calling, called=called))
        kind, body = peer.hear()
        if rejected is None:
            assert kind == 0x02
        else:
            assert (kind, tuple(body[1:4])) == (0x03, rejected)
            event = node.wait_for(EventKind.ASSOCIATION_REJECTED)
            assert (event.calling_ae, event.called_ae) == (calling, called)


@pytest.mark.parametrize(
    ("calling", "accepted"),
    [("RAW", [0, 3, 0]), ("CAMERA", [0, 0, 3]), ("PROBE", [3, 3, 0])],
)
def test_services_decide_what_is_offered(tmp_path: Path, calling: str, accepted: list[int]) -> None:
    contexts = [
        (1, net.SECONDARY_CAPTURE, [net.EXPLICIT]),
        (3, "1.2.840.10008.5.1.4.1.1.77.1.4", [net.EXPLICIT]),
        (5, net.VERIFICATION, [net.EXPLICIT]),
    ]
    with net.running(tmp_path, peers=RULES) as node:
        ae = AE(calling)
        for _, abstract, syntaxes in contexts:
            ae.add_requested_context(abstract, syntaxes)
        assoc = ae.associate("127.0.0.1", node.scp.port, ae_title="LEUKONODE")
        results = {
            c.abstract_syntax: c.result for c in assoc.accepted_contexts + assoc.rejected_contexts
        }
        assoc.release()
    assert [results[abstract] for _, abstract, _ in contexts] == accepted
