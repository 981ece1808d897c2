"""Doors 1 and 2: an object's row, and the study that is complete."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from db.database import Transaction
from domain.identities import CaseId, InstanceUID, SeriesUID, Sha256, SopClassUID, StudyUID
from domain.image import Domain
from domain.states import CompletedBy
from domain.study import Patient

__all__ = [
    "Arrival",
    "InstanceRole",
    "Intake",
    "IntakeKind",
    "QuarantineReason",
    "complete_case",
    "receive_instance",
    "record_quarantine",
]


class InstanceRole(StrEnum):
    """What an instance is to its case."""

    IMAGE = "image"  # to be read by the cascade
    LABEL = "label"  # a slide's label: stored, never analysed
    OVERVIEW = "overview"  # a slide's overview: stored, never analysed
    OTHER = "other"  # stored, nothing to read in it


class IntakeKind(StrEnum):
    NEW = "new"
    AGAIN = "again"  # the same object once more: acknowledged, nothing changed
    CONFLICT = "conflict"  # the same UID with other content: quarantine
    OTHER_PATIENT = "other patient"  # its study is known under another patient: quarantine


class QuarantineReason(StrEnum):
    CONFLICT = "conflict"
    OTHER_PATIENT = "other patient"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An object that lies durably in the store, and what its header says."""

    instance_uid: InstanceUID
    sop_class_uid: SopClassUID
    series_uid: SeriesUID
    study_uid: StudyUID
    transfer_syntax_uid: str
    patient: Patient
    accession_number: str
    domain: Domain
    role: InstanceRole
    sha256: Sha256
    size_bytes: int
    store_key: str
    calling_ae: str


@dataclass(frozen=True, kw_only=True)
class Intake:
    kind: IntakeKind
    case_id: CaseId


def receive_instance(
    tx: Transaction, arrival: Arrival, *, quiet: timedelta, now: datetime
) -> Intake:
    """Record an object. NEW opens the study's case (or opens it again) until `now + quiet`.

    Safe against the same object arriving several times at once: one is NEW, the others AGAIN.
    CONFLICT and OTHER_PATIENT write an audit event only; follow with `record_quarantine`.
    """
    raise NotImplementedError


def record_quarantine(
    tx: Transaction,
    *,
    reason: QuarantineReason,
    detail: str,
    instance_uid: InstanceUID | None,
    sop_class_uid: SopClassUID | None,
    study_uid: StudyUID | None,
    sha256: Sha256,
    size_bytes: int,
    store_key: str,
    calling_ae: str,
    now: datetime,
) -> None:
    """Record an object that was kept but not taken. `detail` in words, without patient data."""
    raise NotImplementedError


def complete_case(tx: Transaction, case_id: CaseId, *, by: CompletedBy, now: datetime) -> bool:
    """Close the study and open its next analysis (state READY, job `analyse`).

    False, and nothing changes, when the case is not RECEIVING, or when `by` is the timer and the
    study is not yet quiet: then a job for the later time is queued.
    """
    raise NotImplementedError
