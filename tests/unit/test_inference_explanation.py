"""Overlays are shown only where they depend on the network."""

import numpy as np
import pytest
import torch
from torch import nn

from domain.cells import Stage
from inference.errors import ExplanationWithheld
from inference.explanation import MOST_ALIKE, explain, likeness, saliency_of
from inference.networks.densenet import SubtypeDenseNet
from inference.networks.vit import WhiteCellVit
from tests.explained import EdgeNetwork, RedSpotNetwork, entry, field_with_a_red_spot


def test_grad_cam_points_at_what_the_network_looks_for():
    crop = field_with_a_red_spot(x=24, y=8)
    found = explain(
        crop,
        stage=Stage.MALIGNANCY,
        network=RedSpotNetwork(),
        entry=entry(Stage.MALIGNANCY),
        class_name="malignant",
    )
    assert found.values.shape == (8, 8)
    assert np.unravel_index(found.values.argmax(), (8, 8)) == (8 // 4, 24 // 4)
    assert (found.values.min(), found.values.max()) == (0, 1)
    assert found.likeness <= MOST_ALIKE


def test_an_overlay_that_outlives_the_weights_is_withheld():
    with pytest.raises(ExplanationWithheld, match=r"stage 5 \(malignancy\)"):
        explain(
            field_with_a_red_spot(x=24, y=8),
            stage=Stage.MALIGNANCY,
            network=EdgeNetwork(),
            entry=entry(Stage.MALIGNANCY),
            class_name="malignant",
        )


def test_a_flat_overlay_is_withheld():
    flat = np.full((32, 32, 3), 200, np.uint8)
    network = RedSpotNetwork()
    for p in network.parameters():
        nn.init.zeros_(p)
    with pytest.raises(ExplanationWithheld):
        explain(
            flat,
            stage=Stage.MALIGNANCY,
            network=network,
            entry=entry(Stage.MALIGNANCY),
            class_name="benign",
        )


def test_a_class_that_the_stage_does_not_name():
    with pytest.raises(ValueError, match="not in"):
        explain(
            field_with_a_red_spot(x=4, y=4),
            stage=Stage.MALIGNANCY,
            network=RedSpotNetwork(),
            entry=entry(Stage.MALIGNANCY),
            class_name="lymphocytes",
        )


def test_the_densenet_itself_gives_a_map_and_stays_as_it_was():
    torch.manual_seed(1)
    network = SubtypeDenseNet().eval().requires_grad_(False)
    before = [p.clone() for p in network.parameters()]
    pixels = torch.rand(1, 3, 224, 224)
    values = saliency_of(pixels, stage=Stage.SUBTYPE, network=network, index=2)
    assert values.shape == (7, 7)
    assert np.array_equal(
        values, saliency_of(pixels, stage=Stage.SUBTYPE, network=network, index=2)
    )
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert not network.features._forward_hooks


def test_attention_rollout_of_the_transformer_itself():
    torch.manual_seed(1)
    network = WhiteCellVit(classes=10).eval().requires_grad_(False)
    implementation = network.vit.config._attn_implementation
    pixels = torch.rand(1, 3, 224, 224)
    logits = network(pixels)
    values = saliency_of(pixels, stage=Stage.WBC_CLASS, network=network, index=0)
    assert values.shape == (14, 14)
    assert values.max() == 1
    assert network.vit.config._attn_implementation == implementation
    assert torch.equal(network(pixels), logits)


def test_likeness_is_the_same_every_time():
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    network = RedSpotNetwork()
    values = saliency_of(pixels, stage=Stage.MALIGNANCY, network=network, index=1)
    said = {
        likeness(values, pixels, stage=Stage.MALIGNANCY, network=network, index=1) for _ in range(2)
    }
    assert len(said) == 1
