"""Examine the machine the service is to run on, one finding a line."""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from leukonode.errors import LeukonodeError
from leukonode.layout import strangers
from leukonode.settings import Destination, DicomDestination, FhirDestination, Settings

__all__ = ["Examined", "Judgement", "examine"]


class Judgement(StrEnum):
    """How a finding bears on the service."""

    GOOD = "good"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One thing that was looked at."""

    verdict: Judgement
    what: str
    said: str


def examine(settings: Settings) -> list[Examined]:
    """Everything, in the order in which a start would meet it."""
    return [
        _packages(),
        _codecs(),
        _bundle(settings),
        _disk(settings),
        _port(settings),
        _database(settings),
        *_blocked(settings),
        *_destinations(settings),
        Examined(
            verdict=Judgement.NOTE,
            what="processor",
            said=f"{os.cpu_count()} cores for the networks",
        ),
    ]


def _packages() -> Examined:
    found = strangers()
    if found:
        return Examined(
            verdict=Judgement.WRONG, what="packages", said=f"foreign: {', '.join(found)}"
        )
    return Examined(verdict=Judgement.GOOD, what="packages", said="all from one place")


def _codecs() -> Examined:
    from dicom_node.codecs import proven_transfer_syntaxes
    from dicom_node.conformance import accepted_syntaxes

    count = len(accepted_syntaxes(proven_transfer_syntaxes()))
    return Examined(
        verdict=Judgement.GOOD, what="codecs", said=f"{count} transfer syntaxes proven and accepted"
    )


def _bundle(settings: Settings) -> Examined:
    from inference.bundle import read_bundle_info
    from inference.errors import InferenceError
    from leukonode.bundles import MANIFEST, bundle_folder

    try:
        folder = bundle_folder(settings)
        if not (folder / MANIFEST).is_file():
            return Examined(
                verdict=Judgement.NOTE,
                what="bundle",
                said="none trained; an untrained one will be made at the first use",
            )
        info = read_bundle_info(folder, verify_hashes=True)
    except (LeukonodeError, InferenceError) as error:
        return Examined(verdict=Judgement.WRONG, what="bundle", said=str(error))
    return Examined(
        verdict=Judgement.NOTE if info.untrained else Judgement.GOOD,
        what="bundle",
        said=f"{info.id} {info.version}{', UNTRAINED MODELS' if info.untrained else ''}",
    )


def _disk(settings: Settings) -> Examined:
    folder = settings.store_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free >> 20
    enough = free > settings.min_free_mb and os.access(folder, os.W_OK)
    return Examined(
        verdict=Judgement.GOOD if enough else Judgement.WRONG,
        what="disk",
        said=f"{free} MB free, {settings.min_free_mb} MB are kept free (min_free_mb)",
    )


def _port(settings: Settings) -> Examined:
    with socket.socket(socket.AF_INET6 if ":" in settings.bind else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((settings.bind, settings.port))
        except OSError as error:
            return Examined(
                verdict=Judgement.NOTE,
                what="port",
                said=f"{settings.bind}:{settings.port} is taken ({error.strerror}); "
                "right if the service runs, else set `port`",
            )
    return Examined(
        verdict=Judgement.GOOD, what="port", said=f"{settings.bind}:{settings.port} is free"
    )


def _database(settings: Settings) -> Examined:
    from db.embedded import url_of_running
    from db.errors import DatabaseError
    from db.migrate import check

    url = settings.database_url or url_of_running(settings.data_dir)
    if not url:
        return Examined(
            verdict=Judgement.NOTE, what="database", said="embedded; starts with `leukonode serve`"
        )
    try:
        found = check(url)
    except DatabaseError as error:
        return Examined(verdict=Judgement.WRONG, what="database", said=str(error))
    said = "; ".join((*found.differences, *found.warnings)) or f"at revision {found.head}"
    verdict = (
        Judgement.WRONG if not found.ok else Judgement.NOTE if found.warnings else Judgement.GOOD
    )
    return Examined(verdict=verdict, what="database", said=said)


def _blocked(settings: Settings) -> Iterator[Examined]:
    """Reports that the gate kept back: a drawing said other numbers than the database."""
    from sqlalchemy.exc import SQLAlchemyError

    from db.database import Database
    from db.embedded import url_of_running
    from db.errors import DatabaseError
    from db.queries import blocked_reports

    url = settings.database_url or url_of_running(settings.data_dir)
    if not url:
        return
    database = Database(url)
    try:
        with database.reading() as conn:
            blocked = blocked_reports(conn)
    except (DatabaseError, SQLAlchemyError):
        return  # said by the finding about the database
    finally:
        database.close()
    if blocked:
        yield Examined(
            verdict=Judgement.WRONG,
            what="blocked reports",
            said=f"{len(blocked)} say other numbers than the database and stay here: "
            f"{', '.join(c[:8] for c in blocked[:5])}; `leukonode case ID` shows which numbers",
        )


def _destinations(settings: Settings) -> Iterator[Examined]:
    if not settings.destinations:
        yield Examined(
            verdict=Judgement.NOTE,
            what="destinations",
            said="none: reports stay here and go to no PACS",
        )
    for destination in settings.destinations:
        said, reason = _called(destination, settings)
        yield Examined(
            verdict=Judgement.WRONG if reason else Judgement.GOOD,
            what=f"destination {destination.name}",
            said=reason or said,
        )


def _called(destination: Destination, settings: Settings) -> tuple[str, str]:
    """What it answers to, and why it does not, empty when it does."""
    from dicom_node.peers import Peer
    from dicom_node.scu import Timeouts, echo
    from leukonode.messages import call

    if not isinstance(destination, DicomDestination):
        said = (
            "answers metadata"
            if isinstance(destination, FhirDestination)
            else "accepts connections"
        )
        return said, call(destination, seconds=5)
    answer = echo(
        Peer(ae_title=destination.ae_title, host=destination.host, port=destination.port),
        calling_ae=settings.ae_title,
        timeouts=Timeouts(connect=5, associate=5, response=5),
    )
    return "answers C-ECHO", "" if answer.ok else answer.reason
