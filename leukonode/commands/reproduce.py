"""`leukonode reproduce`: run a stored case again and compare."""

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leukonode.console import print_json, say

if TYPE_CHECKING:
    from leukonode.reproducing import Reproduced

__all__ = ["register"]

SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="reproduce")(reproduce_case)


def reproduce_case(
    case_id: Annotated[str, typer.Argument(metavar="CASE", help="The start of its id is enough.")],
    *,
    analysis: Annotated[
        int | None, typer.Option(min=1, help="Its number in the case; the latest without.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the bundle, where it is not a known one.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0,
            help="How far two probabilities, or two edges of a box in pixels, may lie apart; for a "
            "run on another processor.",
        ),
    ] = 0.0,
    by: Annotated[str, typer.Option(help="Who asks, for the audit trail.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> int:
    """Read a stored case again with the bundle it names, and compare cell by cell. Exit status 0 when
    it is the same, 1 when it is not."""
    from db.audit import record_event
    from leukonode.child import AnalysingChild
    from leukonode.commands.database import opened
    from leukonode.commands.service import effective_settings
    from leukonode.reproducing import reproduce
    from leukonode.store import FolderStore

    settings = effective_settings().settings
    database = opened()
    child = AnalysingChild()
    try:
        done = reproduce(
            database,
            FolderStore(settings.store_dir),
            settings,
            case_id,
            analysis=analysis,
            bundle=bundle.resolve() if bundle else None,
            tolerance=tolerance,
            read=lambda r: child.read(r, timeout_seconds=settings.analysis_timeout_seconds),
        )
    finally:
        child.stop()
    same = done.comparison.same
    with database.transaction() as tx:
        record_event(
            tx,
            actor=f"person:{by or getpass.getuser()}",
            event="case reproduced",
            outcome="success" if same else "failure",
            case_id=done.case_id,
            details={
                "analysis": done.analysis,
                "cells": done.comparison.cells,
                "differences": len(done.comparison.differences),
            },
        )
    if json:
        print_json(asdict(done) | {"same": same})
    else:
        _tell(done)
    return 0 if same else 1


def _tell(done: "Reproduced") -> None:
    result = done.comparison
    read = f"analysis {done.analysis}, {done.images} images, {result.cells} cells, bundle {done.bundle}"
    if result.same:
        near = (
            f"; numbers of cells lie at most {result.largest:.2g} apart" if result.largest else ""
        )
        say(f"same: {read}{near}")
    else:
        say(
            f"different: {read}; {len(result.differences)} differences, "
            f"in {result.differing_cells} cells"
        )
    for difference in result.differences[:SHOWN]:
        say(f"  {difference.text}")
    if len(result.differences) > SHOWN:
        say(f"  and {len(result.differences) - SHOWN} more; --json lists all")
    for other in result.surroundings:
        say(f"  another {other.field}: was {other.stored}, is {other.again}")
