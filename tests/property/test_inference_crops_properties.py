"""Squares at one physical scale: never squashed, padded with background, exact to a part of a pixel."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.image import Box
from inference.crops import (
    _cut,
    _shrunk,
    at_scale,
    background_of,
    border_colour_of,
    fitted,
    square_crops,
)
from inference.manifest import Interpolation

GROUND = np.array([230, 220, 225], dtype=np.float32)
um = st.floats(min_value=0.05, max_value=0.5)
interpolations = st.sampled_from(list(Interpolation))


def disc(height, width, centre, radii):
    """A dark ellipse on the ground, with soft borders."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    inside = np.clip((1 - distance) * min(radii) + 0.5, 0, 1)[..., None]
    picture = GROUND * (1 - inside) + np.array([90, 50, 130]) * inside
    return np.rint(picture).astype(np.uint8)


def extent(crop):
    """Mean-darkness width and height of what is not ground."""
    dark = (GROUND[0] - crop[..., 0].astype(float)) / (GROUND[0] - 90)
    return dark.sum(axis=1).max(), dark.sum(axis=0).max()


def crop(pixels, box, um_per_px, **more):
    wanted = {
        "field_um": 22.4,
        "size_px": 112,
        "interpolation": Interpolation.AREA,
        "background": GROUND,
    }
    return square_crops(pixels, [box], um_per_px=um_per_px, **{**wanted, **more})


@settings(deadline=None, max_examples=40)
@given(x=um, y=um, fx=st.floats(-0.5, 0.5), fy=st.floats(-0.5, 0.5), how=interpolations)
def test_inference_crops_a_round_cell_stays_round_and_in_the_middle(x, y, fx, fy, how):
    radii = (4 / x, 4 / y)  # 8 um across, whatever the pixels are
    centre = (100 + fx, 90 + fy)
    pixels = disc(180, 200, centre, radii)
    box = Box(
        centre[0] - radii[0], centre[1] - radii[1], centre[0] + radii[0], centre[1] + radii[1]
    )
    cut = crop(pixels, box, (x, y), interpolation=how)
    width, height = extent(cut.pixels[0])
    expected = 8 / 22.4 * 112
    slack = max(2.0, 1.2 * max(0.2 / x, 0.2 / y, x / 0.2, y / 0.2))
    assert width == pytest.approx(expected, abs=slack)
    assert height == pytest.approx(expected, abs=slack)
    dark = GROUND[0] - cut.pixels[0, ..., 0].astype(float)
    rows, columns = np.mgrid[0:112, 0:112] + 0.5
    assert (dark * rows).sum() / dark.sum() == pytest.approx(56, abs=0.6)
    assert (dark * columns).sum() / dark.sum() == pytest.approx(56, abs=0.6)
    placed = cut.boxes[0]
    assert placed.centre == pytest.approx((56, 56))
    assert placed.width == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(
    x0=st.floats(-40, 120),
    y0=st.floats(-40, 120),
    side=st.floats(1, 60),
    scale=um,
    how=interpolations,
)
def test_inference_crops_anywhere_are_squares_of_the_one_size(x0, y0, side, scale, how):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, size=(80, 100, 3), dtype=np.uint8)
    cut = crop(pixels, Box(x0, y0, x0 + side, y0 + side), (scale, scale), interpolation=how)
    assert cut.pixels.shape == (1, 112, 112, 3)
    assert cut.pixels.dtype == np.uint8
    placed = cut.boxes[0]
    assert 0 <= placed.x0 <= placed.x1 <= 112
    assert 0 <= placed.y0 <= placed.y1 <= 112


@given(shift=st.integers(0, 30))
def test_inference_crops_beyond_the_border_are_background(shift):
    pixels = np.zeros((112, 112, 3), dtype=np.uint8)
    box = Box(shift, 0, 112 + shift, 112)
    cut = crop(pixels, box, (0.2, 0.2)).pixels[0]
    assert (cut[:, : 112 - shift] == 0).all()
    assert (cut[:, 112 - shift :] == GROUND.astype(np.uint8)).all()


def test_inference_crops_at_the_same_scale_are_the_pixels_themselves():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, size=(300, 300, 3), dtype=np.uint8)
    for how in Interpolation:
        cut = crop(pixels, Box(90, 80, 110, 100), (0.2, 0.2), interpolation=how)
        assert (cut.pixels[0] == pixels[90 - 56 : 90 + 56, 100 - 56 : 100 + 56]).all()


def test_inference_crops_area_averages_when_shrinking():
    checks = np.indices((448, 448)).sum(axis=0) % 2 * 200
    pixels = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    cut = crop(pixels, Box(200, 200, 248, 248), (0.05, 0.05)).pixels[0]  # four by four into one
    assert (cut == 100).all()


@given(width=st.integers(100, 400), height=st.integers(100, 400), x=um, y=um)
@settings(deadline=None, max_examples=30)
def test_inference_crops_a_whole_field_is_fitted_without_squashing(width, height, x, y):
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    square = fitted(
        pixels,
        um_per_px=(x, y),
        size_px=128,
        interpolation=Interpolation.AREA,
        background=np.array([255, 255, 255], dtype=np.float32),
    )
    covered = 1 - square[..., 0] / 255
    ratio = (width * x) / (height * y)
    longer, shorter = (
        max(ratio, 1 / ratio),
        min(covered.max(axis=0).sum(), covered.max(axis=1).sum()),
    )
    assert max(covered.max(axis=0).sum(), covered.max(axis=1).sum()) == pytest.approx(128, abs=2.5)
    assert shorter == pytest.approx(128 / longer, abs=2.5)


def test_inference_crops_a_long_image_takes_no_square_of_its_length():
    pixels = np.zeros((1_000, 20_000, 3), dtype=np.uint8)
    white = np.array([255, 255, 255], dtype=np.float32)
    how = {"size_px": 128, "interpolation": Interpolation.AREA, "background": white}
    tracemalloc.start()
    whole = fitted(pixels, um_per_px=(0.1, 0.1), **how)
    one_cell = square_crops(
        pixels, [Box(0, 0, 20_000, 1_000)], um_per_px=(0.1, 0.1), field_um=2_000.0, **how
    ).pixels[0]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200_000_000  # the square would take 1.2 GB
    for square in (whole, one_cell):
        dark = square[..., 0] == 0
        assert dark.any(axis=1).sum() == round(128 / 20)
        assert dark.any(axis=0).all()


@settings(deadline=None, max_examples=30)
@given(x0=st.floats(-300, 300), y0=st.floats(-300, 300), side=st.floats(100, 900))
def test_inference_crops_shrunk_first_lie_where_they_lay(x0, y0, side):
    """The two ways of cutting a square put the same thing in the same place."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 200, size=(6, 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(60, axis=0).repeat(60, axis=1)
    square = Box(x0, y0, x0 + side, y0 + side)
    given_ = (pixels, square, 48, Interpolation.AREA, GROUND)
    first, last = _shrunk(*given_).astype(float), _cut(*given_).astype(float)
    assert np.abs(first - last).mean() < 12


def test_inference_crops_at_scale_evens_out_unequal_pixels():
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    scaled = at_scale(
        pixels, um_per_px=(0.1, 0.3), wanted_um_per_px=0.2, interpolation=Interpolation.AREA
    )
    assert scaled.shape == (150, 100, 3)


def test_inference_crops_background_is_the_bright_ground_even_where_cells_cover_most():
    pixels = np.full((200, 200, 3), (190, 130, 140), dtype=np.uint8)  # crowded red cells
    pixels[:60] = (235, 225, 230)
    pixels[100:110, 100:110] = (80, 40, 120)
    pixels[0, :20] = 255  # a few blown-out pixels are no ground
    assert background_of(pixels).tolist() == [235, 225, 230]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_inference_crops_background_of_one_colour(value):
    pixels = np.full((1, 1, 3), value, dtype=np.uint8)
    assert background_of(pixels).tolist() == [value] * 3
    assert border_colour_of(pixels).tolist() == [value] * 3


def test_inference_crops_border_colour_is_black_round_a_cut_out_cell():
    pixels = np.zeros((50, 50, 3), dtype=np.uint8)
    pixels[10:40, 10:40] = 200
    assert border_colour_of(pixels).tolist() == [0, 0, 0]
