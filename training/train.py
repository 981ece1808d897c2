"""Train one stage from a folder of labelled pictures: read, gate, build the task, run the loop.

In      stage, data folder, run folder
Out     Trained; in the run folder the loop's files and `data.json` (sets, hashes, unreadable files)
Errors  DataError and OverlapError before anything is written; CheckpointError for another run's folder
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from domain.cells import Stage
from training.loop import Progress, Task, Trained, run
from training.recipes import RECIPES, Recipe
from training.stage_data import StageData, counts_of, stage_data

__all__ = ["DATA", "task_for", "train"]

DATA = "data.json"


def train(
    stage: Stage,
    *,
    data: Path,
    out: Path,
    recipe: Recipe | None = None,
    um_per_px: float | None = None,
    leave_out: Collection[str] = (),
    start: Path | None = None,
    progress: Progress | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Trained:
    """Start, or go on with, the run in `out`. `start` is the folder of pretrained weights."""
    recipe = recipe or RECIPES[stage]
    read = stage_data(stage, data, um_per_px=um_per_px, leave_out=leave_out, progress=progress)
    task = task_for(stage, read, recipe=recipe, start=start)
    return run(
        task,
        recipe,
        out,
        record={DATA: _record(read)},
        progress=progress,
        may_go_on=may_go_on,
    )


def task_for(stage: Stage, read: StageData, *, recipe: Recipe, start: Path | None) -> Task:
    """The stage's task, its pictures prepared."""
    match stage:
        case Stage.VIABILITY:
            from training.tasks.viability import ViabilityTask

            return ViabilityTask(read.pictures, recipe=recipe, data_digest=read.digest)
        case Stage.DETECTION:
            from training.tasks.detection import DetectionTask

            return DetectionTask(read.pictures, recipe=recipe, data_digest=read.digest, start=start)
        case Stage.CELL_CLASS:
            from training.tasks.cell_class import CellClassTask

            return CellClassTask(read.pictures, recipe=recipe, data_digest=read.digest)
        case Stage.WBC_CLASS | Stage.MALIGNANCY | Stage.SUBTYPE:
            from training.tasks.naming import NamingTask

            return NamingTask(
                stage, read.pictures, recipe=recipe, data_digest=read.digest, start=start
            )


def _record(read: StageData) -> dict[str, Any]:
    return {
        "digest": read.digest,
        "counts": counts_of([p for p, _ in read.pictures]),
        "unreadable": [str(p) for p in read.unreadable],
        "sets": read.record(),
    }
