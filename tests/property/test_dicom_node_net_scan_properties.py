"""Whatever the bytes are, the scan answers with a value or with MalformedObject, in bounded work."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.dimse import BrokenCommand, parse_command, response
from dicom_node.errors import MalformedObject
from dicom_node.limits import Limits
from dicom_node.scan import scan_dataset
from dicom_node.statuses import Reply, StoreStatus
from tests import dicom_node_net as net

BOUNDED = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def samples() -> list[bytes]:
    """Native, implicit, encapsulated; with sequences of both lengths."""
    ds = net.image()
    ds.ReferencedStudySequence = Sequence([Dataset(), Dataset()])
    ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2"
    ds["ReferencedStudySequence"].is_undefined_length = True
    native, implicit = net.part10(ds), net.part10(ds, net.IMPLICIT)
    frames = net.encapsulated([b"one!", b"two!!!"])
    return [native, implicit, net.part10(frames, net.JPEG_BASELINE)]


SAMPLES = samples()
STATUSES = {int(status) for status in StoreStatus}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan") / "object.dcm"


def refusal_of(path: Path) -> MalformedObject | None:
    """Anything but MalformedObject fails the test."""
    try:
        scan_dataset(path, None, Limits(elements=10_000))
    except MalformedObject as error:
        return error
    return None


def judge(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    refusal = refusal_of(path)
    if refusal is not None:
        assert refusal.status in STATUSES
        assert refusal.reason.isprintable()


@BOUNDED
@given(sample=st.sampled_from(SAMPLES), cut=st.floats(0, 1))
def test_cut_anywhere(file: Path, sample: bytes, cut: float) -> None:
    judge(file, sample[: int(cut * len(sample))])


@BOUNDED
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_bytes_changed_anywhere(
    file: Path, sample: bytes, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(sample)
    for place, value in changes:
        data[132 + int(place * (len(data) - 133))] = value
    judge(file, bytes(data))


@BOUNDED
@given(
    sample=st.sampled_from(SAMPLES),
    place=st.floats(0, 1),
    token=st.sampled_from(
        [
            b"\xfe\xff\x00\xe0",
            b"\xfe\xff\x0d\xe0",
            b"\xfe\xff\xdd\xe0",
            b"\xff\xff\xff\xff",
            b"\xe0\x7f\x10\x00",
            b"SQ\0\0",
            b"UN\0\0",
            struct.pack("<I", 2**31),
        ]
    ),
    insert=st.booleans(),
)
def test_tokens_of_the_encoding_anywhere(
    file: Path, sample: bytes, place: float, token: bytes, insert: bool
) -> None:
    at = 132 + int(place * (len(sample) - 133))
    judge(file, sample[:at] + token + sample[at if insert else at + len(token) :])


@BOUNDED
@given(noise=st.binary(max_size=600), sample=st.sampled_from(SAMPLES))
def test_noise_for_a_data_set(file: Path, noise: bytes, sample: bytes) -> None:
    (meta_length,) = struct.unpack_from("<I", sample, 140)
    judge(file, sample[: 144 + meta_length] + noise)


@BOUNDED
@given(noise=st.binary(max_size=300))
def test_noise_for_a_command(noise: bytes) -> None:
    with suppress(BrokenCommand):
        command = parse_command(noise)
        assert parse_command(response(command, Reply(0))).message_id == command.message_id


@BOUNDED
@given(place=st.integers(0, 150), value=st.integers(0, 255))
def test_a_command_changed_anywhere(place: int, value: int) -> None:
    """What is answered names the message that was asked, and holds nothing but well-formed UIDs."""
    data = bytearray(net.store_rq())
    data[place % len(data)] = value
    with suppress(BrokenCommand):
        command = parse_command(bytes(data))
        if not command.is_response:
            assert parse_command(response(command, Reply(0))).mistyped in (None, 0x0002, 0x1000)


@pytest.mark.shared
def test_every_malformed_file_of_the_collection(pictures: Path) -> None:
    files = sorted((pictures / "dicom_other" / "malformed").glob("*.dcm"))
    assert files
    refusals = [refusal for path in files if (refusal := refusal_of(path)) is not None]
    assert 0 < len(refusals) < len(files)
    assert {refusal.status for refusal in refusals} <= STATUSES
