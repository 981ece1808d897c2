"""Weights in 8 bits: a quarter of the bytes, for networks that are too large to carry about whole.

In      a state dict of float32 tensors (`packed`), or the tensors of an int8 file (`unpacked`)
Out     every large tensor of at least two rows as `NAME.int8` and `NAME.scale`, one scale a row of its
        first dimension; all others (biases, norms, statistics, small tables) as they were
Errors  ValueError naming the tensor and what is wrong with it
A weight is off by at most half a scale. A scale has 16 significant bits, so that its product with an
int8 is exact in float32: what was packed once is packed again to the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["INT8", "SCALE", "is_packed", "packed", "relative_error", "unpacked"]

INT8, SCALE = ".int8", ".scale"
LEAST_ELEMENTS = 4096  # below it a tensor is small whatever its type
LEAST_ROWS = 2  # a table of one row would have one scale for all its numbers
STEPS = 127  # on either side of zero
NOTHING = 2.0**-100  # a row that nowhere reaches it is a row of zeros
KEPT_BITS = ~0xFF  # of a float32's 24 significant ones the first 16
SCALE_TYPES = (torch.float32, torch.float16)


def is_packed(shape: Sequence[int], *, floating: bool) -> bool:
    """Whether a tensor of this shape is stored in 8 bits: a rule without exceptions, so that a file
    either has the layout of its network or has not."""
    elements = 1
    for side in shape:
        elements *= side
    return floating and len(shape) > 1 and shape[0] >= LEAST_ROWS and elements >= LEAST_ELEMENTS


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raises ValueError for NaN, infinity, and names that would be taken for another's parts."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((INT8, SCALE)):
            raise ValueError(f"{name} would be taken for a part of another tensor")
        if not is_packed(tensor.shape, floating=tensor.is_floating_point()):
            tensors[name] = tensor.contiguous()
            continue
        if tensor.dtype != torch.float32:
            raise ValueError(f"{name} is {tensor.dtype}; only float32 is stored in 8 bits")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinity")
        tensors[name + INT8], tensors[name + SCALE] = _rows_packed(tensor)
    return tensors


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raises ValueError for a part without its other part, of another type or shape, for a scale
    that is not finite and positive, and for a tensor that stands there twice."""
    lone = [
        name
        for name in tensors
        if name.endswith(SCALE) and name.removesuffix(SCALE) + INT8 not in tensors
    ]
    if lone:
        raise ValueError(f"{lone[0]} has no {lone[0].removesuffix(SCALE)}{INT8}")
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(INT8):
            whole = name.removesuffix(INT8)
            if whole in tensors:
                raise ValueError(f"{whole} stands there twice, also as {name}")
            state[whole] = _rows_unpacked(name, tensor, tensors.get(whole + SCALE))
        elif not name.endswith(SCALE):
            state[name] = tensor
    return state


def relative_error(state: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> float:
    """Of all tensors the largest |w - w'| / |w| (root of the sum of squares), w' as it is stored."""
    again = unpacked(stored)
    return max((_relative(state[n], again[n]) for n in _floating(state)), default=0.0)


def _rows_packed(tensor: Tensor) -> tuple[Tensor, Tensor]:
    rows = tensor.detach().flatten(1)  # (R, N)
    largest = rows.abs().amax(dim=1)
    # cut off, not rounded: 127 steps never reach over the largest number, nor over float32's range
    scale = ((largest / STEPS).view(torch.int32) & KEPT_BITS).view(torch.float32)
    scale = torch.where(largest < NOTHING, torch.ones_like(scale), scale)
    # in double: a quotient in float32 could be rounded to the farther of two steps
    steps = (rows.double() / scale.double()[:, None]).round().clamp(-STEPS, STEPS)
    return steps.to(torch.int8).reshape(tensor.shape), scale


def _rows_unpacked(name: str, steps: Tensor, scale: Tensor | None) -> Tensor:
    if steps.dtype != torch.int8 or steps.ndim < 2:
        raise ValueError(f"{name} is no int8 tensor of two or more dimensions")
    if scale is None:
        raise ValueError(f"{name} has no {name.removesuffix(INT8)}{SCALE}")
    if scale.dtype not in SCALE_TYPES or scale.shape != steps.shape[:1]:
        raise ValueError(f"{name} needs {steps.shape[0]} scales, one a row, in floating point")
    if not bool((scale.isfinite() & (scale > 0)).all()):
        raise ValueError(f"{name} has a scale that is not finite and positive")
    return steps * scale.float().view(-1, *[1] * (steps.ndim - 1))


def _relative(before: Tensor, after: Tensor) -> float:
    size = float(before.double().norm())
    return float((before.double() - after.double()).norm()) / size if size else 0.0


def _floating(state: Mapping[str, Tensor]) -> Iterable[str]:
    return (n for n, t in state.items() if t.is_floating_point())
