"""How long a million cells take to annotate, and how much memory: `python benchmarks/annotations.py`.

Draws a slide's cells (a smear's mix: red cells, platelets, white cells with an outline each), makes
the annotations and reads them back. Prints seconds and the peak resident memory of the process.
"""

import argparse
import io
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime
from math import cos, pi, sin

import highdicom
from pydicom import dcmread

from domain.analysis import Analysis, BundleInfo, ModelInfo
from domain.cells import Cell, CellClass, Stage, WbcClass
from domain.counts import AdequacyLimits
from domain.identities import CaseId, InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.image import Box, Domain, ImageHeader, ImageReading, ScaleFrom, Verdict, Viability
from domain.study import EvidenceRef, Patient, StudyContext
from reporting.annotations import annotations_of
from reporting.report import Producer, Report, report_of

SIDE_PX = 100_000
SHA256 = Sha256("0" * 64)
RING = [(cos(2 * pi * k / 16), sin(2 * pi * k / 16)) for k in range(16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--white-percent", type=int, default=5, help="share with an outline")
    given = parser.parse_args()
    report = _report(given.cells, given.white_percent)
    before = _peak_mb()
    start, busy = time.perf_counter(), time.process_time()
    (made,) = annotations_of(report)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"{given.cells} cells, {given.white_percent} % with an outline")
    print(f"made in {seconds:.1f} s ({busy:.1f} s of one core): {len(made.content) / 1e6:.1f} MB")
    print(f"peak memory {_peak_mb():.0f} MB, of it {before:.0f} MB the cells themselves")
    start = time.perf_counter()
    read = highdicom.ann.MicroscopyBulkSimpleAnnotations.from_dataset(
        dcmread(io.BytesIO(made.content))
    )
    counted = sum(g.number_of_annotations for g in read.get_annotation_groups())
    print(f"read back in {time.perf_counter() - start:.1f} s: {counted} annotations")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _report(count: int, white_percent: int) -> Report:
    white = (0.05, 0.05, 0.9)
    cells = []
    for number in range(1, count + 1):
        x, y = 7.25 + (number * 97) % (SIDE_PX - 90), 3.5 + (number // 97 * 89) % (SIDE_PX - 90)
        cell = Cell(
            number=number,
            image=0,
            frame=1,
            box_px=Box(x, y, x + 71.5, y + 70.25),
            detection_p=0.9,
            cell_class=CellClass.RED_BLOOD_CELL,
            cell_class_p=(0.97, 0.02, 0.01),
            final_class=CellClass.RED_BLOOD_CELL.value,
        )
        if number % 100 < white_percent:
            ring = (v for dx, dy in RING for v in (x + 35 + 34 * dx, y + 35 + 34 * dy))
            cell = replace(
                cell,
                cell_class=CellClass.WHITE_BLOOD_CELL,
                cell_class_p=white,
                wbc_class=WbcClass.NEUTROPHIL.value,
                wbc_class_p=(0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.1, 0.0),
                final_class=WbcClass.NEUTROPHIL.value,
                outline_px=tuple(ring),
            )
        cells.append(cell)
    return report_of(
        context=StudyContext(
            patient=Patient(),
            study_uid=StudyUID("2.25.1"),
            evidence=(
                EvidenceRef(
                    sop_class_uid=SopClassUID("1.2.840.10008.5.1.4.1.1.77.1.6"),
                    instance_uid=InstanceUID("2.25.2"),
                    series_uid=SeriesUID("2.25.3"),
                    sha256=SHA256,
                ),
            ),
        ),
        analysis=_analysis(tuple(cells)),
        case_id=CaseId("bench"),
        analysis_ordinal=1,
        revision=1,
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        completed_by="by hand",
        producer=Producer(
            manufacturer="LeukoNode",
            model="LeukoNode",
            version="0",
            serial_number="0",
            device_uid="2.25.4",
        ),
        limits=AdequacyLimits(),
        review_threshold_percent=20.0,
    )


def _analysis(cells: tuple[Cell, ...]) -> Analysis:
    models = tuple(
        ModelInfo(
            stage=stage,
            architecture="none",
            sha256=SHA256,
            classes=tuple(WbcClass)[:10] if stage is Stage.WBC_CLASS else (),
            thresholds=(),
        )
        for stage in Stage
    )
    return Analysis(
        bundle=BundleInfo(
            id="bench",
            version="0",
            manifest_sha256=SHA256,
            untrained=False,
            domains=(Domain.SMEAR,),
            models=models,
            um_per_px=0.1,
        ),
        images=(
            ImageReading(
                header=ImageHeader(
                    source="2.25.2",
                    sha256=SHA256,
                    width_px=SIDE_PX,
                    height_px=SIDE_PX,
                    frames=1,
                    domain=Domain.SMEAR,
                ),
                viability=Viability(p=0.9, verdict=Verdict.VIABLE),
                um_per_px=(0.1, 0.1),
                scale_from=ScaleFrom.SPACING,
                fields_read=10_000,
                fields_refused=0,
            ),
        ),
        cells=cells,
        stages=(),
        engine="none",
        processor="none",
        software="bench",
        leukocytes_wanted=200,
    )


if __name__ == "__main__":
    main()
