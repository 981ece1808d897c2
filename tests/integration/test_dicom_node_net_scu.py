"""The SCU against pynetdicom's SCP and against scripted peers that refuse, abort and go deaf."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, evt

from dicom_node.peers import Peer
from dicom_node.scu import (
    InstanceStatus,
    Problem,
    SendOutcome,
    Timeouts,
    echo,
    send,
)
from dicom_node.statuses import Category
from tests import dicom_node_net as net

QUICK = Timeouts(connect=2.0, associate=1.0, response=1.0)
Script = Callable[[net.Raw], None]


@contextmanager
def scripted(script: Script) -> Iterator[Peer]:
    """A peer that plays `script` on the first connection, then hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def play() -> None:
        connected, _ = listener.accept()
        with net.Raw(connected) as peer:
            script(peer)

    thread = threading.Thread(target=play)
    thread.start()
    with listener:
        yield Peer(ae_title="PACS", host="127.0.0.1", port=listener.getsockname()[1])
        thread.join(timeout=10)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three fields as files."""
    paths = []
    for n in range(1, 4):
        path = tmp_path / f"{n}.dcm"
        path.write_bytes(net.part10(net.image(f"2.25.{n}")))
        paths.append(path)
    return paths


def sent_to(peer: Peer, files: list[Path], **changes: object) -> SendOutcome:
    return send(files, to=peer, calling_ae="LEUKONODE", timeouts=QUICK, **changes)  # type: ignore[arg-type]


def accept(peer: net.Raw, *, result: int = 0, max_pdu: int = 16384) -> None:
    assert peer.hear()[0] == 0x01
    peer.say(net.associate_ac([(1, result, net.EXPLICIT)], max_pdu=max_pdu))


def take_object(peer: net.Raw) -> bytes:
    """A whole C-STORE request; gives the data set."""
    kind, body = peer.hear()
    assert (kind, body[5]) == (0x04, 3)
    data = b""
    while True:
        kind, body = peer.hear()
        assert kind == 0x04
        data += body[6:]
        if body[5] & 2:
            return data


def test_objects_arrive_bit_for_bit_with_each_status(files: list[Path]) -> None:
    received: dict[str, bytes] = {}
    answers = {"2.25.1": 0x0000, "2.25.2": 0xB000, "2.25.3": 0xA700, "2.25.4": 0xC000}
    heard: list[InstanceStatus] = []

    def take(event: evt.Event) -> int:
        uid = event.request.AffectedSOPInstanceUID
        received[uid] = event.request.DataSet.getvalue()
        return answers[uid]

    ae = AE("PACS")
    ae.add_supported_context(net.SECONDARY_CAPTURE, net.EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    assert server is not None
    try:
        peer = Peer(ae_title="PACS", host="127.0.0.1", port=server.server_address[1])
        fourth = files[0].with_name("4.dcm")
        fourth.write_bytes(net.part10(net.image("2.25.4")))
        outcome = sent_to(peer, [*files, fourth], on_status=heard.append)
    finally:
        server.shutdown()
    assert received == {f"2.25.{n}": net.dataset_bytes(net.image(f"2.25.{n}")) for n in range(1, 5)}
    assert [(i.status, i.category, i.retryable) for i in outcome.instances] == [
        (0x0000, Category.SUCCESS, False),
        (0xB000, Category.WARNING, False),
        (0xA700, Category.FAILURE, True),
        (0xC000, Category.FAILURE, False),
    ]
    assert heard == list(outcome.instances)
    assert (outcome.problem, outcome.delivered, outcome.retryable) == (None, False, True)


def test_this_nodes_own_scp_and_echo(tmp_path: Path, files: list[Path]) -> None:
    with net.running(tmp_path / "in") as node:
        peer = Peer(ae_title="LEUKONODE", host="localhost", port=node.scp.port)
        assert echo(peer, calling_ae="SELF", timeouts=QUICK).ok
        outcome = sent_to(peer, files)
    assert outcome.delivered
    assert [f[-144:] for f in node.files] == [bytes(range(144))] * 3


def test_a_large_object_waits_on_disk_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    side = 3000
    path.write_bytes(
        net.part10(net.image("2.25.7", Rows=side, Columns=side, PixelData=bytes(3 * side * side)))
    )
    with net.running(tmp_path / "in") as node:
        peer = Peer(ae_title="LEUKONODE", host="127.0.0.1", port=node.scp.port)
        outcome = send([path], to=peer, calling_ae="SELF", timeouts=Timeouts())
    assert outcome.delivered
    assert node.files[0].endswith(path.read_bytes()[-3 * side * side :])


def test_more_than_128_contexts_take_several_associations(tmp_path: Path) -> None:
    paths = []
    for n in range(130):
        path = tmp_path / f"{n}.dcm"
        ds = net.image(f"2.25.{n + 1}", SOPClassUID=f"1.2.840.10008.5.1.4.1.1.9999.{n + 1}")
        path.write_bytes(net.part10(ds))
        paths.append(path)
    associations = []
    ae = AE("PACS")
    for n in range(130):
        ae.add_supported_context(f"1.2.840.10008.5.1.4.1.1.9999.{n + 1}", net.EXPLICIT)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_ACCEPTED, lambda event: associations.append(event.assoc))],
    )
    assert server is not None
    try:
        peer = Peer(ae_title="PACS", host="127.0.0.1", port=server.server_address[1])
        outcome = sent_to(peer, paths[127:] + paths[:127])
    finally:
        server.shutdown()
    assert len(associations) == 2
    assert len(outcome.instances) == 130


def test_a_refused_context_concerns_its_files_alone(tmp_path: Path, files: list[Path]) -> None:
    other = tmp_path / "ct.dcm"
    other.write_bytes(net.part10(net.image("2.25.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")))
    noise, missing = tmp_path / "noise.dcm", tmp_path / "missing.dcm"
    noise.write_bytes(b"no DICOM")
    odd = tmp_path / "odd.dcm"
    odd.write_bytes(files[0].read_bytes() + b"\0")
    with net.running(tmp_path / "in") as node:
        peer = Peer(ae_title="LEUKONODE", host="127.0.0.1", port=node.scp.port)
        outcome = sent_to(peer, [noise, other, files[0], missing, odd])
    assert [(i.problem, i.retryable) for i in outcome.instances] == [
        (Problem.UNREADABLE_FILE, False),
        (Problem.NO_CONTEXT, False),
        (None, False),
        (Problem.UNREADABLE_FILE, False),
        (Problem.UNREADABLE_FILE, False),
    ]
    assert [i.path for i in outcome.instances] == [noise, other, files[0], missing, odd]
    assert outcome.problem is None


def test_no_context_at_all(files: list[Path]) -> None:
    with scripted(lambda peer: accept(peer, result=3)) as peer:
        outcome = sent_to(peer, files)
    assert (outcome.problem, outcome.retryable) == (Problem.NO_CONTEXT, False)


def test_nobody_listens(files: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = sent_to(Peer(ae_title="PACS", host="127.0.0.1", port=port), files)
    assert outcome.problem is Problem.UNREACHABLE
    assert outcome.reason == "cannot connect: Connection refused"
    assert [(i.category, i.retryable) for i in outcome.instances] == [(Category.NOT_SENT, True)] * 3


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "\0"])
def test_hosts_that_do_not_exist(host: str) -> None:
    outcome = echo(Peer(ae_title="PACS", host=host, port=11112), calling_ae="X", timeouts=QUICK)
    assert (outcome.problem, outcome.ok) == (Problem.UNREACHABLE, False)


@pytest.mark.parametrize(
    ("answer", "problem", "word"),
    [
        ((1, 1, 7), Problem.REJECTED, "called AE title"),
        ((1, 1, 3), Problem.REJECTED, "calling AE title"),
        ((2, 3, 2), Problem.BUSY, "local limit"),
        ((2, 3, 1), Problem.BUSY, "congestion"),
    ],
)
def test_rejections(
    files: list[Path], answer: tuple[int, int, int], problem: Problem, word: str
) -> None:
    def reject(peer: net.Raw) -> None:
        peer.hear()
        peer.say(net.pdu(0x03, bytes([0, *answer])))

    with scripted(reject) as peer:
        outcome = sent_to(peer, files)
    assert outcome.problem is problem
    assert word in outcome.reason
    assert outcome.retryable is (problem is Problem.BUSY)


def hang_up_at_once(peer: net.Raw) -> None:
    peer.hear()


def deaf_to_association(peer: net.Raw) -> None:
    peer.hear()
    peer.hear()


def deaf_to_objects(peer: net.Raw) -> None:
    accept(peer)
    while peer.hear()[0] not in (-1, 0x07):
        pass


def abort_after_one(peer: net.Raw) -> None:
    accept(peer)
    take_object(peer)
    peer.say(net.p_data(1, 3, net.answer(0x8001, 0)))
    take_object(peer)
    peer.say(net.pdu(0x07, bytes([0, 0, 0, 0])))


def close_after_one(peer: net.Raw) -> None:
    accept(peer)
    take_object(peer)
    peer.say(net.p_data(1, 3, net.answer(0x8001, 0)))
    take_object(peer)


def answer_another_message(peer: net.Raw) -> None:
    accept(peer)
    take_object(peer)
    peer.say(net.p_data(1, 3, net.answer(0x8001, 0, message_id=7)))
    peer.hear()


def ask_instead_of_answer(peer: net.Raw) -> None:
    accept(peer)
    take_object(peer)
    peer.say(net.p_data(1, 3, net.echo_rq()))
    peer.hear()


def answer_huge(peer: net.Raw) -> None:
    accept(peer)
    take_object(peer)
    peer.say(net.pdu(0x04, b"", length=0xFFFFFFFF))
    peer.hear()


def accept_huge(peer: net.Raw) -> None:
    peer.hear()
    peer.say(net.pdu(0x02, b"", length=0xFFFFFFFF))
    peer.hear()


def accept_noise(peer: net.Raw) -> None:
    peer.hear()
    peer.say(net.pdu(0x02, bytes(range(200))))
    peer.hear()


def accept_slowly(peer: net.Raw) -> None:
    peer.hear()
    for byte in net.associate_ac([(1, 0, net.EXPLICIT)]):
        try:
            peer.say(bytes([byte]))
        except ConnectionError:
            return
        time.sleep(0.05)


def accept_tiny_pdus(peer: net.Raw) -> None:
    accept(peer, max_pdu=8)
    peer.hear()


def speak_http(peer: net.Raw) -> None:
    peer.hear()
    peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "problem", "delivered"),
    [
        (hang_up_at_once, Problem.ABORTED, 0),
        (deaf_to_association, Problem.NO_ANSWER, 0),
        (deaf_to_objects, Problem.NO_ANSWER, 0),
        (abort_after_one, Problem.ABORTED, 1),
        (close_after_one, Problem.ABORTED, 1),
        (answer_another_message, Problem.ABORTED, 0),
        (ask_instead_of_answer, Problem.ABORTED, 0),
        (answer_huge, Problem.ABORTED, 0),
        (accept_huge, Problem.ABORTED, 0),
        (accept_noise, Problem.ABORTED, 0),
        (accept_slowly, Problem.ABORTED, 0),
        (accept_tiny_pdus, Problem.REJECTED, 0),
        (speak_http, Problem.ABORTED, 0),
    ],
)
def test_peers_that_misbehave_give_a_typed_reason(
    files: list[Path], script: Script, problem: Problem, delivered: int
) -> None:
    began = time.monotonic()
    with scripted(script) as peer:
        outcome = sent_to(peer, files)
    assert outcome.problem is problem, outcome.reason
    assert outcome.reason
    categories = [i.category for i in outcome.instances]
    assert categories == [Category.SUCCESS] * delivered + [Category.NOT_SENT] * (3 - delivered)
    assert time.monotonic() - began < 20
    for _ in range(100):
        if not [t for t in threading.enumerate() if t.name.endswith("-reader")]:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("a reader thread was left behind")


def test_a_peer_that_stops_reading(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    path.write_bytes(
        net.part10(net.image(Rows=3000, Columns=3000, PixelData=bytes(3 * 3000 * 3000)))
    )
    done = threading.Event()

    def stuffed(peer: net.Raw) -> None:
        accept(peer)
        done.wait(20)

    with scripted(stuffed) as peer:
        outcome = send([path], to=peer, calling_ae="X", timeouts=Timeouts(associate=1, response=1))
        done.set()
    assert outcome.problem is Problem.NO_ANSWER
    assert outcome.reason == "the peer stopped reading"


def test_fragments_are_even_and_within_what_the_peer_takes(files: list[Path]) -> None:
    sizes: list[int] = []

    def measure(peer: net.Raw) -> None:
        accept(peer, max_pdu=257)
        while True:
            kind, body = peer.hear()
            assert kind == 0x04
            assert len(body) <= 257
            (length,) = struct.unpack_from(">I", body)
            sizes.append(length - 2)
            if body[5] == 2:
                break
        peer.say(net.p_data(1, 3, net.answer(0x8001, 0)))
        assert peer.hear()[0] == 0x05
        peer.say(net.pdu(0x06, bytes(4)))

    with scripted(measure) as peer:
        assert sent_to(peer, files[:1]).delivered
    assert all(size % 2 == 0 for size in sizes)


def test_a_peer_that_never_answers_the_release_costs_no_status(files: list[Path]) -> None:
    def forgetful(peer: net.Raw) -> None:
        accept(peer)
        take_object(peer)
        peer.say(net.p_data(1, 3, net.answer(0x8001, 0)))
        assert peer.hear()[0] == 0x05

    with scripted(forgetful) as peer:
        outcome = sent_to(peer, files[:1])
    assert outcome.delivered
    assert outcome.problem is None


@pytest.mark.parametrize("title", ["", " ", "A" * 17, "BACK\\SLASH", "ÄÖÜ"])
def test_our_own_wrong_title_is_our_error(title: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        echo(Peer(ae_title="PACS", host="127.0.0.1", port=1), calling_ae=title, timeouts=QUICK)
