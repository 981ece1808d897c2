"""Judge one stage of a bundle on labelled pictures, with the shortcuts beside the score.

In      a bundle folder (loaded as strictly as the service does), a data folder in the forms that
        training takes
Out     Judged; training.pages draws it
Errors  BundleError for a bundle that does not fit; OverlapError where pictures are those that the stage
        was trained on; DataError as in training. Nothing is written here.
The pictures of the side `val` are judged, through the same functions as in the service.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.cells import Malignancy, Stage
from domain.image import Pixels
from inference.bundle import Bundle, load_bundle
from inference.crops import background_of
from inference.engine import steady
from inference.manifest import DETECTION_CLASSES, CropStage, NamingStage
from inference.stages.cell_class import cell_maps
from inference.stages.malignancy import malignancy_p
from inference.stages.subtype import subtype_p
from inference.stages.viability import viable_p
from inference.stages.wbc_class import wbc_class_p
from training.average_precision import detection_figures
from training.cells import CellSource, cell_crops, cells_for
from training.collection import NOT_IDENTIFIABLE, blurred_fields, is_collection, not_smears
from training.errors import DataError, OverlapError
from training.judged import Failure, Judged, Lot, Shortcut
from training.metrics import auc, figures_of, reliability_of
from training.pictures import Picture, Split, readable
from training.shortcuts import BASELINES, TESTS, linear_baseline
from training.spoil import HELD_BACK, defocused
from training.stage_data import SHORT, StageData, stage_data

__all__ = ["evaluate", "refuse_trained_on"]

BATCH = 16
MOST_CELLS = 1500  # of one laboratory; more change the figures little and the time a lot
MOST_TESTED = 200  # pictures on which the shortcut tests are made
MOST_SHOWN = 24  # failures on the page
BLUR_STEPS_UM = (0.0, 0.4, 0.8, 1.2, 1.8, 2.5)
Rows = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]


def evaluate(
    stage: Stage,
    *,
    data: Path,
    bundle: Path,
    um_per_px: float | None = None,
    leave_out: Collection[str] = (),
    allow_overlap: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Judged:
    """See above. `um_per_px` is of pictures whose scale nothing tells; of a laboratory in
    `leave_out` all pictures are judged."""
    loaded = load_bundle(bundle, threads=threads)
    read = stage_data(
        stage, data, um_per_px=um_per_px, leave_out=leave_out, to_train=False, progress=progress
    )
    val = read.side(Split.VAL)
    if not val:
        raise DataError(
            f"{data} has no picture on the side of val; add some, or folders train/ and val/"
        )
    notes = refuse_trained_on(stage, loaded, read, allowed=allow_overlap)
    tell = progress or (lambda _what, _done, _of: None)
    with steady(threads=threads):
        match stage:
            case Stage.VIABILITY:
                judged = _viability(loaded, val, data, tell)
            case Stage.DETECTION:
                judged = _detection(loaded, val, tell)
            case _:
                judged = _cells(stage, loaded, read, tell)
    return Judged(
        stage=stage,
        bundle=loaded.info.id,
        weights_sha256=loaded.manifest.stages.of(stage).sha256,
        classes=loaded.manifest.stages.of(stage).classes,
        unreadable=tuple(str(p) for p in read.unreadable),
        **{**judged, "notes": (*notes, *judged.get("notes", ()))},
    )


def refuse_trained_on(
    stage: Stage, bundle: Bundle, read: StageData, *, allowed: bool
) -> tuple[str, ...]:
    """A note where the overlap is allowed. Raises OverlapError where it is not."""
    trained: set[str] = set()
    for one in bundle.manifest.training_data:
        if (
            isinstance(one, dict)
            and one.get("stage") == stage.value
            and one.get("split") == "train"
        ):
            pictures = one.get("pictures")
            trained |= {str(p) for p in pictures} if isinstance(pictures, list) else set()
    judged = {
        d[:SHORT]
        for d, (p, _) in zip(read.digests, read.pictures, strict=True)
        if p.split is Split.VAL
    }
    both = len(judged & trained)
    if not both:
        return ()
    said = (
        f"{both} of {len(judged)} pictures are among those that stage {stage.number} was trained on"
    )
    if not allowed:
        raise OverlapError(f"{said}; take others, or allow it with --allow-overlap")
    return (said,)


def _viability(
    bundle: Bundle, val: Sequence[tuple[Picture, Pixels]], root: Path, tell: Progress
) -> dict[str, Any]:
    entry = bundle.manifest.stages.viability

    def p_of(pixels: Pixels, scale: tuple[float, float]) -> float:
        return viable_p(
            pixels,
            um_per_px=scale,
            background=background_of(pixels),
            network=bundle.networks[Stage.VIABILITY],
            entry=entry,
        )

    rng = np.random.default_rng(0)
    scales = [p.um_per_px or (bundle.info.um_per_px,) * 2 for p, _ in val]
    good_at = [i for i, (p, _) in enumerate(val) if p.label != "non_viable"]
    told_bad = [
        p_of(x, s) for (p, x), s in zip(val, scales, strict=True) if p.label == "non_viable"
    ]
    good: list[float] = []
    faults: dict[str, list[float]] = {name: [] for name in HELD_BACK}
    steps: list[list[float]] = []
    for n, i in enumerate(good_at):
        tell("judging", n, len(good_at))
        pixels, scale = val[i][1], scales[i]
        good.append(p_of(pixels, scale))
        if n % 2 == 0:
            for name, fault in HELD_BACK.items():
                faults[name].append(p_of(fault(pixels, min(scale), rng)[0], scale))
        if n % 8 == 0:
            steps.append([p_of(defocused(pixels, min(scale), s), scale) for s in BLUR_STEPS_UM])
    bad = [v for values in faults.values() for v in values] + told_bad
    truth = np.array([0] * len(good) + [1] * len(bad))
    p = np.array(good + bad)
    told = np.where(p >= entry.threshold, 0, 1)
    further = {
        "auc": auc(np.array(good), np.array(bad)),
        "good_refused": float((np.array(good) < entry.threshold).mean()),
        **{f"auc {n}": auc(np.array(good), np.array(v)) for n, v in faults.items() if v},
        **{
            f"mean p, blur {s:g} um": float(np.mean([row[k] for row in steps]))
            for k, s in enumerate(BLUR_STEPS_UM)
            if steps
        },
    }
    lots = [
        Lot(
            name="all",
            cells=len(p),
            figures=figures_of(truth, told, entry.classes),
            reliability=reliability_of(truth, np.c_[p, 1 - p]),
            further=further,
        )
    ]
    if is_collection(root):
        for name, pictures in (
            ("really blurred", blurred_fields(root)),
            ("no smear", not_smears(root)),
        ):
            seen, _ = readable(pictures)
            ps = np.array([p_of(x, q.um_per_px or (0.1, 0.1)) for q, x in seen])
            if len(ps):
                more = {
                    "auc": auc(np.array(good), ps),
                    "refused": float((ps < entry.threshold).mean()),
                    "median rank among good": float(
                        np.median(np.searchsorted(np.sort(good), ps) / len(good))
                    ),
                }
                lots.append(Lot(name=name, cells=len(ps), further=more))
    return {
        "lots": tuple(lots),
        "notes": (
            f"bad fields are made ({', '.join(HELD_BACK)}: none of them used in training), "
            "so this is a score on artificial faults",
        ),
    }


def _detection(
    bundle: Bundle, val: Sequence[tuple[Picture, Pixels]], tell: Progress
) -> dict[str, Any]:
    from training.tasks.detection import field_boxes

    entry = bundle.manifest.stages.detection
    loose = entry.model_copy(update={"confidence": min(entry.confidence, 0.01)})
    fields = []
    for n, (picture, pixels) in enumerate(val):
        tell("judging", n, len(val))
        fields.append(
            field_boxes(picture, pixels, network=bundle.networks[Stage.DETECTION], entry=loose)
        )
    labs = [p.laboratory for p, _ in val]
    lots = []
    for lab in sorted(set(labs)):
        of = [f for f, name in zip(fields, labs, strict=True) if name == lab]
        lots.append(
            Lot(
                name=lab,
                cells=sum(len(f.truth) for f in of),
                detection=detection_figures(
                    of, classes=len(DETECTION_CLASSES), confidence=entry.confidence
                ),
            )
        )
    whole = detection_figures(fields, classes=len(DETECTION_CLASSES), confidence=entry.confidence)
    every = Lot(name="all", cells=sum(len(f.truth) for f in fields), detection=whole)
    return {
        "lots": (every, *lots),
        "notes": ("where red cells are known to be labelled in part, they are not judged",),
    }


def _cells(stage: Stage, bundle: Bundle, read: StageData, tell: Progress) -> dict[str, Any]:
    entry = bundle.manifest.stages.of(stage)
    assert isinstance(entry, CropStage)  # noqa: S101  # stages 3 to 6
    classes = entry.classes
    every = cells_for(stage, read.side(Split.VAL))
    named = [c for c in every if len(c.allowed) == 1 and c.allowed[0] in classes]
    named = [c for lab in _labs(named) for c in _thinned(_of(named, lab), MOST_CELLS)]
    if not named:
        raise DataError("no cell with a label of this stage is on the side of val")
    p = _rows(stage, bundle, named, tell)
    truth = np.array([classes.index(c.allowed[0]) for c in named])
    labs = np.array([c.laboratory for c in named])
    lots = [_lot("all", truth, p, classes)]
    lots += [_lot(lab, truth[labs == lab], p[labs == lab], classes) for lab in _labs(named)]
    if stage in (Stage.MALIGNANCY, Stage.SUBTYPE):
        lots.append(_field_lot(stage, truth, p, named, classes))
    rejected = [c for c in every if not c.allowed]
    notes: list[str] = []
    if rejected and isinstance(entry, NamingStage):
        told = _accepted(_rows(stage, bundle, rejected, tell), entry)
        notes.append(
            f"{NOT_IDENTIFIABLE}: {(told < 0).mean():.3f} of {len(rejected)} are left unclassified"
        )
    return {
        "lots": tuple(lots),
        "baselines": _baselines(stage, read, classes),
        "tests": _tests(stage, bundle, read, classes, tell),
        "accepted": _coverage(truth, p, entry) if isinstance(entry, NamingStage) else (),
        "failures": _failures(named, truth, p, entry),
        "notes": tuple(notes),
    }


def _rows(stage: Stage, bundle: Bundle, cells: Sequence[CellSource], tell: Progress) -> Rows:
    """(N, K) probabilities, as the service gives them."""
    entry: Any = bundle.manifest.stages.of(stage)
    network = bundle.networks[stage]
    found: list[tuple[float, ...]] = []
    for start in range(0, len(cells), BATCH):
        tell("judging", start, len(cells))
        crops = cell_crops(
            cells[start : start + BATCH], field_um=entry.field_um, size_px=entry.input_px
        )
        match stage:
            case Stage.CELL_CLASS:
                found += cell_maps(crops, network=network, entry=entry).p
            case Stage.WBC_CLASS:
                found += wbc_class_p(crops, network=network, entry=entry)
            case Stage.MALIGNANCY:
                found += malignancy_p(crops, network=network, entry=entry)
            case _:
                found += subtype_p(crops, network=network, entry=entry)
    return np.array(found)


def _lot(name: str, truth: Indices, p: Rows, classes: Sequence[str]) -> Lot:
    return Lot(
        name=name,
        cells=len(truth),
        figures=figures_of(truth, p.argmax(axis=1), classes),
        reliability=reliability_of(truth, p),
    )


def _field_lot(
    stage: Stage, truth: Indices, p: Rows, cells: Sequence[CellSource], classes: Sequence[str]
) -> Lot:
    """Fields of several cells: the mean probability of their cells."""
    of = np.array([c.field for c in cells])
    numbers = [f for f in np.unique(of) if (of == f).sum() > 1]
    if not numbers:
        return Lot(name="fields", cells=0)
    mean = np.array([p[of == f].mean(axis=0) for f in numbers])
    label = np.array([truth[of == f][0] for f in numbers])
    further = {}
    if stage is Stage.MALIGNANCY:
        index = tuple(classes).index(Malignancy.MALIGNANT)
        further["auc"] = auc(mean[label == index, index], mean[label != index, index])
    return Lot(
        name="fields",
        cells=len(numbers),
        figures=figures_of(label, mean.argmax(axis=1), classes),
        reliability=reliability_of(label, mean),
        further=further,
    )


def _baselines(stage: Stage, read: StageData, classes: Sequence[str]) -> tuple[Shortcut, ...]:
    """What colour, corner and border alone give, from `train` to `val`, and whether they tell the
    laboratory."""
    usable = [(p, x) for p, x in read.pictures if p.label in classes and p.split is not Split.GAP]
    if stage is Stage.CELL_CLASS or not usable:
        return ()
    side = np.array([p.split is Split.TRAIN for p, _ in usable])
    truth = np.array([tuple(classes).index(p.label) for p, _ in usable])
    labs = sorted({p.laboratory for p, _ in usable})
    lab = np.array([labs.index(p.laboratory) for p, _ in usable])
    if not side.any() or side.all():
        return ()
    made = []
    for name, of in BASELINES.items():
        x = np.array([of(pixels) for _, pixels in usable])
        told = linear_baseline(x[side], truth[side], x[~side], classes=len(classes))
        made.append(Shortcut(name=name, accuracy=float((told == truth[~side]).mean())))
        if name == "colour histogram" and len(labs) > 1:
            told = linear_baseline(x[side], lab[side], x[~side], classes=len(labs))
            right = float((told == lab[~side]).mean())
            made.append(Shortcut(name="laboratory, from its colours", accuracy=right))
    return tuple(made)


def _tests(
    stage: Stage, bundle: Bundle, read: StageData, classes: Sequence[str], tell: Progress
) -> tuple[Shortcut, ...]:
    """The same cells of the same pictures, the pictures changed."""
    val = _thinned([(p, x) for p, x in read.side(Split.VAL) if p.label in classes], MOST_TESTED)
    cells = [c for c in cells_for(stage, val) if c.allowed and c.allowed[0] in classes]
    cells = _thinned(cells, 2 * MOST_TESTED)
    if not cells:
        return ()
    truth = np.array([tuple(classes).index(c.allowed[0]) for c in cells])
    before = _rows(stage, bundle, cells, tell).argmax(axis=1)
    made = [Shortcut(name="unchanged", accuracy=float((before == truth).mean()), changed=0.0)]
    for name, change in TESTS.items():
        pictures: dict[int, Pixels] = {}
        changed = []
        for cell in cells:
            if id(cell.pixels) not in pictures:
                pictures[id(cell.pixels)] = change(cell.pixels)
            changed.append(_with(cell, pictures[id(cell.pixels)]))
        after = _rows(stage, bundle, changed, tell).argmax(axis=1)
        made.append(
            Shortcut(
                name=name,
                accuracy=float((after == truth).mean()),
                changed=float((after != before).mean()),
            )
        )
    return tuple(made)


def _with(cell: CellSource, pixels: Pixels) -> CellSource:
    return replace(cell, pixels=pixels, ground=background_of(pixels))


def _accepted(p: Rows, entry: NamingStage) -> Indices:
    """The class told, -1 where it is rejected."""
    best = p.argmax(axis=1)
    least = np.array([entry.reject_below[name] for name in entry.classes])
    told: Indices = np.where(p.max(axis=1) >= least[best], best, -1)
    return told


def _coverage(truth: Indices, p: Rows, entry: NamingStage) -> tuple[tuple[str, float, float], ...]:
    told = _accepted(p, entry)
    rows = []
    for i, name in enumerate((*entry.classes, "all")):
        of = truth == i if i < len(entry.classes) else np.ones(len(truth), bool)
        if of.any():
            kept = of & (told >= 0)
            right = float((told[kept] == truth[kept]).mean()) if kept.any() else float("nan")
            rows.append((name, float(kept.sum() / of.sum()), right))
    return tuple(rows)


def _failures(
    cells: Sequence[CellSource], truth: Indices, p: Rows, entry: CropStage
) -> tuple[Failure, ...]:
    """The most confident mistakes."""
    best = p.argmax(axis=1)
    wrong = sorted(np.flatnonzero(best != truth), key=lambda i: -p[i, best[i]])[:MOST_SHOWN]
    shown = []
    for i in map(int, wrong):
        crop = cell_crops([cells[i]], field_um=entry.field_um, size_px=112).pixels[0]
        shown.append(
            Failure(
                source=cells[i].source,
                truth=entry.classes[truth[i]],
                told=entry.classes[best[i]],
                p=float(p[i, best[i]]),
                pixels=crop,
            )
        )
    return tuple(shown)


def _labs(cells: Sequence[CellSource]) -> tuple[str, ...]:
    return tuple(sorted({c.laboratory for c in cells}))


def _of(cells: Sequence[CellSource], lab: str) -> list[CellSource]:
    return [c for c in cells if c.laboratory == lab]


def _thinned(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most`, evenly taken."""
    return list(items[:: max(1, -(-len(items) // most))])
