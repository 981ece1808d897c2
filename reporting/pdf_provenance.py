"""Method and provenance in the PDF: which networks, on what, how it was known to be complete, what
went wrong, and the limits of all of it.
"""

from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import KeepTogether, Spacer

from reporting.headers import moment
from reporting.pdf_typography import (
    BODY,
    NOTE,
    SMALL,
    TINY,
    heading,
    labelled,
    table,
    text,
)
from reporting.report import Report
from reporting.words import STAGE_WORDS

__all__ = ["provenance_section"]

EVIDENCE_LISTED = 40
WARNINGS_LISTED = 30

LIMITS = (
    "Six networks read the images one after the other: image viability, cell detection, cell class, "
    "white-cell class, malignancy of lymphoid cells, pattern of blasts. A blast is a lymphoid cell "
    "(blast cell or lymphocyte by white-cell class) that the malignancy network calls malignant. "
    "Percentages are counts divided by the leukocytes counted; intervals are exact binomial "
    "(Clopper-Pearson, 95 %) and hold the sampling error of the count alone, not the error of the "
    "networks, the smear or the choice of fields. Cells below a reject threshold are unclassified "
    "and are counted beside. Nothing here is a finding until a haematopathologist has confirmed it."
)


def provenance_section(report: Report, width: float) -> list[Any]:
    analysis, bundle = report.analysis, report.analysis.bundle
    return [
        *heading("Method and provenance", needs=60 * mm),
        text(LIMITS, style=SMALL),
        Spacer(0, 3),
        labelled(
            [
                ("Bundle", f"{bundle.id}, version {bundle.version}"),
                ("Domains covered", ", ".join(d.value for d in bundle.domains)),
                ("Scale of the networks", f"{bundle.um_per_px:g} µm per pixel"),
                ("Study complete", report.completed_by),
                ("Software", f"{analysis.software}; report {report.producer.version}"),
                ("Engine", analysis.engine),
                ("Processor", analysis.processor),
                (
                    "Thresholds",
                    ", ".join(f"{t:g} %" for t in report.thresholds_percent)
                    + f"; adequate from {report.limits.adequate}, limited from "
                    f"{report.limits.limited} leukocytes",
                ),
                (
                    "Device",
                    f"{report.producer.manufacturer}, serial {report.producer.serial_number}",
                ),
            ],
            columns=4,
            width=width,
        ),
        text(f"Manifest SHA-256 {bundle.manifest_sha256}", style=TINY),
        Spacer(0, 3),
        *_models(report, width),
        *_failures(report),
        *_history(report),
        *_again(report),
        *_evidence(report, width),
    ]


def _models(report: Report, width: float) -> list[Any]:
    rows: list[list[Any]] = [
        ["Stage", "Network", "Weights SHA-256", "Thresholds", "Items", "Seconds"]
    ]
    done = {s.stage: s for s in report.analysis.stages}
    for model in report.analysis.bundle.models:
        record = done.get(model.stage)
        rows.append(
            [
                text(f"{model.stage.number} {STAGE_WORDS[model.stage]}", style=SMALL),
                text(model.architecture, style=SMALL),
                text(model.sha256, style=TINY),
                text(", ".join(f"{n} {v:g}" for n, v in model.thresholds) or "none", style=SMALL),
                str(record.items) if record else "–",
                f"{record.seconds:.1f}" if record else "–",
            ]
        )
    widths = [32 * mm, 34 * mm, 50 * mm, width - 148 * mm, 14 * mm, 18 * mm]
    return [KeepTogether(table(rows, widths, numbers=(4, 5)))]


def _failures(report: Report) -> list[Any]:
    analysis = report.analysis
    said: list[Any] = []
    if analysis.failures:
        said += heading("What failed", needs=20 * mm)
        for failure in analysis.failures:
            stage = STAGE_WORDS[failure.stage] if failure.stage else "Reading"
            said.append(text(f"{stage}: {failure.reason}", style=BODY, limit=400))
    warnings = list(dict.fromkeys((*analysis.warnings, *report.context.warnings)))
    if warnings:
        said += heading("Warnings", needs=20 * mm)
        said += [text(w, style=SMALL, limit=300) for w in warnings[:WARNINGS_LISTED]]
        if len(warnings) > WARNINGS_LISTED:
            said.append(text(f"{len(warnings) - WARNINGS_LISTED} further warnings.", style=NOTE))
    return said


def _history(report: Report) -> list[Any]:
    """Of a first report; a later one has a section of what persons did."""
    if report.predecessor is not None:
        return []
    said = f"Revision {report.revision}: the first report of this analysis."
    return [*heading("Amendment history", needs=20 * mm), text(said, style=SMALL)]


def _again(report: Report) -> list[Any]:
    """How the same numbers are had again, and where the trail stood."""
    bundle, checkpoint = report.analysis.bundle, report.beside.checkpoint
    here = f"On this node: leukonode reproduce {report.case_id}. Elsewhere: " if checkpoint else ""
    said = (
        f"{here}with {report.analysis.software} and the bundle whose manifest has the SHA-256 above: "
        f"leukonode analyze FILES --bundle DIR over the images listed below gives the same cells, "
        f"classes and numbers on the engine named above ({bundle.id}, version {bundle.version})."
    )
    trail = (
        f"Audit trail when this report was drawn: event {checkpoint.sequence}, "
        f"{moment(checkpoint.at)}, chain {checkpoint.digest}. leukonode audit verify checks the "
        "chain up to it."
        if checkpoint is not None
        else "Made without the service's database: no audit trail stands behind it."
    )
    return [
        *heading("How to reproduce", needs=22 * mm),
        text(said[0].upper() + said[1:], style=SMALL),
        text(trail, style=SMALL),
    ]


def _evidence(report: Report, width: float) -> list[Any]:
    """The analysed instances (or files) with their digests."""
    evidence = report.context.evidence
    listed: list[tuple[str, str]] = [(e.instance_uid, e.sha256) for e in evidence] or [
        (i.header.source, i.header.sha256) for i in report.analysis.images
    ]
    if not listed:
        return []
    rows: list[list[Any]] = [["Instance or file", "SHA-256"]]
    rows += [
        [text(name, style=TINY, limit=200), text(sha, style=TINY)]
        for name, sha in listed[:EVIDENCE_LISTED]
    ]
    said = [
        *heading("Images analysed", needs=25 * mm),
        table(rows, [width - 90 * mm, 90 * mm]),
    ]
    if len(listed) > EVIDENCE_LISTED:
        said.append(text(f"{len(listed) - EVIDENCE_LISTED} further images.", style=NOTE))
    return said
