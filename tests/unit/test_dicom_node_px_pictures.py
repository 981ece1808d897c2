"""Picture files: told by content, read whole or refused in one line."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from dicom_node.pictures import decode_picture
from dicom_node.sources import NotAnImage, open_any, open_picture
from dicom_node.tiff_page import first_page
from domain.image import Box, Domain


def smear(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([200 + x % 50, 100 + y % 50, 150 + (x + y) % 30], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_picture_is_told_by_its_content_and_not_its_name(tmp_path, kind):
    path = tmp_path / "field.txt"
    path.write_bytes(encoded(Image.fromarray(smear()), kind))
    source = open_any(path, image=3)
    assert (source.header.width_px, source.header.height_px) == (60, 40)
    assert (source.header.domain, source.header.monochrome) == (Domain.SMEAR, False)
    (only,) = source.fields()
    assert np.array_equal(only.pixels, smear())
    assert (only.image, only.frame, only.origin_px, only.core_px) == (
        3,
        1,
        (0, 0),
        Box(0, 0, 60, 40),
    )
    assert only.um_per_px is None
    assert not only.single_cell


def test_opened_for_single_cells_the_field_is_a_cell(tmp_path):
    path = tmp_path / "cell.png"
    path.write_bytes(encoded(Image.fromarray(smear()), "PNG"))
    assert all(f.single_cell for f in open_picture(path, image=0, single_cell=True).fields())


def test_region_is_clipped_and_overview_fits(tmp_path):
    path = tmp_path / "field.png"
    path.write_bytes(encoded(Image.fromarray(smear()), "PNG"))
    source = open_picture(path, image=0)
    assert np.array_equal(source.region(Box(-5, 10.5, 7.2, 99), frame=1), smear()[10:40, 0:8])
    small, factor = source.overview(30)
    assert (small.shape, factor) == ((20, 30, 3), 0.5)
    same, factor = source.overview(500)
    assert (same.shape, factor) == ((40, 60, 3), 1.0)
    with pytest.raises(ValueError, match="outside"):
        source.region(Box(100, 0, 120, 10), frame=1)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_is_flagged(mode):
    grey = Image.fromarray(smear()[..., 0])
    image = (
        Image.fromarray(smear()[..., 0].astype(np.uint16) * 9)
        if mode == "I;16"
        else grey.convert(mode)
    )
    pixels, _ = decode_picture(encoded(image, "PNG"))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_grey_stored_as_colour_is_flagged_too(tmp_path):
    path = tmp_path / "grey.png"
    path.write_bytes(encoded(Image.fromarray(smear()[..., 0]).convert("RGB"), "PNG"))
    assert open_picture(path, image=0).header.monochrome


def test_twelve_bits_in_sixteen_use_the_whole_range():
    deep = np.array([[0, 4095, 2048]], np.uint16)
    pixels, _ = decode_picture(encoded(Image.fromarray(deep), "TIFF"))
    assert pixels[0, :, 0].tolist() == [0, 255, 128]


def test_sixteen_bit_colour_tiff_keeps_its_high_bytes():
    tifffile = pytest.importorskip("tifffile")
    deep = smear().astype(np.uint16) << 8 | 0x55
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep, photometric="rgb")
    assert np.array_equal(decode_picture(buffer.getvalue())[0], smear())


def test_transparency_is_dropped_and_palettes_are_opened():
    with_alpha = np.dstack([smear(), np.full((40, 60), 30, np.uint8)])
    assert np.array_equal(decode_picture(encoded(Image.fromarray(with_alpha), "PNG"))[0], smear())
    palette = Image.fromarray(smear()).quantize(16)
    assert decode_picture(encoded(palette, "PNG"))[0].shape == (40, 60, 3)


def test_exif_orientation_is_honoured_and_said():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, warnings = decode_picture(encoded(Image.fromarray(smear()), "JPEG", exif=exif))
    assert pixels.shape == (60, 40, 3)
    assert warnings == ("turned as its EXIF orientation says",)


def test_of_several_pages_the_first_is_read():
    pages = [Image.fromarray(smear()), Image.fromarray(smear(10, 10))]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    pixels, warnings = decode_picture(data)
    assert np.array_equal(pixels, smear())
    assert "several pages" in warnings[0]


def test_a_chain_of_pages_is_not_walked(monkeypatch):
    """As many pages as there are bytes: each 6-byte page points at the next."""
    seen = []
    seek = TiffImagePlugin.TiffImageFile._seek
    monkeypatch.setattr(
        TiffImagePlugin.TiffImageFile, "_seek", lambda self, n: (seen.append(n), seek(self, n))[1]
    )
    data = bytearray(encoded(Image.fromarray(smear()), "TIFF"))
    at = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, at)[0]
    struct.pack_into("<I", data, at + 2 + 12 * entries, len(data))
    for _ in range(1000):
        data += struct.pack("<HI", 0, len(data) + 6)
    pixels, warnings = decode_picture(bytes(data))
    assert np.array_equal(pixels, smear())
    assert "several pages" in warnings[0]
    assert set(seen) <= {0}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow, of a big-endian BigTIFF
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_deep_tiff_is_measured_before_it_is_decoded(big, order, monkeypatch):
    buffer = io.BytesIO()
    tifffile = pytest.importorskip("tifffile")
    deep = np.zeros((50, 70, 3), np.uint16)
    tifffile.imwrite(buffer, deep, photometric="rgb", bigtiff=big, byteorder=order)
    data = bytearray(buffer.getvalue())
    page = first_page(bytes(data))
    assert (page.width_px, page.height_px, page.samples, page.has_next) == (70, 50, 3, False)
    assert decode_picture(bytes(data))[0].shape == (50, 70, 3)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = [file.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    for place in places:
        struct.pack_into(f"{order}I", data, place, 60_000)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(NotAnImage, match="80 million"):
        decode_picture(bytes(data))


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_cut_picture_is_never_half_read(kind, part, lenient, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    noise = np.random.default_rng(5).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(NotAnImage) as refused:
        decode_picture(data[: int(len(data) * part)])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"Dear colleague, the smear of Mr X shows"),
        ("b.jpg", b""),
        ("c.png", b"\x89PNG\r\n"),
        ("d.gif", encoded(Image.fromarray(smear()), "GIF")),
        ("e.pdf", b"%PDF-1.7\n"),
        ("f.dcm", b"\0" * 200),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NotAnImage) as refused:
        open_any(path, image=0)
    assert str(refused.value)
    assert "\n" not in str(refused.value)
    assert "Mr X" not in str(refused.value)


def test_folders_and_missing_files_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(NotAnImage, match="cannot be opened"):
            open_any(path, image=0)


def test_flow_cytometry_files_have_no_open_reader():
    entries = struct.pack("<HHII", 259, 3, 1, 30818)
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entries + bytes(4)
    with pytest.raises(NotAnImage, match=r"no open reader for \.cif"):
        decode_picture(data)


def test_a_bomb_is_refused_before_it_is_decoded():
    # a PNG header that claims 60000 x 60000 pixels
    chunk = struct.pack(">II5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    import zlib

    ihdr = b"IHDR" + chunk
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    with pytest.raises(NotAnImage):
        decode_picture(
            data + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        )
