"""Where frames lie in a file: by walking the items, whatever the offset tables say."""

import hashlib
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from dicom_node.dicomize import Labels, SlideSyntax, dicomize_slide
from dicom_node.errors import MalformedObject
from dicom_node.faults import Fault
from dicom_node.headers import read_instance
from dicom_node.sources import open_any
from dicom_node.statuses import StoreStatus
from domain.identities import Sha256

DIGEST = Sha256("0" * 64)
SIZE = (128, 128)  # four tiles


def painted(x: int, y: int, w: int, h: int) -> np.ndarray:
    rows, columns = np.mgrid[y : y + h, x : x + w]
    return np.stack([columns, rows, columns ^ rows], -1).astype(np.uint8)


@pytest.fixture
def slide(tmp_path) -> Path:
    return dicomize_slide(
        painted,
        width_px=SIZE[0],
        height_px=SIZE[1],
        um_per_px=0.25,
        out=tmp_path,
        labels=Labels(patient_id="1", patient_name="A^B", accession="A"),
        now=datetime(2026, 3, 1, tzinfo=UTC),
        tile_px=64,
        syntax=SlideSyntax.JPEG_2000_LOSSLESS,
    )


@pytest.fixture
def native(tmp_path) -> Path:
    return dicomize_slide(
        painted,
        width_px=SIZE[0],
        height_px=SIZE[1],
        um_per_px=0.25,
        out=tmp_path,
        labels=Labels(patient_id="1", patient_name="A^B", accession="A"),
        now=datetime(2026, 3, 1, tzinfo=UTC),
        tile_px=64,
        syntax=SlideSyntax.EXPLICIT,
    )


def frames_of(path: Path) -> list[bytes]:
    instance = read_instance(path, sha256=DIGEST)
    with path.open("rb") as file:
        return [instance.places.read(file, n).rstrip(b"\0") for n in range(4)]


def fragmented(frames: list[bytes], table: list[int] | None = None) -> bytes:
    """Each frame in three fragments; the true offset table, none, or the given one."""
    items, offsets, at = [], [], 0
    for frame in frames:
        offsets.append(at)
        third = len(frame) // 3 // 2 * 2
        for part in (frame[:third], frame[third : 2 * third], frame[2 * third :]):
            padded = part + b"\0" * (len(part) % 2)
            items.append(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(padded)) + padded)
            at += 8 + len(padded)
    told = offsets if table is None else table
    head = b"\xfe\xff\x00\xe0" + struct.pack(f"<I{len(told)}I", 4 * len(told), *told)
    return head + b"".join(items)


def store(path: Path, value: bytes, **changes) -> Path:
    dataset = pydicom.dcmread(path)
    for keyword, changed in changes.items():
        setattr(dataset, keyword, changed)
    dataset.PixelData = value
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def test_frames_with_and_without_an_offset_table(slide):
    expected = frames_of(slide)
    assert len(set(expected)) == 4
    for has_bot in (True, False):
        assert frames_of(store(slide, encapsulate(expected, has_bot=has_bot))) == expected


def test_frames_in_several_fragments(slide):
    expected = frames_of(slide)
    assert frames_of(store(slide, fragmented(expected))) == expected
    # without a table the beginning of each codestream tells
    assert frames_of(store(slide, fragmented(expected, []))) == expected


@pytest.mark.parametrize("table", [[0, 4, 8, 12], [8, 0, 16, 24], [0, 0, 0, 0], [0, 2**31, 5, 9]])
def test_a_lying_offset_table_is_refused(slide, table):
    store(slide, fragmented(frames_of(slide), table))
    with pytest.raises(MalformedObject) as refused:
        read_instance(slide, sha256=DIGEST)
    assert refused.value.status == Fault.FRAGMENTS


def test_frames_that_cannot_be_told_apart_are_refused(slide):
    anything = [b"\x11\x22" * 40] * 4
    store(slide, fragmented(anything, []))
    with pytest.raises(MalformedObject, match="told apart"):
        read_instance(slide, sha256=DIGEST)


def test_fewer_fragments_than_frames_are_refused(slide):
    store(slide, encapsulate(frames_of(slide)[:3], has_bot=False))
    with pytest.raises(MalformedObject) as refused:
        read_instance(slide, sha256=DIGEST)
    assert refused.value.status == Fault.FRAGMENTS


@pytest.mark.parametrize("undefined", [True, False])
def test_per_frame_groups_are_passed_over_and_read_when_asked(slide, undefined):
    expected = frames_of(slide)
    groups = []
    for n in range(4):
        content, item = Dataset(), Dataset()
        content.FrameComments = f"frame {n}"
        item.FrameContentSequence = [content]
        item.is_undefined_length_sequence_item = undefined
        item["FrameContentSequence"].is_undefined_length = undefined
        groups.append(item)
    dataset = pydicom.dcmread(slide)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
    dataset.save_as(slide)
    assert frames_of(slide) == expected
    opened = read_instance(slide, sha256=DIGEST).file
    assert not opened.elements.has("PerFrameFunctionalGroupsSequence")
    comments = [g.first("FrameContentSequence").text("FrameComments") for g in opened.per_frame()]
    assert comments == [f"frame {n}" for n in range(4)]


def test_pydicom_finds_the_same_frames(slide):
    dataset = pydicom.dcmread(slide)
    theirs = [f.rstrip(b"\0") for f in generate_frames(dataset.PixelData, number_of_frames=4)]
    assert frames_of(slide) == theirs


def bare(path: Path, *, meta: bool) -> Path:
    """Without preamble, and where `meta` is False without meta group."""
    whole = path.read_bytes()
    meta_bytes = struct.unpack_from("<I", whole, 140)[0]
    path.write_bytes(whole[132:] if meta else whole[144 + meta_bytes :])
    return path


@pytest.mark.parametrize("kind", ["whole", "without preamble", "without meta"])
def test_the_digest_is_that_of_the_data_set(native, kind):
    whole = native.read_bytes()
    expected = hashlib.sha256(whole[144 + struct.unpack_from("<I", whole, 140)[0] :]).hexdigest()
    if kind != "whole":
        bare(native, meta=kind == "without preamble")
    source = open_any(native, image=0)
    assert source.header.sha256 == expected
    assert np.array_equal(next(source.fields()).pixels, painted(0, 0, *SIZE))


@pytest.mark.parametrize("meta", [True, False])
def test_a_file_without_preamble_is_walked_as_well(native, meta):
    """Nested 40 deep: the parser would follow, the walk does not."""
    inner = b""
    for _ in range(40):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        inner = b"\x29\x00\x01\x10SQ\0\0" + struct.pack("<I", len(item)) + item
    whole = native.read_bytes()
    at = whole.index(b"\x28\0\x02\0US")
    native.write_bytes(whole[:at] + inner.replace(b"\x29", b"\x27") + whole[at:])
    with pytest.raises(MalformedObject) as refused:
        open_any(bare(native, meta=meta), image=0)
    assert refused.value.status == StoreStatus.TOO_DEEP


def test_the_doors_stay_light():
    """Headers and codecs are loaded by the node's role: no networks, no image library beyond."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, dicom_node.headers as h, dicom_node.codecs as c; c.proven_transfer_syntaxes();"
            "print(sorted({'torch', 'cv2', 'highdicom', 'scipy', 'tifffile'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == "[]"
