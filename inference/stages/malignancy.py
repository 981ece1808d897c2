"""Stage 5: is a lymphoid cell benign or malignant?

In      crops (N, 224, 224, 3) uint8 RGB
Out     N rows of probabilities: benign, malignant
"""

from torch import nn

from inference.crops import Crops
from inference.manifest import NamingStage
from inference.tensors import Rows, rows_of, softened, tensor_of

__all__ = ["malignancy_p"]


def malignancy_p(crops: Crops, *, network: nn.Module, entry: NamingStage) -> Rows:
    """Probabilities in the order of Malignancy."""
    logits = network(tensor_of(crops.pixels, entry))  # (N, 2)
    return rows_of(softened(logits, temperature=entry.temperature))
