"""The roles of the service, each a process: node takes objects in, worker does the steps.

Nothing of a case lives in a process; each may be killed at any moment.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from db.audit import record_event
from db.database import Database
from db.queue import Step, run_worker
from db.sweeping import sweep
from dicom_node.errors import log_failure
from domain.identities import CaseId
from leukonode.about import SOFTWARE, producer_of
from leukonode.errors import SettingsError
from leukonode.reading import ReadingFailed
from leukonode.settings import Settings
from leukonode.store import FolderStore

__all__ = ["run_node", "run_worker_role"]

log = logging.getLogger(__name__)

SWEEP_SECONDS = 2.0
LOAD_SECONDS = 300.0


def _now() -> datetime:
    return datetime.now(UTC)


def _stop_event() -> threading.Event:
    """Set by SIGTERM or SIGINT."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    return over


def _event(database: Database, event: str, **details: str | int) -> None:
    with database.transaction() as tx:
        record_event(tx, actor=SOFTWARE, event=event, details=details)


def run_node(settings: Settings, database_url: str, *, ready: Callable[[str], None]) -> None:
    """Listen for objects until told to stop. Raises SettingsError when the port cannot be had."""
    from dicom_node.codecs import proven_transfer_syntaxes
    from dicom_node.conformance import accepted_syntaxes
    from dicom_node.errors import DicomNodeError
    from dicom_node.limits import Limits
    from dicom_node.peers import PeerRule, Service
    from dicom_node.scp import StorageScp
    from leukonode.receiving import Door

    over = _stop_event()
    database = Database(database_url)
    store = FolderStore(settings.store_dir)
    door = Door(settings=settings, database=database, store=store, now=_now)
    peers = (
        None
        if settings.peers is None
        else tuple(
            PeerRule(
                ae_title=p.ae_title,
                address=p.address,
                services=frozenset(Service(s) for s in p.services),
            )
            for p in settings.peers
        )
    )
    scp = StorageScp(
        ae_title=settings.ae_title,
        bind=settings.bind,
        port=settings.port,
        peers=peers,
        max_associations=settings.max_associations,
        max_pdu=131072,
        limits=Limits(
            object_bytes=settings.max_object_mb << 20, free_disk_bytes=settings.min_free_mb << 20
        ),
        incoming_dir=store.incoming,
        transfer_syntaxes=accepted_syntaxes(proven_transfer_syntaxes()),
        on_store=door.on_store,
        on_event=door.on_event,
    )
    try:
        scp.start()
    except DicomNodeError as error:
        raise SettingsError(str(error)) from None
    _event(database, "node started", ae_title=settings.ae_title, port=scp.port)
    ready(f"node: {settings.ae_title} listens on {settings.bind}:{scp.port}")
    over.wait()
    scp.stop()
    with contextlib.suppress(Exception):  # the database may have been told to stop as well
        _event(database, "node stopped", ae_title=settings.ae_title)
    database.close()


def run_worker_role(settings: Settings, database_url: str, *, ready: Callable[[str], None]) -> None:
    """Do the steps of cases until told to stop. Raises SettingsError when the bundle is wrong."""
    from inference.bundle import read_bundle_info
    from inference.errors import InferenceError
    from leukonode import steps
    from leukonode.bundles import ensure_bundle
    from leukonode.child import AnalysingChild

    over = _stop_event()
    bundle = ensure_bundle(settings, progress=lambda _what, _done, _of: None)
    child = AnalysingChild()
    try:
        info = read_bundle_info(bundle)
        child.load(bundle, threads=settings.threads, timeout_seconds=LOAD_SECONDS)
    except (InferenceError, ReadingFailed) as error:
        raise SettingsError(str(error)) from None
    database = Database(database_url)
    store = FolderStore(settings.store_dir)
    store.remove_leftovers(now=_now().timestamp())
    owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    house = steps.House(
        settings=settings,
        database=database,
        store=store,
        producer=producer_of(store.installation()),
        bundle=bundle,
        bundle_info=info,
        owner=owner,
        now=_now,
        read=partial(child.read, timeout_seconds=settings.analysis_timeout_seconds),
        stopping=over.is_set,
    )
    handlers: dict[Step, Callable[[str], None]] = {
        Step.COMPLETE: lambda key: steps.complete(house, CaseId(key)),
        Step.ANALYSE: lambda key: steps.analyse(house, CaseId(key)),
        Step.REPORT: lambda key: steps.report(house, CaseId(key)),
        Step.DELIVER: lambda key: steps.deliver(house, key),
    }
    sweeping = threading.Thread(
        target=_sweep_until, args=(over, database), name="sweeper", daemon=True
    )
    sweeping.start()
    _event(database, "worker started", owner=owner, bundle=info.id)
    ready(f"worker: bundle {info.id}{', UNTRAINED MODELS' if info.untrained else ''}")
    try:
        asyncio.run(_work(database_url, handlers, owner, over, interrupt=child.interrupt))
    finally:
        over.set()
        child.stop()
        sweeping.join()
        with contextlib.suppress(Exception):
            with database.transaction() as tx:
                sweep(tx, now=_now(), gone=owner)
            _event(database, "worker stopped", owner=owner)
        database.close()


async def _work(
    url: str,
    handlers: dict[Step, Callable[[str], None]],
    name: str,
    over: threading.Event,
    *,
    interrupt: Callable[[], None],
) -> None:
    """Until told to stop: then the analysis that runs is interrupted and given back, uncounted."""
    working = asyncio.create_task(run_worker(url, handlers, name=name))
    told = asyncio.create_task(asyncio.to_thread(over.wait))
    await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    over.set()
    interrupt()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


def _sweep_until(over: threading.Event, database: Database) -> None:
    while not over.wait(SWEEP_SECONDS):
        try:
            with database.transaction() as tx:
                sweep(tx, now=_now())
        except Exception as error:  # noqa: BLE001 the sweeper outlives a database that is away
            log_failure(log, "the sweeper could not reach the database", error)
