"""The small transformer grown into the large one computes what the small one did."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from inference.networks.resnet import malignancy_resnet
from inference.networks.vit import WhiteCellVit
from training.errors import DataError
from training.grow import (
    LAYERS,
    NARROW,
    SMALL,
    deepened_resnet,
    grown_vit,
    narrow_vit,
    shallow_resnet,
    small_vit,
)


def small_tensors(seed=0):
    """Random numbers in the shapes and with the spread of a trained ViT-S/14."""
    rng = torch.Generator().manual_seed(seed)

    def random(*shape, spread=0.02):
        return torch.randn(shape, generator=rng) * spread

    tensors = {
        "embeddings.cls_token": random(1, 1, SMALL),
        "embeddings.position_embeddings": random(1, 1 + 37 * 37, SMALL),
        "embeddings.patch_embeddings.projection.weight": random(SMALL, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": random(SMALL),
        "layernorm.weight": 1 + random(SMALL),
        "layernorm.bias": random(SMALL),
    }
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        shapes = {
            "attention.attention.query": (SMALL, SMALL),
            "attention.attention.key": (SMALL, SMALL),
            "attention.attention.value": (SMALL, SMALL),
            "attention.output.dense": (SMALL, SMALL),
            "mlp.fc1": (4 * SMALL, SMALL),
            "mlp.fc2": (SMALL, 4 * SMALL),
        }
        for name, (out, into) in shapes.items():
            tensors[f"{at}.{name}.weight"] = random(out, into, spread=0.05)
            tensors[f"{at}.{name}.bias"] = random(out)
        for name in ("norm1", "norm2"):
            tensors[f"{at}.{name}.weight"] = 1 + random(SMALL)
            tensors[f"{at}.{name}.bias"] = random(SMALL)
        for name in ("layer_scale1", "layer_scale2"):
            tensors[f"{at}.{name}.lambda1"] = 0.5 + random(SMALL)
    return tensors


def small_forward(tensors, tokens):
    """(1, T, 384) through the small transformer's layers, written out: pre-norm, six heads."""

    def norm(x, name):
        return nn.functional.layer_norm(
            x, (SMALL,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-12
        )

    def linear(x, name):
        return nn.functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    x = tokens
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        y = norm(x, f"{at}.norm1")
        q, k, v = (
            linear(y, f"{at}.attention.attention.{n}").unflatten(2, (6, 64)).transpose(1, 2)
            for n in ("query", "key", "value")
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + linear(y, f"{at}.attention.output.dense") * tensors[f"{at}.layer_scale1.lambda1"]
        y = nn.functional.gelu(linear(norm(x, f"{at}.norm2"), f"{at}.mlp.fc1"))
        x = x + linear(y, f"{at}.mlp.fc2") * tensors[f"{at}.layer_scale2.lambda1"]
    return norm(x, "layernorm")


def test_training_grown_transformer_keeps_what_the_small_one_knows():
    tensors = small_tensors()
    network = WhiteCellVit(classes=12).eval()
    grown = grown_vit(narrow_vit(tensors))
    missing, unexpected = network.load_state_dict(grown, strict=False)
    assert unexpected == []
    assert missing == ["classifier.weight", "classifier.bias"]
    tokens = torch.randn(1, 9, SMALL, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = small_forward(tensors, tokens)
        hidden = torch.cat([tokens, tokens], dim=2)
        for layer in network.vit.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hidden = network.vit.layernorm(hidden)
    assert torch.allclose(hidden[..., :SMALL], wanted, atol=2e-4)
    assert torch.allclose(hidden[..., SMALL:], wanted, atol=2e-4)


def test_training_narrow_network_and_its_grown_one_say_the_same():
    torch.manual_seed(3)
    narrow = WhiteCellVit(classes=12, shape=NARROW).eval()
    grown = WhiteCellVit(classes=12).eval()
    grown.load_state_dict(grown_vit(narrow.state_dict()))
    crops = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(grown(crops), narrow(crops), atol=1e-5)


def test_training_grown_copies_can_part_ways():
    grown = grown_vit(narrow_vit(small_tensors()))
    weight = grown["vit.layers.0.mlp.fc1.weight"]
    assert not torch.allclose(weight[:, :SMALL], weight[:, SMALL:], atol=1e-3)
    assert not torch.allclose(weight[: 4 * SMALL], weight[4 * SMALL :], atol=1e-3)


def test_training_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no ViT-S/14"):
        narrow_vit({"a": torch.zeros(1)})
    (tmp_path / "x.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot be read"):
        small_vit(tmp_path / "x.safetensors")
    save_file({"a.int8": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / "y.safetensors")
    with pytest.raises(DataError, match=r"in 8 bits \(a\.int8 has no a\.scale\)"):
        small_vit(tmp_path / "y.safetensors")


@pytest.mark.shared
def test_training_given_transformer_grows(pictures):
    path = pictures / "weights" / "vit_s14_selfsupervised" / "vit_s14_int8.safetensors"
    small = small_vit(path)
    network = WhiteCellVit(classes=12).eval()
    network.load_state_dict(grown_vit(narrow_vit(small)), strict=False)
    tokens = torch.randn(1, 5, SMALL, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = small_forward(small, tokens)
        hidden = torch.cat([tokens, tokens], dim=2)
        for layer in network.vit.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hidden = network.vit.layernorm(hidden)
    assert torch.allclose(hidden[..., :SMALL], wanted, atol=1e-3)


def test_deepened_resnet_computes_what_the_shallow_one_does():
    torch.manual_seed(3)
    shallow = shallow_resnet()
    with (
        torch.no_grad()
    ):  # running statistics and gains as after training, none of them nought or one
        for module in shallow.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    deep = malignancy_resnet()
    deep.load_state_dict(deepened_resnet(shallow.state_dict()))
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(shallow.eval()(x), deep.eval()(x))
    deep.train()(x).sum().backward()
    assert deep.layer3[22].bn3.weight.grad.abs().max() > 0  # what was put in can learn
