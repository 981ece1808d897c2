"""`result.json`: the outward contract for scripts, and the thesis's older shape beside it.

In      Report
Out     a dict in a fixed order of keys, or its bytes; `docs/result.schema.json` is the contract
What was not measured is null, or an empty list or object; never 0. Percentages are as printed (one
decimal), probabilities to six decimals.
"""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from domain.cells import Cell, CellClass, Malignancy, Stage, Subtype
from domain.counts import Adequacy, Corrected, Proportion
from domain.image import ImageReading
from domain.reviews import Review
from reporting.figures import figures_of, one_decimal, ratio
from reporting.report import UNTRAINED, Report
from reporting.words import class_words

__all__ = ["SCHEMA_VERSION", "InvalidResult", "result_bytes", "result_of", "thesis_of", "validate"]

SCHEMA_VERSION = 1


class InvalidResult(ValueError):
    """A result that breaks the schema; the message names the place."""


def result_of(report: Report, *, with_seconds: bool) -> dict[str, Any]:
    """The result. Without seconds two runs over the same bytes give the same result."""
    analysis, numbers = report.analysis, report.numbers
    counted = report.measured(Stage.WBC_CLASS)
    return {
        "schema": SCHEMA_VERSION,
        "software": {
            "name": report.producer.model,
            "version": report.producer.version,
            "analysis": analysis.software,
            "engine": analysis.engine,
            "processor": analysis.processor,
        },
        "bundle": {
            "id": analysis.bundle.id,
            "version": analysis.bundle.version,
            "manifest_sha256": analysis.bundle.manifest_sha256,
            "untrained": analysis.bundle.untrained,
        },
        "images": [_image(i) for i in analysis.images],
        "cells": [_cell(c, report) for c in analysis.cells],
        "counts": _counts(report),
        "leukocytes_counted": numbers.leukocytes if counted else None,
        "unclassified": {
            stage.value: count for stage, count in numbers.unclassified if report.measured(stage)
        },
        "differential": [
            {"class": row.name, **_proportion(row.proportion)} for row in numbers.differential
        ]
        if counted
        else [],
        "blasts": _blasts(report),
        "subtypes": [
            {"subtype": row.name, **_proportion(row.proportion)} for row in numbers.subtypes
        ]
        if report.measured(Stage.SUBTYPE)
        else [],
        "adequacy": (numbers.adequacy if counted else Adequacy.NONE).value,
        "nucleated_red_per_100": _rounded(numbers.nucleated_red_per_100) if counted else None,
        "platelets_per_red_cell": float(ratio(numbers.platelets_per_red_cell))
        if report.measured(Stage.CELL_CLASS) and numbers.platelets_per_red_cell is not None
        else None,
        "platelets_per_field": float(ratio(report.platelets_per_field))
        if report.measured(Stage.CELL_CLASS) and report.platelets_per_field is not None
        else None,
        "overruled": numbers.overruled if counted else None,
        "disagreements": numbers.disagreements if report.measured(Stage.MALIGNANCY) else None,
        "flags": [flag.value for flag in report.finding.flags],
        "finding": report.finding.text,
        "stages": [
            {
                "stage": s.stage.value,
                "model": s.model,
                "sha256": s.sha256,
                "engine": s.engine,
                "thresholds": dict(s.thresholds),
                "seconds": round(s.seconds, 3) if with_seconds else None,
                "items": s.items,
            }
            for s in analysis.stages
        ],
        "failures": [
            {"stage": f.stage.value if f.stage else None, "reason": f.reason}
            for f in analysis.failures
        ],
        "warnings": list(dict.fromkeys((*analysis.warnings, *report.context.warnings))),
        "evaluable": analysis.evaluable,
        **({"reviews": [_review(r) for r in report.reviews]} if report.reviews else {}),
    }


def _review(review: Review) -> dict[str, Any]:
    """What a person did. The cells and numbers above are with every reclassification."""
    change = review.change
    return {
        "ordinal": review.ordinal,
        "kind": review.kind.value,
        "by": review.by,
        "organization": review.organization,
        "at": review.at.isoformat(),
        "comment": review.comment,
        "analysis": review.analysis_ordinal,
        "revision": review.revision,
        "cell": change.cell if change else None,
        "before": asdict(change.before) if change else None,
        "after": asdict(change.after) if change else None,
    }


def result_bytes(report: Report, *, with_seconds: bool) -> bytes:
    """UTF-8, two blanks of indent, keys in the contract's order, one line end at the end."""
    return _encoded(result_of(report, with_seconds=with_seconds))


def thesis_of(report: Report) -> bytes:
    """The thesis's JSON of strings (thesis, appendix A): stage names, labels and counts as text,
    and one line a white cell; a string is "not measured" where no number exists."""
    figures = figures_of(report)
    images = report.analysis.images

    def said(name: str) -> str:
        return figures.get(name, "not measured")

    whites = [c for c in report.analysis.cells if c.cell_class is CellClass.WHITE_BLOOD_CELL]
    shape: dict[str, Any] = {
        "Viability": {f"Image {n}": i.viability.verdict.value for n, i in enumerate(images, 1)},
        "Cell Counts": {
            "RBC": said("red_cells"),
            "WBC": said("leukocytes"),
            "Platelets": said("platelets"),
        },
        "WBC Classes": {
            class_words(row.name): said(f"differential.{row.name}.count")
            for row in report.numbers.differential
        },
        "Malignancy": {
            "Malignant": said("blasts.count"),
            "Malignant Percentage": said("blasts.percent"),
        },
        "Subtypes": {
            class_words(row.name): said(f"subtype.{row.name}.count")
            for row in report.numbers.subtypes
        },
        "Cells": {
            f"Cell {c.number}": ", ".join(
                class_words(part) for part in (c.wbc_class, c.malignancy, c.subtype) if part
            )
            for c in whites
        },
        "Finding": report.finding.text,
    }
    return _encoded({"Notice": UNTRAINED, **shape} if report.untrained else shape)


def validate(result: object) -> None:
    """InvalidResult unless the result meets the schema."""
    # jsonschema is wanted here alone
    from jsonschema import Draft202012Validator

    problem = next(Draft202012Validator(_schema()).iter_errors(result), None)
    if problem is not None:
        raise InvalidResult(f"result.json at {problem.json_path}: {problem.message[:200]}")


@cache
def _schema() -> dict[str, Any]:
    """Beside the package in a wheel, in docs/ in a checkout."""
    here = Path(__file__).parent
    packaged, source = here / "result.schema.json", here.parent / "docs" / "result.schema.json"
    path = packaged if packaged.exists() else source
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _encoded(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _counts(report: Report) -> dict[str, int]:
    """Cells by final class; without white-cell classes only those that stage 3 names for good."""
    if report.measured(Stage.WBC_CLASS):
        return dict(report.numbers.counts)
    if not report.measured(Stage.CELL_CLASS):
        return {}
    kinds = (CellClass.RED_BLOOD_CELL.value, CellClass.PLATELET.value)
    return {kind: report.numbers.count(kind) for kind in kinds}


def _image(image: ImageReading) -> dict[str, Any]:
    header = image.header
    return {
        "source": header.source,
        "sha256": header.sha256,
        "width_px": header.width_px,
        "height_px": header.height_px,
        "frames": header.frames,
        "domain": header.domain.value,
        "um_per_px": None if image.um_per_px is None else [round(u, 6) for u in image.um_per_px],
        "scale_from": image.scale_from.value,
        "viable": {
            "p": None if image.viability.p is None else round(image.viability.p, 6),
            "verdict": image.viability.verdict.value,
        },
        "fields_read": image.fields_read,
        "fields_refused": image.fields_refused,
        "fields_left": image.fields_left,
        "not_evaluable": image.not_evaluable or None,
        "warnings": list(dict.fromkeys((*header.warnings, *image.warnings))),
    }


def _cell(cell: Cell, report: Report) -> dict[str, Any]:
    bundle = report.analysis.bundle

    def named(names: tuple[str, ...], p: tuple[float, ...]) -> dict[str, float] | None:
        return {n: round(v, 6) for n, v in zip(names, p, strict=True)} if p else None

    return {
        "number": cell.number,
        "image": cell.image,
        "frame": cell.frame,
        "box_px": [round(v, 2) for v in cell.box_px],
        "detection_p": round(cell.detection_p, 6),
        "cell_class": cell.cell_class.value,
        "cell_class_p": named(tuple(c.value for c in CellClass), cell.cell_class_p),
        "wbc_class": cell.wbc_class,
        "wbc_class_p": named(bundle.model(Stage.WBC_CLASS).classes, cell.wbc_class_p),
        "malignancy": cell.malignancy,
        "malignancy_p": named(tuple(m.value for m in Malignancy), cell.malignancy_p),
        "subtype": cell.subtype,
        "subtype_p": named(tuple(s.value for s in Subtype), cell.subtype_p),
        "final_class": cell.final_class,
        "marks": [m.name.lower() for m in cell.marks],
    }


def _blasts(report: Report) -> dict[str, Any]:
    numbers = report.numbers
    nothing = dict.fromkeys(("count", "percent", "low", "high"))
    measured = report.measured(Stage.MALIGNANCY)
    bounds = numbers.blast_bounds if measured else None
    return {
        **(_proportion(numbers.blasts) if measured else nothing),
        "morphological": _proportion(numbers.morphological_blasts)
        if report.measured(Stage.WBC_CLASS)
        else nothing,
        "bounds": None if bounds is None else [_rounded(b) for b in bounds],
        "corrected": _corrected(numbers.corrected) if measured and numbers.corrected else None,
    }


def _corrected(corrected: Corrected) -> dict[str, Any]:
    return {
        "percent": _rounded(corrected.percent),
        "low": _rounded(corrected.low),
        "high": _rounded(corrected.high),
        "sensitivity": round(corrected.sensitivity, 4),
        "specificity": round(corrected.specificity, 4),
    }


def _proportion(proportion: Proportion) -> dict[str, Any]:
    return {
        "count": proportion.count,
        "percent": _rounded(proportion.percent),
        "low": _rounded(proportion.low),
        "high": _rounded(proportion.high),
    }


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else float(one_decimal(percent))
