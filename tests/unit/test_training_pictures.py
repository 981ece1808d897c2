"""What is done to pictures before they are learned from, and what is made small."""

import numpy as np
import pytest
import torch

from domain.cells import WbcClass
from domain.image import Box
from phantom.single import draw_cell
from phantom.smear import draw
from phantom.spec import leukaemic_smear, normal_smear
from training.augment import Strength, blurred, geometric, perturbed, restained
from training.canvas import canvas, scaled_field
from training.evaluation.shortcuts import BASELINES, TESTS, linear_baseline
from training.losses import box_logits, map_loss, naming_loss
from training.nuclei import nuclei_in, nucleus_in_the_middle
from training.pictures import LabelledBox, Picture
from training.spoil import FAULTS, HELD_BACK, blur_readable, defocused, no_smear
from training.tasks.cell_class import guessed_mask


@pytest.fixture(scope="module")
def smear():
    return draw(normal_smear(11, width_px=560, height_px=420, white_cells=2))


def some(n=4, size=32):
    return torch.from_numpy(np.random.default_rng(0).random((n, 3, size, size), np.float32))


def test_training_augmentation_is_decided_by_the_generator_alone():
    def made(seed):
        rng = np.random.default_rng(seed)
        turned, _ = geometric(some(), rng, size=24, strength=Strength(), margin=1.35)
        return perturbed(turned, rng, strength=Strength())

    assert torch.equal(made(1), made(1))
    assert not torch.equal(made(1), made(2))
    assert made(1).shape == (4, 3, 24, 24)
    assert 0 <= float(made(1).min()) <= float(made(1).max()) <= 1


def test_training_geometry_without_strength_cuts_the_middle():
    still = Strength(turn=False, scale=(1, 1), shift=0)
    cut, _ = geometric(some(size=32), np.random.default_rng(0), size=16, strength=still, margin=2.0)
    assert torch.allclose(cut, some(size=32)[:, :, 8:24, 8:24], atol=1e-5)


def test_training_identity_stain_changes_nothing_and_gain_is_in_optical_density():
    eye = np.eye(3, dtype=np.float32)[None].repeat(4, 0)
    zero = np.zeros((4, 3), np.float32)
    pictures = some().clamp_min(0.01)
    same = restained(pictures, mixing=eye, gain=np.ones(4, np.float32), offset=zero)
    assert torch.allclose(same, pictures, atol=1e-5)
    doubled = restained(pictures, mixing=eye, gain=np.full(4, 2, np.float32), offset=zero)
    assert torch.allclose(doubled, pictures**2, atol=1e-5)


def test_training_blur_keeps_the_mean_and_lowers_the_contrast():
    sigma = np.array([0.0, 0.5, 1.0, 2.0], np.float32)
    done = blurred(some(), sigma)
    assert torch.allclose(done[0], some()[0], atol=1e-4)
    spread = done.std(dim=(1, 2, 3))
    assert (spread[1:] < spread[:-1]).all()


def test_training_naming_loss_by_hand():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))

    def loss(*allowed):
        return float(naming_loss(logits, torch.tensor([allowed])))

    assert loss(True, False, False) == pytest.approx(-np.log(0.7), rel=1e-5)
    assert loss(True, True, False) == pytest.approx(-np.log(0.9), rel=1e-5)
    assert loss(False, False, False) == pytest.approx(-np.mean(np.log([0.7, 0.2, 0.1])), rel=1e-5)


def test_training_naming_loss_has_finite_gradients_for_every_kind_of_label():
    logits = torch.randn(3, 4, requires_grad=True)
    allowed = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    naming_loss(logits, allowed, smoothing=0.1).backward()
    assert bool(logits.grad.isfinite().all())
    assert bool((logits.grad.abs().sum(dim=1) > 0).all())


def test_training_map_loss_is_small_only_for_the_right_map_and_class():
    masks = torch.zeros(1, 8, 8)
    masks[:, 2:6, 2:6] = 1
    boxes, kinds = masks.clone(), torch.tensor([2])
    right = torch.full((1, 3, 8, 8), -9.0)
    right[:, 2] = masks * 18 - 9
    wrong = right[:, [2, 1, 0]]
    assert float(map_loss(right, masks, kinds, boxes)) < 0.01
    assert float(map_loss(wrong, masks, kinds, boxes)) > 5
    assert box_logits(right, boxes).tolist() == [[-9, -9, 9]]


def test_training_nuclei_are_found_where_white_cells_are():
    spec = leukaemic_smear(12, blast_fraction=1, white_cells=3, width_px=560, height_px=420)
    blasts = draw(spec)
    white = [c for c in blasts.cells if c.wbc_class is WbcClass.BLAST_CELLS]
    found = nuclei_in(blasts.pixels, (0.1, 0.1))
    assert len(found) == len(white) == 3
    for cell in white:
        assert any(cell.box_px.holds(*box.centre) for box in found)
    middle = nucleus_in_the_middle(draw_cell(WbcClass.LYMPHOCYTES, seed=3), (0.1, 0.1))
    assert middle is not None
    assert abs(middle.centre[0] - 112) < 25


def test_training_guessed_masks_agree_with_the_drawn_ones(smear):
    ground = np.array(smear.spec.stain.background, np.float32)
    dice = []
    for i, cell in enumerate(smear.cells):
        if cell.visible < 1:
            continue
        truth = np.zeros(smear.pixels.shape[:2], bool)
        x0, y0, x1, y1 = (int(v) for v in cell.box_px)
        truth[y0:y1, x0:x1] = smear.mask(i)
        guess = guessed_mask(smear.pixels, cell.box_px, ground) > 0
        dice.append(2 * (truth & guess).sum() / (truth.sum() + guess.sum()))
    assert np.median(dice) > 0.85


def test_training_canvas_boxes_still_hold_their_cells(smear):
    boxes = tuple(LabelledBox(box=c.box_px, cell_class=c.cell_class) for c in smear.cells)
    picture = Picture(path=None, laboratory="drawn", um_per_px=(0.1, 0.1), boxes=boxes)
    field = scaled_field(picture, smear.pixels, finest_um_per_px=0.1)
    rng = np.random.default_rng(4)
    seen = 0
    for _ in range(12):
        pixels, placed = canvas(lambda: field, rng, size=160, um_per_px=0.2, zoom=(0.8, 1.25))
        assert pixels.shape == (160, 160, 3)
        assert placed[:, 1:].min(initial=0) >= 0
        assert placed[:, 1:].max(initial=0) <= 160
        for kind, x0, y0, x1, y1 in placed:
            if kind == 1:  # a white cell is darker than the ground
                seen += 1
                inside = pixels[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
                assert inside.mean() < field.ground.mean() - 15
    assert seen > 3


def test_training_faults_keep_the_size_and_ruin_the_field(smear):
    rng = np.random.default_rng(0)
    for name, fault in {**FAULTS, **HELD_BACK}.items():
        done, readable = fault(smear.pixels, 0.1, rng)
        assert done.shape == smear.pixels.shape, name
        assert done.dtype == np.uint8, name
        assert 0 <= readable <= 1, name
        assert not np.array_equal(done, smear.pixels), name
    assert not set(FAULTS) & set(HELD_BACK)
    assert no_smear(rng, 64).shape == (64, 64, 3)
    assert [blur_readable(s) for s in (0.0, 0.45, 1.1, 3.0)] == [1, 1, 0, 0]
    assert np.array_equal(defocused(smear.pixels, 0.1, 0.0), smear.pixels)


def test_training_shortcut_tests_and_baselines(smear):
    for name, change in TESTS.items():
        done = change(smear.pixels)
        assert done.shape == smear.pixels.shape, name
        assert np.array_equal(done, change(smear.pixels)), name
    shuffled = TESTS["tiles shuffled"](smear.pixels)
    assert np.array_equal(np.sort(shuffled, axis=None), np.sort(smear.pixels, axis=None))
    x = np.array([f(smear.pixels) for f in (BASELINES["colour histogram"],)])
    assert x.sum() == pytest.approx(3)


def test_training_linear_baseline_tells_two_colours_apart():
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 2
    x = rng.normal(truth[:, None] * 3.0, 1, (60, 4))
    told = linear_baseline(x[:40], truth[:40], x[40:], classes=2)
    assert (told == truth[40:]).mean() > 0.9


def test_training_box_of_a_single_cell_is_in_pixels():
    assert isinstance(
        nucleus_in_the_middle(draw_cell(WbcClass.NEUTROPHIL, seed=1), (0.1, 0.1)), Box
    )
