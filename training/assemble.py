"""Make a bundle of the runs of the six stages.

In      a run folder a stage (best.safetensors, run.json, data.json); stages without one take the weights
        of an untrained bundle, and then the whole bundle is marked untrained
Out     a bundle folder, written whole or not at all, that loads as strictly as any other
Temperatures and reject thresholds are fitted on the side `val` of the data, through the same code that
the service runs.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file, save_file

from domain.analysis import BundleInfo
from domain.cells import Stage
from inference.bundle import load_bundle
from inference.errors import BundleExists
from inference.manifest import FORMAT, MANIFEST_NAME, Gate, Storage
from inference.storage import packed, relative_error
from inference.untrained import init_untrained
from training.errors import CheckpointError
from training.loop import BEST, RUN
from training.metrics import fitted_temperature, softened_p
from training.recipes import RECIPES
from training.train import DATA

__all__ = ["Calibration", "assemble_bundle", "calibrated", "reject_thresholds"]

RIGHT = 0.97  # share of the accepted cells of a class that should be right
LEAST_KEPT = 0.6  # of the cells that are told a class; a threshold is not raised over that
FEWEST = 10  # cells told a class, below which its threshold is that of all
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What is fitted on `val` after training: of stage 1 the threshold, of stage 2 the confidence (as
    `threshold`), of stage 3 the temperature, of the stages that name cells both temperature and reject
    thresholds."""

    temperature: float = 1.0
    reject_below: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None


def calibrated(
    logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], classes: Sequence[str]
) -> Calibration:
    """From the logits of cells that were not trained on. A cell of no class (-1) is wrong whatever it
    is told, and should be rejected."""
    temperature = fitted_temperature(logits[truth >= 0], truth[truth >= 0])
    p = softened_p(logits, temperature)
    return Calibration(
        temperature=round(temperature, 4), reject_below=reject_thresholds(p, truth, classes)
    )


def reject_thresholds(
    p: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float]:
    """For each class told, the lowest probability from which those told it are right often enough."""
    best, confidence = p.argmax(axis=1), p.max(axis=1)
    right = best == truth
    whole = _threshold(confidence, right)
    found = {}
    for i, name in enumerate(classes):
        of = best == i
        value = _threshold(confidence[of], right[of]) if of.sum() >= FEWEST else whole
        found[name] = floor(value * 1e4) / 1e4  # rounded up it would refuse the cell that set it
    return found


def assemble_bundle(
    runs: Mapping[Stage, Path],
    folder: Path,
    *,
    name: str,
    version: str,
    licence: str,
    card: str | Callable[[Mapping[str, Any], BundleInfo], str],
    calibrations: Mapping[Stage, Calibration] | None = None,
    changes: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    gate: Gate | None = None,
    storage: Storage | Mapping[Stage, Storage] = Storage.FLOAT32,
    progress: Progress | None = None,
) -> BundleInfo:
    """`card` is its text, or makes it of manifest and info; what it raises leaves no bundle. `changes` replaces entries of the manifest, stage by stage under `stages`. `storage` is that of
    all stages, or of those it names; what 8 bits change in the weights goes into the metrics under
    `storage_weight_error` (see inference.storage.relative_error). Raises CheckpointError for a run without weights, BundleExists where something is."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleExists(f"{folder} exists and is not empty; name a new folder")
    for stage, run in runs.items():
        if not (run / BEST).is_file():
            raise CheckpointError(f"{run} holds no {BEST} for stage {stage.number}; train it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)) / folder.name
    try:
        detector = _architecture(runs, Stage.DETECTION)
        init_untrained(made, detector=detector, progress=progress)
        document = json.loads((made / MANIFEST_NAME).read_text(encoding="utf-8"))
        document |= {
            "format": f"{FORMAT[0]}.{FORMAT[1]}",
            "id": name,
            "version": version,
            "licence": licence,
            "untrained": set(runs) != set(Stage),
            "domains": ["smear"],
            "training_data": [
                {"stage": stage.value, **one}
                for stage, run in sorted(runs.items())
                for one in json.loads((run / DATA).read_text(encoding="utf-8"))["sets"]
            ],
            "metrics": dict(metrics or {}),
            "gate": gate and gate.model_dump(mode="json"),
        }
        for stage, run in runs.items():
            entry = document["stages"][stage.value]
            entry |= _entry(stage, run, (calibrations or {}).get(stage))
            shutil.copyfile(run / BEST, made / entry["file"])
        errors = {}
        for stage in Stage:
            entry = document["stages"][stage.value]
            entry["storage"] = (
                storage if isinstance(storage, Storage) else storage.get(stage, Storage.FLOAT32)
            )
            if entry["storage"] is Storage.INT8:
                errors[stage.value] = _in_8_bits(made / entry["file"])
            entry["sha256"] = hashlib.sha256((made / entry["file"]).read_bytes()).hexdigest()
        if errors:
            document["metrics"]["storage_weight_error"] = errors
        for key, value in (changes or {}).items():
            if key == "stages":
                for stage_name, fields in value.items():
                    document["stages"][stage_name] |= fields
            else:
                document[key] = value
        (made / MANIFEST_NAME).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        info = load_bundle(made).info
        text = card if isinstance(card, str) else card(document, info)
        (made / "MODEL_CARD.md").write_text(text, encoding="utf-8")
        made.rename(folder)
    finally:
        shutil.rmtree(made.parent, ignore_errors=True)
    return info


def _in_8_bits(file: Path) -> float:
    """Store the weights anew; the largest relative error of a tensor."""
    state = load_file(file)
    stored = packed(state)
    save_file(stored, file.with_suffix(".new"))  # beside: what was read may still be mapped
    file.with_suffix(".new").rename(file)
    return round(relative_error(state, stored), 6)


def _entry(stage: Stage, run: Path, calibration: Calibration | None) -> dict[str, Any]:
    """What the manifest says of a trained stage."""
    recipe = json.loads((run / RUN).read_text(encoding="utf-8"))["recipe"]
    entry: dict[str, Any] = {
        "architecture": recipe["architecture"],
        "mean": recipe["mean"],
        "deviation": recipe["deviation"],
    }
    match stage:
        case Stage.VIABILITY:
            entry |= {"threshold": 0.5}
        case Stage.DETECTION:
            from training.tasks.detection import detector_entry

            told = detector_entry(RECIPES[stage])
            entry |= {
                k: getattr(told, k)
                for k in ("um_per_px", "confidence", "iou", "max_per_tile", "overlap_px", "size_um")
            }
        case _:
            entry |= {"field_um": recipe["field_um"]}
    if stage in (Stage.WBC_CLASS, Stage.MALIGNANCY, Stage.SUBTYPE):
        from training.tasks.naming import NAMES

        entry["classes"] = [str(c) for c in NAMES[stage]]
        entry["reject_below"] = {str(c): 0.0 for c in NAMES[stage]}
    if calibration is not None and stage is Stage.DETECTION:
        entry["confidence"] = calibration.threshold
    elif calibration is not None:
        entry["temperature"] = calibration.temperature
        if calibration.threshold is not None:
            entry["threshold"] = calibration.threshold
        if stage in (Stage.WBC_CLASS, Stage.MALIGNANCY, Stage.SUBTYPE):
            entry["reject_below"] = dict(calibration.reject_below)
    return entry


def _architecture(runs: Mapping[Stage, Path], stage: Stage) -> str:
    if stage not in runs:
        return RECIPES[stage].architecture
    recipe = json.loads((runs[stage] / RUN).read_text(encoding="utf-8"))["recipe"]
    return str(recipe["architecture"])


def _threshold(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    if not len(confidence):
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    sorted_p = confidence[order]
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_of_equals = np.append(sorted_p[1:] != sorted_p[:-1], True)
    enough = np.flatnonzero((shares >= RIGHT) & last_of_equals)
    kept = max(int(enough[-1]) + 1 if len(enough) else 0, int(np.ceil(LEAST_KEPT * len(order))))
    return float(sorted_p[kept - 1])
