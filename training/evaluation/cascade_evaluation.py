"""Judge the whole cascade of a bundle on whole fields.

In      a bundle folder, a data folder: the public collection, or one set of boxed fields
Out     CascadeJudged; training.evaluation.pages draws it
Errors  BundleError, DataError, OverlapError as in training.evaluation.evaluate. Nothing is written here.
Every field goes through the function that the service calls, without a spacing, as pictures come: its scale is
read from its red cells. Only drawn smears carry theirs, as objects do.
"""

from pathlib import Path
from time import monotonic

import numpy as np

from domain.cells import Stage
from inference.bundle import Bundle, load_bundle
from inference.engine import steady
from training.evaluation.cascade_fields import WholeFields, whole_fields
from training.evaluation.cascade_figures import (
    blast_rows,
    count_rows,
    drawn_rows,
    loss_rows,
    scale_rows,
)
from training.evaluation.cascade_judged import CascadeJudged
from training.evaluation.cascade_run import FieldRead, read_fields
from training.evaluation.cascade_scale import replaced_rows, scale_use_rows
from training.evaluation.evaluate import refuse_trained_on
from training.evaluation.judged import Sizes
from training.evaluation.workers import Progress, silent, workers_of
from training.metrics import Share, share

__all__ = ["evaluate_cascade"]


def evaluate_cascade(
    *,
    data: Path,
    bundle: Path | Bundle,
    sizes: Sizes | None = None,
    um_per_px: float | None = None,
    allow_overlap: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CascadeJudged:
    """See above. `threads` is how many fields are read at once and changes no number."""
    began = monotonic()
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle, threads=1)
    sizes, tell, workers = sizes or Sizes(), progress or silent, workers_of(threads)
    there = whole_fields(data, sizes=sizes, um_per_px=um_per_px, progress=progress)
    overlap = refuse_trained_on(Stage, loaded, there.digests, allowed=allow_overlap)
    with steady(threads=1):
        every = read_fields(there.fields, loaded, workers=workers, tell=tell)
        reads = [r for r in every if r.read]
        return CascadeJudged(
            bundle=loaded.info.id,
            manifest_sha256=loaded.info.manifest_sha256,
            untrained=loaded.info.untrained,
            fields=len(every),
            refused=_refused(every),
            counts=count_rows(reads),
            scales=scale_rows(reads),
            scale_use=scale_use_rows(
                reads, loaded, most=max(1, sizes.fields // 2), workers=workers, tell=tell
            ),
            blasts=blast_rows(reads),
            losses=loss_rows(reads),
            replaced=replaced_rows(reads, loaded, workers=workers, tell=tell),
            drawn=drawn_rows(reads, wbc_classes=loaded.manifest.stages.wbc_class.classes),
            seconds=round(monotonic() - began, 1),
            notes=(*overlap, *_notes(there, every, loaded)),
        )


def _refused(every: list[FieldRead]) -> tuple[tuple[str, Share], ...]:
    names = np.array([f"{r.field.laboratory}, {r.field.kind}" for r in every])
    refused = np.array([r.refused for r in every])
    return tuple(
        (str(name), share(int(refused[names == name].sum()), int((names == name).sum())))
        for name in np.unique(names)
    )


def _notes(there: WholeFields, every: list[FieldRead], bundle: Bundle) -> tuple[str, ...]:
    notes = [
        "fields that stage 1 refuses are in no other figure",
        "counts: where red cells are known to be labelled in part, fields are left out of theirs",
        "white cells: all nucleated cells, also those that are left unclassified",
        "fields of leukaemia have no boxes: the chain starts at nuclei that stand out by stain, single "
        "and whole ones, so clumps are not in it",
        "boxes are a little larger than cells and the known scale of most sets is itself that of their "
        "red cells, so a ratio of 1 says that the detector agrees with people's boxes",
        "drawn smears are drawings: they prove that the numbers are counted right, not that cells are",
    ]
    if bundle.manifest.red_cells is None:
        notes.append(
            "this bundle does not say how to read the scale from red cells, so every field without a "
            "spacing is read at none"
        )
    other = [r for r in every if not r.read and not r.refused]
    notes += [f"{r.field.laboratory} {r.field.name}: {r.not_evaluable}" for r in other]
    notes += [f"{path.name} could not be read" for path in there.unreadable]
    return tuple(notes)
