"""Stage 4: which white cell is it?

In      crops (N, 224, 224, 3) uint8 RGB
Out     N rows of probabilities, in the order of the manifest's classes
"""

from torch import nn

from inference.crops import Crops
from inference.manifest import NamingStage
from inference.tensors import Rows, rows_of, softened, tensor_of

__all__ = ["wbc_class_p"]


def wbc_class_p(crops: Crops, *, network: nn.Module, entry: NamingStage) -> Rows:
    """Probabilities of every class, also of those that are no white cells."""
    logits = network(tensor_of(crops.pixels, entry))  # (N, classes)
    return rows_of(softened(logits, temperature=entry.temperature))
