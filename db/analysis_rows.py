"""An Analysis as rows, and back, exactly.

Floats are double precision, so that what is read equals what was written to the last bit; only NUL
and half surrogate pairs in text come back as the replacement character.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, insert, select
from sqlalchemy.dialects import postgresql

from db.database import Transaction
from db.errors import UnknownRow
from db.tables import (
    analyses,
    analysis_failures,
    bundles,
    cells,
    images,
    models,
    result_counts,
    results,
    stage_records,
)
from domain.analysis import (
    Analysis,
    BundleInfo,
    Commissioning,
    ModelInfo,
    StageFailure,
    StageRecord,
)
from domain.cells import Cell, CellClass, Mark, Stage
from domain.counts import Adequacy, ClassCount, Numbers, Proportion, numbers_of_counts
from domain.identities import AnalysisId, Sha256, derived_uuid
from domain.image import (
    Box,
    Domain,
    ImageHeader,
    ImageReading,
    ScaleFrom,
    Verdict,
    Viability,
)

__all__ = ["load_analysis", "load_numbers", "save_analysis", "save_bundle", "save_numbers"]


def load_analysis(conn: Connection, analysis_id: AnalysisId) -> Analysis:
    """The analysis, equal to the one that was written. UnknownRow when there is none finished."""
    key = UUID(analysis_id)
    row = conn.execute(select(analyses).where(analyses.c.id == key)).mappings().first()
    if row is None or row["finished_at"] is None:
        raise UnknownRow(f"analysis {analysis_id} is not finished, or not of this database")
    return Analysis(
        bundle=_bundle(conn, row["bundle"]),
        images=tuple(_image(r) for r in _rows(conn, images, key, "position")),
        cells=tuple(_cell(r) for r in _rows(conn, cells, key, "number")),
        stages=tuple(_stage(r) for r in _rows(conn, stage_records, key, "position")),
        engine=row["engine"],
        processor=row["processor"],
        software=row["software"],
        leukocytes_wanted=row["leukocytes_wanted"],
        failures=tuple(_failure(r) for r in _rows(conn, analysis_failures, key, "position")),
        warnings=tuple(row["warnings"]),
    )


def save_analysis(tx: Transaction, analysis_id: AnalysisId, analysis: Analysis) -> None:
    """Everything below the `analyses` row itself. Cells must be numbered 1.. in their order."""
    if [c.number for c in analysis.cells] != list(range(1, len(analysis.cells) + 1)):
        raise ValueError("cells are not numbered 1, 2, ... in their order")
    key = UUID(analysis_id)
    _add(
        tx,
        images,
        [
            {
                "analysis_id": key,
                "position": position,
                "source": image.header.source,
                "sha256": image.header.sha256,
                "width_px": image.header.width_px,
                "height_px": image.header.height_px,
                "frames": image.header.frames,
                "domain": image.header.domain.value,
                "given_um_per_px": _pair(image.header.um_per_px),
                "pixel_aspect": image.header.pixel_aspect,
                "monochrome": image.header.monochrome,
                "refusal": image.header.refusal,
                "header_warnings": list(image.header.warnings),
                "viable_p": image.viability.p,
                "viable_verdict": image.viability.verdict.value,
                "um_per_px": _pair(image.um_per_px),
                "scale_from": image.scale_from.value,
                "fields_read": image.fields_read,
                "fields_refused": image.fields_refused,
                "fields_left": image.fields_left,
                "not_evaluable": image.not_evaluable,
                "warnings": list(image.warnings),
            }
            for position, image in enumerate(analysis.images)
        ],
    )
    _add(tx, cells, [_cell_row(key, cell) for cell in analysis.cells])
    _add(
        tx,
        stage_records,
        [
            {
                "analysis_id": key,
                "position": position,
                "stage": record.stage.value,
                "model": record.model,
                "sha256": record.sha256,
                "engine": record.engine,
                "threshold_names": [name for name, _ in record.thresholds],
                "threshold_values": [value for _, value in record.thresholds],
                "seconds": record.seconds,
                "items": record.items,
            }
            for position, record in enumerate(analysis.stages)
        ],
    )
    _add(
        tx,
        analysis_failures,
        [
            {
                "analysis_id": key,
                "position": position,
                "stage": failure.stage.value if failure.stage else None,
                "reason": failure.reason,
            }
            for position, failure in enumerate(analysis.failures)
        ],
    )


def save_bundle(tx: Transaction, bundle: BundleInfo) -> UUID:
    """The bundle's row, written the first time it is met; its key is derived from its content."""
    key = derived_uuid("bundle", repr(bundle))
    fitted = bundle.commissioned
    new = tx.connection.execute(
        postgresql.insert(bundles)
        .values(
            id=key,
            bundle_id=bundle.id,
            version=bundle.version,
            manifest_sha256=bundle.manifest_sha256,
            untrained=bundle.untrained,
            domains=[d.value for d in bundle.domains],
            um_per_px=bundle.um_per_px,
            reject_rate=bundle.reject_rate,
            confusion=[n for row in bundle.confusion for n in row] if bundle.confusion else None,
            commissioned_site=fitted.site if fitted else None,
            commissioned_date=fitted.date if fitted else None,
            commissioned_parent=fitted.parent_manifest_sha256 if fitted else None,
        )
        .on_conflict_do_nothing()
        .returning(bundles.c.id)
    ).first()
    if new is not None:
        _add(
            tx,
            models,
            [
                {
                    "bundle": key,
                    "position": position,
                    "stage": model.stage.value,
                    "architecture": model.architecture,
                    "sha256": model.sha256,
                    "classes": list(model.classes),
                    "threshold_names": [name for name, _ in model.thresholds],
                    "threshold_values": [value for _, value in model.thresholds],
                }
                for position, model in enumerate(bundle.models)
            ],
        )
    return key


def save_numbers(
    tx: Transaction,
    analysis_id: AnalysisId,
    analysis: Analysis,
    numbers: Numbers,
    *,
    reviewed: int = 0,
) -> None:
    """The integer counts; whatever is computed from them is left out. Blasts are null where stage 5
    failed: not counted is not 0. `reviewed` is the ordinal of the review after which they were
    counted, 0 for the networks' own."""
    key = UUID(analysis_id)
    tx.connection.execute(
        insert(results).values(
            analysis_id=key,
            leukocytes=numbers.leukocytes,
            blasts=numbers.blasts.count if analysis.measured(Stage.MALIGNANCY) else None,
            morphological_blasts=numbers.morphological_blasts.count,
            morphological_total=numbers.morphological_blasts.total,
            overruled=numbers.overruled,
            disagreements=numbers.disagreements,
            adequacy=numbers.adequacy.value,
            reviewed=reviewed,
        )
    )
    counted: list[tuple[str, list[tuple[str, int, int | None]]]] = [
        ("class", [(name, count, None) for name, count in numbers.counts]),
        (
            "differential",
            [(c.name, c.proportion.count, c.proportion.total) for c in numbers.differential],
        ),
        ("subtype", [(c.name, c.proportion.count, c.proportion.total) for c in numbers.subtypes]),
        ("unclassified", [(s.value, count, None) for s, count in numbers.unclassified]),
    ]
    _add(
        tx,
        result_counts,
        [
            {
                "analysis_id": key,
                "kind": kind,
                "position": position,
                "name": name,
                "count": count,
                "total": total,
                "reviewed": reviewed,
            }
            for kind, rows in counted
            for position, (name, count, total) in enumerate(rows)
        ],
    )


def load_numbers(conn: Connection, analysis_id: AnalysisId, *, reviewed: int = 0) -> Numbers:
    """The numbers as their rows say them, not as the cells would give them: what is computed comes
    from these counts, as for any report. UnknownRow when there are none."""
    key = UUID(analysis_id)
    row = _one(conn, select(results).where(_of(results, key, reviewed)))
    if row is None:
        raise UnknownRow(f"analysis {analysis_id} has no numbers after review {reviewed}")
    counted: dict[str, list[RowMapping]] = {}
    query = (
        select(result_counts)
        .where(_of(result_counts, key, reviewed))
        .order_by(result_counts.c.position)
    )
    for count in conn.execute(query).mappings():
        counted.setdefault(count["kind"], []).append(count)
    told = _one(conn, select(bundles).join(analyses).where(analyses.c.id == key))
    return numbers_of_counts(
        counts=[(r["name"], r["count"]) for r in counted.get("class", [])],
        differential=_class_counts(counted.get("differential", [])),
        blasts=row["blasts"] or 0,
        morphological_blasts=Proportion(row["morphological_blasts"], row["morphological_total"]),
        subtypes=_class_counts(counted.get("subtype", [])),
        unclassified=[(Stage(r["name"]), r["count"]) for r in counted.get("unclassified", [])],
        leukocytes=row["leukocytes"],
        overruled=row["overruled"],
        disagreements=row["disagreements"],
        adequacy=Adequacy(row["adequacy"]),
        confusion=_confusion(told["confusion"]) if told is not None and not reviewed else None,
    )


def _of(table: Table, key: UUID, reviewed: int) -> ColumnElement[bool]:
    return (table.c.analysis_id == key) & (table.c.reviewed == reviewed)


def _one(conn: Connection, query: Select[Any]) -> RowMapping | None:
    return conn.execute(query).mappings().one_or_none()


def _class_counts(rows: list[RowMapping]) -> list[ClassCount]:
    return [ClassCount(name=r["name"], proportion=Proportion(r["count"], r["total"])) for r in rows]


def _confusion(told: list[int] | None) -> tuple[tuple[int, int], tuple[int, int]] | None:
    return ((told[0], told[1]), (told[2], told[3])) if told is not None else None


def _add(tx: Transaction, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.connection.execute(insert(table), rows)


def _rows(conn: Connection, table: Table, key: UUID, order: str) -> list[RowMapping]:
    query = select(table).where(table.c.analysis_id == key).order_by(table.c[order])
    return list(conn.execute(query).mappings())


def _bundle(conn: Connection, key: UUID) -> BundleInfo:
    row = conn.execute(select(bundles).where(bundles.c.id == key)).mappings().one()
    of_bundle = select(models).where(models.c.bundle == key).order_by(models.c.position)
    return BundleInfo(
        id=row["bundle_id"],
        version=row["version"],
        manifest_sha256=Sha256(row["manifest_sha256"]),
        untrained=row["untrained"],
        domains=tuple(Domain(d) for d in row["domains"]),
        models=tuple(
            ModelInfo(
                stage=Stage(m["stage"]),
                architecture=m["architecture"],
                sha256=Sha256(m["sha256"]),
                classes=tuple(m["classes"]),
                thresholds=_thresholds(m),
            )
            for m in conn.execute(of_bundle).mappings()
        ),
        um_per_px=row["um_per_px"],
        reject_rate=row["reject_rate"],
        commissioned=Commissioning(
            site=row["commissioned_site"],
            date=row["commissioned_date"],
            parent_manifest_sha256=Sha256(row["commissioned_parent"]),
        )
        if row["commissioned_site"] is not None
        else None,
        confusion=_confusion(row["confusion"]),
    )


def _image(row: RowMapping) -> ImageReading:
    return ImageReading(
        header=ImageHeader(
            source=row["source"],
            sha256=Sha256(row["sha256"]),
            width_px=row["width_px"],
            height_px=row["height_px"],
            frames=row["frames"],
            domain=Domain(row["domain"]),
            um_per_px=_as_pair(row["given_um_per_px"]),
            pixel_aspect=row["pixel_aspect"],
            monochrome=row["monochrome"],
            refusal=row["refusal"],
            warnings=tuple(row["header_warnings"]),
        ),
        viability=Viability(p=row["viable_p"], verdict=Verdict(row["viable_verdict"])),
        um_per_px=_as_pair(row["um_per_px"]),
        scale_from=ScaleFrom(row["scale_from"]),
        fields_read=row["fields_read"],
        fields_refused=row["fields_refused"],
        fields_left=row["fields_left"],
        not_evaluable=row["not_evaluable"],
        warnings=tuple(row["warnings"]),
    )


def _cell_row(key: UUID, cell: Cell) -> dict[str, Any]:
    return {
        "analysis_id": key,
        "number": cell.number,
        "image": cell.image,
        "frame": cell.frame,
        "x0_px": cell.box_px.x0,
        "y0_px": cell.box_px.y0,
        "x1_px": cell.box_px.x1,
        "y1_px": cell.box_px.y1,
        "detection_p": cell.detection_p,
        "cell_class": cell.cell_class.value,
        "cell_class_p": list(cell.cell_class_p),
        "wbc_class": cell.wbc_class,
        "wbc_class_p": list(cell.wbc_class_p),
        "malignancy": cell.malignancy,
        "malignancy_p": list(cell.malignancy_p),
        "subtype": cell.subtype,
        "subtype_p": list(cell.subtype_p),
        "final_class": cell.final_class,
        "is_leukocyte": cell.is_leukocyte,
        "is_blast": cell.is_blast,
        "marks": [mark.value for mark in cell.marks],
        "outline_px": list(cell.outline_px),
    }


def _cell(row: RowMapping) -> Cell:
    return Cell(
        number=row["number"],
        image=row["image"],
        frame=row["frame"],
        box_px=Box(row["x0_px"], row["y0_px"], row["x1_px"], row["y1_px"]),
        detection_p=row["detection_p"],
        cell_class=CellClass(row["cell_class"]),
        cell_class_p=tuple(row["cell_class_p"]),
        wbc_class=row["wbc_class"],
        wbc_class_p=tuple(row["wbc_class_p"]),
        malignancy=row["malignancy"],
        malignancy_p=tuple(row["malignancy_p"]),
        subtype=row["subtype"],
        subtype_p=tuple(row["subtype_p"]),
        final_class=row["final_class"],
        marks=tuple(Mark(m) for m in row["marks"]),
        outline_px=tuple(row["outline_px"]),
    )


def _stage(row: RowMapping) -> StageRecord:
    return StageRecord(
        stage=Stage(row["stage"]),
        model=row["model"],
        sha256=Sha256(row["sha256"]),
        engine=row["engine"],
        thresholds=_thresholds(row),
        seconds=row["seconds"],
        items=row["items"],
    )


def _failure(row: RowMapping) -> StageFailure:
    stage = Stage(row["stage"]) if row["stage"] is not None else None
    return StageFailure(stage=stage, reason=row["reason"])


def _thresholds(row: RowMapping) -> tuple[tuple[str, float], ...]:
    return tuple(zip(row["threshold_names"], row["threshold_values"], strict=True))


def _pair(value: tuple[float, float] | None) -> list[float] | None:
    return list(value) if value is not None else None


def _as_pair(value: list[float] | None) -> tuple[float, float] | None:
    return (value[0], value[1]) if value is not None else None
