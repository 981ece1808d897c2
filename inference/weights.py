"""One weights file into one network: names, shapes and number types must all be right.

In      a safetensors file, float32 or in 8 bits; a network built on torch's meta device (or on the CPU)
Out     the network with the file's numbers in place
Errors  what is wrong, as lines for WeightsError: all of it, with at most three names of a kind
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from domain.cells import Stage
from inference.manifest import Storage
from inference.networks.yolo import is_classic_head
from inference.storage import INT8, SCALE, is_packed, unpacked

__all__ = ["Layout", "layout_of", "load_into", "misfits", "stored_layout"]

# What safetensors calls the number types that our networks have
TYPES = {"F32": torch.float32, "I64": torch.int64}
MAX_HEADER_BYTES = 100 * 2**20  # the limit of the safetensors format itself
PICKLED = (b"PK\x03\x04", b"\x80")  # a zip as torch.save writes it, a bare pickle


@dataclass(frozen=True)
class Layout:
    """Shape and number type of one tensor."""

    shape: tuple[int, ...]
    dtype: str  # safetensors' word for it


def layout_of(network: nn.Module, storage: Storage = Storage.FLOAT32) -> dict[str, Layout]:
    """What a file for this network must hold."""
    words = {dtype: word for word, dtype in TYPES.items()}
    layout: dict[str, Layout] = {}
    for name, tensor in network.state_dict().items():
        shape = tuple(tensor.shape)
        if storage is Storage.INT8 and is_packed(shape, floating=tensor.is_floating_point()):
            layout[name + INT8] = Layout(shape, "I8")
            layout[name + SCALE] = Layout(shape[:1], "F32")
        else:
            layout[name] = Layout(shape, words[tensor.dtype])
    return layout


def stored_layout(path: Path) -> dict[str, Layout] | str:
    """What the file holds, from its header alone; or, in one line, why it holds nothing usable."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if start.startswith(PICKLED) and not 2 <= length <= MAX_HEADER_BYTES:
                return "is a pickled file, and pickles can run code; only safetensors are read"
            if len(start) < 8 or not 2 <= length <= MAX_HEADER_BYTES:
                return "is no safetensors file"
            header = json.loads(file.read(length))
        return {
            name: Layout(tuple(entry["shape"]), entry["dtype"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "is no safetensors file"


def misfits(
    network: nn.Module, found: Mapping[str, Layout], *, stage: Stage, storage: Storage
) -> list[str]:
    """Every way in which a file does not fit its network; empty when it does."""
    wanted = layout_of(network, storage)
    if stage is Stage.DETECTION and is_classic_head(found):
        return [
            "has the classic anchor head of the YOLOv5 repository, which the ultralytics package "
            "does not build; train or convert a YOLOv5u (anchor-free) detector"
        ]
    others = [s for s in Storage if s is not storage and found == layout_of(network, s)]
    if others:
        return [f"is stored as {others[0]}, and the manifest says {storage}"]
    both = wanted.keys() & found.keys()
    kinds = {
        "misses": [n for n in wanted if n not in found],
        "has unexpected": [n for n in found if n not in wanted],
        "has another shape:": [
            f"{n} {_shape(found[n])} instead of {_shape(wanted[n])}"
            for n in wanted
            if n in both and found[n].shape != wanted[n].shape
        ],
        "has another number type:": [
            f"{n} {found[n].dtype} instead of {wanted[n].dtype}"
            for n in wanted
            if n in both and found[n].dtype != wanted[n].dtype
        ],
    }
    return [f"{kind} {_some(names)}" for kind, names in kinds.items() if names]


def load_into(network: nn.Module, path: Path, *, storage: Storage) -> str:
    """Put the file's tensors into the network; the reason in one line when that cannot be done.

    Call after `misfits` found nothing. The tensors take the place of the network's own, so that a
    network built on the meta device never exists twice.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        return f"cannot be read ({error})"
    if storage is Storage.INT8:
        try:
            tensors = unpacked(tensors)
        except ValueError as error:
            return f"cannot be unpacked: {error}"
    bad = [n for n, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if bad:
        return f"holds NaN or infinity in {_some(bad)}"
    network.load_state_dict(tensors, strict=True, assign=True)
    network.requires_grad_(requires_grad=False)
    network.eval()
    return ""


def _shape(layout: Layout) -> str:
    return "x".join(map(str, layout.shape)) or "scalar"


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
