"""`leukonode db` and `leukonode audit`: the case database and its trail."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from db.database import Database
from leukonode.commands.service import database_url, effective_settings
from leukonode.console import print_json, print_table, say
from leukonode.errors import CouldNotError, UsageError

__all__ = ["audit_app", "db_app", "opened"]

db_app = typer.Typer(help="The case database.")
audit_app = typer.Typer(help="The audit trail.")


def opened() -> Database:
    """The database of the settings in effect."""
    return Database(database_url(effective_settings().settings))


@db_app.command()
def upgrade() -> None:
    """Bring the database to the schema of this program."""
    from db.migrate import check
    from db.migrate import upgrade as bring

    url = database_url(effective_settings().settings)
    bring(url)
    say(f"at revision {check(url).head}")


@db_app.command()
def check(*, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Compare the database with what this program needs."""
    from db.migrate import check as compare

    found = compare(database_url(effective_settings().settings))
    if json:
        print_json(asdict(found) | {"ok": found.ok})
    for warning in () if json else found.warnings:
        say(f"warning: {warning}")
    for difference in () if json else found.differences:
        say(f"difference: {difference}")
    if not found.ok:
        raise CouldNotError(
            f"the database is at {found.current or 'no revision'}, this program wants {found.head}; "
            "run `leukonode db upgrade`"
        )
    if not json:
        say(f"at revision {found.head}, as it should be")


@db_app.command()
def backup(file: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Write the whole database into one file, while the service runs. The objects in the store are
    files of their own: copy data_dir/store beside it."""
    from db.backup import backup as write

    write(database_url(effective_settings().settings), file)
    say(f"{file}: {file.stat().st_size} bytes")


@db_app.command()
def restore(file: Annotated[Path, typer.Argument(help="File that `db backup` wrote.")]) -> None:
    """Read a backup into an empty database; the embedded one while the service does not run."""
    from db.backup import restore as read
    from db.backup import restore_into

    settings = effective_settings().settings
    if settings.database_url:
        read(settings.database_url, file)
    else:
        restore_into(settings.data_dir, file)
    say("restored")


@db_app.command()
def url() -> None:
    """The URL of the database, with its password: for psql and for backups."""
    say(database_url(effective_settings().settings))


@audit_app.command(name="list")
def list_events(
    *,
    case: Annotated[str, typer.Option(help="Events of one case, by the start of its id.")] = "",
    since: Annotated[datetime | None, typer.Option(help="ISO date or time, UTC.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only events of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Audit events, oldest first."""
    from db import queries
    from leukonode.commands.cases import as_json, aware

    with opened().reading() as conn:
        case_id = queries.case(conn, case).line.case_id if case else None
        found = queries.events(
            conn,
            since=aware(since),
            case_id=case_id,
            names=tuple(event or ()),
            limit=limit,
        )
    if json:
        print_json([as_json(e) for e in found])
        return
    print_table(
        ("id", "at", "actor", "event", "outcome", "case", "details"),
        [
            [
                e.event_id,
                f"{e.at:%Y-%m-%d %H:%M:%S}",
                e.actor,
                e.event,
                e.outcome,
                (e.case_id or "")[:8],
                " ".join(f"{k}={v}" for k, v in e.details.items() if v not in (None, "")),
            ]
            for e in found
        ],
    )


@audit_app.command()
def verify(
    *,
    anchor: Annotated[
        str,
        typer.Option(
            metavar="ID:SHA256",
            help="The last event as an earlier call told it: proves that none was cut off since.",
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Read the whole trail and say whether every event follows from those before it."""
    from db.audit import ChainHead, verify_chain

    kept = None
    if anchor:
        number, _, sha256 = anchor.partition(":")
        if not number.isdigit() or len(sha256) != 64:
            raise UsageError("--anchor wants ID:SHA256, as `audit verify` printed it")
        kept = ChainHead(event_id=int(number), sha256=sha256)
    with opened().reading() as conn:
        head = verify_chain(conn, anchor=kept)
    if json:
        print_json({"events": head.event_id, "sha256": head.sha256})
        return
    say(f"{head.event_id} events follow from each other; the last is {head.event_id}:{head.sha256}")
