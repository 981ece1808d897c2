"""Small networks grown into the exact ones of the method without losing what they know: a ViT-S/14 into
the ViT-B/16, a shallow residual network into the ResNet101.

In      a safetensors file with the tensors of a ViT-S/14 of the DINOv2 layout, matrices as int8 with a
        half-precision scale per output row (`NAME.int8`, `NAME.scale`)
Out     state dicts of transformers' ViTModel (patch 16, 224 px, no pooler): first `narrow_vit`, 384
        wide with 6 heads, then `grown_vit`, 768 wide with 12 heads
The narrow one takes a quarter of the time to train and computes the same as the grown one, so training
may be done narrow and the growing left to its end.
Layer scales are folded into the output projections. Patch 14 becomes 16 by the pseudo-inverse of the
bicubic resize (FlexiViT, Beyer et al. 2023), the position table 37 x 37 becomes 14 x 14 by bicubic
interpolation. Width is doubled by duplication: each output stands twice, each input weight is split
into a*w and (1 - a)*w with a random a, so that both copies compute the same now and can part ways in
training; layer norms keep mean and variance under duplication.
The shallow residual network has the first blocks of each of ResNet101's four groups. The others are put in
with a last batch norm of gain 0, so that what goes past them is all that comes out.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, ResNet

from inference.networks.resnet import malignancy_resnet
from inference.networks.vit import SHAPE
from inference.storage import unpacked
from training.errors import DataError

__all__ = [
    "NARROW",
    "deepened_resnet",
    "grown_vit",
    "narrow_vit",
    "shallow_resnet",
    "small_vit",
]

SMALL = 384
LAYERS = 12
PATCH, GRID = 16, 14
SEED = 17
BLOCKS = (1, 1, 2, 1)  # of ResNet101's 3, 4, 23 and 3
NARROW = type(SHAPE)(
    **{
        **SHAPE.to_diff_dict(),
        "hidden_size": SMALL,
        "num_attention_heads": 6,
        "intermediate_size": 4 * SMALL,
    }
)


def small_vit(path: Path) -> dict[str, Tensor]:
    """Float32 tensors, dequantised. Raises DataError where the file is no such transformer."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); name a ViT-S/14 in safetensors"
        ) from error
    try:
        whole = unpacked(stored)
    except ValueError as error:
        raise DataError(f"{path} is no ViT-S/14 in 8 bits ({error})") from error
    return {name: tensor.float() for name, tensor in whole.items()}


def narrow_vit(small: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The small transformer's tensors at patch 16, by transformers' names under `vit.`. Raises
    DataError where a tensor is missing or has another shape."""
    try:
        narrow = _embeddings(small)
        for i in range(LAYERS):
            narrow |= _layer(small, i)
        narrow |= _norm(small, "layernorm", "vit.layernorm")
    except (KeyError, RuntimeError) as error:
        raise DataError(f"this is no ViT-S/14 of the DINOv2 layout ({error})") from error
    return narrow


def grown_vit(narrow: Mapping[str, Tensor], *, seed: int = SEED) -> dict[str, Tensor]:
    """The same function twice as wide: names stay, also those of a linear layer on the class token."""
    rng = torch.Generator().manual_seed(seed)
    grown = {}
    for name, tensor in narrow.items():
        if name.endswith(("cls_token", "position_embeddings")):
            grown[name] = _twice(tensor, dim=2)
        elif name == "classifier.bias":
            grown[name] = tensor.clone()
        elif tensor.ndim == 2:
            grown[name] = _wider(tensor, rng, rows=1 if name == "classifier.weight" else 2)
        else:
            grown[name] = _twice(tensor)
    return grown


def shallow_resnet() -> nn.Module:
    """Stage 5's network with few blocks: a fifth of the arithmetic."""
    network: nn.Module = ResNet(Bottleneck, list(BLOCKS), num_classes=2)
    return network


def deepened_resnet(shallow: Mapping[str, Tensor], *, seed: int = SEED) -> dict[str, Tensor]:
    """The same function as a ResNet101. The blocks put in are random behind their gain of 0, so that
    they can learn when training goes on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        deep = malignancy_resnet().state_dict()
    for name, tensor in deep.items():
        if name in shallow:
            deep[name] = shallow[name].clone()
        elif name.endswith("bn3.weight"):
            deep[name] = torch.zeros_like(tensor)
    return deep


def _embeddings(small: Mapping[str, Tensor]) -> dict[str, Tensor]:
    at = "embeddings"
    kernel = small[f"{at}.patch_embeddings.projection.weight"]  # (384, 3, 14, 14)
    resize = _resize_matrix(kernel.shape[-1], PATCH)  # (256, 196): a patch of 14 px seen as 16 px
    back = torch.linalg.pinv(resize.T)  # (256, 196)
    kernel = (kernel.flatten(2) @ back.T).reshape(SMALL, 3, PATCH, PATCH)
    table = small[f"{at}.position_embeddings"]  # (1, 1 + 37 x 37, 384)
    side = round((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].reshape(1, side, side, SMALL).permute(0, 3, 1, 2)
    grid = functional.interpolate(
        grid, (GRID, GRID), mode="bicubic", align_corners=False, antialias=True
    )
    positions = torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    return {
        f"vit.{at}.cls_token": small[f"{at}.cls_token"],
        f"vit.{at}.position_embeddings": positions.contiguous(),
        f"vit.{at}.patch_embeddings.projection.weight": kernel.contiguous(),
        f"vit.{at}.patch_embeddings.projection.bias": small[
            f"{at}.patch_embeddings.projection.bias"
        ],
    }


def _layer(small: Mapping[str, Tensor], i: int) -> dict[str, Tensor]:
    old, new = f"encoder.layer.{i}", f"vit.layers.{i}"
    linear = {
        "attention.q_proj": ("attention.attention.query", None),
        "attention.k_proj": ("attention.attention.key", None),
        "attention.v_proj": ("attention.attention.value", None),
        "attention.o_proj": ("attention.output.dense", "layer_scale1.lambda1"),
        "mlp.fc1": ("mlp.fc1", None),
        "mlp.fc2": ("mlp.fc2", "layer_scale2.lambda1"),
    }
    tensors: dict[str, Tensor] = {}
    for name, (source, scale) in linear.items():
        weight, bias = small[f"{old}.{source}.weight"], small[f"{old}.{source}.bias"]
        if scale:
            factor = small[f"{old}.{scale}"]
            weight, bias = weight * factor[:, None], bias * factor
        tensors[f"{new}.{name}.weight"] = weight
        tensors[f"{new}.{name}.bias"] = bias
    tensors |= _norm(small, f"{old}.norm1", f"{new}.layernorm_before")
    return tensors | _norm(small, f"{old}.norm2", f"{new}.layernorm_after")


def _norm(small: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {f"{new}.{part}": small[f"{old}.{part}"] for part in ("weight", "bias")}


def _twice(tensor: Tensor, *, dim: int = 0) -> Tensor:
    return torch.cat([tensor, tensor], dim=dim).contiguous()


def _wider(weight: Tensor, rng: torch.Generator, *, rows: int) -> Tensor:
    """(O, I) -> (rows O, 2 I); every output row draws its own split of the inputs."""
    several = torch.cat([weight] * rows)
    share = torch.rand(several.shape, generator=rng) * 0.5 + 0.25
    return torch.cat([several * share, several * (1 - share)], dim=1).contiguous()


def _resize_matrix(small: int, large: int) -> Tensor:
    """(large^2, small^2): bicubic resize of a patch, as a matrix."""
    basis = torch.eye(small * small).reshape(-1, 1, small, small)
    resized = functional.interpolate(basis, (large, large), mode="bicubic", align_corners=False)
    return resized.reshape(small * small, large * large).T
