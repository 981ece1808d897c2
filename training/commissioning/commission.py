"""Commission a bundle for one laboratory: re-estimate what should be, judge it, write a derived bundle.

In      a bundle, a folder of the laboratory's fields, labelled cells if there are any
Out     Commissioned: the derived bundle's folder, and for every stage before, after, and why
Errors  DataError, OverlapError, BundleError: one line, before anything is written
The same pictures, labels, bundle and date give the same bytes (on the same engine and processor).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domain.analysis import BundleInfo
from domain.cells import Stage
from inference.bundle import Bundle, load_bundle
from inference.engine import steady
from inference.manifest import Manifest, read_manifest
from training.commissioning.bundle import (
    Site,
    derived_id,
    refuse_existing,
    write_derived,
)
from training.commissioning.cell_class import cell_class_outcome
from training.commissioning.fields import ReadField, read_fields, viability_outcome
from training.commissioning.naming import enough_cells, naming_outcome
from training.commissioning.outcome import Outcome
from training.commissioning.site import (
    NAMING,
    LabelledCell,
    SiteField,
    labelled_cells,
    site_fields,
)
from training.commissioning.stain import stain_outcome
from training.errors import DataError, OverlapError
from training.stage_data import SHORT

__all__ = ["Commissioned", "commission"]

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
MOST_ID = 64  # characters, as the manifest allows
FEWEST_FIELDS = 5
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Commissioned:
    """`left_out` names each picture that was not used, and why; `notes` are for the person."""

    info: BundleInfo
    outcomes: tuple[Outcome, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def commission(
    bundle: Path,
    *,
    images: Path,
    out: Path,
    now: datetime,
    labels: Path | None = None,
    site: str = "site",
    um_per_px: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Commissioned:
    """`um_per_px` is of pictures that do not tell; `now` becomes the date in the manifest."""
    tell = progress or (lambda _what, _done, _of: None)
    refuse_existing(out)
    if not SITE.fullmatch(site):
        raise DataError(
            f"the site's name '{site}' must be 1 to 32 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit; it becomes a part of the bundle's id"
        )
    manifest, _ = read_manifest(bundle)
    if len(derived_id(manifest.id, site)) > MOST_ID:
        raise DataError(f"'{derived_id(manifest.id, site)}' is too long an id; shorten the site")
    fields, left_out = site_fields(images, um_per_px=um_per_px, tell=tell)
    if len(fields) < FEWEST_FIELDS:
        raise DataError(
            f"{images} holds {len(fields)} fields that can be used, and at least {FEWEST_FIELDS} are "
            f"needed{'; left out: ' + left_out[0] if left_out else ''}"
        )
    cells: list[LabelledCell] = []
    if labels is not None:
        cells, more = labelled_cells(
            labels, fields, manifest=manifest, um_per_px=um_per_px, tell=tell
        )
        left_out += more
    for stage in NAMING:
        own = [c for c in cells if c.stage is stage]
        if own:
            enough_cells(stage, own)
            _refuse_trained_on(manifest, stage, own)
    loaded = load_bundle(bundle, threads=threads)
    with steady(threads=threads):
        read, more, outcomes = _judged(loaded, fields, cells, tell)
    left_out += more
    notes = _notes(read, cells, outcomes, manifest)
    info = write_derived(
        bundle,
        loaded,
        out,
        outcomes=outcomes,
        site=Site(
            name=site,
            now=now,
            fields=tuple(f.site.digest[:SHORT] for f in read),
            cells=_digests(cells),
            notes=tuple(notes),
        ),
    )
    return Commissioned(
        info=info, outcomes=tuple(outcomes), left_out=tuple(left_out), notes=tuple(notes)
    )


def _judged(
    loaded: Bundle, fields: Sequence[SiteField], cells: Sequence[LabelledCell], tell: Progress
) -> tuple[list[ReadField], list[str], list[Outcome]]:
    """Fields are read with the parent's networks before any of them changes."""
    keep = frozenset(c.picture for c in cells if c.on_field)
    read, left_out = read_fields(fields, loaded, keep=keep, tell=tell)
    known = {f.site.name for f in read}
    lost = sorted({c.picture for c in cells if c.on_field and c.picture not in known})
    if lost:
        raise DataError(
            f"{lost[0]} has labelled cells and cannot be read by this bundle; take its lines out"
        )
    outcomes = [
        stain_outcome(read, loaded),
        viability_outcome(read, loaded, tell=tell),
        cell_class_outcome(read, loaded, tell=tell),
    ]
    for stage in NAMING:
        own = [c for c in cells if c.stage is stage]
        outcomes.append(naming_outcome(stage, loaded, own, read, tell=tell))
    return read, left_out, outcomes


def _refuse_trained_on(manifest: Manifest, stage: Stage, cells: Sequence[LabelledCell]) -> None:
    """Raises OverlapError: on such cells the parent is too good to compare with."""
    trained: set[str] = set()
    for one in manifest.training_data:
        if isinstance(one, dict) and (one.get("stage"), one.get("split")) == (stage.value, "train"):
            pictures = one.get("pictures")
            trained |= {str(p) for p in pictures} if isinstance(pictures, list) else set()
    both = sorted({c.picture for c in cells if c.digest[:SHORT] in trained})
    if both:
        raise OverlapError(
            f"stage {stage.number} of '{manifest.id}' was trained on {len(both)} of the labelled "
            f"pictures, first {both[0]}; give cells that it has not seen"
        )


def _digests(cells: Sequence[LabelledCell]) -> dict[Stage, tuple[str, ...]]:
    return {
        stage: tuple(own)
        for stage in NAMING
        if (own := [c.digest[:SHORT] for c in cells if c.stage is stage])
    }


def _notes(
    read: Sequence[ReadField],
    cells: Sequence[LabelledCell],
    outcomes: Sequence[Outcome],
    manifest: Manifest,
) -> list[str]:
    """What a person should know of the pictures, and of what they could not teach."""
    notes = []
    refitted = {o.stage for o in outcomes if o.rewritten}
    for stage in NAMING:
        named = {c.label for c in cells if c.stage is stage}
        missing = [c for c in manifest.stages.of(stage).classes if c not in named]
        if stage in refitted and missing:
            notes.append(
                f"stage {stage.number} had no labelled cells of {', '.join(missing)}, and may "
                "now call them one of the others; label them too where the laboratory sees them"
            )
    unknown = sum(not f.scale_known for f in read)
    if unknown:
        notes.append(
            f"{unknown} of {len(read)} fields are of unknown scale and were read as they are"
        )
    odd = sum(f.out_of_range for f in read)
    if odd:
        notes.append(f"{odd} of {len(read)} fields are outside the bundle's range of scales")
    unscaled = sum(c.um_per_px is None and not c.on_field for c in cells)
    if unscaled:
        notes.append(
            f"{unscaled} of {len(cells)} labelled pictures are of unknown scale, and each was taken to "
            "fill the square that its stage sees"
        )
    return notes
