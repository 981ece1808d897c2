"""Stage 6: which pattern does a blast show?

In      crops (N, 224, 224, 3) uint8 RGB, each once and as it is: nothing is cropped or flipped
Out     N rows of probabilities: Early Pre-B, Pre-B, Pro-B

The network ends in probabilities; its temperature is applied to their logarithms, which is the
same as applying it to the logits before the softmax.
"""

import torch
from torch import nn

from inference.crops import Crops
from inference.manifest import NamingStage
from inference.tensors import Rows, finite, rows_of, softened, tensor_of

__all__ = ["subtype_p"]


def subtype_p(crops: Crops, *, network: nn.Module, entry: NamingStage) -> Rows:
    """Probabilities in the order of Subtype."""
    p = finite(network(tensor_of(crops.pixels, entry)))  # (N, 3)
    smallest = torch.finfo(p.dtype).tiny  # a probability that was rounded to 0 has a logarithm too
    return rows_of(softened(p.clamp_min(smallest).log(), temperature=entry.temperature))
