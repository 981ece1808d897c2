"""Judged as files: JSON, the thesis's tables as text, plots as PNG, one page in HTML.

In      Judged of one or more stages, a folder
Out     `<stage>.json`, `<stage>.txt`, `<stage>-confusion.png`, `<stage>-reliability.png`, and
        `index.html` with all of it and the failures drawn in; the page needs no other file
"""

import base64
import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.average_precision import DetectionFigures
from training.judged import Judged
from training.metrics import Figures, Share

__all__ = ["as_json", "as_text", "write_pages"]

STYLE = """body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
pre{background:#f6f6f6;padding:1em;overflow-x:auto;font-size:13px}img{max-width:100%}
figure{display:inline-block;margin:.3em;width:8em;font-size:11px;vertical-align:top}
figure img{width:8em}"""


def write_pages(judged: Sequence[Judged], folder: Path) -> list[Path]:
    """Write all files; those of the same name are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for one in judged:
        name = f"{one.stage.number}-{one.stage.value.replace('_', '-')}"
        files: dict[str, bytes] = {
            f"{name}.json": (json.dumps(as_json(one), indent=1) + "\n").encode(),
            f"{name}.txt": as_text(one).encode(),
            **{f"{name}-{what}.png": png for what, png in _plots(one).items()},
        }
        for file, data in files.items():
            (folder / file).write_bytes(data)
            written.append(folder / file)
    (folder / "index.html").write_text(_page(judged), encoding="utf-8")
    return [*written, folder / "index.html"]


def as_json(judged: Judged) -> dict[str, Any]:
    """Without the failures' pixels; what is not known is null."""
    document = asdict(judged)
    for failure in document["failures"]:
        del failure["pixels"]
    known: dict[str, Any] = _known(document)
    return known


def as_text(judged: Judged) -> str:
    """The tables."""
    stage = judged.stage
    lines = [
        f"Stage {stage.number} {stage.value}, bundle {judged.bundle}, weights {judged.weights_sha256[:12]}"
    ]
    for lot in judged.lots:
        lines += ["", f"== {lot.name}: {lot.cells}"]
        if lot.figures:
            lines += _figures(lot.figures)
        if lot.detection:
            lines += _detection(lot.detection, judged.classes)
        if lot.reliability:
            lines.append(f"expected calibration error {lot.reliability.ece:.4f}")
        lines += [f"{name}: {value:.4f}" for name, value in lot.further.items()]
    if judged.baselines:
        lines += ["", "== shortcut baselines (no cell is looked at)"]
        lines += [f"{s.name:<32}{s.accuracy:.4f}" for s in judged.baselines]
    if judged.tests:
        lines += ["", "== shortcut tests            accuracy  answers changed"]
        lines += [f"{s.name:<28} {s.accuracy:8.4f}  {s.changed or 0:8.4f}" for s in judged.tests]
    if judged.accepted:
        lines += ["", "== accepted                        share   right of it"]
        lines += [f"{name:<32} {kept:7.4f}  {right:7.4f}" for name, kept, right in judged.accepted]
    if judged.unreadable:
        lines += ["", f"== {len(judged.unreadable)} files could not be read", *judged.unreadable]
    if judged.notes:
        lines += ["", *(f"note: {note}" for note in judged.notes)]
    if judged.failures:
        lines += ["", "== most confident mistakes"]
        lines += [f"{f.source}: {f.truth} told {f.told} ({f.p:.3f})" for f in judged.failures]
    return "\n".join(lines) + "\n"


def _figures(of: Figures) -> list[str]:
    lines = [f"{'class':<28}{'precision':<24}{'recall':<24}{'F1':<8}support"]
    lines += [
        f"{c.name:<28}{_share(c.precision):<24}{_share(c.recall):<24}{c.f1:<8.4f}{c.support}"
        for c in of.classes
    ]
    for name, mean in (("macro mean", of.macro), ("weighted mean", of.weighted)):
        lines.append(f"{name:<28}{mean[0]:<24.4f}{mean[1]:<24.4f}{mean[2]:<8.4f}")
    lines.append(f"accuracy {_share(of.accuracy)}")
    lines += [
        "confusion, rows true, columns told",
        *(" ".join(f"{v:6d}" for v in r) for r in of.confusion),
    ]
    return lines


def _detection(of: DetectionFigures, classes: Sequence[str]) -> list[str]:
    lines = [f"{'class':<22}{'AP@.5':<9}{'AP@.5:.95':<11}{'precision':<24}recall"]
    lines += [
        f"{name:<22}{ap50:<9.4f}{ap:<11.4f}{_share(p):<24}{_share(r)}"
        for name, ap50, ap, p, r in zip(
            classes, of.ap50, of.ap, of.precision, of.recall, strict=True
        )
    ]
    return [*lines, f"{'mean':<22}{of.map50:<9.4f}{of.map:<11.4f}"]


def _share(one: Share) -> str:
    if not one.of:
        return "-"
    return f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f})"


def _plots(judged: Judged) -> dict[str, bytes]:
    from matplotlib.figure import Figure

    made: dict[str, bytes] = {}
    first = next((lot for lot in judged.lots if lot.figures), None)
    if first is not None and first.figures is not None:
        table = np.array(first.figures.confusion, dtype=float)
        share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        figure = Figure(figsize=(7, 6))
        axes = figure.add_subplot()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(
            range(len(judged.classes)), judged.classes, rotation=60, ha="right", fontsize=7
        )
        axes.set_yticks(range(len(judged.classes)), judged.classes, fontsize=7)
        axes.set_xlabel("told")
        axes.set_ylabel("true")
        for (row, column), value in np.ndenumerate(table):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour
            )
        made["confusion"] = _png(figure)
    if first is not None and first.reliability is not None:
        figure = Figure(figsize=(5, 5))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        bins = first.reliability.bins
        axes.plot([b[0] for b in bins], [b[1] for b in bins], marker="o")
        axes.set_xlabel("probability told")
        axes.set_ylabel("share right")
        axes.set_title(f"expected calibration error {first.reliability.ece:.3f}")
        made["reliability"] = _png(figure)
    return made


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _page(judged: Sequence[Judged]) -> str:
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Evaluation</title>"
        f"<style>{STYLE}</style><h1>Evaluation</h1>"
        "<p>Research use only. No figure here is evidence for clinical use.</p>"
    ]
    for one in judged:
        parts.append(f"<h2>Stage {one.stage.number}: {html.escape(one.stage.value)}</h2>")
        parts += [
            f"<p><img alt='{what}' src='{_inline(png)}'></p>" for what, png in _plots(one).items()
        ]
        parts.append(f"<pre>{html.escape(as_text(one))}</pre>")
        for failure in one.failures:
            buffer = BytesIO()
            Image.fromarray(failure.pixels).save(buffer, format="PNG")
            caption = f"{failure.truth}, told {failure.told} ({failure.p:.2f}); {failure.source}"
            parts.append(
                f"<figure><img alt='' src='{_inline(buffer.getvalue())}'>"
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
    return "\n".join([*parts, "</html>", ""])


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _known(value: Any) -> Any:
    """NaN, which JSON does not have, becomes null."""
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
