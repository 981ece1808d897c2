"""`leukonode models assemble`: six runs of training into a bundle that can be given away."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leukonode.console import progress_bar, say
from leukonode.errors import CouldNotError

__all__ = ["register"]


class Form(StrEnum):
    """How weights are stored."""

    FLOAT32 = "float32"
    INT8 = "int8"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(assemble)


def assemble(
    runs: Annotated[Path, typer.Argument(help="Folder with the run folders of all six stages.")],
    *,
    data: Annotated[Path, typer.Option(help="The pictures that they were trained on.")],
    out: Annotated[Path, typer.Option(help="A bundle folder that does not exist yet.")],
    card: Annotated[Path, typer.Option(help="Markdown: intended use, data, licences, limits.")],
    name: Annotated[str, typer.Option(help="The bundle's id.")],
    version: Annotated[str, typer.Option(help="Its version.")],
    licence: Annotated[str, typer.Option(help="Of the weights.")],
    storage: Annotated[
        Form, typer.Option(help="Of the weights; int8 has a quarter of the size.")
    ] = Form.INT8,
    report: Annotated[
        Path | None,
        typer.Option(help="What `leukonode evaluate` wrote of these weights, for the card."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor.")] = None,
) -> int:
    """Fit temperatures and thresholds on the side val, and write the bundle with its card."""
    import torch

    from inference.errors import InferenceError
    from inference.manifest import Storage
    from training.errors import TrainingError
    from training.release import release

    if threads:
        torch.set_num_threads(threads)
    try:
        prose = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CouldNotError(
            f"{card} cannot be read as text ({error}); name a Markdown file"
        ) from error
    try:
        with progress_bar() as progress:
            info = release(
                runs,
                out,
                data=data,
                name=name,
                version=version,
                licence=licence,
                prose=prose,
                storage=Storage(storage.value),
                report=report,
                progress=progress,
            )
    except (TrainingError, InferenceError) as error:
        raise CouldNotError(str(error)) from error
    say(f"{out}: {info.id} {info.version}, manifest {info.manifest_sha256[:12]}")
    return 0
