"""`leukonode cases`, `case`, `deliveries`: what the service holds and what became of it."""

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from db import queries
from db.database import Database
from domain.states import CaseState
from leukonode.console import print_json, print_table, say
from leukonode.errors import CouldNotError

__all__ = ["as_json", "aware", "register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="cases")(list_cases)
    app.command(name="case")(show_case)
    deliveries = typer.Typer(help="Deliveries to destinations.", invoke_without_command=True)
    deliveries.callback()(list_deliveries)
    deliveries.command(name="retry")(retry)
    app.add_typer(deliveries, name="deliveries")


def aware(when: datetime | None) -> datetime | None:
    """A time given at the command line is UTC unless it says otherwise."""
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def as_json(value: Any) -> Any:
    """A frozen value of the database room as JSON's own types."""
    return asdict(value)


def list_cases(
    *,
    since: Annotated[datetime | None, typer.Option(help="Received since, UTC.")] = None,
    state: Annotated[CaseState | None, typer.Option(help="In this state.")] = None,
    blasts_over: Annotated[float | None, typer.Option(help="Blast percentage above this.")] = None,
    patient: Annotated[str | None, typer.Option(help="Part of the patient's id or name.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """The worklist, newest first."""
    from leukonode.commands.database import opened

    with opened().reading() as conn:
        found = queries.cases(
            conn,
            since=aware(since),
            state=state,
            blasts_over_percent=blasts_over,
            patient=patient,
            limit=limit,
        )
    if json:
        print_json([as_json(c) for c in found])
        return
    print_table(
        (
            "case",
            "received",
            "state",
            "patient",
            "accession",
            "leukocytes",
            "blasts",
            "reports",
            "",
        ),
        [
            [
                c.case_id[:8],
                f"{c.received_at:%Y-%m-%d %H:%M}",
                c.state.value,
                c.patient.patient_id,
                c.accession_number,
                c.leukocytes,
                c.blasts.text if c.blasts and c.blasts.total else "",
                c.reports,
                "UNTRAINED" if c.untrained else "",
            ]
            for c in found
        ],
    )


def show_case(
    case_id: Annotated[str, typer.Argument(metavar="ID", help="The start of its id is enough.")],
    *,
    retry: Annotated[bool, typer.Option("--retry", help="Send a failed case on again.")] = False,
    by: Annotated[str, typer.Option(help="Who asks, for the audit trail.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """One case with its numbers and its history."""
    from leukonode.commands.database import opened

    database = opened()
    with database.reading() as conn:
        found = queries.case(conn, case_id)
    if retry:
        _retry_case(database, found, by)
        return
    if json:
        print_json(as_json(found))
        return
    line = found.line
    mark = "  UNTRAINED MODELS" if line.untrained else ""
    say(f"case {line.case_id}  {line.state.value}{mark}")
    say(f"study {line.study_uid}  accession {line.accession_number or '-'}")
    say(f"patient {line.patient.patient_id or '-'}  {line.patient.name or '-'}")
    for analysis in found.analyses:
        say("")
        say(f"analysis {analysis.ordinal}, completed by {analysis.completed_by.value}")
        if analysis.leukocytes is None:
            continue
        say(f"  leukocytes {analysis.leukocytes}, {analysis.adequacy}")
        if analysis.blasts is not None:
            say(f"  blasts {analysis.blasts.count}: {analysis.blasts.text}")
        say("  " + ", ".join(f"{name} {count}" for name, count in analysis.counts if count))
    for image in found.images:
        said = image.not_evaluable or image.viability
        say(
            f"image {image.source}  {image.width_px} x {image.height_px}  {said}, {image.cells} cells"
        )
    for report in found.reports:
        say(
            f"report {report.revision}, {report.status.value}, {report.issued_at:%Y-%m-%d %H:%M:%S}"
        )
    for review in found.reviews:
        say(f"review {review.ordinal}: {review.kind.value} by {review.by}")
    for delivery in found.deliveries:
        say(
            f"delivery {delivery.delivery_id} to {delivery.destination}: {delivery.state.value}, "
            f"{delivery.attempts} attempts {delivery.last_error}"
        )
    say("")
    print_table(
        ("at", "event", "outcome", "actor"),
        [[f"{e.at:%Y-%m-%d %H:%M:%S}", e.event, e.outcome, e.actor] for e in found.events],
    )


def _retry_case(database: Database, found: queries.CaseDetail, by: str) -> None:
    from db.retrying import retry_case

    with database.transaction() as tx:
        again = retry_case(
            tx, found.line.case_id, by=by or getpass.getuser(), now=datetime.now(UTC)
        )
    if not again:
        raise CouldNotError(f"the case is {found.line.state.value}; only a failed one is retried")
    say(f"case {found.line.case_id} goes on its road again")


def list_deliveries(
    context: typer.Context,
    *,
    failed: Annotated[bool, typer.Option(help="Only those given up.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Deliveries, newest first; `--failed` is the dead-letter list."""
    from leukonode.commands.database import opened

    if context.invoked_subcommand:
        return
    with opened().reading() as conn:
        found = queries.deliveries(conn, failed=failed)
    if json:
        print_json([as_json(d) for d in found])
        return
    print_table(
        ("delivery", "case", "revision", "destination", "state", "attempts", "why"),
        [
            [
                d.delivery_id,
                d.case_id[:8],
                d.revision,
                d.destination,
                d.state.value,
                d.attempts,
                d.last_error,
            ]
            for d in found
        ],
    )


def retry(
    delivery_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    by: Annotated[str, typer.Option(help="Who asks, for the audit trail.")] = "",
) -> None:
    """Send a delivery again that was given up."""
    from db.delivering import retry_delivery
    from leukonode.commands.database import opened

    with opened().transaction() as tx:
        again = retry_delivery(tx, delivery_id, by=by or getpass.getuser(), now=datetime.now(UTC))
    if not again:
        raise CouldNotError(
            f"delivery {delivery_id} was not given up, so there is nothing to retry"
        )
    say(f"delivery {delivery_id} will be sent again")
