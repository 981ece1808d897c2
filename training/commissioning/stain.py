"""The gate's reference at a laboratory: what a field of its own stain looks like.

In      the laboratory's fields as they were read (those that the gate refuses were not), a loaded bundle
Out     Outcome: the gate's centre moved to the median of these fields, its spread and limits as they were
Judged on blocks of fields that the median was not taken of. A laboratory whose stain the gate refuses as no
blood smear that the bundle knows cannot be let in so: its fields are left out before.
"""

from collections.abc import Sequence

import numpy as np

from inference.bundle import Bundle
from inference.gate import Look, likeness, look_of
from inference.manifest import Gate
from training.commissioning.choice import FOLDS, Score, share_score
from training.commissioning.fields import ReadField
from training.commissioning.outcome import Outcome, outcome_of

__all__ = ["stain_outcome"]

DECIMALS = 6


def stain_outcome(fields: Sequence[ReadField], bundle: Bundle) -> Outcome:
    """Taken where fewer of the laboratory's own fields are flagged for their stain."""
    gate = bundle.manifest.gate
    if gate is None:
        return outcome_of(None, why="the parent has no gate")
    found = [look_of(f.site.pixels(), ground=f.ground) for f in fields]
    looks = [look for look in found if look is not None]
    if len(looks) < FOLDS:
        return outcome_of(None, why=f"not judged: {len(looks)} fields show anything, {FOLDS} must")
    blocks = np.arange(len(looks)) * FOLDS // len(looks)
    moved = [
        _moved(gate, [x for x, b in zip(looks, blocks, strict=True) if b != block])
        for block in range(FOLDS)
    ]
    before = _flagged(looks, [gate] * len(looks))
    after = _flagged(looks, [moved[b] for b in blocks])
    told = f"{before.value:.1%} of the good fields are flagged for their stain"
    if after.value >= before.value:
        return outcome_of(None, (before,), (before,), why=told)
    return outcome_of(
        None,
        (before,),
        (after,),
        why=told,
        changed=("centre of the gate",),
        manifest={"gate": _moved(gate, looks).model_dump(mode="json")},
    )


def _moved(gate: Gate, looks: Sequence[Look]) -> Gate:
    centre = np.round(np.median(np.stack(looks), axis=0), DECIMALS)
    return gate.model_copy(update={"centre": tuple(centre.tolist())})


def _flagged(looks: Sequence[Look], gates: Sequence[Gate]) -> Score:
    above = sum(
        likeness(look, gate).distance > gate.flag_above
        for look, gate in zip(looks, gates, strict=True)
    )
    return share_score("good fields flagged", above, len(looks))
