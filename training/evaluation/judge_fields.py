"""Stages 1 and 2 judged on whole fields.

Bad fields are few, so most of stage 1's are made: by faults that training never used. Beside them stand
the real blurred fields, series of one field out of focus step by step, and pictures of other things.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from domain.cells import Stage, ViabilityClass
from domain.image import Pixels
from inference.bundle import Bundle
from inference.crops import background_of
from inference.manifest import DETECTION_CLASSES
from inference.stages.viability import viable_p
from training.average_precision import detection_figures
from training.collection import blurred_fields, is_collection, not_smears
from training.evaluation.judged import Judged, Lot, blank
from training.evaluation.workers import Progress, in_turn
from training.metrics import (
    Estimate,
    auc_estimate,
    estimated,
    figures_of,
    reliability_of,
    share,
)
from training.pictures import Picture, readable
from training.spoil import HELD_BACK, defocused

__all__ = ["judged_detection", "judged_viability"]

BLUR_STEPS_UM = (0.0, 0.4, 0.8, 1.2, 1.8, 2.5)
ROUNDS = 300
UNKNOWN_UM_PER_PX = (0.1, 0.1)
Ps = npt.NDArray[np.float64]


def judged_viability(
    bundle: Bundle,
    val: Sequence[tuple[Picture, Pixels]],
    *,
    root: Path,
    workers: int,
    tell: Progress,
) -> Judged:
    """`val` are good fields, and in a user's folder also bad ones."""
    entry = bundle.manifest.stages.viability
    unknown = (bundle.info.um_per_px,) * 2

    def p_of(one: tuple[Pixels, tuple[float, float]]) -> float:
        pixels, scale = one
        return viable_p(
            pixels,
            um_per_px=scale,
            background=background_of(pixels),
            network=bundle.networks[Stage.VIABILITY],
            entry=entry,
        )

    def all_of(pictures: Sequence[tuple[Picture, Pixels]], what: str) -> Ps:
        items = [(x, p.um_per_px or unknown) for p, x in pictures]
        return np.array(in_turn(p_of, items, workers=workers, what=what, tell=tell))

    fine = [(p, x) for p, x in val if p.label != ViabilityClass.NON_VIABLE]
    good = all_of(fine, "good fields")
    told_bad = all_of(
        [(p, x) for p, x in val if p.label == ViabilityClass.NON_VIABLE], "bad fields"
    )
    spoiled = _spoiled(fine, unknown)
    faults = {
        name: np.array(in_turn(p_of, items, workers=workers, what=name, tell=tell))
        for name, items in spoiled.items()
    }
    made = np.concatenate([told_bad, *faults.values()])
    truth = np.r_[np.zeros(len(good), np.int64), np.ones(len(made), np.int64)]
    p = np.concatenate([good, made])
    whole = Lot(
        name="all",
        cells=len(p),
        unit="fields",
        figures=figures_of(truth, np.where(p >= entry.threshold, 0, 1), entry.classes),
        reliability=reliability_of(truth, np.c_[p, 1 - p], rounds=ROUNDS),
        shares={"good fields refused": share(int((good < entry.threshold).sum()), len(good))},
        estimates={
            "AUC": auc_estimate(good, made),
            **{f"AUC, {name}": auc_estimate(good, v) for name, v in faults.items()},
            **_blur_steps(fine, unknown, p_of, workers, tell),
        },
    )
    lots = [whole, *_per_laboratory(fine, good, entry.threshold)]
    if is_collection(root):
        lots += _other_pictures(root, good, entry.threshold, lambda q: all_of(q, "other pictures"))
    return replace(
        blank(Stage.VIABILITY, bundle),
        lots=tuple(lots),
        notes=(
            f"bad fields are made ({', '.join(HELD_BACK)}: none of them used in training), "
            "so this is a score on artificial faults",
            "series of focus: the rank correlation of the score with the distance from the sharpest "
            "step; -1 is a score that falls at every step",
        ),
    )


def judged_detection(
    bundle: Bundle, val: Sequence[tuple[Picture, Pixels]], *, workers: int, tell: Progress
) -> Judged:
    """Boxes at the known scale, as the service finds them there."""
    from training.tasks.detection import field_boxes

    entry = bundle.manifest.stages.detection
    loose = entry.model_copy(update={"confidence": min(entry.confidence, 0.01)})
    network = bundle.networks[Stage.DETECTION]
    fields = in_turn(
        lambda one: field_boxes(one[0], one[1], network=network, entry=loose),
        val,
        workers=workers,
        what="fields",
        tell=tell,
    )
    labs = [p.laboratory for p, _ in val]
    lots = []
    for lab in ("all", *sorted(set(labs))):
        of = [f for f, name in zip(fields, labs, strict=True) if lab in ("all", name)]
        found = detection_figures(
            of, classes=len(DETECTION_CLASSES), confidence=entry.confidence, rounds=ROUNDS
        )
        lots.append(
            Lot(name=lab, cells=sum(len(f.truth) for f in of), unit="boxes", detection=found)
        )
    return replace(
        blank(Stage.DETECTION, bundle),
        lots=tuple(lots),
        notes=("where red cells are known to be labelled in part, they are not judged",),
    )


def _spoiled(
    fine: Sequence[tuple[Picture, Pixels]], unknown: tuple[float, float]
) -> dict[str, list[tuple[Pixels, tuple[float, float]]]]:
    """Every second good field with each fault that training did not use."""
    rng = np.random.default_rng(0)
    made: dict[str, list[tuple[Pixels, tuple[float, float]]]] = {name: [] for name in HELD_BACK}
    for picture, pixels in fine[::2]:
        scale = picture.um_per_px or unknown
        for name, fault in HELD_BACK.items():
            made[name].append((fault(pixels, min(scale), rng)[0], scale))
    return made


def _blur_steps(
    fine: Sequence[tuple[Picture, Pixels]],
    unknown: tuple[float, float],
    p_of: Callable[[tuple[Pixels, tuple[float, float]]], float],
    workers: int,
    tell: Progress,
) -> dict[str, Estimate]:
    """The mean score of every eighth good field at each step of blur."""
    some = [(x, p.um_per_px or unknown) for p, x in fine[::8]]
    steps = {}
    for um in BLUR_STEPS_UM:
        items = [(defocused(x, min(scale), um), scale) for x, scale in some]
        ps = np.array(in_turn(p_of, items, workers=workers, what="blur", tell=tell))
        steps[f"mean p, blur {um:g} um"] = estimated(
            lambda index, ps=ps: float(ps[index].mean()),  # type: ignore[misc]
            len(ps),
        )
    return steps


def _per_laboratory(
    fine: Sequence[tuple[Picture, Pixels]], good: Ps, threshold: float
) -> list[Lot]:
    labs = np.array([p.laboratory for p, _ in fine])
    return [
        Lot(
            name=str(lab),
            cells=int((labs == lab).sum()),
            unit="fields",
            shares={
                "good fields refused": share(
                    int((good[labs == lab] < threshold).sum()), int((labs == lab).sum())
                )
            },
        )
        for lab in np.unique(labs)
    ]


def _other_pictures(
    root: Path,
    good: Ps,
    threshold: float,
    all_of: Callable[[Sequence[tuple[Picture, Pixels]]], Ps],
) -> list[Lot]:
    lots = []
    blurred, _ = readable(blurred_fields(root))
    tools, _ = readable(p for p in not_smears(root) if "focus_series" not in p.path.parts)
    for name, pictures in (
        ("really blurred fields", blurred),
        ("no smear", tools),
        ("flow cytometry", _flow_cytometry(root)),
    ):
        if not pictures:
            continue
        ps = all_of(pictures)
        rank = np.searchsorted(np.sort(good), ps) / max(len(good), 1)
        lots.append(
            Lot(
                name=name,
                cells=len(ps),
                unit="pictures",
                shares={"refused": share(int((ps < threshold).sum()), len(ps))},
                estimates={
                    "AUC": auc_estimate(good, ps),
                    "rank among good fields, median": estimated(
                        lambda index, rank=rank: float(np.median(rank[index])),  # type: ignore[misc]
                        len(rank),
                    ),
                },
            )
        )
    for name, series in _series(root).items():
        ps, away = all_of([one for one, _ in series]), np.array([d for _, d in series])
        fell = spearmanr(away, ps).statistic if len(np.unique(ps)) > 1 else float("nan")
        lots.append(
            Lot(
                name=name,
                cells=len(ps),
                unit="steps",
                estimates={
                    "rank correlation with the distance from focus": Estimate(
                        value=float(fell), low=float("nan"), high=float("nan")
                    ),
                    **{
                        f"mean p, {d} steps away": Estimate(
                            value=float(ps[away == d].mean()), low=float("nan"), high=float("nan")
                        )
                        for d in np.unique(away)
                    },
                },
            )
        )
    return lots


def _series(root: Path) -> dict[str, list[tuple[tuple[Picture, Pixels], int]]]:
    """Pictures of one field at steps of the focus, each with its distance from the sharpest."""
    found: dict[str, list[tuple[tuple[Picture, Pixels], int]]] = {}
    places = [("focus series", root / "viability/focus_series", "*.png", 0)]
    places += [
        (f"focus series of blood, {cut}", root / "viability/focus_series_blood", f"{cut}_*.jpg", 5)
        for cut in "ab"
    ]
    for name, folder, pattern, sharpest in places:
        files = {int(f.stem.removeprefix("a_").removeprefix("b_")): f for f in folder.glob(pattern)}
        pictures, _ = readable(
            Picture(path=files[step], laboratory=name, label=str(step)) for step in sorted(files)
        )
        if pictures:
            found[name] = [(one, abs(int(one[0].label) - sharpest)) for one in pictures]
    return found


def _flow_cytometry(root: Path) -> list[tuple[Picture, Pixels]]:
    """Montages of grey frames, their brightest pixel brought to 255."""
    found = []
    for path in sorted((root / "ifc").rglob("*.tif")) + sorted((root / "ifc").rglob("*.png")):
        read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if read is None:
            continue
        grey = read if read.ndim == 2 else read.mean(axis=2)
        scaled = np.clip(grey.astype(np.float32) * (255 / max(float(grey.max()), 1)), 0, 255)
        pixels: Pixels = np.repeat(scaled.astype(np.uint8)[:, :, None], 3, axis=2)
        found.append((Picture(path=path, laboratory="ifc", label="ifc"), pixels))
    return found
