"""The head of a Part 10 file, judged by pydicom."""

from io import BytesIO

import pydicom
import pytest

from dicom_node.errors import MalformedObject
from dicom_node.part10 import file_head, is_uid, read_file_head
from tests import dicom_node_net as net


def test_the_head_is_read_by_pydicom_and_by_us() -> None:
    head = file_head(
        sop_class_uid=net.SECONDARY_CAPTURE,
        sop_instance_uid="1.2.3",
        transfer_syntax=net.JPEG_BASELINE,
    )
    assert head[:132] == bytes(128) + b"DICM"
    meta = pydicom.dcmread(BytesIO(head + b"\x08\x00\x18\x00UI\x06\x001.2.3\0")).file_meta
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert meta.MediaStorageSOPClassUID == net.SECONDARY_CAPTURE
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert meta.TransferSyntaxUID == net.JPEG_BASELINE
    assert meta.ImplementationVersionName == "LEUKONODE_01"
    assert "SourceApplicationEntityTitle" not in meta
    with pytest.raises(MalformedObject):
        read_file_head(head + b"\x08\x00")
    read = read_file_head(head + b"\x08\x00\x18\x00UI\x06\x001.2.3\0")
    assert (read.sop_instance_uid, read.dataset_offset) == ("1.2.3", len(head))


def test_the_head_is_the_same_whoever_sends() -> None:
    def once() -> bytes:
        return file_head(sop_class_uid="1.2", sop_instance_uid="1.3", transfer_syntax="1.4")

    assert once() == once()


def test_a_malformed_uid_does_not_reach_the_head() -> None:
    head = file_head(sop_class_uid="1.2", sop_instance_uid="../etc", transfer_syntax="1.4")
    assert b"etc" not in head


@pytest.mark.parametrize("text", ["0", "1.2.3", "2.25." + "9" * 59, "1.0.2"])
def test_uids(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".1", "1..2", "01", "1.02", "1.a", "1/2", "1.2\n", "1.٣", "2.25." + "9" * 60],
)
def test_what_is_no_uid(text: str) -> None:
    assert not is_uid(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no DICOM",
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\xff\xff1.2",
        bytes(128) + b"DICM" + b"\x02\x00\x02\x01OB\x00\x00\xff\xff\xff\xff",
        bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x02\x001\0" * 9000,
    ],
)
def test_heads_that_are_none(data: bytes) -> None:
    with pytest.raises(MalformedObject):
        read_file_head(data)
