"""Stage 1: is a field fit to be read?

In      (H, W, 3) uint8 RGB of a whole field, micrometres per pixel
Out     the probability of *viable*: the softmax over both outputs, never one of them alone
"""

from torch import nn

from domain.image import Pixels
from inference.crops import Colour, fitted
from inference.manifest import ViabilityStage
from inference.tensors import rows_of, softened, tensor_of

__all__ = ["viable_p"]


def viable_p(
    field: Pixels,
    *,
    um_per_px: tuple[float, float],
    background: Colour,
    network: nn.Module,
    entry: ViabilityStage,
) -> float:
    """Compare with `entry.threshold`: a field at or above it is read."""
    square = fitted(
        field,
        um_per_px=um_per_px,
        size_px=entry.input_px,
        interpolation=entry.interpolation,
        background=background,
    )
    logits = network(tensor_of(square[None], entry))  # (1, 2)
    (row,) = rows_of(softened(logits, temperature=entry.temperature))
    return row[0]
