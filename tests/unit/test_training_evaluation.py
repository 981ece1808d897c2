"""The small parts of the evaluation: samples, shortcuts, workers, plain values."""

import threading

import numpy as np
import pytest
import torch

from training.evaluation.judge_cells import _alternating, _risk
from training.evaluation.judge_extras import on_ground
from training.evaluation.plain import estimate_text, plain, share_text
from training.evaluation.shortcuts import corner_pasted, cross_validated
from training.evaluation.workers import in_turn
from training.metrics import share


def test_training_workers_keep_the_order_and_have_one_thread_each():
    seen = set()

    def work(item):
        seen.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
        return item * 2

    before = torch.get_num_threads()
    told = []
    try:
        done = in_turn(work, range(20), workers=2, what="x", tell=lambda *step: told.append(step))
    finally:
        torch.set_num_threads(before)
    assert done == [2 * i for i in range(20)]
    assert told[-1] == ("x", 20, 20)
    assert threading.get_ident() not in seen
    with pytest.raises(ZeroDivisionError):
        in_turn(lambda i: 1 // i, [1, 0], workers=2)


def test_training_tested_cells_take_every_name_in_turn_and_evenly():
    names = ["a"] * 8 + ["b"] * 2
    order = _alternating(names)
    assert sorted(order) == list(range(10))
    assert {names[i] for i in order[:2]} == {"a", "b"}
    assert {names[i] for i in order[2:4]} == {"a", "b"}
    assert order[0] == 0
    assert 4 in order[:5]  # the second of the eight lies in their middle


def test_training_corner_comes_from_the_other_picture():
    own, donor = np.zeros((80, 100, 3), np.uint8), np.full((160, 160, 3), 9, np.uint8)
    done = corner_pasted(own, donor)
    assert (done[70:, 80:] == 9).all()
    assert done.sum() == 9 * 3 * 10 * 20
    assert own.sum() == 0


def test_training_cross_validation_never_sees_its_own_group():
    """Features that name the group alone tell nothing of a label that is drawn by group."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    truth = rng.integers(0, 2, 40)[groups]
    features = np.eye(40)[groups]
    assert (cross_validated(features, truth, groups, classes=2) == truth).mean() < 0.7
    alone = np.arange(200)
    assert (cross_validated(features, truth, alone, classes=2) == truth).mean() > 0.95


def test_training_risk_goes_from_the_surest_cell_on():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    curve = _risk(np.array([0, 1, 1, 1]), p)
    assert curve == ((0.25, 1.0), (0.5, 1.0), (0.75, pytest.approx(2 / 3)), (1.0, 0.75))


def test_training_cut_out_cell_gets_ground_and_keeps_its_pixels():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1:3, 1:3] = (120, 60, 130)
    laid = on_ground(pixels, np.array([240, 230, 220.4], np.float32))
    assert (laid[0, 0] == (240, 230, 220)).all()
    assert (laid[1:3, 1:3] == pixels[1:3, 1:3]).all()


def test_training_plain_values_write_out_what_is_computed():
    document = plain({"a": (share(1, 4), float("nan"), np.zeros(2))})
    assert document["a"][0]["value"] == 0.25
    assert document["a"][1] is None
    assert share_text(share(0, 0)) == "-"
    assert estimate_text(None) == "-"
