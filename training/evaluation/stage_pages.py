"""One stage's figures as tables and plots."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.average_precision import DetectionFigures
from training.evaluation.judged import Judged, Lot, Shortcut
from training.evaluation.plain import estimate_text, png_of, share_text
from training.metrics import Estimate, Figures

__all__ = ["stage_plots", "stage_text"]


def stage_text(judged: Judged) -> str:
    """The tables."""
    stage = judged.stage
    lines = [
        f"Stage {stage.number} {stage.value}, bundle {judged.bundle}, "
        f"weights {judged.weights_sha256[:12]}",
        "in brackets: 95 % intervals",
    ]
    for lot in judged.lots:
        lines += ["", f"== {lot.name}: {lot.cells} {lot.unit}", *_lot(lot, judged.classes)]
    lines += _shortcuts("shortcut baselines (no cell is looked at)", judged.baselines)
    lines += _shortcuts("shortcut tests, by cell", judged.tests)
    lines += _shortcuts("shortcut tests, by field", judged.field_tests)
    if judged.accepted:
        lines += ["", f"== {'accepted at the thresholds':<30}{'share accepted':<34}right of those"]
        lines += [
            f"{name:<33}{share_text(kept):<34}{share_text(right)}"
            for name, kept, right in judged.accepted
        ]
    if judged.unreadable:
        lines += ["", f"== {len(judged.unreadable)} files could not be read", *judged.unreadable]
    if judged.notes:
        lines += ["", *(f"note: {note}" for note in judged.notes)]
    if judged.failures:
        lines += ["", "== most confident mistakes"]
        lines += [f"{f.source}: {f.truth} told {f.told} ({f.p:.3f})" for f in judged.failures]
    return "\n".join(lines) + "\n"


def stage_plots(judged: Judged) -> dict[str, bytes]:
    """PNG by name: confusion, reliability, risk; those that there is something for."""
    made: dict[str, bytes] = {}
    first = next((lot for lot in judged.lots if lot.figures), None)
    if first is not None and first.figures is not None:
        made["confusion"] = _confusion_plot(first, first.figures, judged.classes)
    if first is not None and first.reliability is not None:
        figure, axes = _square()
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        bins = first.reliability.bins
        axes.plot([b[0] for b in bins], [b[1] for b in bins], marker="o")
        axes.set_xlabel("probability told")
        axes.set_ylabel("share right")
        axes.set_title(
            f"{first.name}: expected calibration error {first.reliability.ece:.3f}", fontsize=10
        )
        made["reliability"] = png_of(figure)
    if judged.risk:
        figure, axes = _square()
        axes.plot([c for c, _ in judged.risk], [r for _, r in judged.risk])
        axes.axvline(0.85, color="grey", linewidth=1, linestyle=":")
        axes.axhline(0.97, color="grey", linewidth=1, linestyle=":")
        axes.set_xlim(0, 1)
        axes.set_ylim(min(0.5, *(r for _, r in judged.risk)), 1.005)
        axes.set_xlabel("share accepted, the surest first")
        axes.set_ylabel("share right of the accepted")
        made["risk"] = png_of(figure)
    if any(lot.detection for lot in judged.lots):
        made["average-precision"] = _detection_plot(judged)
    return made


def _lot(lot: Lot, classes: Sequence[str]) -> list[str]:
    lines: list[str] = []
    if lot.figures:
        lines += _figures(lot.figures)
    if lot.detection:
        lines += _detection(lot.detection, classes)
    if lot.reliability:
        error = Estimate(
            value=lot.reliability.ece, low=lot.reliability.low, high=lot.reliability.high
        )
        lines.append(f"expected calibration error {estimate_text(error)}")
    lines += [f"{name}: {share_text(value)}" for name, value in lot.shares.items()]
    lines += [f"{name}: {estimate_text(value)}" for name, value in lot.estimates.items()]
    return lines


def _figures(of: Figures) -> list[str]:
    lines = [f"{'class':<28}{'precision':<34}{'recall':<34}{'F1':<8}support"]
    lines += [
        f"{c.name:<28}{share_text(c.precision):<34}{share_text(c.recall):<34}"
        f"{c.f1:<8.4f}{c.support}"
        for c in of.classes
        if c.support or c.precision.of
    ]
    for name, mean in (("macro mean", of.macro), ("weighted mean", of.weighted)):
        lines.append(f"{name:<28}{mean[0]:<34.4f}{mean[1]:<34.4f}{mean[2]:.4f}")
    if of.macro_intervals:
        text = [f"{low:.3f} to {high:.3f}" for low, high in of.macro_intervals]
        lines.append(f"{'  macro mean, interval':<28}{text[0]:<34}{text[1]:<34}{text[2]}")
    lines.append(f"accuracy {share_text(of.accuracy)}")
    lines += [
        "confusion, rows true, columns told",
        *(" ".join(f"{v:6d}" for v in r) for r in of.confusion),
    ]
    return lines


def _detection(of: DetectionFigures, classes: Sequence[str]) -> list[str]:
    lines = [f"{'class':<20}{'AP@.5':<26}{'AP@.5:.95':<24}{'precision':<36}recall"]
    for i, name in enumerate(classes):
        ap50 = estimate_text(Estimate(value=of.ap50[i], **_ends(of.ap50_intervals[i])))
        lines.append(
            f"{name:<20}{ap50:<26}{_number(of.ap[i]):<24}"
            f"{share_text(of.precision[i]):<36}{share_text(of.recall[i])}"
        )
    map50 = estimate_text(Estimate(value=of.map50, **_ends(of.map50_interval)))
    whole = estimate_text(Estimate(value=of.map, **_ends(of.map_interval)))
    return [*lines, f"{'mean':<20}{map50:<26}{whole}"]


def _ends(interval: tuple[float, float]) -> dict[str, float]:
    return {"low": interval[0], "high": interval[1]}


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def _shortcuts(title: str, of: Sequence[Shortcut]) -> list[str]:
    if not of:
        return []
    areas = any(s.auc for s in of)
    changes = any(s.changed for s in of)
    head = f"== {title:<42}{'right':<34}"
    head += f"{'answers changed':<34}" if changes else f"{'chance':<10}"
    lines = ["", head + ("AUC" if areas else "")]
    for one in of:
        chance = "-" if one.chance is None else f"{one.chance:.4f}"
        lines.append(
            f"{one.name:<45}{share_text(one.right):<34}"
            + (f"{share_text(one.changed):<34}" if changes else f"{chance:<10}")
            + (estimate_text(one.auc) if areas else "")
        )
    return lines


def _square() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5))
    return figure, figure.add_subplot()


def _confusion_plot(lot: Lot, figures: Figures, classes: Sequence[str]) -> bytes:
    from matplotlib.figure import Figure

    table = np.array(figures.confusion, dtype=float)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 6))
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set_xlabel("told")
    axes.set_ylabel("true")
    axes.set_title(f"{lot.name}: {lot.cells} {lot.unit}", fontsize=10)
    for (row, column), value in np.ndenumerate(table):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    return png_of(figure)


def _detection_plot(judged: Judged) -> bytes:
    """AP@.5 of each class in each laboratory, with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    axes = figure.add_subplot()
    lots = [lot for lot in judged.lots if lot.detection]
    for i, name in enumerate(judged.classes):
        for at, lot in enumerate(lots):
            of = lot.detection
            if of is None or np.isnan(of.ap50[i]):
                continue
            low, high = of.ap50_intervals[i]
            x = at + (i - 1) * 0.2
            axes.plot([x, x], [low, high], color=f"C{i}", linewidth=1)
            axes.plot(x, of.ap50[i], "o", color=f"C{i}", label=name if at == 0 else None)
    axes.axhline(0.9, color="grey", linewidth=1, linestyle=":")
    axes.set_xticks(range(len(lots)), [lot.name for lot in lots])
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("AP@.5")
    axes.legend(fontsize=8, loc="lower left")
    return png_of(figure)
