"""The road of a case, from top to bottom: receive, complete, analyse, report, deliver.

Each step takes plain values from the store and the database and ends in one transaction that holds
its rows, its audit events and the next step's job. A crash anywhere means: the step did not happen
and is done again; doing it again is harmless, because names and UIDs are derived from the case.

The networks come in as a function (`House.read`): nothing here knows torch.
"""

import errno
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from db.analysing import (
    AfterFailure,
    AnalysisClaim,
    StoredInstance,
    claim_analysis,
    extend_lease,
    fail_analysis,
    finish_analysis,
    give_up_analysis,
)
from db.analysis_rows import load_analysis, load_numbers
from db.database import Database, Transaction
from db.delivering import (
    DeliveryClaim,
    DeliveryOutcome,
    claim_delivery,
    extend_delivery_lease,
    finish_delivery,
    is_success,
    record_instance_status,
)
from db.receiving import complete_case
from db.reporting_rows import (
    ObjectKind,
    ReportClaim,
    ReportObject,
    block_report,
    claim_report,
    extend_report_lease,
    fail_report,
    finish_report,
)
from dicom_node.errors import log_failure
from dicom_node.headers import InstanceHeader
from domain.analysis import Analysis, BundleInfo
from domain.counts import AdequacyLimits, numbers_of_analysis
from domain.identities import CaseId
from domain.states import CompletedBy
from leukonode.about import SOFTWARE
from leukonode.beside import beside_case
from leukonode.chosen import headers_to_read
from leukonode.issuing import NumbersDiffer, context_of, issue, predecessor_of, unread_analysis
from leukonode.reading import (
    ChildDied,
    Reading,
    ReadingFailed,
    ReadingRequest,
    pictures_from,
    pictures_to_bytes,
)
from leukonode.sending import Sent, kinds_for, message_kinds, send_to
from leukonode.settings import Destination, Settings
from leukonode.store import FolderStore, sha256_of
from reporting.pdf import Paper
from reporting.report import Producer, report_of

__all__ = ["House", "analyse", "complete", "deliver", "report"]

log = logging.getLogger(__name__)

_NO_ANNOTATIONS = "the peer takes no annotations, so PDF and SR alone were sent (`annotations = false` makes none)"
_RESOURCES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, kw_only=True)
class House:
    """What the steps stand on; effects are passed in."""

    settings: Settings
    database: Database
    store: FolderStore
    producer: Producer
    bundle: Path
    bundle_info: BundleInfo
    owner: str  # this worker, in leases
    now: Callable[[], datetime]
    read: Callable[[ReadingRequest], Reading]
    stopping: Callable[[], bool]  # the worker was told to stop

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)


def complete(house: House, case_id: CaseId) -> None:
    """Door 2: close a study that has been quiet for the set time."""
    with house.database.transaction() as tx:
        complete_case(tx, case_id, by=CompletedBy.TIMER, now=house.now())


def analyse(house: House, case_id: CaseId) -> None:
    """Door 3: read the case's images in the child process, and write what was seen."""
    with house.database.transaction() as tx:
        claim = claim_analysis(tx, case_id, owner=house.owner, lease=house.lease, now=house.now())
    if claim is None:
        return
    try:
        with _held(house, lambda tx: extend_lease(tx, claim, lease=house.lease, now=house.now())):
            analysis = _analysed(house, claim)
    except Exception as error:
        if _not_analysed(house, claim, error) is AfterFailure.NO_MORE:
            with house.database.transaction() as tx:
                give_up_analysis(tx, claim, reason=type(error).__name__, now=house.now())
        raise
    if analysis is None:
        return
    numbers = numbers_of_analysis(analysis, limits=_limits(house.settings))
    with house.database.transaction() as tx:
        finish_analysis(tx, claim, analysis, numbers, now=house.now())


def _analysed(house: House, claim: AnalysisClaim) -> Analysis | None:
    """The analysis; None when the case is no longer this worker's."""
    headers = _to_be_read(house, claim.instances)
    _, mixed = context_of(headers)
    if mixed or claim.exhausted:
        reading = _unread(house, headers, mixed or "the analysing process died at every attempt")
    else:
        try:
            reading = house.read(_request(house, claim, headers))
        except (ChildDied, ReadingFailed) as error:
            if _not_analysed(house, claim, error) is not AfterFailure.NO_MORE:
                return None
            reading = _unread(house, headers, str(error))
    house.store.put_crops(pictures_to_bytes(reading), analysis=claim.analysis_id)
    return reading.analysis


def _not_analysed(house: House, claim: AnalysisClaim, error: Exception) -> AfterFailure:
    """Give the case back. Told to stop, or out of disk, the attempt is not the case's fault."""
    ours = isinstance(error, ChildDied | ReadingFailed)
    with house.database.transaction() as tx:
        return fail_analysis(
            tx,
            claim,
            reason=str(error) if ours else type(error).__name__,
            now=house.now(),
            counts=not (house.stopping() or _out_of_resources(error)),
        )


def _out_of_resources(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _RESOURCES


def _request(
    house: House, claim: AnalysisClaim, headers: tuple[InstanceHeader, ...]
) -> ReadingRequest:
    by_uid = {i.instance_uid: i for i in claim.instances}
    chosen = [by_uid[h.instance_uid] for h in headers]
    return ReadingRequest(
        paths=tuple(house.store.path(i.store_key) for i in chosen),
        sha256s=tuple(i.sha256 for i in chosen),
        bundle=house.bundle,
        leukocytes_wanted=house.settings.leukocytes_wanted,
        software=SOFTWARE,
        threads=house.settings.threads,
    )


def _unread(house: House, headers: tuple[InstanceHeader, ...], reason: str) -> Reading:
    analysis = unread_analysis(
        house.bundle_info,
        headers,
        leukocytes_wanted=house.settings.leukocytes_wanted,
        reason=reason,
    )
    return Reading(analysis=analysis, gallery=(), overviews=())


def _to_be_read(house: House, instances: tuple[StoredInstance, ...]) -> tuple[InstanceHeader, ...]:
    return headers_to_read(house.store, instances, um_per_px=house.bundle_info.um_per_px)


def report(house: House, case_id: CaseId) -> None:
    """Door 4: draw the analysis as PDF, SR, annotations and the messages that are wanted, and issue them,
    if they say what the database does."""
    with house.database.transaction() as tx:
        claim = claim_report(tx, case_id, owner=house.owner, lease=house.lease, now=house.now())
    if claim is None:
        return
    try:
        with _held(
            house, lambda tx: extend_report_lease(tx, claim, lease=house.lease, now=house.now())
        ):
            objects = _drawn(house, claim)
    except NumbersDiffer as error:
        _alarm(house, claim, error)
        return
    except Exception as error:
        with house.database.transaction() as tx:
            fail_report(
                tx,
                claim,
                reason=type(error).__name__,
                now=house.now(),
                counts=not (house.stopping() or _out_of_resources(error)),
            )
        raise
    with house.database.transaction() as tx:
        finish_report(
            tx,
            claim,
            objects=objects,
            destinations=[d.name for d in house.settings.destinations],
            issued_at=claim.issued_at,
            now=house.now(),
        )


def _alarm(house: House, claim: ReportClaim, error: NumbersDiffer) -> None:
    """Nothing leaves, and drawing it again would give the same: a person has to look."""
    with house.database.transaction() as tx:
        blocked = block_report(tx, claim, differences=error.differences, now=house.now())
    if blocked:
        log.error(
            "case %s: %s; `leukonode case %s` shows which", claim.case_id, error, claim.case_id
        )


def _drawn(house: House, claim: ReportClaim) -> tuple[ReportObject, ...]:
    with house.database.reading() as conn:
        analysis = load_analysis(conn, claim.analysis_id)
        stored = load_numbers(conn, claim.analysis_id, reviewed=claim.counted_after)
        beside = beside_case(conn, claim.case_id, house.settings)
    context, _ = context_of(_to_be_read(house, claim.instances))
    gallery, overviews = pictures_from(house.store.crops(claim.analysis_id))
    drawn = report_of(
        context=context,
        analysis=analysis,
        case_id=claim.case_id,
        analysis_ordinal=claim.ordinal,
        revision=claim.revision,
        issued_at=claim.issued_at,
        completed_by=_completeness(claim, house.settings),
        producer=house.producer,
        limits=_limits(house.settings),
        review_threshold_percent=house.settings.review_threshold_percent,
        predecessor=predecessor_of(claim.previous),
        gallery=gallery,
        overviews=overviews,
        reviews=claim.reviews,
        beside=beside,
        corrects_final=claim.corrects_final,
    )
    return issue(
        drawn,
        house.store,
        stored=stored,
        annotations=house.settings.annotations,
        messages=message_kinds(house.settings.destinations),
        paper=Paper(house.settings.report_paper),
    )


def _completeness(claim: ReportClaim, settings: Settings) -> str:
    if claim.completed_by is CompletedBy.TIMER:
        return f"by timer ({settings.study_quiet_seconds:g} s without a new object)"
    return claim.completed_by.value


def _limits(settings: Settings) -> AdequacyLimits:
    return AdequacyLimits(adequate=settings.leukocytes_wanted, limited=settings.adequacy_limited)


def deliver(house: House, delivery_id: str) -> None:
    """Door 5: send the issued objects, and keep the peer's own word for each."""
    with house.database.transaction() as tx:
        claimed = claim_delivery(
            tx, delivery_id, owner=house.owner, lease=house.lease, now=house.now()
        )
    if claimed is None:
        return
    destination = _destination(house.settings, claimed.destination)
    if destination is None:
        _end(house, claimed, DeliveryOutcome.GIVEN_UP, "the destination is no longer configured")
        return
    claim = claimed.only(kinds_for(destination))
    if not claim.objects:
        reason = (
            f"the report was issued without anything for a destination of kind {destination.kind}"
        )
        _end(house, claim, DeliveryOutcome.GIVEN_UP, reason)
        return
    objects = tuple(o for o in claim.objects if o.instance_uid not in claim.taken)
    changed = [o.kind.value for o in objects if not _as_issued(house, o)]
    if changed:
        reason = f"{' and '.join(changed)} in the store is not what was issued; restore the store"
        log.error("case %s: %s", claim.case_id, reason)
        _end(house, claim, DeliveryOutcome.GIVEN_UP, reason)
        return
    try:
        with _held(
            house, lambda tx: extend_delivery_lease(tx, claim, lease=house.lease, now=house.now())
        ):
            outcome = send_to(
                destination,
                objects,
                store=house.store,
                settings=house.settings,
                delivery_id=delivery_id,
            )
    except Exception as error:
        with house.database.transaction() as tx:
            _try_again_or_give_up(house, tx, claim, type(error).__name__)
        raise
    with house.database.transaction() as tx:
        for stored, answer in zip(objects, outcome.instances, strict=True):
            record_instance_status(
                tx,
                claim,
                instance_uid=stored.instance_uid,
                status=answer.status,
                comment=answer.comment,
                now=house.now(),
            )
        _finish(house, tx, claim, objects, outcome)


def _as_issued(house: House, stored: ReportObject) -> bool:
    """Only the bytes that went through the gate leave."""
    try:
        return sha256_of(house.store.path(stored.store_key)) == stored.sha256
    except FileNotFoundError:
        return False


def _destination(settings: Settings, name: str) -> Destination | None:
    return next((d for d in settings.destinations if d.name == name), None)


def _finish(
    house: House,
    tx: Transaction,
    claim: DeliveryClaim,
    objects: Sequence[ReportObject],
    outcome: Sent,
) -> None:
    said_of = zip(objects, outcome.instances, strict=True)
    refused = [(o, i) for o, i in said_of if not is_success(i.status)]
    if all(o.kind is ObjectKind.ANNOTATIONS and i.unsupported for o, i in refused):
        # the report itself is there; what such a peer can't hold is said, and holds nothing up
        reason = _NO_ANNOTATIONS if refused else ""
        proven = claim.only(frozenset({ObjectKind.PDF, ObjectKind.SR})) if refused else claim
        finish_delivery(
            tx, proven, outcome=DeliveryOutcome.SUCCEEDED, reason=reason, now=house.now()
        )
        return
    _, first = refused[0]
    said = "" if first.status is None else f"the peer answered {first.status:04X}"
    reason = outcome.reason or said or "the peer gave no status"
    if outcome.retryable:
        _try_again_or_give_up(house, tx, claim, reason)
    else:
        finish_delivery(tx, claim, outcome=DeliveryOutcome.GIVEN_UP, reason=reason, now=house.now())


def _try_again_or_give_up(house: House, tx: Transaction, claim: DeliveryClaim, reason: str) -> None:
    waits = house.settings.delivery_retry_seconds
    now = house.now()
    if claim.attempt > len(waits):
        finish_delivery(tx, claim, outcome=DeliveryOutcome.GIVEN_UP, reason=reason, now=now)
        return
    finish_delivery(
        tx,
        claim,
        outcome=DeliveryOutcome.FAILED,
        reason=reason,
        now=now,
        next_attempt_at=now + timedelta(seconds=waits[claim.attempt - 1]),
    )


def _end(house: House, claim: DeliveryClaim, outcome: DeliveryOutcome, reason: str) -> None:
    with house.database.transaction() as tx:
        finish_delivery(tx, claim, outcome=outcome, reason=reason, now=house.now())


@contextmanager
def _held(house: House, extend: Callable[[Transaction], bool]) -> Iterator[None]:
    """Extend the lease in the background while the block works. A hold that was lost is noticed at
    the step's own commit, which then writes nothing."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(house.settings.lease_seconds / 3):
            try:
                with house.database.transaction() as tx:
                    held = extend(tx)
            except Exception as error:  # noqa: BLE001 a database away for a moment must not end the work
                log_failure(log, "a lease could not be extended", error)
                continue
            if not held:
                return

    beating = threading.Thread(target=beat, name="lease", daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
