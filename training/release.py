"""From six runs to a bundle that can be given away: everything fitted, stored small, with its card.

In      a folder of runs, the pictures they were trained on, a person's prose for the card
Out     a bundle folder, whole or not at all; `fitted.json` beside the runs, so that what was fitted once
        is not fitted again for the same weights and pictures
Errors  CheckpointError, DataError, CardError, BundleExists
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domain.analysis import BundleInfo
from domain.cells import Stage
from inference.manifest import Storage
from training.assemble import Calibration, assemble_bundle
from training.calibrate import BlastErrors, blast_errors, calibration_of
from training.collection import is_collection
from training.errors import CheckpointError, DataError
from training.evaluation.card import model_card, read_reports
from training.gate import collection_looks, fit_gate
from training.loop import BEST, RUN
from training.stage_data import StageData, stage_data
from training.train import DATA

__all__ = ["Fitted", "fitted", "release", "runs_in"]

FITTED = "fitted.json"
BLASTS = "blasts"
RULES = 2  # raised when what is fitted, or how, changes: older values are then fitted again
# The scales at which red cells are looked for in an image without spacing: a factor of about 1.8 apart,
# because the detector was trained on cells from 0.6 to 1.7 times their size
RED_CELLS = {
    "min_confidence": 0.5,
    "min_cells": 8,
    "trial_um_per_px": [0.07, 0.13, 0.24, 0.43],
}
UM_PER_PX_RANGE = [0.04, 0.55]  # of the pictures that were trained on
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What the weights do not hold."""

    calibrations: Mapping[Stage, Calibration]
    blasts: BlastErrors


def runs_in(folder: Path) -> dict[Stage, Path]:
    """The run of each stage among the folders there. Raises CheckpointError where a stage has none,
    has two, or has no weights yet."""
    found: dict[Stage, Path] = {}
    for path in sorted(folder.glob(f"*/{RUN}")):
        stage = Stage(json.loads(path.read_text(encoding="utf-8"))["recipe"]["stage"])
        if stage in found:
            raise CheckpointError(
                f"{folder} holds two runs of stage {stage.number} ({found[stage].name}, "
                f"{path.parent.name}); move one away"
            )
        if not (path.parent / BEST).is_file():
            raise CheckpointError(f"{path.parent} holds no {BEST} yet; train at least one epoch")
        found[stage] = path.parent
    missing = [str(s.number) for s in Stage if s not in found]
    if missing:
        raise CheckpointError(
            f"{folder} holds no run of stage {', '.join(missing)}; train it first"
        )
    return found


def release(
    runs_folder: Path,
    out: Path,
    *,
    data: Path,
    name: str,
    version: str,
    licence: str,
    prose: str,
    storage: Storage,
    report: Path | None = None,
    progress: Progress | None = None,
) -> BundleInfo:
    """Assemble the bundle. With `report`, the folder that `leukonode evaluate` wrote of the same
    weights, its figures go into the card."""
    runs = runs_in(runs_folder)
    known = fitted(runs, data=data, cache=runs_folder / FITTED, storage=storage, progress=progress)
    (tn, fp), (fn, tp) = known.blasts.confusion
    changes = {
        "red_cells": RED_CELLS,
        "um_per_px_range": UM_PER_PX_RANGE,
        "confusion": [[tn, fp], [fn, tp]],
        "reject_rate": round(known.blasts.rejected / max(1, known.blasts.cells), 4),
    }

    def card(manifest: Mapping[str, Any], info: BundleInfo) -> str:
        if report is None:
            return prose
        reports = read_reports(
            report,
            weights_sha256={m.stage: m.sha256 for m in info.models},
            manifest_sha256=info.manifest_sha256,
        )
        return model_card(prose, manifest, reports)

    return assemble_bundle(
        runs,
        out,
        name=name,
        version=version,
        licence=licence,
        card=card,
        calibrations=known.calibrations,
        changes=changes,
        gate=fit_gate(collection_looks(data)).gate if is_collection(data) else None,
        storage=storage,
        progress=progress,
    )


def fitted(
    runs: Mapping[Stage, Path],
    *,
    data: Path,
    cache: Path,
    storage: Storage,
    progress: Progress | None = None,
) -> Fitted:
    """Stage by stage from `cache` where it is of the same weights, pictures and storage, else fitted and
    written there at once."""
    keys = {stage: _key(run, storage) for stage, run in runs.items()}
    kept: dict[str, Any] = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}

    def keep(name: str, key: str, value: Any) -> None:
        kept[name] = {"key": key, "fitted": asdict(value)}
        cache.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    def known(name: str, key: str) -> Any:
        one = kept.get(name, {})
        return one.get("fitted") if one.get("key") == key else None

    calibrations: dict[Stage, Calibration] = {}
    for stage, run in runs.items():
        if progress:
            progress("fitting", stage.number - 1, len(Stage) + 1)
        found = known(stage.value, keys[stage])
        if found is None:
            made = calibration_of(stage, run, _data(stage, run, data), storage=storage)
            keep(stage.value, keys[stage], made)
        else:
            made = Calibration(**found)
        calibrations[stage] = made
    both = f"{keys[Stage.WBC_CLASS]} {keys[Stage.MALIGNANCY]}"
    found = known(BLASTS, both)
    if found is None:
        read = _data(Stage.WBC_CLASS, runs[Stage.WBC_CLASS], data)
        blasts = blast_errors(runs, calibrations, read, storage=storage)
        keep(BLASTS, both, blasts)
    else:
        (tn, fp), (fn, tp) = found["confusion"]
        blasts = BlastErrors(**{**found, "confusion": ((tn, fp), (fn, tp))})
    return Fitted(calibrations=calibrations, blasts=blasts)


def _data(stage: Stage, run: Path, data: Path) -> StageData:
    read = stage_data(stage, data, to_train=False)
    if read.digest != _trained_on(run):
        raise DataError(
            f"{data} is not what the run of stage {stage.number} was trained on, so its side val "
            "may hold what was learned; name the same pictures"
        )
    return read


def _trained_on(run: Path) -> str:
    return str(json.loads((run / DATA).read_text(encoding="utf-8"))["digest"])


def _key(run: Path, storage: Storage) -> str:
    """Of the weights, how they are stored, and the pictures they were trained on."""
    digest = hashlib.sha256(f"{RULES} {storage.value} {_trained_on(run)}".encode())
    digest.update(hashlib.sha256((run / BEST).read_bytes()).digest())
    digest.update((run / RUN).read_bytes())
    return digest.hexdigest()
