"""The lives of a case and of a delivery, one table each: (state, event) -> state.

What is not in a table cannot happen. Every state that is not an end has a deadline in the
database, after which the sweeper takes it back.
"""

from enum import StrEnum

__all__ = [
    "CASE_ENDS",
    "CASE_TABLE",
    "DELIVERY_ENDS",
    "DELIVERY_TABLE",
    "CaseEvent",
    "CaseState",
    "CompletedBy",
    "DeliveryEvent",
    "DeliveryState",
    "IllegalTransition",
    "ReportStatus",
    "next_case_state",
    "next_delivery_state",
]


class IllegalTransition(ValueError):
    """An event that the state does not know."""


class CaseState(StrEnum):
    RECEIVING = "receiving"  # objects still arrive; ends when complete or quiet
    READY = "ready"  # complete, waits for a worker
    ANALYSING = "analysing"  # a worker holds it
    ANALYSED = "analysed"  # waits for its report
    REPORTING = "reporting"  # a worker holds it
    DELIVERING = "delivering"  # the report is issued, destinations still owe a status
    DELIVERED = "delivered"  # every destination has said success for every object
    REPORTED = "reported"  # the report is issued and there is no destination
    UNDELIVERED = "undelivered"  # a destination gave up; a person can send again
    FAILED = "failed"  # no report could be made; a person has to look


class CaseEvent(StrEnum):
    OBJECT_STORED = "object stored"
    COMPLETED = "completed"
    ANALYSIS_CLAIMED = "analysis claimed"
    ANALYSIS_DONE = "analysis done"
    REPORT_CLAIMED = "report claimed"
    REPORT_ISSUED = "report issued"
    REPORT_ISSUED_NO_DESTINATION = "report issued, no destination"
    ALL_DELIVERED = "all delivered"
    DELIVERY_GIVEN_UP = "delivery given up"
    DELIVERY_RETRIED = "delivery retried"
    LEASE_EXPIRED = "lease expired"
    GIVEN_UP = "given up"
    RETRIED = "retried"  # by a person, from the analysis on
    REPORT_RETRIED = "report retried"  # by a person, from the report on
    REVISED = "revised"  # by a person; a new report is to be made


# where a report has been issued, or its revision is under way
_REVISABLE = (
    CaseState.ANALYSED,
    CaseState.REPORTING,
    CaseState.DELIVERING,
    CaseState.DELIVERED,
    CaseState.REPORTED,
    CaseState.UNDELIVERED,
)

CASE_ENDS = frozenset(
    {CaseState.DELIVERED, CaseState.REPORTED, CaseState.UNDELIVERED, CaseState.FAILED}
)

# A new object opens the case again whatever it is doing, and a person's revision its report: a step
# that holds the case finds at its commit that the lease is gone, and so did not happen.
CASE_TABLE: dict[tuple[CaseState, CaseEvent], CaseState] = {
    **{(state, CaseEvent.OBJECT_STORED): CaseState.RECEIVING for state in CaseState},
    **{(state, CaseEvent.REVISED): CaseState.ANALYSED for state in _REVISABLE},
    (CaseState.RECEIVING, CaseEvent.COMPLETED): CaseState.READY,
    (CaseState.READY, CaseEvent.ANALYSIS_CLAIMED): CaseState.ANALYSING,
    (CaseState.ANALYSING, CaseEvent.ANALYSIS_DONE): CaseState.ANALYSED,
    (CaseState.ANALYSING, CaseEvent.LEASE_EXPIRED): CaseState.READY,
    (CaseState.ANALYSING, CaseEvent.GIVEN_UP): CaseState.FAILED,
    (CaseState.ANALYSED, CaseEvent.REPORT_CLAIMED): CaseState.REPORTING,
    (CaseState.REPORTING, CaseEvent.REPORT_ISSUED): CaseState.DELIVERING,
    (CaseState.REPORTING, CaseEvent.REPORT_ISSUED_NO_DESTINATION): CaseState.REPORTED,
    (CaseState.REPORTING, CaseEvent.LEASE_EXPIRED): CaseState.ANALYSED,
    (CaseState.REPORTING, CaseEvent.GIVEN_UP): CaseState.FAILED,
    (CaseState.DELIVERING, CaseEvent.ALL_DELIVERED): CaseState.DELIVERED,
    (CaseState.DELIVERING, CaseEvent.DELIVERY_GIVEN_UP): CaseState.UNDELIVERED,
    (CaseState.UNDELIVERED, CaseEvent.DELIVERY_RETRIED): CaseState.DELIVERING,
    (CaseState.FAILED, CaseEvent.RETRIED): CaseState.READY,
    (CaseState.FAILED, CaseEvent.REPORT_RETRIED): CaseState.ANALYSED,
}


class DeliveryState(StrEnum):
    PENDING = "pending"  # waits for its next attempt
    SENDING = "sending"  # a worker holds it
    DELIVERED = "delivered"  # the peer said success for every object
    DEAD = "dead"  # attempts used up, or refused for good; on the dead-letter list


class DeliveryEvent(StrEnum):
    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GIVEN_UP = "given up"
    LEASE_EXPIRED = "lease expired"
    RETRIED_BY_PERSON = "retried by person"


DELIVERY_ENDS = frozenset({DeliveryState.DELIVERED, DeliveryState.DEAD})

DELIVERY_TABLE: dict[tuple[DeliveryState, DeliveryEvent], DeliveryState] = {
    (DeliveryState.PENDING, DeliveryEvent.CLAIMED): DeliveryState.SENDING,
    (DeliveryState.SENDING, DeliveryEvent.SUCCEEDED): DeliveryState.DELIVERED,
    (DeliveryState.SENDING, DeliveryEvent.FAILED): DeliveryState.PENDING,
    (DeliveryState.SENDING, DeliveryEvent.GIVEN_UP): DeliveryState.DEAD,
    (DeliveryState.SENDING, DeliveryEvent.LEASE_EXPIRED): DeliveryState.PENDING,
    (DeliveryState.DEAD, DeliveryEvent.RETRIED_BY_PERSON): DeliveryState.PENDING,
}


class CompletedBy(StrEnum):
    """How the study was known to be complete (door 2)."""

    TIMER = "timer"
    DECLARED = "declared"  # e.g. all parts of a concatenation are here


class ReportStatus(StrEnum):
    PRELIMINARY = "preliminary"
    AMENDED = "amended"  # preliminary, and names the one it replaces
    VERIFIED = "verified"  # signed by a person; names the one that was signed


def next_case_state(state: CaseState, event: CaseEvent) -> CaseState:
    """The table's answer; IllegalTransition when it has none."""
    try:
        return CASE_TABLE[state, event]
    except KeyError:
        raise IllegalTransition(f"a case that is {state} does not know '{event}'") from None


def next_delivery_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """The table's answer; IllegalTransition when it has none."""
    try:
        return DELIVERY_TABLE[state, event]
    except KeyError:
        raise IllegalTransition(f"a delivery that is {state} does not know '{event}'") from None
