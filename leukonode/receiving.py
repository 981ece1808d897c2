"""Door 1: take an object in, so that 0x0000 is said only of what is durable and recorded.

Order: the bytes are on disk; one transaction writes row, audit event and job, and before its commit
the file takes its place in the store; then the peer is answered. What is refused goes to quarantine with
an audit event; nothing is overwritten.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.audit import record_event
from db.database import Database
from db.receiving import Arrival as Intake
from db.receiving import (
    InstanceRole,
    IntakeKind,
    QuarantineReason,
    receive_instance,
    record_quarantine,
)
from dicom_node.errors import MalformedObject
from dicom_node.headers import ImageRole, InstanceHeader, read_header
from dicom_node.scp import Arrival, EventKind, NodeEvent
from dicom_node.statuses import Reply, StoreStatus
from domain.identities import InstanceUID, StudyUID
from leukonode.settings import Settings
from leukonode.store import FolderStore, Shelf, sha256_of

__all__ = ["Door"]

log = logging.getLogger(__name__)

_ROLES = {
    ImageRole.VOLUME: InstanceRole.IMAGE,
    ImageRole.FIELD: InstanceRole.IMAGE,
    ImageRole.THUMBNAIL: InstanceRole.OTHER,
    ImageRole.LABEL: InstanceRole.LABEL,
    ImageRole.OVERVIEW: InstanceRole.OVERVIEW,
}
# Seen at every object or call: in the trail they would bury what matters.
_ROUTINE = frozenset({EventKind.OBJECT_ANSWERED, EventKind.ASSOCIATION_RELEASED, EventKind.ECHO})


@dataclass(frozen=True, kw_only=True)
class Door:
    """What receiving stands on. Its methods are called from many threads at once."""

    settings: Settings
    database: Database
    store: FolderStore
    now: Callable[[], datetime]

    def on_store(self, arrival: Arrival) -> Reply:
        """Take in one object that passed the structural scan; what the peer is told."""
        try:
            header = read_header(arrival.path, sha256=arrival.dataset_sha256)
        except MalformedObject as error:
            self._quarantine(arrival, QuarantineReason.REFUSED, error.reason, study_uid=None)
            return Reply(error.status, error.reason, error.offending_tag)
        sha256 = arrival.dataset_sha256
        self.store.make_durable(arrival.path)
        with self.database.transaction() as tx:
            intake = receive_instance(
                tx,
                _intake(arrival, header, self.store.key(Shelf.OBJECTS, sha256)),
                quiet=timedelta(seconds=self.settings.study_quiet_seconds),
                now=self.now(),
            )
            # the file takes its place before the commit; without the commit it is only a leftover
            if intake.kind in (IntakeKind.NEW, IntakeKind.AGAIN):
                self.store.adopt(arrival.path, shelf=Shelf.OBJECTS, sha256=sha256)
            else:
                reason, detail = _refusal(intake.kind)
                key = self.store.adopt(arrival.path, shelf=Shelf.QUARANTINE, sha256=sha256)
                record_quarantine(
                    tx,
                    reason=reason,
                    detail=detail,
                    instance_uid=header.instance_uid,
                    sop_class_uid=header.sop_class_uid,
                    study_uid=header.study_uid,
                    sha256=sha256,
                    size_bytes=arrival.dataset_bytes,
                    store_key=key,
                    calling_ae=arrival.calling_ae,
                    now=self.now(),
                    case_id=intake.case_id,
                )
        if intake.kind is IntakeKind.CONFLICT:
            return Reply.of(StoreStatus.UID_REUSED)
        if intake.kind is IntakeKind.OTHER_PATIENT:
            return Reply.of(StoreStatus.OTHER_PATIENT)
        return Reply.of(StoreStatus.SUCCESS)

    def on_event(self, event: NodeEvent) -> None:
        """Write what happened at the door to the audit trail; keep a refused object's file."""
        if event.kind in _ROUTINE:
            return
        details = {
            "peer_address": event.peer_address,
            "calling_ae": event.calling_ae,
            "called_ae": event.called_ae,
            "status": None if event.status is None else f"{event.status:04X}",
            "reason": event.reason,
        }
        failed = event.kind is not EventKind.ASSOCIATION_ACCEPTED
        if event.path is not None and event.path.exists():
            sha256, size = sha256_of(event.path), event.path.stat().st_size
            self.store.make_durable(event.path)
            key = self.store.adopt(event.path, shelf=Shelf.QUARANTINE, sha256=sha256)
            with self.database.transaction() as tx:
                record_quarantine(
                    tx,
                    reason=QuarantineReason.REFUSED,
                    detail=event.reason,
                    instance_uid=InstanceUID(event.sop_instance_uid) or None,
                    sop_class_uid=None,
                    study_uid=None,
                    sha256=sha256,
                    size_bytes=size,
                    store_key=key,
                    calling_ae=event.calling_ae,
                    now=self.now(),
                )
        with self.database.transaction() as tx:
            record_event(
                tx,
                actor="node",
                event=event.kind.value,
                outcome="failure" if failed else "success",
                objects=[event.sop_instance_uid] if event.sop_instance_uid else (),
                details=details,
            )

    def _quarantine(
        self,
        arrival: Arrival,
        reason: QuarantineReason,
        detail: str,
        *,
        study_uid: StudyUID | None,
    ) -> None:
        self.store.make_durable(arrival.path)
        key = self.store.adopt(arrival.path, shelf=Shelf.QUARANTINE, sha256=arrival.dataset_sha256)
        with self.database.transaction() as tx:
            record_quarantine(
                tx,
                reason=reason,
                detail=detail,
                instance_uid=arrival.sop_instance_uid,
                sop_class_uid=arrival.sop_class_uid,
                study_uid=study_uid,
                sha256=arrival.dataset_sha256,
                size_bytes=arrival.dataset_bytes,
                store_key=key,
                calling_ae=arrival.calling_ae,
                now=self.now(),
            )


def _intake(arrival: Arrival, header: InstanceHeader, key: str) -> Intake:
    return Intake(
        instance_uid=header.instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_uid=header.series_uid,
        study_uid=header.study_uid,
        transfer_syntax_uid=header.transfer_syntax,
        patient=header.context.patient,
        accession_number=header.context.accession_number,
        domain=header.image.domain,
        role=_ROLES[header.role],
        sha256=arrival.dataset_sha256,
        size_bytes=arrival.dataset_bytes,
        store_key=key,
        calling_ae=arrival.calling_ae,
    )


def _refusal(kind: IntakeKind) -> tuple[QuarantineReason, str]:
    if kind is IntakeKind.CONFLICT:
        return QuarantineReason.CONFLICT, "SOP Instance UID is known with other content"
    return QuarantineReason.OTHER_PATIENT, "the study is known under another patient"
