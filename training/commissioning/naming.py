"""Stages 4 to 6 before and after a laboratory's own labelled cells.

In      a loaded bundle, labelled cells of one stage, the laboratory's fields as they were read
Out     Outcome; where something is better the network in the bundle is changed in place
Each cell goes through its network once for each share of the site's batch-norm statistics (stage 4 has no
batch norm); everything else is done on what enters the last layer. Statistics come from cells of fields
without labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from domain.cells import Stage
from domain.image import Pixels
from inference.bundle import Bundle
from inference.manifest import NamingStage
from inference.tensors import finite, tensor_of
from training.commissioning.choice import (
    FOLDS,
    Labelled,
    Procedure,
    folds_of,
    judged,
)
from training.commissioning.fields import (
    LEAST_MEASURED,
    SHARES,
    ReadField,
    batches_of,
    crops_at,
    in_turn,
)
from training.commissioning.head import Head
from training.commissioning.norms import kept_norms, mix_norms
from training.commissioning.outcome import Outcome, outcome_of
from training.commissioning.site import LabelledCell, Tell
from training.duplicates import near_copies, thumbnail_of
from training.errors import DataError

__all__ = ["LAST_LAYERS", "enough_cells", "last_layer", "naming_outcome"]

LAST_LAYERS: Mapping[Stage, str] = {
    Stage.WBC_CLASS: "classifier",
    Stage.MALIGNANCY: "fc",
    Stage.SUBTYPE: "classifier.3",
}
LEAST_OF_A_CLASS = 5
MOST_OF_A_CLASS = 48


def enough_cells(stage: Stage, cells: Sequence[LabelledCell]) -> None:
    """Raises DataError with what is missing."""
    counts = Counter(c.label for c in cells)
    few = [f"{name} ({n})" for name, n in sorted(counts.items()) if n < LEAST_OF_A_CLASS]
    if few:
        raise DataError(
            f"stage {stage.number}: too few labelled cells of {', '.join(few)}; give at least "
            f"{LEAST_OF_A_CLASS} of a class, or leave it out and the parent's is kept for it"
        )
    if len(counts) < 2:
        raise DataError(
            f"stage {stage.number}: all labelled cells are {next(iter(counts))}; give cells of at "
            "least two classes, or none of this stage"
        )
    pictures = set(_pictures(cells))
    if len(pictures) < FOLDS:
        raise DataError(
            f"stage {stage.number}: the labelled cells lie on {len(pictures)} different pictures; give at "
            f"least {FOLDS}, so that they can be judged on others than they were fitted on"
        )


def last_layer(network: nn.Module, stage: Stage) -> nn.Linear:
    """The linear layer that gives the logits."""
    layer = network.get_submodule(LAST_LAYERS[stage])
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{LAST_LAYERS[stage]} of stage {stage.number} is no linear layer")
    return layer


def naming_outcome(
    stage: Stage,
    bundle: Bundle,
    cells: Sequence[LabelledCell],
    fields: Sequence[ReadField],
    *,
    tell: Tell,
) -> Outcome:
    """`cells` are of this stage; without any, nothing can be judged and nothing changes."""
    if not cells:
        return outcome_of(stage, why="not judged: no labelled cells of this stage")
    entry: Any = bundle.manifest.stages.of(stage)
    network = bundle.networks[stage]
    crops = [_crop(c, entry, fields) for c in cells]
    measured = _measured(stage, bundle, cells, fields, entry)
    head = _head(network, stage)
    labelled = Labelled(
        procedures=_procedures(measured),
        classes=entry.classes,
        features=_features(stage, network, entry, crops, measured, tell),
        truth=np.array([entry.classes.index(c.label) for c in cells]),
        folds=folds_of([c.label for c in cells], _pictures(cells)),
        pictures=np.unique(_pictures(cells), return_inverse=True)[1],
        head=head,
        temperature=entry.temperature,
        reject_below=entry.reject_below,
    )
    tell(f"stage {stage.number} judged", 0, 1)
    choice, verdict = judged(labelled)
    changed = []
    if choice.share:
        mix_norms(network, _inputs(measured, entry), share=choice.share)
        changed.append(f"batch-norm statistics, {choice.share:.0%} the site's")
    if choice.head is not head:
        _put(choice.head, network, stage)
        changed.append(f"last layer, held with strength {choice.strength:g}")
    new: dict[str, Any] = {}
    if verdict.procedure is not Procedure.PARENT:
        new["temperature"] = choice.temperature
        changed.append(f"temperature {choice.temperature:g}")
    if verdict.thresholds_changed:
        new["reject_below"] = dict(choice.reject_below)
        changed.append("reject thresholds")
    return outcome_of(
        stage,
        verdict.before,
        verdict.after,
        gain=verdict.gain,
        why=f"{verdict.why} (judged on {len(cells)} labelled cells)",
        changed=changed,
        entry=new,
        manifest=_whole(stage) if changed else {},
        rewritten=bool(choice.share) or choice.head is not head,
    )


def _procedures(measured: Sequence[Pixels]) -> tuple[Procedure, ...]:
    norms = (Procedure.NORMS,) if measured else ()
    return (Procedure.TEMPERATURE, *norms, Procedure.LAST_LAYER)


def _crop(cell: LabelledCell, entry: NamingStage, fields: Sequence[ReadField]) -> Pixels:
    """(S, S, 3). On a field at the scale that it is read at; a picture of unknown scale fills the
    square, as a single cell does in the service."""
    scale = cell.um_per_px
    if cell.on_field:
        scale = next(f.um_per_px for f in fields if f.site.name == cell.picture)
    elif scale is None:
        side = entry.field_um / max(cell.pixels.shape[:2])
        scale = (side, side)
    cut, _ = crops_at(cell.pixels, [cell.box], um_per_px=scale, ground=cell.ground, entry=entry)
    return np.asarray(cut[0])


def _measured(
    stage: Stage,
    bundle: Bundle,
    cells: Sequence[LabelledCell],
    fields: Sequence[ReadField],
    entry: NamingStage,
) -> list[Pixels]:
    """Crops that carry batch-norm statistics; none where the network has none or cells are few."""
    if not any(isinstance(m, nn.BatchNorm2d) for m in bundle.networks[stage].modules()):
        return []
    judged_on = {c.digest for c in cells}
    groups: dict[int, list[tuple[ReadField, Any]]] = {i: [] for i in range(len(entry.classes))}
    for field in fields:
        if field.site.digest in judged_on:
            continue
        for cell in field.cells:
            p = cell.malignancy_p if stage is Stage.MALIGNANCY else cell.subtype_p
            if p:
                groups[int(np.argmax(p))].append((field, cell.box_px))
    chosen = in_turn(groups, most=MOST_OF_A_CLASS)
    if len(chosen) < LEAST_MEASURED:
        return []
    return [
        crops_at(f.site.pixels(), [box], um_per_px=f.um_per_px, ground=f.ground, entry=entry)[0][0]
        for _, (f, box) in chosen
    ]


def _inputs(crops: Sequence[Pixels], entry: NamingStage) -> list[Tensor]:
    return [tensor_of(b, entry) for b in batches_of(crops)]


def _features(
    stage: Stage,
    network: nn.Module,
    entry: NamingStage,
    crops: Sequence[Pixels],
    measured: Sequence[Pixels],
    tell: Tell,
) -> dict[float, npt.NDArray[np.float64]]:
    """(N, D) of what enters the last layer, for each share of the site's statistics."""
    found = {0.0: _entering(stage, network, entry, crops, tell)}
    for share in SHARES if measured else ():
        with kept_norms(network):
            mix_norms(network, _inputs(measured, entry), share=share)
            found[share] = _entering(stage, network, entry, crops, tell)
    return found


def _entering(
    stage: Stage, network: nn.Module, entry: NamingStage, crops: Sequence[Pixels], tell: Tell
) -> npt.NDArray[np.float64]:
    entered: list[Tensor] = []
    hook = last_layer(network, stage).register_forward_pre_hook(
        lambda _, inputs: entered.append(finite(inputs[0]))
    )
    try:
        batches = batches_of(crops)
        for number, batch in enumerate(batches):
            tell(f"cells of stage {stage.number}", number, len(batches))
            network(tensor_of(batch, entry))
    finally:
        hook.remove()
    return torch.cat(entered).double().numpy()


def _head(network: nn.Module, stage: Stage) -> Head:
    layer = last_layer(network, stage)
    return Head(weight=layer.weight.double().numpy(), bias=layer.bias.double().numpy())


def _put(head: Head, network: nn.Module, stage: Stage) -> None:
    layer = last_layer(network, stage)
    layer.weight.copy_(torch.from_numpy(head.weight))
    layer.bias.copy_(torch.from_numpy(head.bias))


def _pictures(cells: Sequence[LabelledCell]) -> list[str]:
    """The file of each cell; near-copies of one picture, turned or not, count as one."""
    names = [c.picture for c in cells]
    first: dict[str, Pixels] = {}
    for cell in cells:
        first.setdefault(cell.picture, cell.pixels)
    order = sorted(first)
    thumbnails = [thumbnail_of(first[name]) for name in order]
    same = {name: name for name in order}
    for i, j in near_copies(thumbnails, thumbnails):
        if i < j:
            same[order[j]] = same[order[i]]
    return [same[name] for name in names]


def _whole(stage: Stage) -> dict[str, Any]:
    """What the manifest says of the whole bundle. Who is taken for a blast, and how many cells are
    rejected, was counted over stages 4 and 5 in turn before the change, and a few dozen cells cannot
    count it again: neither the corrected blast fraction nor the usual share of rejected cells is given."""
    return {"confusion": None, "reject_rate": None} if stage is not Stage.SUBTYPE else {}
