"""Command sets, judged by pynetdicom's decoder."""

from io import BytesIO

import pytest
from pynetdicom.dsutils import decode

from dicom_node.dimse import (
    BrokenCommand,
    CommandField,
    fragments,
    parse_command,
    request,
    response,
)
from dicom_node.statuses import Reply, StoreStatus
from tests import dicom_node_net as net


def test_a_store_request_as_pynetdicom_reads_it() -> None:
    data = request(
        CommandField.STORE,
        message_id=7,
        sop_class_uid=net.SECONDARY_CAPTURE,
        sop_instance_uid="1.2.3",
    )
    read = decode(BytesIO(data), is_implicit_vr=True, is_little_endian=True)
    assert read.CommandGroupLength == len(data) - 12
    assert (read.CommandField, read.MessageID, read.Priority) == (1, 7, 0)
    assert read.CommandDataSetType != 0x0101
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (
        net.SECONDARY_CAPTURE,
        "1.2.3",
    )


def test_a_response_as_pynetdicom_reads_it() -> None:
    asked = parse_command(net.store_rq(message_id=9))
    data = response(asked, Reply.of(StoreStatus.PIXEL_LENGTH, 0x7FE00010))
    read = decode(BytesIO(data), is_implicit_vr=True, is_little_endian=True)
    assert (read.CommandField, read.MessageIDBeingRespondedTo) == (0x8001, 9)
    assert (read.Status, read.CommandDataSetType) == (0xC00C, 0x0101)
    assert read.ErrorComment == StoreStatus.PIXEL_LENGTH.comment
    assert read.OffendingElement == 0x7FE00010
    assert read.AffectedSOPInstanceUID == net.INSTANCE


def test_our_response_as_we_read_it() -> None:
    asked = parse_command(net.echo_rq(3))
    told = parse_command(response(asked, Reply(0x0110, "later")))
    assert (told.is_response, told.field, told.message_id) == (True, CommandField.ECHO, 3)
    assert (told.status, told.comment, told.has_data_set) == (0x0110, "later", False)


def test_a_malformed_uid_is_not_echoed_and_a_comment_is_one_line() -> None:
    asked = parse_command(net.store_rq("../../etc"))
    data = response(asked, Reply(0x0117, "a\nb\\c\x1bd" + "x" * 100))
    assert b"etc" not in data
    assert parse_command(data).comment == ("a?b?c?d" + "x" * 100)[:64]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\x08\0\0\0\0\0\0\0",
        net.store_rq() + b"\0",
        net.store_rq() + net.store_rq(),
        net.command({0x0100: net.us(1), 0x0800: net.us(1)}),
        net.command({0x0110: net.us(1), 0x0800: net.us(1)}),
        net.command({0x0100: b"\1", 0x0110: net.us(1), 0x0800: net.us(1)}),
        net.command({0x0100: net.us(0x8001), 0x0120: net.us(1), 0x0800: net.us(0x0101)}),
    ],
)
def test_commands_that_cannot_be_answered(data: bytes) -> None:
    with pytest.raises(BrokenCommand):
        parse_command(data)


@pytest.mark.parametrize(("size", "count"), [(2, 50), (64, 2), (100, 1), (1000, 1)])
def test_fragments_put_together_are_the_whole(size: int, count: int) -> None:
    data = bytes(range(100))
    values = list(fragments(data, is_command=False, size=size))
    assert len(values) == count
    assert b"".join(v[1:] for v in values) == data
    assert [v[0] for v in values] == [0] * (count - 1) + [2]


def test_nothing_is_one_empty_last_fragment() -> None:
    assert list(fragments(b"", is_command=True, size=10)) == [b"\3"]
