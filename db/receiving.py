"""Doors 1 and 2: an object's row, and the study that is complete."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import RowMapping, Uuid, func, insert, literal, select
from sqlalchemy.dialects import postgresql

from db._leases import (
    check_aware,
    locked_case,
    move_case,
    supersede_open_analysis,
)
from db.audit import record_event
from db.database import Transaction
from db.queue import Step, defer
from db.tables import analyses, analysis_instances, cases, clean, instances, quarantine
from domain.identities import (
    CaseId,
    InstanceUID,
    SeriesUID,
    Sha256,
    SopClassUID,
    StudyUID,
    derived_uuid,
)
from domain.image import Domain
from domain.states import CaseEvent, CaseState, CompletedBy
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
    CONFLICT = "conflict"  # the same UID with other content or encoding: quarantine
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
    check_aware(now)
    # one at a time for an instance UID: the look and the insert below are one
    tx.connection.execute(select(func.pg_advisory_xact_lock(_lock_key(arrival.instance_uid))))
    known = (
        tx.connection.execute(
            select(instances.c.case_id, instances.c.sha256, instances.c.transfer_syntax_uid).where(
                instances.c.instance_uid == arrival.instance_uid
            )
        )
        .mappings()
        .first()
    )
    if known is not None:
        # the digest is of the data set alone: the same bytes say another thing in another syntax
        same = (known["sha256"], known["transfer_syntax_uid"]) == (
            arrival.sha256,
            clean(arrival.transfer_syntax_uid),
        )
        kind = IntakeKind.AGAIN if same else IntakeKind.CONFLICT
        return _told(tx, arrival, kind, CaseId(str(known["case_id"])))
    case = _case_of(tx, arrival, now)
    case_id = CaseId(str(case["id"]))
    if (case["patient_id"], case["patient_id_issuer"]) != (
        clean(arrival.patient.patient_id),
        clean(arrival.patient.issuer),
    ):
        return _told(tx, arrival, IntakeKind.OTHER_PATIENT, case_id)
    tx.connection.execute(
        insert(instances).values(
            instance_uid=arrival.instance_uid,
            case_id=case["id"],
            sop_class_uid=arrival.sop_class_uid,
            series_uid=arrival.series_uid,
            study_uid=arrival.study_uid,
            transfer_syntax_uid=arrival.transfer_syntax_uid,
            domain=arrival.domain.value,
            role=arrival.role.value,
            sha256=arrival.sha256,
            size_bytes=arrival.size_bytes,
            store_key=arrival.store_key,
            calling_ae=arrival.calling_ae,
            received_at=now,
        )
    )
    due_at = now + quiet
    if case["state"] == CaseState.RECEIVING and case["due_at"] > due_at:
        due_at = case["due_at"]  # two nodes' clocks: the later end counts
    was = CaseState(case["state"])
    move_case(tx, case, CaseEvent.OBJECT_STORED, now=now, due_at=due_at)
    supersede_open_analysis(tx, case, now=now)
    defer(tx, Step.COMPLETE, key=case_id, at=due_at)
    told = _told(tx, arrival, IntakeKind.NEW, case_id)
    if was is not CaseState.RECEIVING:
        record_event(
            tx,
            actor=f"ae:{arrival.calling_ae}",
            event="case reopened",
            case_id=case_id,
            objects=(arrival.instance_uid,),
            details={"state_before": was.value},
        )
    return told


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
    case_id: CaseId | None = None,
) -> None:
    """Record an object that was kept but not taken. `detail` in words, without patient data;
    `case_id` where it is known (`Intake.case_id`)."""
    check_aware(now)
    tx.connection.execute(
        insert(quarantine).values(
            at=now,
            reason=reason.value,
            detail=detail,
            instance_uid=instance_uid,
            sop_class_uid=sop_class_uid,
            study_uid=study_uid,
            sha256=sha256,
            size_bytes=size_bytes,
            store_key=store_key,
            calling_ae=calling_ae,
        )
    )
    record_event(
        tx,
        actor=f"ae:{calling_ae}",
        event="object quarantined",
        outcome="refused",
        case_id=case_id,
        objects=tuple(uid for uid in (instance_uid,) if uid is not None),
        details={"reason": reason.value, "detail": detail, "sha256": sha256},
    )


def complete_case(tx: Transaction, case_id: CaseId, *, by: CompletedBy, now: datetime) -> bool:
    """Close the study and open its next analysis (state READY, job `analyse`).

    False, and nothing changes, when the case is not RECEIVING, or when `by` is the timer and the
    study is not yet quiet: then a job for the later time is queued.
    """
    check_aware(now)
    case = locked_case(tx, case_id)
    if case is None or case["state"] != CaseState.RECEIVING:
        return False
    if by is CompletedBy.TIMER and case["due_at"] > now:
        defer(tx, Step.COMPLETE, key=case_id, at=case["due_at"])
        return False
    ordinal = case["analysis_ordinal"] + 1
    analysis_id = derived_uuid("analysis", case_id, str(ordinal))
    tx.connection.execute(
        insert(analyses).values(
            id=analysis_id,
            case_id=case["id"],
            ordinal=ordinal,
            completed_by=by.value,
            completed_at=now,
        )
    )
    of_case = select(literal(analysis_id, Uuid), instances.c.instance_uid)
    tx.connection.execute(
        insert(analysis_instances).from_select(
            ["analysis_id", "instance_uid"], of_case.where(instances.c.case_id == case["id"])
        )
    )
    move_case(tx, case, CaseEvent.COMPLETED, now=now, due_at=now, ordinal=ordinal)
    defer(tx, Step.ANALYSE, key=case_id)
    record_event(
        tx,
        actor="service",
        event="study complete",
        case_id=case_id,
        objects=(str(analysis_id),),
        details={"by": by.value, "analysis": ordinal},
    )
    return True


def _case_of(tx: Transaction, arrival: Arrival, now: datetime) -> RowMapping:
    """The study's case, made if this is its first object; held until the commit."""
    query = select(cases).where(cases.c.study_uid == arrival.study_uid).with_for_update()
    known = tx.connection.execute(query).mappings().first()
    if known is not None:
        return known
    patient = arrival.patient
    tx.connection.execute(
        postgresql.insert(cases)
        .values(
            id=uuid4(),
            study_uid=arrival.study_uid,
            patient_id=patient.patient_id,
            patient_id_issuer=patient.issuer,
            patient_name=patient.name,
            patient_birth_date=patient.birth_date,
            patient_sex=patient.sex,
            accession_number=arrival.accession_number,
            state=CaseState.RECEIVING.value,
            due_at=now,
            received_at=now,
            changed_at=now,
        )
        # another object of the study may make it at this moment
        .on_conflict_do_nothing(index_elements=[cases.c.study_uid])
    )
    return tx.connection.execute(query).mappings().one()


def _told(tx: Transaction, arrival: Arrival, kind: IntakeKind, case_id: CaseId) -> Intake:
    names = {
        IntakeKind.NEW: ("object received", "success"),
        IntakeKind.AGAIN: ("object received again", "success"),
        IntakeKind.CONFLICT: ("object conflicts", "refused"),
        IntakeKind.OTHER_PATIENT: ("object of another patient", "refused"),
    }
    event, outcome = names[kind]
    record_event(
        tx,
        actor=f"ae:{arrival.calling_ae}",
        event=event,
        outcome=outcome,
        case_id=case_id,
        objects=(arrival.instance_uid,),
        details={
            "sha256": arrival.sha256,
            "size_bytes": arrival.size_bytes,
            "transfer_syntax_uid": arrival.transfer_syntax_uid,
        },
    )
    return Intake(kind=kind, case_id=case_id)


def _lock_key(instance_uid: InstanceUID) -> int:
    """A signed 64-bit number of the UID; two UIDs of one number only wait for each other."""
    return int.from_bytes(derived_uuid("instance", instance_uid).bytes[:8], "big", signed=True)
