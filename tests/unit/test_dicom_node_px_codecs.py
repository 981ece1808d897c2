"""The accept list is what the codecs here really decode, and a frame is decoded as it says it is."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from dicom_node import codecs
from dicom_node.codec_samples import SAMPLES
from dicom_node.codecs import FrameLayout, decode_frame, proven_transfer_syntaxes
from dicom_node.codestream import StoredColour, jpeg_2000_header, jpeg_header
from domain.image import UnreadablePixels

BASELINE = "1.2.840.10008.1.2.4.50"
J2K = "1.2.840.10008.1.2.4.90"


def layout(syntax: str = BASELINE, photometric: str = "YBR_FULL_422", size: int = 32, **more):
    given = {"samples": 3, "bits_allocated": 8, "bits_stored": 8} | more
    return FrameLayout(
        transfer_syntax=syntax, rows=size, columns=size, photometric=photometric, **given
    )


def stained(size: int = 32) -> np.ndarray:
    """Smooth, and red where a smear is: exchanged channels or false YCbCr are far from it."""
    y, x = np.mgrid[0:size, 0:size]
    return np.stack([200 + x // 2, 60 + y, 120 + x // 4], axis=-1).astype(np.uint8)


def jpeg(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98, **options)
    return buffer.getvalue()


def without_jfif(data: bytes) -> bytes:
    length = struct.unpack_from(">H", data, 4)[0]
    return data[:2] + data[4 + length :]


def worst(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_proven_list_is_every_syntax_with_a_sample_and_the_uncompressed_ones():
    assert proven_transfer_syntaxes() == (
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.98",
        *SAMPLES,
    )


@pytest.mark.parametrize(
    "refused",
    [
        "1.2.840.10008.1.2.1.99",  # deflated
        "1.2.840.10008.1.2.2",  # big endian
        "1.2.840.10008.1.2.4.95",  # JPIP
        "1.2.840.10008.1.2.4.102",  # MPEG
        "1.2.840.10008.1.2.4.201",  # no sample proves high-throughput JPEG 2000
    ],
)
def test_proven_list_never_has_a_refused_syntax(refused):
    assert refused not in proven_transfer_syntaxes()
    with pytest.raises(UnreadablePixels):
        decode_frame(SAMPLES[J2K], layout(refused, "RGB"))


def test_a_codec_that_gives_other_pixels_is_not_proven(monkeypatch):
    real = codecs.decode_frame
    monkeypatch.setattr(codecs, "decode_frame", lambda d, lay: real(d, lay) + np.uint8(40))
    assert not codecs._is_proven(J2K)
    monkeypatch.setattr(codecs, "decode_frame", real)
    assert codecs._is_proven(J2K)


def test_a_codec_that_is_missing_is_not_proven(monkeypatch):
    monkeypatch.setattr(codecs, "_PINNED", {**codecs._PINNED, J2K: "gdcm"})
    assert not codecs._is_proven(J2K)


def test_jpeg_called_rgb_that_is_ycbcr_shows_its_true_colours():
    data = jpeg(stained(), subsampling="4:2:0")
    assert worst(decode_frame(data, layout(photometric="RGB")), stained()) < 12


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_without_any_marker_follows_its_subsampling_or_its_tag(subsampling):
    data = without_jfif(jpeg(stained(), subsampling=subsampling))
    colour = jpeg_header(data).colour
    assert colour is (StoredColour.UNSAID if subsampling == "4:4:4" else StoredColour.YCBCR)
    assert worst(decode_frame(data, layout(photometric="YBR_FULL")), stained()) < 12


def test_unmarked_components_called_rgb_stay_as_they_are():
    # RGB written as if it were YCbCr, as some scanners do: no marker, no subsampling
    image = Image.fromarray(stained())
    raw = Image.merge("YCbCr", image.split())
    buffer = io.BytesIO()
    raw.save(buffer, "JPEG", quality=98, subsampling="4:4:4")
    decoded = decode_frame(without_jfif(buffer.getvalue()), layout(photometric="RGB"))
    assert worst(decoded, stained()) < 8


def test_jpeg_cut_off_is_never_half_decoded():
    noise = np.random.default_rng(3).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    data = jpeg(noise)
    with pytest.raises(UnreadablePixels, match="cut off"):
        decode_frame(data[: len(data) // 2], layout(size=256))


@pytest.mark.parametrize("syntax", [s for s in SAMPLES if s != "1.2.840.10008.1.2.5"])
def test_codestream_of_another_size_is_refused_before_decoding(syntax):
    grey = syntax.endswith(".51")
    told = layout(
        syntax, "MONOCHROME2" if grey else "RGB", 16, samples=1 if grey else 3, bits_allocated=16
    )
    with pytest.raises(UnreadablePixels, match="another size"):
        decode_frame(SAMPLES[syntax], told)


@pytest.mark.parametrize("syntax", sorted(SAMPLES))
@pytest.mark.parametrize("keep", [0, 1, 10, 60])
def test_every_codec_refuses_a_stub(syntax, keep):
    grey = syntax.endswith(".51")
    told = layout(
        syntax,
        "MONOCHROME2" if grey else "RGB",
        samples=1 if grey else 3,
        bits_allocated=16 if grey else 8,
        bits_stored=12 if grey else 8,
    )
    with pytest.raises(UnreadablePixels):
        decode_frame(SAMPLES[syntax][:keep], told)


def test_jpeg_2000_header_tells_size_and_colour_transform():
    header = jpeg_2000_header(SAMPLES["1.2.840.10008.1.2.4.91"])
    assert (header.width, header.height, header.components, header.precision) == (32, 32, 3, 8)
    assert header.colour is StoredColour.RGB


def test_native_frame_planar_and_shared_chroma():
    pixels = stained(4)
    planar = pixels.transpose(2, 0, 1).tobytes()
    native = "1.2.840.10008.1.2.1"
    got = decode_frame(planar, layout(native, "RGB", 4, planar=True))
    assert np.array_equal(got, pixels)
    grey = np.full((2, 2), 77, np.uint8)
    shared = bytes([77, 77, 128, 128] * 2)
    two = layout(native, "YBR_FULL_422", 2)
    assert two.native_bytes == 8
    assert np.array_equal(decode_frame(shared, two), np.stack([grey] * 3, -1))


def test_bits_above_the_stored_ones_are_not_pixels():
    data = np.array([[0xF123, 0x0FFF]], "<u2").tobytes()
    told = FrameLayout(
        transfer_syntax="1.2.840.10008.1.2.1",
        rows=1,
        columns=2,
        samples=1,
        photometric="MONOCHROME2",
        bits_allocated=16,
        bits_stored=12,
    )
    assert decode_frame(data, told).tolist() == [[0x123, 0xFFF]]
