"""A slide is read field by field: every cell once, the true pixels, bounded memory."""

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest

from dicom_node import frame_cache
from dicom_node.dicomize import (
    Labels,
    PictureArray,
    SlideSyntax,
    dicomize,
    dicomize_flow_cytometry,
    dicomize_slide,
)
from dicom_node.domain_of import IFC_CREATOR, IFC_GROUP
from dicom_node.errors import MalformedObject
from dicom_node.faults import Fault
from dicom_node.frame_cache import FrameCache
from dicom_node.sources import open_any, open_source
from dicom_node.tiling import Tiling
from domain.identities import Sha256
from domain.image import Box, Domain, UnreadablePixels

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LABELS = Labels(patient_id="1", patient_name="A^B", accession="A-2")
DIGEST = Sha256("cd" * 32)


def painted(x: int, y: int, w: int, h: int) -> np.ndarray:
    """Every pixel tells where it is."""
    rows, columns = np.mgrid[y : y + h, x : x + w]
    return np.stack(
        [columns % 251, rows % 241, (columns // 251 + 7 * (rows // 241)) % 256], -1
    ).astype(np.uint8)


def slide(folder, width, height, *, tile=256, syntax=SlideSyntax.EXPLICIT, read=painted, um=0.25):
    return dicomize_slide(
        read,
        width_px=width,
        height_px=height,
        um_per_px=um,
        out=folder,
        labels=LABELS,
        now=NOW,
        tile_px=tile,
        syntax=syntax,
    )


def test_cores_tile_the_matrix_and_fields_show_its_pixels(tmp_path):
    width, height = 2600, 1500
    source = open_any(slide(tmp_path, width, height), image=1)
    covered = np.zeros((height, width), np.uint8)
    for field in source.fields():
        x, y = field.origin_px
        h, w = field.pixels.shape[:2]
        assert np.array_equal(field.pixels, painted(x, y, w, h))
        core = [int(v) for v in field.core_px]
        covered[core[1] : core[3], core[0] : core[2]] += 1
        # the margin is whole wherever the matrix goes on
        assert x == max(0, core[0] - 128)
        assert x + w == min(width, core[2] + 128)
        assert y == max(0, core[1] - 128)
        assert y + h == min(height, core[3] + 128)
        assert (field.image, field.frame, field.domain) == (1, 1, Domain.SMEAR)
    assert (covered == 1).all()


def test_the_margin_holds_a_cell_at_any_scale(tmp_path):
    for um, margin in ((0.25, 128), (0.05, 400), (0.03, 667)):
        source = open_any(slide(tmp_path, 2900, 300, um=um), image=1)
        second = list(source.fields())[1]
        assert second.origin_px[0] == 1024 - margin
        assert second.pixels.shape[1] == 1024 + 2 * margin


@pytest.mark.parametrize("number", [0, 3_999])
def test_a_small_part_of_a_huge_matrix_is_read_by_its_own_tiles(tmp_path, number, monkeypatch):
    """500,000 x 500,000 px, of which this part holds one tile."""
    path = slide(tmp_path, 500, 500, tile=500)
    part = pydicom.dcmread(path)
    part.TotalPixelMatrixColumns = part.TotalPixelMatrixRows = 500_000
    part.ConcatenationUID, part.InConcatenationNumber = "1.2.3", 1
    part.ConcatenationFrameOffsetNumber = number * 250 + 7
    part.save_as(path)
    looked_at = []
    frame_of = Tiling.frame

    def counted(self, column, row):
        looked_at.append((column, row))
        return frame_of(self, column, row)

    monkeypatch.setattr(Tiling, "frame", counted)
    source = open_any(path, image=0)
    row, column = divmod(number * 250 + 7, 1000)
    fields = list(source.fields())
    cores = [f.core_px for f in fields]
    assert any(c.x0 <= column * 500 < c.x1 and c.y0 <= row * 500 < c.y1 for c in cores)
    assert len(fields) <= 4
    source.overview(512)
    assert len(looked_at) < 20_000


def test_too_many_or_too_small_tiles_are_not_read(tmp_path):
    path = slide(tmp_path, 128, 64, tile=64)
    dataset = pydicom.dcmread(path)
    dataset.ConcatenationUID, dataset.InConcatenationNumber = "1.2.3", 1
    dataset.ConcatenationFrameOffsetNumber = 0
    dataset.TotalPixelMatrixColumns = dataset.TotalPixelMatrixRows = 100_000
    dataset.save_as(path)
    with pytest.raises(MalformedObject) as refused:
        open_any(path, image=0)
    assert refused.value.status == Fault.OVER_LIMIT
    dataset.TotalPixelMatrixColumns = dataset.TotalPixelMatrixRows = 15
    dataset.Rows = dataset.Columns = 15
    dataset.NumberOfFrames = 1
    dataset.PixelData = bytes(15 * 15 * 3 + 1)
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert "tiles of less than 16 px" in source.header.refusal
    assert list(source.fields()) == []


def test_region_and_overview(tmp_path):
    source = open_any(slide(tmp_path, 700, 300, tile=128), image=0)
    got = source.region(Box(100.5, -10, 333, 400), frame=1)
    assert np.array_equal(got, painted(100, 0, 233, 300))
    picture, factor = source.overview(350)
    assert (picture.shape, factor) == ((150, 350, 3), 0.5)
    whole, _ = source.overview(2000)
    assert np.array_equal(whole, painted(0, 0, 700, 300))


def test_padding_of_edge_tiles_is_never_seen(tmp_path):
    path = slide(
        tmp_path, 300, 200, tile=256, read=lambda x, y, w, h: np.full((h, w, 3), 9, np.uint8)
    )
    source = open_any(path, image=0)
    (field,) = source.fields()
    assert (field.pixels == 9).all()
    assert (source.overview(64)[0] == 9).all()


@pytest.mark.parametrize("role", ["LABEL", "OVERVIEW"])
def test_a_label_gives_no_pixel_by_any_way(tmp_path, role):
    path = slide(tmp_path, 200, 200, tile=128)
    dataset = pydicom.dcmread(path)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", role, "NONE"]
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert list(source.fields()) == []
    with pytest.raises(UnreadablePixels, match="never shown"):
        source.overview(100)
    with pytest.raises(UnreadablePixels, match="never shown"):
        source.region(Box(0, 0, 5, 5), frame=1)


@pytest.mark.parametrize("role", ["LABEL", "OVERVIEW"])
def test_a_secondary_capture_of_a_label_gives_no_pixel_either(tmp_path, role):
    picture = PictureArray(name="x", pixels=painted(0, 0, 30, 20))
    (path,) = dicomize([picture], out=tmp_path, labels=LABELS, spacing_um=None, now=NOW)
    dataset = pydicom.dcmread(path)
    dataset.ImageType = ["DERIVED", "SECONDARY", role]
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert list(source.fields()) == []
    with pytest.raises(UnreadablePixels, match="never shown"):
        source.overview(100)


def test_parts_of_a_concatenation_show_their_own_tiles(tmp_path):
    path = slide(tmp_path, 2048, 2048)
    whole = pydicom.dcmread(path)
    size = 256 * 256 * 3
    covered = np.zeros((2048, 2048), np.uint8)
    for number, (start, stop) in enumerate([(0, 32), (32, 64)], start=1):
        whole_pixels = pydicom.dcmread(path).PixelData
        part = whole
        part.ConcatenationUID = "1.2.3"
        part.InConcatenationNumber = number
        part.ConcatenationFrameOffsetNumber = start
        part.NumberOfFrames = stop - start
        part.PixelData = whole_pixels[start * size : stop * size]
        target = tmp_path / f"part{number}.dcm"
        part.save_as(target)
        for field in open_any(target, image=0).fields():
            core = [int(v) for v in field.core_px]
            covered[core[1] : core[3], core[0] : core[2]] += 1
            inside = field.pixels[core[1] - field.origin_px[1] :, core[0] - field.origin_px[0] :]
            inside = inside[:1024, :1024]
            assert np.array_equal(inside, painted(core[0], core[1], 1024, 1024))
    assert (covered == 1).all()


def test_the_middle_focal_plane_is_read_and_said(tmp_path):
    path = slide(tmp_path, 128, 64, tile=64)
    dataset = pydicom.dcmread(path)
    plane = len(dataset.PixelData)
    dataset.TotalPixelMatrixFocalPlanes = 3
    dataset.NumberOfFrames = 6
    dataset.PixelData = b"\0" * plane + dataset.PixelData + b"\0" * plane
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert np.array_equal(next(source.fields()).pixels, painted(0, 0, 128, 64))
    assert any("focal plane 2 of 3" in w for w in source.header.warnings)


def test_a_broken_tile_is_an_error_and_not_a_hole(tmp_path):
    path = slide(tmp_path, 500, 300, syntax=SlideSyntax.JPEG_BASELINE)
    data = bytearray(path.read_bytes())
    second = data.index(b"\xff\xd8\xff", data.index(b"\xff\xd8\xff") + 3)
    data[second : second + 2] = b"\0\0"
    path.write_bytes(data)
    with pytest.raises(UnreadablePixels):
        list(open_any(path, image=0).fields())


def test_memory_does_not_grow_with_the_slide(tmp_path, monkeypatch):
    """Fields of a slide of 50 and of 200 MB take the same memory, far below either."""
    monkeypatch.setattr(frame_cache.DECODED, "_budget", 16 * 1024**2)
    blank = np.full((512, 512, 3), 230, np.uint8)
    peaks = []
    for side in (4_096, 8_192):
        path = slide(
            tmp_path,
            side,
            side,
            tile=512,
            syntax=SlideSyntax.JPEG_BASELINE,
            read=lambda x, y, w, h: blank[:h, :w],
        )
        tracemalloc.start()
        source = open_source(path, image=0, sha256=DIGEST)
        count = sum(1 for _ in source.fields())
        source.overview(512)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == (side // 1024) ** 2
    assert max(peaks) < 60 * 1024**2
    assert peaks[1] < peaks[0] * 1.25


def test_the_cache_forgets_the_least_used_and_keeps_the_last():
    cache = FrameCache(3 * 300)
    made = []

    def frame(n: int):
        def decode():
            made.append(n)
            return np.zeros((10, 10, 3), np.uint8)

        return cache.get(("p", "d", n), decode)

    for n in (1, 2, 3, 1, 4, 1, 2):
        frame(n)
    assert made == [1, 2, 3, 4, 2]
    big = cache.get(("p", "d", 9), lambda: np.zeros((40, 40, 3), np.uint8))
    assert cache.get(("p", "d", 9), lambda: pytest.fail("the last one is kept")) is big
    assert not big.flags.writeable


# --- flow cytometry


def cells(count: int) -> list[np.ndarray]:
    return [np.full((40, 48), 16 * n, np.uint16) for n in range(count)]


def test_flow_cytometry_is_read_frame_by_frame_in_its_brightfield_channel(tmp_path):
    path = dicomize_flow_cytometry(
        cells(6),
        um_per_px=0.5,
        out=tmp_path,
        labels=LABELS,
        now=NOW,
        bits_stored=12,
        channels=("DNA", "Brightfield"),
    )
    source = open_any(path, image=0)
    assert source.header.domain is Domain.IFC_BRIGHTFIELD
    assert source.header.frames == 6
    assert not source.header.monochrome
    fields = list(source.fields())
    assert [f.frame for f in fields] == [2, 4, 6]
    assert all(f.single_cell for f in fields)
    assert [int(f.pixels[0, 0, 0]) for f in fields] == [round(v * 255 / 4095) for v in (16, 48, 80)]
    assert fields[0].um_per_px == pytest.approx((0.5, 0.5))
    assert source.region(Box(0, 0, 4, 4), frame=4).shape == (4, 4, 3)
    with pytest.raises(ValueError, match="no frame 7"):
        source.region(Box(0, 0, 4, 4), frame=7)


def test_window_of_the_object_is_the_same_for_all_frames(tmp_path):
    path = dicomize_flow_cytometry(
        cells(3), um_per_px=0.5, out=tmp_path, labels=LABELS, now=NOW, bits_stored=12
    )
    dataset = pydicom.dcmread(path)
    dataset.WindowCenter, dataset.WindowWidth = "16.5", "33"
    dataset.save_as(path)
    shown = [int(f.pixels[0, 0, 0]) for f in open_any(path, image=0).fields()]
    assert shown == [0, 128, 255]


def test_channels_that_cannot_be_told_apart_are_not_guessed(tmp_path):
    path = dicomize_flow_cytometry(
        cells(4),
        um_per_px=0.5,
        out=tmp_path,
        labels=LABELS,
        now=NOW,
        channels=("Brightfield", "DNA"),
    )
    dataset = pydicom.dcmread(path)
    del dataset.private_block(IFC_GROUP, IFC_CREATOR)[2]
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert "brightfield" in source.header.refusal
    assert list(source.fields()) == []


@pytest.mark.parametrize("names", ["", "Brightfield"])
def test_frames_of_a_second_channel_contradict_a_block_that_names_no_second(tmp_path, names):
    path = dicomize_flow_cytometry(
        cells(4),
        um_per_px=0.5,
        out=tmp_path,
        labels=LABELS,
        now=NOW,
        channels=("DNA", "Brightfield"),
    )
    dataset = pydicom.dcmread(path)
    block = dataset.private_block(IFC_GROUP, IFC_CREATOR)
    block[1].value = names
    dataset.save_as(path)
    told = open_any(path, image=0)
    assert [f.frame for f in told.fields()] == [2, 4]
    del dataset.private_block(IFC_GROUP, IFC_CREATOR)[2]
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert "brightfield" in source.header.refusal
    assert list(source.fields()) == []


def test_without_names_frames_of_one_channel_are_all_read(tmp_path):
    path = dicomize_flow_cytometry(cells(3), um_per_px=0.5, out=tmp_path, labels=LABELS, now=NOW)
    dataset = pydicom.dcmread(path)
    block = dataset.private_block(IFC_GROUP, IFC_CREATOR)
    block[1].value = ""
    if 2 in block:
        del block[2]
    dataset.save_as(path)
    source = open_any(path, image=0)
    assert [f.frame for f in source.fields()] == [1, 2, 3]
