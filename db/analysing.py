"""Door 3: a worker claims a case, and gives back its analysis or the reason there is none."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, select, update

from db._leases import (
    ATTEMPTS,
    PUT_BACK,
    AfterFailure,
    backoff,
    check_aware,
    extend,
    held_case,
    locked_case,
    move_case,
    new_lease,
)
from db.analysis_rows import save_analysis, save_bundle, save_numbers
from db.audit import record_event
from db.database import Transaction
from db.queue import Step, defer
from db.receiving import InstanceRole
from db.tables import analyses, analysis_instances, cases
from db.tables import instances as stored
from domain.analysis import Analysis
from domain.cells import Stage
from domain.counts import Numbers
from domain.identities import AnalysisId, CaseId, InstanceUID, SeriesUID, Sha256, SopClassUID
from domain.image import Domain
from domain.states import CaseEvent, CaseState

__all__ = [
    "ATTEMPTS",
    "AfterFailure",
    "AnalysisClaim",
    "StoredInstance",
    "claim_analysis",
    "extend_lease",
    "fail_analysis",
    "finish_analysis",
    "give_up_analysis",
    "instances_of",
]


@dataclass(frozen=True, kw_only=True)
class StoredInstance:
    """An object of the case, as stored."""

    instance_uid: InstanceUID
    sop_class_uid: SopClassUID
    series_uid: SeriesUID
    transfer_syntax_uid: str
    sha256: Sha256
    size_bytes: int
    store_key: str
    domain: Domain
    role: InstanceRole


@dataclass(frozen=True, kw_only=True)
class AnalysisClaim:
    """A worker's hold on a case. `instances` are those of this analysis, in the order received.
    `exhausted`: earlier attempts used up the limit (their workers died): do not try again, finish
    with an Analysis that says so in its failures."""

    case_id: CaseId
    analysis_id: AnalysisId
    ordinal: int
    attempt: int
    exhausted: bool
    owner: str
    token: UUID
    instances: tuple[StoredInstance, ...]


def claim_analysis(
    tx: Transaction, case_id: CaseId, *, owner: str, lease: timedelta, now: datetime
) -> AnalysisClaim | None:
    """Take a READY case whose time has come; None when there is nothing to take."""
    case = locked_case(tx, case_id)
    if case is None or case["state"] != CaseState.READY or case["due_at"] > now:
        return None
    hold = new_lease(owner, lease, now)
    attempt = case["attempts"] + 1
    move_case(
        tx, case, CaseEvent.ANALYSIS_CLAIMED, now=now, due_at=None, lease=hold, attempts=attempt
    )
    analysis = (
        tx.connection.execute(
            update(analyses)
            .where(analyses.c.case_id == case["id"], analyses.c.ordinal == case["analysis_ordinal"])
            .values(started_at=now)
            .returning(analyses.c.id)
        )
        .mappings()
        .one()
    )
    claim = AnalysisClaim(
        case_id=case_id,
        analysis_id=AnalysisId(str(analysis["id"])),
        ordinal=case["analysis_ordinal"],
        attempt=attempt,
        exhausted=attempt > ATTEMPTS,
        owner=owner,
        token=hold.token,
        instances=instances_of(tx.connection, AnalysisId(str(analysis["id"]))),
    )
    record_event(
        tx,
        actor=owner,
        event="analysis started",
        case_id=case_id,
        objects=(claim.analysis_id,),
        details={"attempt": attempt, "analysis": claim.ordinal},
    )
    return claim


def extend_lease(tx: Transaction, claim: AnalysisClaim, *, lease: timedelta, now: datetime) -> bool:
    """Hold on for `lease` from now. False: the hold is gone (a late object, or it ran out)."""
    return extend(tx, cases, claim.case_id, claim.token, lease=lease, now=now)


def finish_analysis(
    tx: Transaction, claim: AnalysisClaim, analysis: Analysis, numbers: Numbers, *, now: datetime
) -> bool:
    """Write the analysis; the case is ANALYSED and a `report` job waits. False, and nothing is
    written, when the hold is gone."""
    case = held_case(tx, claim.case_id, claim.token)
    if case is None:
        return False
    check_aware(now)
    tx.connection.execute(
        update(analyses)
        .where(analyses.c.id == UUID(claim.analysis_id))
        .values(
            finished_at=now,
            bundle=save_bundle(tx, analysis.bundle),
            engine=analysis.engine,
            processor=analysis.processor,
            software=analysis.software,
            leukocytes_wanted=analysis.leukocytes_wanted,
            warnings=list(analysis.warnings),
        )
    )
    save_analysis(tx, claim.analysis_id, analysis)
    save_numbers(tx, claim.analysis_id, analysis, numbers)
    move_case(tx, case, CaseEvent.ANALYSIS_DONE, now=now, due_at=now)
    defer(tx, Step.REPORT, key=claim.case_id)
    record_event(
        tx,
        actor=claim.owner,
        event="analysis finished",
        outcome="partial" if analysis.failures else "success",
        case_id=claim.case_id,
        objects=(claim.analysis_id,),
        details={
            "analysis": claim.ordinal,
            "attempt": claim.attempt,
            "bundle": analysis.bundle.id,
            "manifest_sha256": analysis.bundle.manifest_sha256,
            "untrained": analysis.bundle.untrained,
            "engine": analysis.engine,
            "cells": len(analysis.cells),
            "leukocytes": numbers.leukocytes,
            "blasts": numbers.blasts.count if analysis.measured(Stage.MALIGNANCY) else None,
            "failures": len(analysis.failures),
        },
    )
    return True


def fail_analysis(
    tx: Transaction, claim: AnalysisClaim, *, reason: str, now: datetime, counts: bool = True
) -> AfterFailure:
    """Give the case back: AGAIN, or HOLD_GONE. NO_MORE: the attempts are used up and the hold is
    kept; end with `finish_analysis` of an Analysis whose failures say so, or `give_up_analysis`.

    `counts` False: not the case's fault (disk full, the service stops); the attempt is not counted
    and the case is due again after 30 s.
    """
    case = held_case(tx, claim.case_id, claim.token)
    if case is None:
        return AfterFailure.HOLD_GONE
    again = claim.attempt < ATTEMPTS or not counts
    if again:
        due_at = now + (backoff(claim.attempt) if counts else PUT_BACK)
        move_case(
            tx,
            case,
            CaseEvent.LEASE_EXPIRED,
            now=now,
            due_at=due_at,
            attempts=claim.attempt if counts else claim.attempt - 1,
        )
        defer(tx, Step.ANALYSE, key=claim.case_id, at=due_at)
    record_event(
        tx,
        actor=claim.owner,
        event="analysis failed" if counts else "analysis put back",
        outcome="failure",
        case_id=claim.case_id,
        objects=(claim.analysis_id,),
        details={"attempt": claim.attempt, "reason": reason, "again": again},
    )
    return AfterFailure.AGAIN if again else AfterFailure.NO_MORE


def give_up_analysis(tx: Transaction, claim: AnalysisClaim, *, reason: str, now: datetime) -> bool:
    """End the case FAILED: not even a report of the failure can be made of it. False, and nothing is
    written, when the hold is gone."""
    case = held_case(tx, claim.case_id, claim.token)
    if case is None:
        return False
    move_case(tx, case, CaseEvent.GIVEN_UP, now=now, due_at=None, attempts=claim.attempt)
    record_event(
        tx,
        actor=claim.owner,
        event="case given up",
        outcome="failure",
        case_id=claim.case_id,
        objects=(claim.analysis_id,),
        details={"attempt": claim.attempt, "reason": reason},
    )
    return True


def instances_of(conn: Connection, analysis_id: AnalysisId) -> tuple[StoredInstance, ...]:
    """The objects that belong to an analysis, in the order received."""
    query = (
        select(stored)
        .join(analysis_instances, analysis_instances.c.instance_uid == stored.c.instance_uid)
        .where(analysis_instances.c.analysis_id == UUID(analysis_id))
        .order_by(stored.c.sequence)
    )
    return tuple(
        StoredInstance(
            instance_uid=InstanceUID(row["instance_uid"]),
            sop_class_uid=SopClassUID(row["sop_class_uid"]),
            series_uid=SeriesUID(row["series_uid"]),
            transfer_syntax_uid=row["transfer_syntax_uid"],
            sha256=Sha256(row["sha256"]),
            size_bytes=row["size_bytes"],
            store_key=row["store_key"],
            domain=Domain(row["domain"]),
            role=InstanceRole(row["role"]),
        )
        for row in conn.execute(query).mappings()
    )
