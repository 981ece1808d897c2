"""A bundle's MODEL_CARD.md: what a person wrote of it, then the tables of its evaluation as they are.

In      the prose (intended use, data and licences, limits), the manifest, the folder that
        `leukonode evaluate` wrote of the same weights
Out     Markdown
Errors  CardError where a report is of other weights than the bundle's
Figures are copied, never retyped: a card cannot say another number than the report.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domain.cells import Stage
from training.errors import CardError

__all__ = ["model_card", "read_reports"]

CASCADE = "cascade"


def read_reports(
    folder: Path, *, weights_sha256: Mapping[Stage, str], manifest_sha256: str
) -> dict[str, str]:
    """The tables of each stage and of the cascade that lie there, by title. Raises CardError where
    one is of other weights."""
    names = {f"{s.number}-{s.value.replace('_', '-')}": s for s in Stage}
    found: dict[str, str] = {}
    for name in (*names, CASCADE):
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        report = json.loads(path.read_text(encoding="utf-8"))
        is_of, wanted = (
            (report["manifest_sha256"], manifest_sha256)
            if name == CASCADE
            else (report["weights_sha256"], weights_sha256[names[name]])
        )
        if is_of != wanted:
            raise CardError(
                f"{path} is of {is_of[:12]}, the bundle has {wanted[:12]}; evaluate this bundle "
                "and name that folder"
            )
        title = (
            "The whole cascade"
            if name == CASCADE
            else f"Stage {names[name].number}: {names[name].value.replace('_', ' ')}"
        )
        found[title] = path.with_suffix(".txt").read_text(encoding="utf-8")
    if not found:
        raise CardError(f"{folder} holds no report; run leukonode evaluate all --out {folder}")
    return found


def model_card(prose: str, manifest: Mapping[str, Any], reports: Mapping[str, str]) -> str:
    """See above."""
    lines = [prose.rstrip(), "", "## What was trained on", ""]
    lines += ["| stage | set | side | pictures |", "|---|---|---|---|"]
    lines += [
        f"| {Stage(one['stage']).number} | {one['set']} | {one['split']} | {len(one['pictures'])} |"
        for one in manifest["training_data"]
    ]
    lines += ["", "The manifest names each picture by the beginning of its content hash.", ""]
    lines += [
        "## Figures",
        "",
        "Measured with `leukonode evaluate` on the pictures of the side `val`. No weight was fitted to them; "
        "the best epoch, temperatures, thresholds, stage 2's confidence and the gate's limits were chosen on "
        "them. Intervals are 95 %.",
        "",
    ]
    for title, text in reports.items():
        lines += [f"### {title}", "", "```", text.rstrip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"
