"""Read files without server or database: what `leukonode analyze` does for each file.

In      one picture or DICOM file, a loaded bundle
Out     a folder with result.json, report.pdf, report.dcm (SR) and overview.png
The same bytes and bundle give the same result.json; times are in run.json beside it. Each file of
the folder is complete or absent.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_node.errors import DicomNodeError
from dicom_node.headers import read_header
from dicom_node.pictures import PictureSource
from dicom_node.sources import NotAnImage, PixelSource, open_any
from domain.counts import AdequacyLimits
from domain.identities import (
    CaseId,
    InstanceUID,
    SeriesUID,
    Sha256,
    SopClassUID,
    StudyUID,
    derived_uid,
    derived_uuid,
)
from domain.image import ImageReading
from domain.study import EvidenceRef, Patient, StudyContext
from leukonode.about import SOFTWARE, producer_of
from leukonode.beside import beside_settings
from leukonode.errors import CouldNotError
from leukonode.reading import Progress, Reading
from leukonode.settings import Settings
from reporting.report import Report, report_of

if TYPE_CHECKING:
    from inference.bundle import Bundle

__all__ = ["Outputs", "files_of", "output_folders", "read_file", "write_outputs"]

# A picture has no SOP class; its references say what it would be, and the context warns of it.
_SECONDARY_CAPTURE = SopClassUID("1.2.840.10008.5.1.4.1.1.7")
_ALL_FILES = ("result.json", "run.json", "thesis.json", "overview.png", "report.pdf", "report.dcm")
_FROM_A_PICTURE = "made from a picture file: no patient, no specimen, and references to no object"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Which files to write."""

    report: bool
    thesis: bool
    paper: str = "a4"


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Files as named, and the files inside folders, sorted; names with a leading dot left out."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (f for f in path.rglob("*") if f.is_file() and not f.name.startswith("."))
            found += sorted(inside)
        else:
            found.append(path)
    return found


def output_folders(files: Iterable[Path], out: Path) -> dict[Path, Path]:
    """A folder for each file: its stem, and for a stem seen before a number behind it."""
    taken: set[str] = set()
    folders: dict[Path, Path] = {}
    for file in dict.fromkeys(files):
        name, number = file.stem or "image", 1
        while name.lower() in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name.lower())
        folders[file] = out / name
    return folders


def read_file(
    file: Path,
    *,
    bundle: "Bundle",
    settings: Settings,
    single_cell: bool,
    now: datetime,
    progress: Progress | None = None,
) -> tuple[Report, Reading]:
    """Analyse one file. Raises CouldNotError when it is no image."""
    from inference.cascade import Options
    from leukonode.looking import read_images

    source = _opened(file, single_cell=single_cell)
    sha256 = source.header.sha256
    reading = read_images(
        [source],
        bundle=bundle,
        options=Options(leukocytes_wanted=settings.leukocytes_wanted, software=SOFTWARE),
        progress=progress,
    )
    reading = _named(reading, file.name)
    report = report_of(
        context=_context(file, source),
        analysis=reading.analysis,
        case_id=CaseId(str(derived_uuid("file", sha256, reading.analysis.bundle.manifest_sha256))),
        analysis_ordinal=1,
        revision=1,
        issued_at=now,
        completed_by="one file, given by hand",
        producer=producer_of(""),
        limits=AdequacyLimits(
            adequate=settings.leukocytes_wanted, limited=settings.adequacy_limited
        ),
        review_threshold_percent=settings.review_threshold_percent,
        gallery=reading.gallery,
        overviews=reading.overviews,
        beside=beside_settings(settings),
    )
    return report, reading


def _opened(file: Path, *, single_cell: bool) -> PixelSource:
    try:
        return open_any(file, image=0, single_cell=single_cell)
    except (NotAnImage, DicomNodeError) as error:
        raise CouldNotError(f"{file.name}: {error}") from None
    except OSError as error:
        raise CouldNotError(f"{file.name}: {error.strerror or 'cannot be read'}") from None


def _named(reading: Reading, name: str) -> Reading:
    """Call the image by its file's name, which is what a person at the command line knows."""

    def named(image: ImageReading) -> ImageReading:
        return replace(image, header=replace(image.header, source=name))

    images = tuple(named(i) for i in reading.analysis.images)
    return replace(reading, analysis=replace(reading.analysis, images=images))


def _context(file: Path, source: PixelSource) -> StudyContext:
    header = source.header
    if not isinstance(source, PictureSource):
        return read_header(file, sha256=header.sha256).context
    sha256: Sha256 = header.sha256
    return StudyContext(
        patient=Patient(),
        study_uid=StudyUID(derived_uid("picture study", sha256)),
        evidence=(
            EvidenceRef(
                sop_class_uid=_SECONDARY_CAPTURE,
                instance_uid=InstanceUID(derived_uid("picture", sha256)),
                series_uid=SeriesUID(derived_uid("picture series", sha256)),
                sha256=sha256,
            ),
        ),
        warnings=(_FROM_A_PICTURE,),
    )


def write_outputs(report: Report, folder: Path, *, outputs: Outputs) -> None:
    """Draw the report into `folder`, each file written beside and renamed."""
    from reporting.overview import overview_png
    from reporting.pdf import Paper, pdf_bytes
    from reporting.result_json import result_bytes, thesis_of
    from reporting.sr import sr_document

    folder.mkdir(parents=True, exist_ok=True)
    for name in _ALL_FILES:  # of an earlier call, which may have written more
        (folder / name).unlink(missing_ok=True)
    _write(folder / "result.json", result_bytes(report, with_seconds=False))
    _write(folder / "run.json", _run_json(report))
    if outputs.thesis:
        _write(folder / "thesis.json", thesis_of(report))
    for overview in report.overviews[:1]:
        cells = [c for c in report.analysis.cells if c.image == overview.image]
        _write(folder / "overview.png", overview_png(overview, cells, untrained=report.untrained))
    if outputs.report:
        _write(folder / "report.pdf", pdf_bytes(report, paper=Paper(outputs.paper)))
        _write(folder / "report.dcm", sr_document(report))


def _run_json(report: Report) -> bytes:
    run = {
        "issued_at": report.issued_at.isoformat(),
        "software": report.analysis.software,
        "engine": report.analysis.engine,
        "processor": report.analysis.processor,
        "seconds": {r.stage.value: round(r.seconds, 3) for r in report.analysis.stages},
    }
    return json.dumps(run, indent=2).encode() + b"\n"


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(f".{file.name}.part")
    beside.write_bytes(content)
    beside.replace(file)
