"""Stage 4's network: ViT-Base, patch 16, 224 px, as transformers builds it, and one linear layer.

State-dict names: `vit.*` are transformers' names of ViTModel without pooler, `classifier.*` the
linear layer's.
"""

from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

__all__ = ["SHAPE", "WhiteCellVit"]

# google/vit-base-patch16-224-in21k, written out so that a new default of the library changes nothing
SHAPE = ViTConfig(
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    hidden_act="gelu",
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    layer_norm_eps=1e-12,
    image_size=224,
    patch_size=16,
    num_channels=3,
    qkv_bias=True,
)


class WhiteCellVit(nn.Module):
    """(N, 3, 224, 224) float32 -> (N, classes) logits. Another `shape` is for training alone."""

    def __init__(self, *, classes: int, shape: ViTConfig = SHAPE) -> None:
        super().__init__()
        self.vit = ViTModel(shape, add_pooling_layer=False)
        self.classifier = nn.Linear(shape.hidden_size, classes)

    def forward(self, crops: Tensor) -> Tensor:
        hidden = self.vit(
            pixel_values=crops
        ).last_hidden_state  # (N, 197, 768), after the last norm
        logits: Tensor = self.classifier(hidden[:, 0])
        return logits
