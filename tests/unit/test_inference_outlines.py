"""A mask's outline lies on the mask's edge, within the box, in pixels of the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.image import Box
from inference.outlines import outline_in_image, outline_of

UM = 20.0  # of the crop, 112 pixels of the mask


def disc(radius: float, *, x: float = 56.0, y: float = 56.0) -> np.ndarray:
    down, across = np.mgrid[:112, :112] + 0.5
    return np.hypot(across - x, down - y) < radius


def area(outline: tuple[float, ...]) -> float:
    x, y = np.array(outline[::2]), np.array(outline[1::2])
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def test_a_disc_becomes_a_polygon_of_its_size_and_place() -> None:
    # 0.1 um a pixel: the crop is 200 pixels wide, a pixel of the mask 1.79
    box = Box(200, 300, 300, 400)
    outline = outline_of(disc(28), box=box, um_per_px=(0.1, 0.1), field_um=UM)
    assert 8 <= len(outline) // 2 <= 24
    assert area(outline) == pytest.approx(np.pi * 50**2, rel=0.08)
    x, y = np.array(outline[::2]), np.array(outline[1::2])
    assert np.allclose(np.hypot(x - 250, y - 350), 50, atol=3)


def test_pixels_that_are_not_square_are_honoured() -> None:
    box = Box(0, 0, 100, 50)
    outline = outline_of(disc(28), box=box, um_per_px=(0.1, 0.2), field_um=UM)
    x, y = outline[::2], outline[1::2]
    assert max(x) - min(x) == pytest.approx(2 * (max(y) - min(y)), rel=0.1)


def test_a_neighbour_outside_the_box_is_left_out() -> None:
    box = Box(200, 300, 300, 400)
    both = disc(20) | disc(14, x=95)
    alone = outline_of(disc(20), box=box, um_per_px=(0.1, 0.1), field_um=UM)
    assert outline_of(both, box=box, um_per_px=(0.1, 0.1), field_um=UM) == alone


@pytest.mark.parametrize("mask", [np.zeros((112, 112), bool), disc(6), disc(12, x=100)])
def test_a_mask_that_shows_no_cell_gives_no_outline(mask: np.ndarray) -> None:
    assert outline_of(mask, box=Box(0, 0, 100, 100), um_per_px=(0.1, 0.1), field_um=UM) == ()


def test_an_outline_at_the_border_is_clipped_to_the_image() -> None:
    assert outline_in_image((-3.0, 1.0, 5.126, 1.0, 5.0, 9.0), origin_px=(0, 10), size_px=(8, 15)) == (
        0, 11.0, 5.13, 11.0, 5.0, 15,
    )  # fmt: skip
    assert outline_in_image((-3.0, 1, -2.0, 1, 5, 9), origin_px=(0, 0), size_px=(8, 8)) == ()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.4), st.floats(4, 60), st.floats(4, 60))
def test_any_outline_lies_in_its_box(seed: int, um: float, width: float, height: float) -> None:
    rough = np.random.default_rng(seed).random((14, 14)) > 0.4
    mask = np.kron(rough, np.ones((8, 8))).astype(bool)
    box = Box(50.5, 70.25, 50.5 + width, 70.25 + height)
    outline = outline_of(mask, box=box, um_per_px=(um, um), field_um=UM)
    assert len(outline) % 2 == 0
    assert len(outline) == 0 or len(outline) >= 6
    assert all(box.x0 <= x <= box.x1 for x in outline[::2])
    assert all(box.y0 <= y <= box.y1 for y in outline[1::2])
