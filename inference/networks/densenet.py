"""Stage 6's network: torchvision's DenseNet121 with a small head that ends in softmax.

State-dict names: torchvision's `features.*`; `classifier.0.*` and `classifier.3.*` of the head.
"""

from torch import Tensor, nn
from torchvision.models import DenseNet

__all__ = ["SubtypeDenseNet"]


class SubtypeDenseNet(DenseNet):  # type: ignore[misc]  # torchvision has no types
    """(N, 3, 224, 224) float32 -> (N, 3) probabilities: Early Pre-B, Pre-B, Pro-B."""

    def __init__(self) -> None:
        super().__init__(growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64)
        self.classifier = nn.Sequential(
            nn.Linear(1024, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3)
        )

    def logits(self, crops: Tensor) -> Tensor:
        """(N, 3) before the softmax: what cross-entropy takes, else it would be a softmax of one."""
        logits: Tensor = super().forward(crops)
        return logits

    def forward(self, crops: Tensor) -> Tensor:
        return self.logits(crops).softmax(dim=1)
