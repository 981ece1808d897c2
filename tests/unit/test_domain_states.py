from itertools import product

import pytest

from domain.states import (
    CASE_ENDS,
    CASE_TABLE,
    DELIVERY_ENDS,
    DELIVERY_TABLE,
    CaseEvent,
    CaseState,
    DeliveryEvent,
    DeliveryState,
    IllegalTransition,
    next_case_state,
    next_delivery_state,
)


def test_case_road():
    state = CaseState.RECEIVING
    for event in (
        CaseEvent.COMPLETED,
        CaseEvent.ANALYSIS_CLAIMED,
        CaseEvent.ANALYSIS_DONE,
        CaseEvent.REPORT_CLAIMED,
        CaseEvent.REPORT_ISSUED,
        CaseEvent.ALL_DELIVERED,
    ):
        state = next_case_state(state, event)
    assert state is CaseState.DELIVERED


@pytest.mark.parametrize(("state", "event"), list(product(CaseState, CaseEvent)))
def test_case_every_pair_is_in_the_table_or_refused(state, event):
    if (state, event) in CASE_TABLE:
        assert next_case_state(state, event) is CASE_TABLE[state, event]
    else:
        with pytest.raises(IllegalTransition, match=event.value):
            next_case_state(state, event)


@pytest.mark.parametrize(("state", "event"), list(product(DeliveryState, DeliveryEvent)))
def test_delivery_every_pair_is_in_the_table_or_refused(state, event):
    if (state, event) in DELIVERY_TABLE:
        assert next_delivery_state(state, event) is DELIVERY_TABLE[state, event]
    else:
        with pytest.raises(IllegalTransition, match=event.value):
            next_delivery_state(state, event)


def reachable(table, start):
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state not in seen:
            seen.add(state)
            todo += [after for (before, _), after in table.items() if before == state]
    return seen


def test_no_state_is_forgotten_and_none_is_a_trap():
    assert reachable(CASE_TABLE, CaseState.RECEIVING) == set(CaseState)
    assert reachable(DELIVERY_TABLE, DeliveryState.PENDING) == set(DeliveryState)
    for state in CaseState:
        assert reachable(CASE_TABLE, state) & CASE_ENDS
    for state in DeliveryState:
        assert reachable(DELIVERY_TABLE, state) & DELIVERY_ENDS


def test_a_late_object_opens_the_case_whatever_it_is_doing():
    for state in CaseState:
        assert next_case_state(state, CaseEvent.OBJECT_STORED) is CaseState.RECEIVING
