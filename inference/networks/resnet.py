"""Stage 5's network: torchvision's ResNet101, its last layer linear 2048 to 2, names unchanged."""

from torch import nn
from torchvision.models import resnet101

__all__ = ["malignancy_resnet"]


def malignancy_resnet() -> nn.Module:
    """(N, 3, 224, 224) float32 -> (N, 2) logits: benign, malignant."""
    network: nn.Module = resnet101(weights=None, num_classes=2)
    return network
