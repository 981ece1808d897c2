"""Stage 3's network: a U-Net decoder on a ResNet34 encoder, without skip connections (thesis,
appendix A).

State-dict names: `encoder.*` are torchvision's names of ResNet34 without its last layer,
`decoder.N.up.*`, `decoder.N.block.*` and `head.*` ours.
"""

from torch import Tensor, nn
from torchvision.models import resnet34

__all__ = ["ResNet34UNet"]


class ResNet34UNet(nn.Module):
    """(N, 3, 224, 224) float32 -> map of logits (N, 3, 112, 112): red cell, platelet, white cell."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = resnet34(weights=None)
        del self.encoder.fc
        self.decoder = nn.Sequential(
            *(
                Up(entering, leaving)
                for entering, leaving in ((512, 256), (256, 128), (128, 64), (64, 32))
            )
        )
        self.head = nn.Conv2d(32, 3, kernel_size=1)

    def forward(self, crops: Tensor) -> Tensor:
        encoder = self.encoder
        maps = encoder.relu(encoder.bn1(encoder.conv1(crops)))  # (N, 64, 112, 112)
        maps = encoder.layer1(encoder.maxpool(maps))  # (N, 64, 56, 56)
        maps = encoder.layer4(encoder.layer3(encoder.layer2(maps)))  # (N, 512, 7, 7)
        maps = self.decoder(maps)  # (N, 32, 112, 112)
        logits: Tensor = self.head(maps)
        return logits


class Up(nn.Module):
    """(N, C, H, W) -> (N, D, 2H, 2W): transposed conv, then twice conv, batch norm, ReLU."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(entering, leaving, kernel_size=2, stride=2)
        self.block = nn.Sequential(
            nn.Conv2d(leaving, leaving, kernel_size=3, padding=1),
            nn.BatchNorm2d(leaving),
            nn.ReLU(),
            nn.Conv2d(leaving, leaving, kernel_size=3, padding=1),
            nn.BatchNorm2d(leaving),
            nn.ReLU(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        wider: Tensor = self.block(self.up(maps))
        return wider
