"""The arithmetic of commissioning: heads that are held to their parents, folds, mixtures of norms."""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from training.commissioning.choice import FOLDS, folds_of
from training.commissioning.head import (
    Head,
    balanced_weights,
    log_losses,
    refitted,
    temperature_near,
)
from training.commissioning.norms import kept_norms, mix_norms
from training.metrics import softened_p

seeds = st.integers(0, 10_000)
quick = settings(max_examples=10, deadline=None)


def drawn(seed, *, cells=30, size=12, classes=5, there=3):
    """Features, classes (the first `there` ones), and a parent."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(there), rng.integers(0, there, cells - there)])
    head = Head(weight=rng.normal(size=(classes, size)) * 0.2, bias=rng.normal(size=classes))
    return rng.normal(size=(cells, size)) + 3, truth, head


def loss_of(head, features, truth):
    return balanced_weights(truth) @ log_losses(softened_p(head.logits(features), 1), truth)


@quick
@given(seeds)
def test_commissioning_endless_strength_keeps_the_parent_bit_for_bit(seed):
    features, truth, parent = drawn(seed)
    (kept,) = refitted(features, truth, parent, strengths=[inf])
    assert kept.weight.tobytes() == parent.weight.tobytes()
    assert kept.bias.tobytes() == parent.bias.tobytes()


@quick
@given(seeds)
def test_commissioning_great_strength_comes_near_the_parent(seed):
    features, truth, parent = drawn(seed)
    (near,) = refitted(features, truth, parent, strengths=[1e6])
    assert np.abs(near.weight - parent.weight).max() < 1e-4
    assert np.abs(near.bias - parent.bias).max() < 1e-4


@quick
@given(seeds)
def test_commissioning_absent_classes_keep_their_rows_bit_for_bit(seed):
    features, truth, parent = drawn(seed)
    for head in refitted(features, truth, parent, strengths=[1.0, 0.01]):
        assert head.weight[3:].tobytes() == parent.weight[3:].tobytes()
        assert head.bias[3:].tobytes() == parent.bias[3:].tobytes()
        assert not np.array_equal(head.weight[:3], parent.weight[:3])


@quick
@given(seeds)
def test_commissioning_less_strength_fits_closer(seed):
    features, truth, parent = drawn(seed)
    heads = refitted(features, truth, parent, strengths=[inf, 1.0, 0.1, 0.01])
    losses = [loss_of(h, features, truth) for h in heads]
    assert all(b <= a + 1e-9 for a, b in pairwise(losses))


@quick
@given(seeds)
def test_commissioning_separable_cells_are_told_apart(seed):
    """A parent that knows nothing of these classes learns them, also for cells it has not seen."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(3, 20)) * 4
    truth = np.arange(30) % 3
    features = middles[truth] + rng.normal(size=(30, 20)) * 0.3
    parent = Head(weight=np.zeros((3, 20)), bias=np.zeros(3))
    (head,) = refitted(features, truth, parent, strengths=[0.01])
    fresh = middles[truth] + rng.normal(size=(30, 20)) * 0.3
    assert (head.logits(fresh).argmax(axis=1) == truth).all()


@quick
@given(seeds, st.floats(0.01, 100), st.floats(-50, 50))
def test_commissioning_fit_does_not_depend_on_unit_or_origin_of_features(seed, unit, shift):
    """The same cells in other units, with the parent written in those units, end up told the same."""
    features, truth, parent = drawn(seed)
    other = Head(weight=parent.weight / unit, bias=parent.bias - parent.weight.sum(1) * shift)
    (a,) = refitted(features, truth, parent, strengths=[0.1])
    (b,) = refitted((features + shift) * unit, truth, other, strengths=[0.1])
    assert np.allclose(a.logits(features), b.logits((features + shift) * unit), atol=1e-3)


def test_commissioning_features_without_any_difference_keep_the_parent():
    features, truth, parent = np.ones((6, 4)), np.arange(6) % 2, drawn(1, size=4)[2]
    (head,) = refitted(features, truth, parent, strengths=[0.01])
    assert head is parent


@settings(max_examples=5, deadline=None)
@given(seeds, st.floats(0.3, 3))
def test_commissioning_temperature_finds_what_softened_the_logits(seed, true):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2000, 4)) * 3
    p = softened_p(logits, true)
    truth = (p.cumsum(axis=1) > rng.random((2000, 1))).argmax(axis=1)
    assert temperature_near(logits, truth, 1.0) == pytest.approx(true, rel=0.2)


def test_commissioning_temperature_stays_near_where_all_cells_are_told_right():
    logits = np.eye(3)[np.arange(6) % 3] * 4
    assert temperature_near(logits, np.arange(6) % 3, 1.0) > 0.3


labelled = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40)), min_size=5, max_size=80)


@settings(deadline=None)
@given(labelled)
def test_commissioning_folds_part_no_picture_and_leave_something_to_fit_on(rows):
    pictures = [f"{n:02}" for _, n in rows]
    assume(len(set(pictures)) >= FOLDS)
    folds = folds_of([label for label, _ in rows], pictures)
    assert len(set(zip(pictures, folds.tolist(), strict=True))) == len(set(pictures))
    assert len(set(folds.tolist())) >= 3  # one is judged, one chosen on, one fitted on
    assert set(folds.tolist()) <= set(range(FOLDS))


def test_commissioning_folds_keep_neighbours_together():
    pictures = [f"a/{i:02}" for i in range(20)]
    assert folds_of(["a"] * 20, pictures).tolist() == [i // 4 for i in range(20)]


def network_of(seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )
    return network.eval().requires_grad_(requires_grad=False)


@quick
@given(seeds, st.sampled_from([0.25, 0.5, 1.0]))
def test_commissioning_norms_become_those_of_the_mixture(seed, share):
    """The first layer's statistics, against those of pooled numbers: parent's N(0, 1) and the site's."""
    network = network_of(seed)
    batches = [torch.randn(6, 3, 9, 9) * 2 + 3 for _ in range(3)]
    mix_norms(network, batches, share=share)
    entering = torch.cat([network[0](b) for b in batches]).double()
    mean, variance = entering.mean(dim=(0, 2, 3)), entering.var(dim=(0, 2, 3), correction=0)
    mixed = share * mean
    expected = (1 - share) * (1 + mixed**2) + share * (variance + (mean - mixed) ** 2)
    assert torch.allclose(network[1].running_mean.double(), mixed, atol=1e-4)
    assert torch.allclose(network[1].running_var.double(), expected, rtol=1e-4)


def test_commissioning_norms_wholly_the_sites_make_its_cells_normal():
    """Also behind another norm: what leaves the last one has mean 0 and deviation 1."""
    network = network_of(2)
    batch = torch.randn(8, 3, 16, 16) * 2 + 3
    mix_norms(network, [batch], share=1.0)
    left = network(batch)
    assert torch.allclose(left.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-4)
    assert torch.allclose(left.std(dim=(0, 2, 3)), torch.ones(5), atol=1e-3)


def test_commissioning_norms_are_put_back():
    network = network_of(3)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    with kept_norms(network):
        mix_norms(network, [torch.randn(4, 3, 9, 9)], share=0.5)
        assert not torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_commissioning_norms_measured_on_nothing_stay():
    network = network_of(4)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    with pytest.raises(ValueError, match="no batch"):
        mix_norms(network, [], share=0.5)
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
