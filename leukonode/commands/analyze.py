"""`leukonode analyze`: read pictures or DICOM files without server or database."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from leukonode.console import print_json, print_table, progress_bar, say_error
from leukonode.errors import CouldNotError, UsageError

__all__ = ["register"]


class Shape(StrEnum):
    """Shapes of the result."""

    JSON = "json"
    THESIS = "thesis"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(analyze)


def analyze(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", show_default=False)],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("leukonode-results"),
    bundle: Annotated[Path | None, typer.Option(help="Bundle of models.")] = None,
    single_cell: Annotated[bool, typer.Option(help="Take each image for one cell.")] = False,
    shape: Annotated[
        Shape, typer.Option("--format", help="'thesis' writes thesis.json as well.")
    ] = Shape.JSON,
    report: Annotated[bool, typer.Option(help="Write report.pdf and report.dcm.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> int:
    """Read pictures or DICOM files; write DIR/<stem>/result.json, report.pdf, report.dcm (SR)
    and overview.png. A file that cannot be read gets one line, and the others go on."""
    from leukonode.bundles import ensure_bundle
    from leukonode.commands.service import effective_settings
    from leukonode.standalone import Outputs, files_of, output_folders, read_file, write_outputs

    settings = effective_settings().settings
    if bundle is not None:
        settings = settings.model_copy(update={"bundle": bundle.resolve()})
    files = files_of(paths)
    if not files:
        raise UsageError("no file there to read")
    from inference.bundle import load_bundle

    done: list[dict[str, Any]] = []
    failed = 0
    with progress_bar() as progress:
        folder = ensure_bundle(settings, progress=progress)
        loaded = load_bundle(folder, threads=settings.threads or None)
        targets = output_folders(files, out)
        for number, (file, target) in enumerate(targets.items(), start=1):
            progress("files", number - 1, len(targets))
            try:
                made, _ = read_file(
                    file,
                    bundle=loaded,
                    settings=settings,
                    single_cell=single_cell,
                    now=datetime.now(UTC),
                    progress=progress,
                )
                write_outputs(
                    made,
                    target,
                    outputs=Outputs(
                        report=report,
                        thesis=shape is Shape.THESIS,
                        paper=settings.report_paper,
                    ),
                )
            except CouldNotError as error:
                failed += 1
                say_error(str(error))
                continue
            done.append(
                {
                    "file": str(file),
                    "result": str(target / "result.json"),
                    "evaluable": made.analysis.evaluable,
                    "leukocytes": made.numbers.leukocytes,
                    "blasts": made.numbers.blasts.count,
                    "finding": made.finding.text,
                }
            )
    if json:
        print_json(done)
    elif done:
        columns = ("file", "leukocytes", "blasts", "result", "finding")
        print_table(columns, [[row[c] for c in columns] for row in done])
    return 1 if failed else 0
