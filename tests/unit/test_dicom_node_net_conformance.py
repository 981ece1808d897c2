"""The conformance statement lists what the tables hold, and the tables are the standard's."""

import re
from pathlib import Path

import pytest
from pydicom.uid import UID

from dicom_node import conformance as c
from dicom_node.codecs import proven_transfer_syntaxes
from dicom_node.faults import Fault
from dicom_node.limits import Limits
from dicom_node.part10 import is_uid
from dicom_node.peers import Service
from dicom_node.requestor import Timeouts
from dicom_node.spacing import MAX_UM_PER_PX, MIN_UM_PER_PX
from dicom_node.statuses import (
    COMMENT_LENGTH,
    Category,
    StoreStatus,
    category_of,
    is_retryable,
)
from domain.identities import derived_uid

STATEMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its two head lines."""
    text = STATEMENT.read_text(encoding="utf-8")
    section = re.split(rf"^#+ .*{re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    lines = section[section.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("heading", "entries"),
    [
        ("SOP classes accepted", (c.VERIFICATION, *c.INPUT_CLASSES)),
        ("SOP classes sent", (c.VERIFICATION, *c.OUTPUT_CLASSES)),
        ("SOP classes refused", c.REFUSED_CLASSES),
        ("Transfer syntaxes accepted", c.SYNTAXES),
        ("Transfer syntaxes refused", c.REFUSED_SYNTAXES),
    ],
)
def test_the_statement_lists_the_tables(heading: str, entries: tuple[c.Entry, ...]) -> None:
    listed = [(uid.strip("`"), name) for name, uid, *_ in rows(heading)]
    assert listed == [(entry.uid, entry.name) for entry in entries]


def test_the_statement_lists_every_status() -> None:
    listed = {code: (comment, meaning) for code, comment, meaning in rows("C-STORE statuses")}
    assert listed == {f"{s:04X}": (s.comment or "-", s.meaning) for s in StoreStatus}
    content = {code for code, *_ in rows("Statuses for the content of images")}
    assert content == {f"{f:04X}" for f in Fault}


def test_the_statement_says_the_numbers() -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    assert c.IMPLEMENTATION_CLASS_UID in text
    assert c.IMPLEMENTATION_VERSION_NAME in text
    assert f"{MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g} um" in text
    numbers = dict(rows("Limits"))
    limits = Limits()
    assert numbers == {
        "Maximum PDU length received": f"{c.MAX_PDU_BYTES} bytes",
        "Associations from one address; one fewer than all where that is less": f"{limits.associations_per_address}",
        "A-ASSOCIATE-RQ, from the connection to its last byte": f"{limits.associate_seconds:g} s",
        "Length of an A-ASSOCIATE-RQ": f"{limits.associate_bytes} bytes",
        "One PDU, from its first byte to its last": f"{limits.pdu_seconds:g} s",
        "One object, from its command to its last byte": f"{limits.object_seconds:g} s",
        "A command set, from its first fragment to its last": f"{limits.pdu_seconds:g} s",
        "Silence on an association": f"{limits.idle_seconds:g} s",
        "Length of a command set": f"{limits.command_bytes} bytes",
        "Length of a data set": f"{limits.object_bytes} bytes",
        "Free disk below which nothing is taken": f"{limits.free_disk_bytes} bytes",
        "Nesting of sequences": f"{limits.nesting}",
        "Elements and items of a data set": f"{limits.elements}",
        "Fragments of Pixel Data": f"{limits.fragments}",
        "One element beside the pixels": f"{limits.element_bytes} bytes",
        "All that is beside the pixels": f"{limits.header_bytes} bytes",
        "Frames of an image": f"{limits.frames}",
        "Size of one frame, decoded": f"{limits.frame_bytes} bytes",
        "Side of a total pixel matrix": f"{limits.matrix_px} pixels",
        "SCU: to connect": f"{Timeouts().connect:g} s",
        "SCU: for the answer to A-ASSOCIATE-RQ": f"{Timeouts().associate:g} s",
        "SCU: for the answer to a request": f"{Timeouts().response:g} s",
    }


def test_names_are_those_of_the_standard() -> None:
    known = [*c.INPUT_CLASSES, *c.OUTPUT_CLASSES, *c.REFUSED_CLASSES, *c.SYNTAXES]
    assert {entry.uid: UID(entry.uid).name for entry in known} == {
        entry.uid: entry.name for entry in known
    }


def test_nothing_is_both_accepted_and_refused() -> None:
    accepted = {e.uid for e in (*c.INPUT_CLASSES, *c.OUTPUT_CLASSES, *c.SYNTAXES)}
    refused = {e.uid for e in (*c.REFUSED_CLASSES, *c.REFUSED_SYNTAXES)}
    assert not accepted & refused


def test_the_implementation_is_named_as_the_standard_wants() -> None:
    assert derived_uid("leukonode", "implementation class") == c.IMPLEMENTATION_CLASS_UID
    assert is_uid(c.IMPLEMENTATION_CLASS_UID)
    assert len(c.IMPLEMENTATION_VERSION_NAME) <= 16


def test_only_proven_syntaxes_are_accepted() -> None:
    implicit, explicit = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
    assert c.accepted_syntaxes(()) == (explicit, implicit)
    deflated, jpeg = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
    assert c.accepted_syntaxes((deflated, jpeg)) == (explicit, implicit, jpeg)


def test_what_no_decoder_is_proven_on_is_listed_as_refused() -> None:
    """High-throughput JPEG 2000: no sample, so no proof; the statement must not promise it."""
    refused = {entry.uid for entry in c.REFUSED_SYNTAXES}
    assert {f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)} <= refused
    proven = c.accepted_syntaxes(proven_transfer_syntaxes())
    assert set(proven) == {entry.uid for entry in c.SYNTAXES}


def test_photographs_are_for_peers_that_are_set_so() -> None:
    photographic = "1.2.840.10008.5.1.4.1.1.77.1.4"
    plain = {e.uid for e in c.input_classes_for(frozenset({Service.STORE}))}
    every = {e.uid for e in c.input_classes_for(frozenset({Service.STORE, Service.PHOTOGRAPHIC}))}
    assert every - plain == {photographic}
    assert c.input_classes_for(frozenset({Service.ECHO})) == ()


@pytest.mark.parametrize("status", StoreStatus)
def test_comments_fit_their_element(status: StoreStatus) -> None:
    assert len(status.comment) <= COMMENT_LENGTH
    assert status.comment.isascii()
    assert status.comment.isprintable()
    assert status.meaning.endswith(".")


@pytest.mark.parametrize(
    ("status", "category", "retryable"),
    [
        (0x0000, Category.SUCCESS, False),
        (0x0001, Category.WARNING, False),
        (0xB000, Category.WARNING, False),
        (0xB007, Category.WARNING, False),
        (0xA700, Category.FAILURE, True),
        (0xA7FF, Category.FAILURE, True),
        (0xA900, Category.FAILURE, False),
        (0xC000, Category.FAILURE, False),
        (0x0110, Category.FAILURE, True),
        (0x0122, Category.FAILURE, False),
        (0xFE00, Category.FAILURE, False),
    ],
)
def test_what_a_status_means(status: int, category: Category, retryable: bool) -> None:
    assert (category_of(status), is_retryable(status)) == (category, retryable)
