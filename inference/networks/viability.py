"""Stage 1's network: a plain CNN (thesis, appendix A).

State-dict names: `features.N.*` for the convolutions and batch norms, `classifier.N.*` for the
linear layers; 16,872,450 parameters.
"""

from torch import Tensor, nn

__all__ = ["ViabilityCnn"]


class ViabilityCnn(nn.Module):
    """(N, 3, 128, 128) float32 -> (N, 2) logits: viable, non-viable."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for entering, leaving in ((3, 32), (32, 64), (64, 128)):
            blocks += [
                nn.Conv2d(entering, leaving, kernel_size=3, padding=1),
                nn.BatchNorm2d(leaving),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(128 * 16 * 16, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, 2),
        )

    def forward(self, fields: Tensor) -> Tensor:
        maps = self.features(fields)  # (N, 128, 16, 16)
        logits: Tensor = self.classifier(maps)
        return logits
