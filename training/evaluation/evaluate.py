"""Judge one stage of a bundle on labelled pictures, with the shortcuts beside the score.

In      a bundle folder (loaded as strictly as the service does), a data folder in the forms that
        training takes
Out     Judged; training.evaluation.pages draws it
Errors  BundleError for a bundle that does not fit; OverlapError where pictures are those that the stage
        was trained on; DataError as in training. Nothing is written here.
The pictures of the side `val` are judged, through the same functions as in the service. Of large sets an
even sample is taken before anything is decoded (training.evaluation.judged.Sizes).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from domain.cells import Stage
from inference.bundle import Bundle, load_bundle
from inference.engine import steady
from training.errors import DataError, OverlapError
from training.evaluation.judge_cells import judged_cells
from training.evaluation.judge_fields import judged_detection, judged_viability
from training.evaluation.judged import Judged, Sizes, sampled
from training.evaluation.workers import Progress, silent, workers_of
from training.pictures import Picture, Shows, Split
from training.stage_data import SHORT, stage_data

__all__ = ["evaluate", "refuse_trained_on"]

NAMING = (Stage.WBC_CLASS, Stage.MALIGNANCY, Stage.SUBTYPE)


def evaluate(
    stage: Stage,
    *,
    data: Path,
    bundle: Path | Bundle,
    sizes: Sizes | None = None,
    um_per_px: float | None = None,
    leave_out: Collection[str] = (),
    allow_overlap: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Judged:
    """See above. `um_per_px` is of pictures whose scale nothing tells; pictures of a laboratory in
    `leave_out` all count as `val`. `threads` is how many items are read at once and changes no number.
    A bundle may be given loaded, so that several stages share it."""
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle, threads=1)
    sizes, tell, workers = sizes or Sizes(), progress or silent, workers_of(threads)
    read = stage_data(
        stage,
        data,
        um_per_px=um_per_px,
        leave_out=leave_out,
        to_train=False,
        choose=lambda pictures: _wanted(stage, pictures, sizes),
        progress=progress,
    )
    val = read.side(Split.VAL)
    if not val:
        raise DataError(
            f"{data} has no picture on the side of val; add some, or folders train/ and val/"
        )
    digests = [
        d for d, (p, _) in zip(read.digests, read.pictures, strict=True) if p.split is Split.VAL
    ]
    notes = refuse_trained_on([stage], loaded, digests, allowed=allow_overlap)
    with steady(threads=1):
        match stage:
            case Stage.VIABILITY:
                judged = judged_viability(loaded, val, root=data, workers=workers, tell=tell)
            case Stage.DETECTION:
                judged = judged_detection(loaded, val, workers=workers, tell=tell)
            case _:
                judged = judged_cells(
                    stage, loaded, read, root=data, sizes=sizes, workers=workers, tell=tell
                )
    return replace(
        judged,
        unreadable=tuple(str(p) for p in read.unreadable),
        notes=(*notes, *judged.notes),
    )


def refuse_trained_on(
    stages: Iterable[Stage], bundle: Bundle, digests: Sequence[str], *, allowed: bool
) -> tuple[str, ...]:
    """A note for each stage that was trained on pictures of these content hashes, where that is
    allowed. Raises OverlapError where it is not."""
    judged = {d[:SHORT] for d in digests}
    notes = []
    for stage in stages:
        trained: set[str] = set()
        for one in bundle.manifest.training_data:
            if (
                isinstance(one, dict)
                and one.get("stage") == stage.value
                and one.get("split") == "train"
            ):
                pictures = one.get("pictures")
                trained |= {str(p) for p in pictures} if isinstance(pictures, list) else set()
        both = len(judged & trained)
        if not both:
            continue
        said = (
            f"{both} of {len(judged)} pictures are among those that stage {stage.number} was "
            "trained on"
        )
        if not allowed:
            raise OverlapError(f"{said}; take others, or allow it with --allow-overlap")
        notes.append(said)
    return tuple(notes)


def _wanted(stage: Stage, pictures: Sequence[Picture], sizes: Sizes) -> list[Picture]:
    """An even sample of each laboratory, label and side. Stages without a baseline need no `train`."""
    kept: list[Picture] = []
    lots: dict[tuple[str, ...], list[Picture]] = {}
    for picture in pictures:
        if stage is Stage.WBC_CLASS and _of_field_only(picture):
            continue  # its cells have no single name
        key = (picture.laboratory, picture.label, picture.white_class, picture.split)
        lots.setdefault(key if stage in NAMING else (key[0], key[1], key[3]), []).append(picture)
    for of in lots.values():
        match of[0].split:
            case Split.VAL:
                kept += sampled(of, sizes.pictures)
            case Split.TRAIN if stage in NAMING:
                kept += sampled(of, sizes.train)
            case _:
                pass
    chosen = {id(p) for p in kept}
    return [p for p in pictures if id(p) in chosen]


def _of_field_only(picture: Picture) -> bool:
    return picture.shows is Shows.FIELD and not picture.boxes
