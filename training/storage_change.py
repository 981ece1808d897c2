"""What 8-bit storage changes in a network's answers, for the model card.

In      a stage, its entry of the manifest, its float32 weights, crops as the stage sees them
Out     the largest difference between the probabilities of the network and of its stored copy
Both copies run through the same code; what is compared is what decisions are made on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from domain.cells import Stage
from inference.crops import Crops
from inference.manifest import CellClassStage, NamingStage, StageEntry, ViabilityStage
from inference.networks.build import network_of
from inference.stages.cell_class import cell_maps
from inference.stages.subtype import subtype_p
from inference.stages.wbc_class import wbc_class_p
from inference.storage import packed, relative_error, unpacked
from inference.tensors import finite, softened, tensor_of

__all__ = ["TOLERANCE", "StorageChange", "storage_change"]

TOLERANCE = 0.02  # of a probability: a stage that changes more is to be stored in float32
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class StorageChange:
    """`weights` is the largest relative error of a tensor, `probability` the largest difference of
    one probability, `answers` how many of the `crops` have another best class (of a detector: how many
    candidate boxes)."""

    weights: float
    probability: float
    answers: int
    crops: int

    @property
    def within_tolerance(self) -> bool:
        return self.probability <= TOLERANCE


def storage_change(
    stage: Stage, entry: StageEntry, state: Mapping[str, Tensor], crops: Crops
) -> StorageChange:
    """`crops.pixels` (N, S, S, 3) at the stage's input size; whole fields for stages 1 and 2."""
    stored = packed(state)
    whole, again = _network(stage, entry, state), _network(stage, entry, unpacked(stored))
    largest, other = 0.0, 0
    with torch.inference_mode():
        for batch in _batches(crops):
            before, after = (_probabilities(stage, entry, n, batch) for n in (whole, again))
            largest = max(largest, float((before - after).abs().max()))
            other += int((before.argmax(dim=1) != after.argmax(dim=1)).sum())
    return StorageChange(
        weights=relative_error(state, stored),
        probability=largest,
        answers=other,
        crops=len(crops.boxes),
    )


def _network(stage: Stage, entry: StageEntry, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = network_of(stage, entry)
    network.load_state_dict(state, strict=True)
    return network.eval()


def _batches(crops: Crops) -> Iterator[Crops]:
    for i in range(0, len(crops.boxes), BATCH):
        yield Crops(pixels=crops.pixels[i : i + BATCH], boxes=crops.boxes[i : i + BATCH])


def _probabilities(stage: Stage, entry: StageEntry, network: nn.Module, crops: Crops) -> Tensor:
    """(M, K) float64: a row a crop, of a detector a row a candidate box."""
    match entry:
        case CellClassStage():
            return torch.tensor(cell_maps(crops, network=network, entry=entry).p).double()
        case NamingStage():
            read = subtype_p if stage is Stage.SUBTYPE else wbc_class_p
            return torch.tensor(read(crops, network=network, entry=entry)).double()
        case ViabilityStage():
            logits = network(tensor_of(crops.pixels, entry))
            return softened(logits, temperature=entry.temperature)
        case _:
            answers = finite(network(tensor_of(crops.pixels, entry))[0])  # (N, 4 + 3, A)
            return answers[:, 4:].permute(0, 2, 1).flatten(0, 1).double()
