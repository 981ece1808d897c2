"""`leukonode dicomize` and `leukonode send`: make DICOM objects of pictures, and send objects."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from leukonode.console import print_json, print_table, progress_bar, say
from leukonode.errors import CouldNotError, UsageError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(dicomize)
    app.command()(send)


def dicomize(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", show_default=False)],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the objects.")],
    patient_id: Annotated[str, typer.Option()] = "",
    patient_name: Annotated[str, typer.Option(help="As DICOM writes it: FAMILY^GIVEN.")] = "",
    accession: Annotated[str, typer.Option()] = "",
    spacing_um: Annotated[float | None, typer.Option(help="Micrometres per pixel.")] = None,
    wsi: Annotated[bool, typer.Option(help="One picture as a tiled whole-slide object.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the paths as JSON.")] = False,
) -> None:
    """Make DICOM objects of pictures: one study, one object for each picture."""
    from dicom_node.dicomize import Labels, dicomize_slide
    from dicom_node.dicomize import dicomize as make
    from dicom_node.errors import DicomNodeError
    from dicom_node.sources import NotAnImage, open_picture
    from domain.image import Box, Pixels
    from leukonode.standalone import files_of

    files = files_of(paths)
    if not files:
        raise UsageError("no file there to convert")
    for file in files:
        try:
            open_picture(file, image=0)
        except NotAnImage as error:
            raise CouldNotError(f"{file.name}: {error}") from None
        except OSError as error:
            raise CouldNotError(f"{file.name}: {error.strerror}") from None
    labels = Labels(patient_id=patient_id, patient_name=patient_name, accession=accession)
    now = datetime.now().astimezone()
    try:
        if not wsi:
            made = make(files, out=out, labels=labels, spacing_um=spacing_um, now=now)
        else:
            if len(files) != 1 or spacing_um is None:
                raise UsageError("--wsi takes one picture and needs --spacing-um")
            source = open_picture(files[0], image=0)

            def region(x: int, y: int, width: int, height: int) -> Pixels:
                return source.region(Box(x, y, x + width, y + height), frame=1)

            made = [
                dicomize_slide(
                    region,
                    width_px=source.header.width_px,
                    height_px=source.header.height_px,
                    um_per_px=spacing_um,
                    out=out,
                    labels=labels,
                    now=now,
                    origin=source.origin,
                )
            ]
    except (NotAnImage, DicomNodeError) as error:
        raise CouldNotError(str(error)) from None
    if json:
        print_json([str(p) for p in made])
    else:
        for path in made:
            say(str(path))


def send(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", show_default=False)],
    *,
    to: Annotated[str, typer.Option(metavar="AE@HOST:PORT", help="The peer.")],
    json: Annotated[bool, typer.Option("--json", help="Print the statuses as JSON.")] = False,
) -> int:
    """Send DICOM files by C-STORE, and print the peer's status for each."""
    from dicom_node.peers import Peer
    from dicom_node.scu import Timeouts
    from dicom_node.scu import send as store
    from leukonode.commands.service import effective_settings
    from leukonode.standalone import files_of

    settings = effective_settings().settings
    ae_title, host, port = _peer(to)
    files = files_of(paths)
    if not files:
        raise UsageError("no file there to send")
    with progress_bar() as progress:
        count = 0

        def moved(_status: object) -> None:
            nonlocal count
            count += 1
            progress("sent", count, len(files))

        outcome = store(
            files,
            to=Peer(ae_title=ae_title, host=host, port=port),
            calling_ae=settings.ae_title,
            timeouts=Timeouts(),
            on_status=moved,
        )
    rows = [
        {
            "file": str(s.path),
            "status": None if s.status is None else f"{s.status:04X}",
            "outcome": s.category.name.lower(),
            "comment": s.comment,
        }
        for s in outcome.instances
    ]
    if json:
        print_json(rows)
    else:
        print_table(("file", "status", "outcome", "comment"), [list(r.values()) for r in rows])
    if not outcome.delivered:
        raise CouldNotError(outcome.reason or "not every object was stored; see the statuses")
    return 0


def _peer(text: str) -> tuple[str, str, int]:
    ae_title, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and ae_title and host and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"--to {text!r}: wants AE@HOST:PORT, as in PACS@127.0.0.1:11112")
    return ae_title, host.strip("[]"), int(port)
