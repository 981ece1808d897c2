"""decode(encode(x)) == x, whatever x is; and hostile bytes never raise anything foreign."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node.dicomize import Labels, PictureArray, SlideSyntax, dicomize, dicomize_slide
from dicom_node.errors import MalformedObject
from dicom_node.sources import open_any
from domain.image import Box, UnreadablePixels

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LABELS = Labels(patient_id="1", patient_name="A^B", accession="A-2")
LOSSLESS = [s for s in SlideSyntax if s is not SlideSyntax.JPEG_BASELINE]
FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Noise in one part, flat in the other: codecs treat them differently."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    made[: height // 2] = rng.integers(0, 256, 3)
    return made


@pytest.mark.parametrize("syntax", LOSSLESS)
@FEW
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 300),
    height=st.integers(1, 200),
    tile=st.sampled_from([64, 100, 256]),
    data=st.data(),
)
def test_a_lossless_slide_gives_back_its_pixels(syntax, seed, width, height, tile, data):
    pixels = picture(seed, height, width)
    with tempfile.TemporaryDirectory() as folder:
        path = dicomize_slide(
            lambda x, y, w, h: pixels[y : y + h, x : x + w],
            width_px=width,
            height_px=height,
            um_per_px=0.2,
            out=Path(folder),
            labels=LABELS,
            now=NOW,
            tile_px=tile,
            syntax=syntax,
        )
        source = open_any(path, image=0)
        (field,) = source.fields()
        assert np.array_equal(field.pixels, pixels)
        x0, x1 = sorted(data.draw(st.tuples(st.integers(0, width - 1), st.integers(1, width))))
        y0, y1 = sorted(data.draw(st.tuples(st.integers(0, height - 1), st.integers(1, height))))
        box = Box(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
        expected = pixels[y0 : int(box.y1), x0 : int(box.x1)]
        assert np.array_equal(source.region(box, frame=1), expected)


@FEW
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 80),
    height=st.integers(1, 80),
    um=st.floats(0.01, 2.0),
    name=st.text(st.characters(categories=("L", "Nd"), max_codepoint=0xFFFF), max_size=30),
)
def test_a_field_gives_back_pixels_scale_and_name(seed, width, height, um, name):
    pixels = picture(seed, height, width)
    labels = Labels(patient_id="1", patient_name=name, accession="A-2")
    with tempfile.TemporaryDirectory() as folder:
        (path,) = dicomize(
            [PictureArray(name="x", pixels=pixels)],
            out=Path(folder),
            labels=labels,
            spacing_um=um,
            now=NOW,
        )
        source = open_any(path, image=0)
        (field,) = source.fields()
        assert np.array_equal(field.pixels, pixels)
        assert field.um_per_px == pytest.approx((um, um), rel=1e-6)
        again = dicomize(
            [PictureArray(name="x", pixels=pixels)],
            out=Path(folder) / "again",
            labels=labels,
            spacing_um=um,
            now=NOW,
        )
        assert again[0].read_bytes() == path.read_bytes()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("healthy")
    pixels = picture(1, 90, 140)
    made = dicomize(
        [PictureArray(name="x", pixels=pixels[:9, :9])],
        out=folder,
        labels=LABELS,
        spacing_um=0.1,
        now=NOW,
    )
    made += [
        dicomize_slide(
            lambda x, y, w, h: pixels[y : y + h, x : x + w],
            width_px=140,
            height_px=90,
            um_per_px=0.2,
            out=folder,
            labels=LABELS,
            now=NOW,
            tile_px=64,
            syntax=syntax,
        )
        for syntax in SlideSyntax
    ]
    return [p.read_bytes() for p in made]


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bytes_give_pixels_or_one_of_our_errors(healthy, data):
    original = data.draw(st.sampled_from(healthy))
    broken = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken) - 1)) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(broken)
        try:
            source = open_any(path, image=0)
            for field in source.fields():
                assert field.pixels.dtype == np.uint8
            source.overview(64)
        except (MalformedObject, UnreadablePixels) as refused:
            assert "\n" not in str(refused)  # noqa: PT017
