"""Where micrometres per pixel come from, and when they do not."""

import math

import pytest

from domain.image import Box, ScaleFrom
from inference.scale import red_cell_scale, spacing_problem, spacing_scale, unknown_scale


def red_cells(width, height, number=20):
    return [Box(i, i, i + width, i + height) for i in range(number)]


def test_inference_scale_spacing_is_taken_as_it_is_also_unequal():
    scale = spacing_scale((0.1, 0.2))
    assert (scale.um_per_px, scale.source) == ((0.1, 0.2), ScaleFrom.SPACING)
    assert not scale.warnings


@pytest.mark.parametrize("value", [0.01, 0.1, 50.0])
def test_inference_scale_plausible_spacing(value):
    assert spacing_problem((value, value)) == ""


def test_inference_scale_no_spacing_is_no_problem():
    assert spacing_problem(None) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -0.1, 0.0099, 50.1, 1e300])
@pytest.mark.parametrize("axis", [0, 1])
def test_inference_scale_absurd_spacing_is_refused_in_either_direction(value, axis):
    spacing = (value, 0.1) if axis == 0 else (0.1, value)
    assert "not plausible" in spacing_problem(spacing)


def test_inference_scale_from_red_cells_of_7_5_um():
    scale = red_cell_scale(red_cells(75, 75), at_least=20)
    assert scale.um_per_px == (0.1, 0.1)
    assert scale.source is ScaleFrom.RED_CELLS
    assert not scale.warnings


def test_inference_scale_a_few_odd_red_cells_change_nothing():
    scale = red_cell_scale([*red_cells(75, 75, 19), *red_cells(500, 300, 9)], at_least=20)
    assert scale.um_per_px == (0.1, 0.1)


def test_inference_scale_too_few_red_cells_give_none():
    assert red_cell_scale(red_cells(75, 75, 19), at_least=20) is None


@pytest.mark.parametrize(("width", "pressed"), [(89, True), (91, False), (109, False), (111, True)])
def test_inference_scale_pressed_images_are_stretched(width, pressed):
    scale = red_cell_scale(red_cells(width, 100), at_least=20)
    assert bool(scale.warnings) is pressed
    if pressed:
        assert scale.um_per_px == pytest.approx((7.5 / width, 0.075), abs=1e-5)
        assert "pressed" in scale.warnings[0]
    else:
        assert scale.um_per_px[0] == scale.um_per_px[1]


@pytest.mark.parametrize("aspect", [1.0, 0.75])
def test_inference_scale_a_stated_shape_of_pixels_is_kept_whatever_the_cells(aspect):
    scale = red_cell_scale(red_cells(60, 100), at_least=20, pixel_aspect=aspect)
    x, y = scale.um_per_px
    assert y / x == pytest.approx(aspect, abs=1e-3)
    assert "was kept" in scale.warnings[0]
    assert not red_cell_scale(red_cells(100, 100), at_least=20, pixel_aspect=1.0).warnings


def test_inference_scale_unknown_reads_as_it_is_and_says_so():
    scale = unknown_scale(0.1)
    assert not scale.known
    assert scale.um_per_px == (0.1, 0.1)
    assert "scale unknown" in scale.warnings[0]


def test_inference_scale_stated_shape_of_pixels_is_honoured_without_a_spacing():
    """Pixels that are stated to be 4/3 as high as wide show round cells pressed to that."""
    scale = red_cell_scale(red_cells(80, 60), at_least=20, pixel_aspect=4 / 3)
    assert scale.um_per_px == (0.09375, 0.125)
    assert not scale.warnings
    assert unknown_scale(0.1, pixel_aspect=2.0).um_per_px == (0.1, 0.2)
    pressed = red_cell_scale(red_cells(60, 60), at_least=20, pixel_aspect=4 / 3)
    assert pressed.warnings
