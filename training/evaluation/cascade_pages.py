"""The whole cascade's figures as tables and plots."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.cascade_judged import BlastRow, CascadeJudged, LossRow, ScaleUseRow
from training.evaluation.plain import estimate_text, png_of, share_text
from training.metrics import Estimate

__all__ = ["cascade_plots", "cascade_text"]

REPLACED = {
    1: "the cascade as it is",
    2: "true boxes",
    3: "and true kinds (3)",
    4: "and true white-cell classes (4)",
    5: "and true malignancy (5)",
}


def cascade_text(of: CascadeJudged) -> str:
    """The tables."""
    lines = [
        f"The whole cascade, bundle {of.bundle}, manifest {of.manifest_sha256[:12]}"
        + (", UNTRAINED MODELS" if of.untrained else ""),
        f"{of.fields} fields in {of.seconds:.0f} s; in brackets: 95 % intervals",
    ]
    lines += _table("refused by stage 1", [(n, share_text(s)) for n, s in of.refused])
    lines += _table(
        "counts against boxes, a field: found less true",
        [
            (
                f"{c.laboratory} ({c.fields} fields)",
                c.cell_class,
                f"{c.found} of {c.true}",
                estimate_text(c.ratio, digits=3),
                estimate_text(c.bias, digits=2),
                estimate_text(c.absolute_error, digits=2),
                estimate_text(c.correlation, digits=3),
            )
            for c in of.counts
        ],
        ("", "", "found", "found / true", "bias", "mean absolute error", "correlation"),
    )
    lines += _table(
        "scale read from red cells, over the known scale",
        [
            (
                s.laboratory,
                share_text(s.measured),
                estimate_text(s.median, digits=3),
                "-" if np.isnan(s.low) else f"{s.low:.3f} to {s.high:.3f}",
                share_text(s.outside),
            )
            for s in of.scales
        ],
        ("", "measured", "median", "5th to 95th percentile", "outside 10 %"),
    )
    lines += _table(
        "what the scale buys",
        [_scale_use(row) for row in of.scale_use],
        ("scale", "mAP@.5", "AP@.5 red, white, platelet", "stage 3 right", "stage 4 right"),
    )
    lines += _table(
        "blasts reported",
        [
            (
                _lot(b),
                share_text(b.with_blasts),
                share_text(b.fraction),
                estimate_text(b.by_group, digits=3),
                "unknown" if b.true is None else f"{b.true:.3f}",
                share_text(b.unclassified),
            )
            for b in of.blasts
        ],
        ("fields", "with any blast", "fraction", "over groups", "truth", "white unclassified"),
    )
    lines += _table(
        "white cells on their way (in brackets: left unclassified there)",
        [
            (
                f"{_lot(r)}; {r.seen_by}",
                *(f"{n}" + (f" ({u})" if u else "") for _, n, u in r.steps),
            )
            for r in of.losses
        ],
        ("seen by", *(name for name, _, _ in of.losses[0].steps)) if of.losses else (),
    )
    lines += _table(
        "blast fraction of the drawn smears with the truth up to a stage",
        [
            (REPLACED[r.truth_up_to], f"{r.blasts} of {r.leukocytes}", f"{r.fraction:.4f}")
            for r in of.replaced
        ],
    )
    lines += _table(
        "drawn smears: is the truth within the interval?",
        [
            (
                row.name,
                c.name,
                f"{c.true:.4g}",
                f"{c.found:.4g}",
                f"{c.low:.1f} to {c.high:.1f}",
                "yes" if c.inside else "NO",
            )
            for row in of.drawn
            for c in row.counts
        ],
        ("", "", "true", "found", "interval", "within"),
    )
    return "\n".join([*lines, "", *(f"note: {n}" for n in of.notes)]) + "\n"


def cascade_plots(of: CascadeJudged) -> dict[str, bytes]:
    """PNG by name; those that there is something for."""
    made = {}
    if of.counts:
        made["counts"] = _counts_plot(of)
    if any(s.ratios for s in of.scales):
        made["scale"] = _scale_plot(of)
    if of.blasts:
        made["blasts"] = _blasts_plot(of)
    if of.losses:
        made["losses"] = _losses_plot(of)
    return made


def _lot(row: BlastRow | LossRow) -> str:
    return row.kind if row.kind == row.laboratory else f"{row.laboratory}, {row.kind}"


def _scale_use(row: ScaleUseRow) -> tuple[str, ...]:
    low, high = row.detection.map50_interval
    mean = Estimate(value=row.detection.map50, low=low, high=high)
    each = ", ".join("-" if np.isnan(v) else f"{v:.3f}" for v in row.detection.ap50)
    return (
        row.scale,
        estimate_text(mean, digits=3),
        each,
        share_text(row.cell_class),
        share_text(row.wbc_class),
    )


def _table(title: str, rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> list[str]:
    """Columns as wide as their widest word."""
    if not rows:
        return []
    every = [*([head] if head else []), *rows]
    widths = [max(len(r[i]) for r in every if i < len(r)) for i in range(len(rows[0]))]
    return [
        "",
        f"== {title}",
        *("  ".join(t.ljust(w) for t, w in zip(r, widths, strict=False)).rstrip() for r in every),
    ]


def _figure(width: float, height: float, panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(1, panels, squeeze=False)[0]


def _counts_plot(of: CascadeJudged) -> bytes:
    kinds = sorted({c.cell_class for c in of.counts})
    labs = sorted({c.laboratory for c in of.counts})
    figure, panels = _figure(4 * len(kinds), 4, len(kinds))
    for axes, kind in zip(panels, kinds, strict=True):
        most = 1
        for row in (c for c in of.counts if c.cell_class == kind):
            true, found = np.array(row.pairs).T
            most = max(most, true.max(), found.max())
            axes.plot(
                true,
                found,
                "o",
                markersize=4,
                alpha=0.6,
                color=f"C{labs.index(row.laboratory)}",
                label=row.laboratory,
            )
        axes.plot([0, most], [0, most], color="grey", linewidth=1)
        axes.set_title(kind.replace("_", " "), fontsize=10)
        axes.set_xlabel("there, a field")
        axes.set_ylabel("found")
        axes.legend(fontsize=7)
    return png_of(figure)


def _scale_plot(of: CascadeJudged) -> bytes:
    figure, (axes,) = _figure(7, 4, 1)
    rows = [s for s in of.scales if s.ratios and s.laboratory != "all"]
    for at, row in enumerate(rows):
        beside = np.linspace(-0.2, 0.2, len(row.ratios))
        axes.plot(at + beside, row.ratios, "o", markersize=4, alpha=0.6)
        axes.plot([at - 0.3, at + 0.3], [row.median.value] * 2, color="black", linewidth=1)
    axes.axhspan(0.9, 1.1, color="grey", alpha=0.15)
    axes.axhline(1, color="grey", linewidth=1)
    axes.set_xticks(range(len(rows)), [r.laboratory for r in rows])
    axes.set_yscale("log", base=2)
    axes.set_ylabel("scale from red cells / known scale")
    return png_of(figure)


def _blasts_plot(of: CascadeJudged) -> bytes:
    figure, (axes,) = _figure(8, 0.55 * len(of.blasts) + 1.4, 1)
    for at, row in enumerate(of.blasts):
        y = len(of.blasts) - 1 - at
        axes.plot(row.per_field, [y + 0.22] * len(row.per_field), "|", color="grey", alpha=0.7)
        if row.fraction.of:
            axes.plot([row.fraction.low, row.fraction.high], [y, y], color="C3")
            axes.plot(row.fraction.value, y, "o", color="C3")
        if row.true is not None:
            axes.plot(row.true, y, "x", color="black")
    axes.set_yticks(range(len(of.blasts)), [_lot(b) for b in reversed(of.blasts)])
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.6, len(of.blasts) - 0.3)
    axes.set_xlabel(
        "blast fraction: pooled with interval, each field (ticks), truth where known (x)"
    )
    return png_of(figure)


def _losses_plot(of: CascadeJudged) -> bytes:
    figure, (axes,) = _figure(9, 4.5, 1)
    for at, row in enumerate(of.losses):
        there = max(1, row.steps[0][1])
        axes.plot(
            [n / there for _, n, _ in row.steps],
            "o-",
            markersize=4,
            color=f"C{at % 10}",
            label=_lot(row) + (", blasts" if "blasts" in row.seen_by else ""),
        )
    axes.set_xticks(range(len(of.losses[0].steps)), [name for name, _, _ in of.losses[0].steps])
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("share of the white cells that are there")
    axes.legend(fontsize=7, loc="upper right")
    return png_of(figure)
