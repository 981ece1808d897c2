"""Crops of one stained cell and frames of flow cytometry."""

import numpy as np
import pytest

from domain.cells import Subtype, WbcClass
from phantom.single import draw_cell, draw_ifc_cell
from phantom.spec import STAINS, DrawingRefused


@pytest.mark.parametrize("kind", list(WbcClass))
def test_a_crop_has_the_cell_in_its_middle(kind):
    crop = draw_cell(kind, seed=4, size_px=120, um_per_px=0.2)
    assert crop.shape == (120, 120, 3)
    loss = 1 - crop[45:75, 45:75].astype(float) / STAINS["cream"].background
    darkest = np.percentile(loss.max(axis=2), 95)
    assert darkest > (0.15 if kind is WbcClass.RED_BLOOD_CELL else 0.4)


def test_a_crop_is_the_same_each_time_and_another_for_another_seed():
    one, again, other = (draw_cell(WbcClass.LYMPHOCYTES, seed=s, size_px=64) for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_subtypes_are_drawn_apart_and_only_of_blasts():
    crops = [draw_cell(WbcClass.BLAST_CELLS, seed=1, size_px=160, subtype=s) for s in Subtype]
    assert len({c.tobytes() for c in crops}) == 3
    with pytest.raises(DrawingRefused, match="no subtype"):
        draw_cell(WbcClass.MONOCYTES, seed=1, subtype=Subtype.PRE_B)


@pytest.mark.parametrize("size_px", [40, 64, 101])
def test_a_flow_frame_is_a_bright_disc_in_a_dark_ring_on_flat_grey(size_px):
    frame = draw_ifc_cell(seed=9, size_px=size_px)
    assert frame.shape == (size_px, size_px)
    assert frame.dtype == np.uint16
    values = frame.astype(float)
    edge = np.concatenate([values[:2].ravel(), values[-2:].ravel()])
    assert edge.mean() == pytest.approx(677, abs=15)
    assert edge.std() < 15
    y, x = np.indices(frame.shape) - (size_px - 1) / 2
    r = np.hypot(x, y)
    assert values[r < 7].mean() > 690
    by_radius = [values[(r >= k) & (r < k + 1.5)].mean() for k in range(7, 16)]
    assert min(by_radius) < 640


def test_flow_frames_repeat_by_seed_and_small_ones_are_refused():
    assert np.array_equal(draw_ifc_cell(seed=1), draw_ifc_cell(seed=1))
    assert not np.array_equal(draw_ifc_cell(seed=1), draw_ifc_cell(seed=2))
    with pytest.raises(DrawingRefused, match="40 px"):
        draw_ifc_cell(seed=1, size_px=39)
