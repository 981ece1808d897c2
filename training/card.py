"""A bundle's MODEL_CARD.md: what a person wrote of it, then every figure of its evaluation.

In      the prose (intended use, data and licences, limits), the manifest, the reports that `leukonode
        evaluate` wrote of the same weights
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

MOST_FAILURES = 8  # of a stage; all of them are on the page that evaluate draws
Report = Mapping[str, Any]


def read_reports(folder: Path, weights_sha256: Mapping[Stage, str]) -> dict[Stage, Report]:
    """The JSON of each stage that lies there. Raises CardError where one is of other weights."""
    found: dict[Stage, Report] = {}
    for stage in Stage:
        path = folder / f"{stage.number}-{stage.value.replace('_', '-')}.json"
        if not path.is_file():
            continue
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["weights_sha256"] != weights_sha256[stage]:
            raise CardError(
                f"{path} is of weights {report['weights_sha256'][:12]}, the bundle's are "
                f"{weights_sha256[stage][:12]}; evaluate this bundle and name that folder"
            )
        found[stage] = report
    if not found:
        raise CardError(f"{folder} holds no report; run leukonode evaluate all --out {folder}")
    return found


def model_card(prose: str, manifest: Mapping[str, Any], reports: Mapping[Stage, Report]) -> str:
    """See above. A stage without a report says that it was not evaluated."""
    lines = [prose.rstrip(), "", "## What was trained on", "", *_sets(manifest), ""]
    lines += ["## Figures", ""]
    lines += [
        "Measured with `leukonode evaluate` on the pictures of the side `val`, which no weight was fitted "
        "to; temperatures and thresholds were. Intervals are 95 %.",
        "",
    ]
    for stage in Stage:
        lines += [f"### Stage {stage.number}: {stage.value.replace('_', ' ')}", ""]
        report = reports.get(stage)
        lines += _stage(report) if report else ["Not evaluated.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _sets(manifest: Mapping[str, Any]) -> list[str]:
    rows = ["| stage | set | side | pictures |", "|---|---|---|---|"]
    rows += [
        f"| {Stage(one['stage']).number} | {one['set']} | {one['split']} | {len(one['pictures'])} |"
        for one in manifest["training_data"]
    ]
    return [*rows, "", "The manifest names each picture by the beginning of its content hash."]


def _stage(report: Report) -> list[str]:
    lines = ["| lot | cells | accuracy | macro F1 | calibration error |", "|---|---|---|---|---|"]
    judged = [lot for lot in report["lots"] if lot["figures"]]
    lines += [
        f"| {lot['name']} | {lot['cells']} | {_share(lot['figures']['accuracy'])} | "
        f"{_number(lot['figures']['macro'][2])} | "
        f"{_number(lot['reliability']['ece']) if lot['reliability'] else ''} |"
        for lot in judged
    ]
    lines = [*lines, ""] if judged else []
    lines += _boxes(report)
    lines += _further(report)
    if judged:
        lines += _classes(judged[0], report["classes"])
    lines += _shortcuts(report)
    if report["accepted"]:
        lines += ["| class told | accepted | right of the accepted |", "|---|---|---|"]
        lines += [f"| {n} | {_number(k)} | {_number(r)} |" for n, k, r in report["accepted"]]
        lines += [""]
    lines += [f"- {note}" for note in report["notes"]]
    if report["failures"]:
        lines += ["", "Most confident mistakes, by set and file:", ""]
        lines += [
            f"- {f['source']}: {f['truth']} told {f['told']} ({f['p']:.2f})"
            for f in report["failures"][:MOST_FAILURES]
        ]
    return [*lines, ""]


def _boxes(report: Report) -> list[str]:
    judged = [lot for lot in report["lots"] if lot["detection"]]
    if not judged:
        return []
    lines = ["| lot | boxes | class | AP@.5 | AP@.5:.95 | precision | recall |", "|" + "---|" * 7]
    for lot in judged:
        figures = lot["detection"]
        columns = (figures[k] for k in ("ap50", "ap", "precision", "recall"))
        lines += [
            f"| {lot['name']} | {lot['cells']} | {name} | {_number(ap50)} | {_number(ap)} | "
            f"{_share(precision)} | {_share(recall)} |"
            for name, ap50, ap, precision, recall in zip(report["classes"], *columns, strict=True)
        ]
    return [*lines, ""]


def _further(report: Report) -> list[str]:
    rows = [
        f"- {lot['name']}: {name} {_number(value)}"
        for lot in report["lots"]
        for name, value in lot["further"].items()
    ]
    return [*rows, ""] if rows else []


def _classes(lot: Report, classes: list[str]) -> list[str]:
    lines = ["| class | precision | recall | F1 | support |", "|---|---|---|---|---|"]
    lines += [
        f"| {c['name']} | {_share(c['precision'])} | {_share(c['recall'])} | {_number(c['f1'])} | "
        f"{c['support']} |"
        for c in lot["figures"]["classes"]
    ]
    lines += [
        "",
        f"Confusion, rows true, columns told, in the order {', '.join(classes)}:",
        "",
        "```",
    ]
    lines += [" ".join(f"{v:5d}" for v in row) for row in lot["figures"]["confusion"]]
    return [*lines, "```", ""]


def _shortcuts(report: Report) -> list[str]:
    rows = [f"| {s['name']} | {_number(s['accuracy'])} | |" for s in report["baselines"]]
    rows += [
        f"| {s['name']} (test) | {_number(s['accuracy'])} | {_number(s['changed'])} |"
        for s in report["tests"]
    ]
    if not rows:
        return []
    return ["| shortcut | accuracy | answers changed |", "|---|---|---|", *rows, ""]


def _share(one: Mapping[str, Any]) -> str:
    if not one["of"]:
        return "no cell"
    return f"{one['count'] / one['of']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"
