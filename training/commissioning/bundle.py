"""A bundle derived from another one: what was found better written over, all else as it was.

In      the parent's folder and loaded networks, an Outcome a stage, the pictures that were used
Out     a bundle folder, written beside and renamed, that loads as strictly as any other; files of stages
        that did not change are the parent's, byte for byte
Errors  BundleExists where something is
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from domain.analysis import BundleInfo
from domain.cells import Stage
from inference.bundle import Bundle, load_bundle
from inference.errors import BundleExists
from inference.manifest import FORMAT, MANIFEST_NAME, Storage
from inference.storage import packed
from training.commissioning.choice import Score
from training.commissioning.outcome import Outcome

__all__ = [
    "CARD",
    "Site",
    "derived_id",
    "recorded",
    "refuse_existing",
    "table_of",
    "verdicts_of",
    "write_derived",
]

CARD = "MODEL_CARD.md"
MOST_VERSION = 32  # characters, as the manifest allows


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a bundle is commissioned, when, and on what: hashes of the decoded pixels. `notes` are
    lines for the card."""

    name: str
    now: datetime
    fields: tuple[str, ...]
    cells: Mapping[Stage, tuple[str, ...]]
    notes: tuple[str, ...]


def derived_id(parent: str, site: str) -> str:
    """PARENT-SITE."""
    return f"{parent}-{site}"


def refuse_existing(folder: Path) -> None:
    """Raises BundleExists."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleExists(f"{folder} exists and is not empty; name a new folder")


def write_derived(
    parent_folder: Path, parent: Bundle, folder: Path, *, outcomes: Sequence[Outcome], site: Site
) -> BundleInfo:
    """The networks of `parent` hold what changed. All or nothing."""
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    made = beside / folder.name
    made.mkdir()
    try:
        document = _document(parent_folder, parent, outcomes, site)
        for stage in Stage:
            entry = parent.manifest.stages.of(stage)
            if any(o.rewritten for o in outcomes if o.stage is stage):
                state = {n: t.contiguous() for n, t in parent.networks[stage].state_dict().items()}
                state = packed(state) if entry.storage is Storage.INT8 else state
                save_file(state, made / entry.file)
            else:
                shutil.copyfile(parent_folder / entry.file, made / entry.file)
            with (made / entry.file).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            document["stages"][stage.value]["sha256"] = digest
        (made / MANIFEST_NAME).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (made / CARD).write_text(_card(parent_folder, parent, outcomes, site), encoding="utf-8")
        info = load_bundle(made).info
        for written in made.iterdir():
            written.chmod(0o644)
        made.chmod(0o755)
        made.rename(folder)  # onto nothing or an empty folder
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return info


def table_of(outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Columns and rows: every figure before and after. What was not judged has none."""
    rows = []
    for outcome in outcomes:
        for before, after in zip(outcome.before, outcome.after, strict=True):
            of = str(before.of) if before.of == after.of else f"{before.of}, {after.of}"
            rows.append([outcome.name, before.name, _figure(before), _figure(after), of])
    return ("stage", "figure", "parent", "commissioned", "of"), rows


def verdicts_of(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each stage: what became of it, and why."""
    lines = []
    for outcome in outcomes:
        what = f"new {', '.join(outcome.changed)}" if outcome.changed else "parent's kept"
        gain = f"; {outcome.gain.name} {_figure(outcome.gain)}" if outcome.gain else ""
        lines.append(f"{outcome.name}: {what}; {outcome.why}{gain}")
    return lines


def _figure(score: Score) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _document(
    parent_folder: Path, parent: Bundle, outcomes: Sequence[Outcome], site: Site
) -> dict[str, Any]:
    """The parent's manifest, its own words kept, with what is new."""
    document: dict[str, Any] = json.loads((parent_folder / MANIFEST_NAME).read_bytes())
    date = site.now.date().isoformat()
    version = f"+{date.replace('-', '')}"
    document |= {
        "format": f"{FORMAT[0]}.{FORMAT[1]}",
        "id": derived_id(parent.info.id, site.name),
        "version": parent.info.version[: MOST_VERSION - len(version)] + version,
        "commissioned": {
            "site": site.name,
            "date": date,
            "parent": parent.info.manifest_sha256,
        },
        "training_data": [
            *document.get("training_data", []),
            *(
                {
                    "stage": stage.value,
                    "set": site.name,
                    "split": "train",
                    "pictures": sorted(set(pictures)),
                }
                for stage, pictures in sorted(site.cells.items())
            ),
        ],
        "metrics": {
            **document.get("metrics", {}),
            "commissioning": {
                "fields": sorted(site.fields),
                "notes": list(site.notes),
                "stages": [recorded(o) for o in outcomes],
            },
        },
    }
    for outcome in outcomes:
        if outcome.stage is not None:
            document["stages"][outcome.stage.value] |= outcome.entry
        document |= outcome.manifest
    return document


def recorded(outcome: Outcome) -> dict[str, Any]:
    """As JSON, for the manifest and for scripts."""
    return {
        "stage": outcome.stage.value if outcome.stage else "gate",
        "changed": list(outcome.changed),
        "why": outcome.why,
        "before": [_rounded(s) for s in outcome.before],
        "after": [_rounded(s) for s in outcome.after],
        "gain": _rounded(outcome.gain) if outcome.gain else None,
    }


def _rounded(score: Score) -> dict[str, Any]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(score).items()}


def _card(parent_folder: Path, parent: Bundle, outcomes: Sequence[Outcome], site: Site) -> str:
    """The commissioning chapter, and the parent's own card behind it, word for word."""
    columns, rows = table_of(outcomes)
    table = "\n".join(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows))
    changed = [o for o in outcomes if o.changed]
    better = (
        f"Better on cells that nothing was fitted on: {', '.join(o.name for o in changed)}."
        if changed
        else "Nothing was found to be better, and every stage keeps the parent's numbers."
    )
    cells = sum(len(c) for c in site.cells.values())
    verdicts = "".join(f"- {line}\n" for line in verdicts_of(outcomes))
    notes = "".join(f"- {note}\n" for note in site.notes)
    try:
        card = (parent_folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        card = "The parent has no card."
    return f"""# {derived_id(parent.info.id, site.name)}

Derived from the bundle `{parent.info.id}` {parent.info.version} by commissioning it for one laboratory. The
parent's card follows below. Its figures are of the parent, on the parent's data.

## Commissioning: {site.name}, {site.now.date().isoformat()}

Parent's manifest, SHA-256: `{parent.info.manifest_sha256}`. {len(site.fields)} fields and {cells} labelled
cells of the laboratory were used; the manifest names them by the hash of their pixels.

{better}

{verdicts}
{table}

Both columns are of the same cells, and none of these was fitted on: pictures were dealt out into five
folds of neighbouring names, and each was told by what the other four gave. Intervals are 95 %: exact for
shares, by drawing pictures anew for the others. Mean recall and log loss give each labelled class the
same weight. Stage 1 is judged on fields that are good by the laboratory's word and on spoiled copies of
them, stage 3 by what stage 2 takes the cells for. New weights and temperatures are only
taken where the whole interval of the gain is above zero; thresholds and the gate's centre where the figure
itself is better. Classes without labelled cells keep the parent's weights, and their thresholds but for a
change of the temperature. Figures of so
few cells say little about rare classes, and nothing about other laboratories.

{notes}
---

{card}"""
