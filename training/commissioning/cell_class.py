"""Stage 3's batch norms at a laboratory that has labelled nothing for it.

In      the laboratory's fields as they were read, a loaded bundle
Out     Outcome; where the site's statistics help the network in the bundle is changed in place
They are measured on the first half of the fields and judged on the other, against what stage 2 takes
the cells for: no person named these, and the verdict says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.cells import CellClass, Stage
from domain.image import Box, Pixels
from inference.bundle import Bundle
from inference.stages.cell_class import pooled
from inference.stages.detection import detected
from inference.tensors import tensor_of
from training.commissioning.choice import FOLDS, Labelled, Procedure, folds_of, judged
from training.commissioning.fields import (
    BATCH,
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
from training.commissioning.site import Tell

__all__ = ["KindCrop", "cell_class_outcome", "norms_outcome"]

CERTAIN = 0.5  # stage 2's probability from which its class is taken for true
MOST_OF_A_CLASS = 40
LEAST_CHECKED = 20  # crops on which they are judged
BORDER_PX = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class KindCrop:
    """One cell that stage 2 found: (S, S, 3), its box in it, what stage 2 takes it for."""

    pixels: Pixels
    box: Box
    kind: int
    picture: str


def cell_class_outcome(fields: Sequence[ReadField], bundle: Bundle, *, tell: Tell) -> Outcome:
    """A share of the site's batch-norm statistics, where stage 3 then agrees better with stage 2."""
    before = len(fields) // 2
    measured = _crops_of(fields[:before], bundle, tell)
    checked = _crops_of(fields[before:], bundle, tell)
    kinds, pictures = {c.kind for c in checked}, {c.picture for c in checked}
    few = len(measured) < LEAST_MEASURED or len(checked) < LEAST_CHECKED
    if few or len(kinds) < 2 or len(pictures) < FOLDS:
        return outcome_of(
            Stage.CELL_CLASS,
            why=f"not judged: stage 2 is certain of {len(measured)} cells to measure on and "
            f"{len(checked)} on {len(pictures)} fields to check on; {LEAST_MEASURED}, {LEAST_CHECKED} "
            f"of at least two kinds and {FOLDS} are needed",
        )
    return norms_outcome(measured, checked, bundle, tell=tell)


def norms_outcome(
    measured: Sequence[KindCrop], checked: Sequence[KindCrop], bundle: Bundle, *, tell: Tell
) -> Outcome:
    """The shares are chosen and judged on different fields of the checked ones."""
    network, entry = bundle.networks[Stage.CELL_CLASS], bundle.manifest.stages.cell_class
    batches = batches_of([c.pixels for c in measured])
    features = {0.0: _pooled(checked, bundle)}
    for number, share in enumerate(SHARES):
        tell("stage 3 tried", number, len(SHARES))
        with kept_norms(network):
            mix_norms(network, (tensor_of(b, entry) for b in batches), share=share)
            features[share] = _pooled(checked, bundle)
    names = [str(c.kind) for c in checked]
    pictures = [c.picture for c in checked]
    count = len(CellClass)
    cells = Labelled(
        procedures=(Procedure.NORMS,),
        classes=tuple(CellClass),
        features=features,
        truth=np.array([c.kind for c in checked]),
        folds=folds_of(names, pictures),
        pictures=np.unique(pictures, return_inverse=True)[1],
        head=Head(weight=np.eye(count), bias=np.zeros(count)),
        temperature=entry.temperature,
        reject_below={},
    )
    choice, verdict = judged(cells)
    changed: tuple[str, ...] = ()
    if choice.share:
        mix_norms(network, (tensor_of(b, entry) for b in batches), share=choice.share)
        changed = (f"batch-norm statistics, {choice.share:.0%} the site's",)
    return outcome_of(
        Stage.CELL_CLASS,
        verdict.before[:4],
        verdict.after[:4],
        gain=verdict.gain,
        why=f"{verdict.why} (judged by stage 2's word on {len(checked)} cells)",
        changed=changed,
        rewritten=bool(changed),
    )


def _pooled(crops: Sequence[KindCrop], bundle: Bundle) -> npt.NDArray[np.float64]:
    """(N, 3) logits of stage 3."""
    network, entry = bundle.networks[Stage.CELL_CLASS], bundle.manifest.stages.cell_class
    rows = []
    for start in range(0, len(crops), BATCH):
        batch = crops[start : start + BATCH]
        maps = network(tensor_of(np.stack([c.pixels for c in batch]), entry))
        shrunk = maps.shape[-1] / entry.input_px
        rows.append(pooled(maps, [c.box for c in batch], shrunk=shrunk).double().numpy())
    return np.concatenate(rows)


def _crops_of(fields: Sequence[ReadField], bundle: Bundle, tell: Tell) -> list[KindCrop]:
    """Of each kind as many, evenly taken from the fields, the kinds in turn."""
    entry = bundle.manifest.stages.cell_class
    found: dict[int, list[tuple[ReadField, Box]]] = {i: [] for i in range(len(CellClass))}
    for number, field in enumerate(fields):
        tell("cells of stage 2", number, len(fields))
        pixels = field.site.pixels()
        height, width = pixels.shape[:2]
        inner = Box(BORDER_PX, BORDER_PX, width - BORDER_PX, height - BORDER_PX)
        for one in detected(
            pixels,
            um_per_px=field.um_per_px,
            background=field.ground,
            network=bundle.networks[Stage.DETECTION],
            entry=bundle.manifest.stages.detection,
        ):
            box = one.box
            whole = (
                inner.x0 <= box.x0
                and inner.y0 <= box.y0
                and box.x1 <= inner.x1
                and box.y1 <= inner.y1
            )
            if whole and one.p >= CERTAIN:
                found[tuple(CellClass).index(one.cell_class)].append((field, box))
    crops = []
    for kind, (field, box) in in_turn(found, most=MOST_OF_A_CLASS):
        cut, boxes = crops_at(
            field.site.pixels(), [box], um_per_px=field.um_per_px, ground=field.ground, entry=entry
        )
        crops.append(KindCrop(pixels=cut[0], box=boxes[0], kind=kind, picture=field.site.name))
    return crops
