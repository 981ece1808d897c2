"""`leukonode explain`: where a network looked in one cell."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leukonode.console import say

__all__ = ["register"]


class Explained(StrEnum):
    """The stages that can be asked."""

    WBC_CLASS = "wbc_class"
    MALIGNANCY = "malignancy"
    SUBTYPE = "subtype"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    case_id: Annotated[str, typer.Argument(metavar="CASE", help="The start of its id is enough.")],
    cell: Annotated[int, typer.Argument(min=1, help="The cell's number in the report.")],
    *,
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    stage: Annotated[
        Explained | None, typer.Option(help="Of which stage; else the last that named the cell.")
    ] = None,
) -> None:
    """Draw where a network looked in a cell. It is no reason for the answer, and it is refused where
    it would look the same with shuffled weights."""
    from domain.cells import Stage
    from inference.bundle import load_bundle
    from leukonode.bundles import bundle_folder
    from leukonode.commands.database import opened
    from leukonode.commands.service import effective_settings
    from leukonode.explaining import explained_png
    from leukonode.store import FolderStore

    settings = effective_settings().settings
    picture = explained_png(
        case_id,
        cell,
        stage=None if stage is None else Stage(stage.value),
        database=opened(),
        store=FolderStore(settings.store_dir),
        bundle=load_bundle(bundle_folder(settings), threads=settings.threads or None),
    )
    out.write_bytes(picture)
    say(f"{out}: where the network looked, which is no reason for its answer")
