"""The network of each stage, as a manifest names it, without weights."""

from torch import nn

from domain.cells import Stage
from inference.manifest import StageEntry

__all__ = ["network_of"]


def network_of(stage: Stage, entry: StageEntry) -> nn.Module:
    """Freshly initialised, in training mode, on torch's current default device."""
    match stage:
        case Stage.VIABILITY:
            from inference.networks.viability import ViabilityCnn

            return ViabilityCnn()
        case Stage.DETECTION:
            from inference.networks.yolo import yolov5

            return yolov5(size=entry.architecture, classes=len(entry.classes))
        case Stage.CELL_CLASS:
            from inference.networks.unet import ResNet34UNet

            return ResNet34UNet()
        case Stage.WBC_CLASS:
            from inference.networks.vit import WhiteCellVit

            return WhiteCellVit(classes=len(entry.classes))
        case Stage.MALIGNANCY:
            from inference.networks.resnet import malignancy_resnet

            return malignancy_resnet()
        case Stage.SUBTYPE:
            from inference.networks.densenet import SubtypeDenseNet

            return SubtypeDenseNet()
