"""The patient's earlier cases, and the head of the trail, on a real PostgreSQL."""

from datetime import datetime, timedelta

from db.analysing import claim_analysis, finish_analysis
from db.audit import verify_chain
from db.database import Database
from db.earlier import earlier_results, trail_head
from db.receiving import complete_case
from domain.counts import Proportion
from domain.identities import CaseId
from domain.states import CompletedBy
from tests.integration.test_db_case_road import LEASE, NOW, analysis_of, arrival, receive


def analysed(database: Database, study: str, patient: str, now: datetime) -> CaseId:
    """A case of one image, analysed: one blast of two leukocytes."""
    content = f"{int(study.rsplit('.', maxsplit=1)[-1]):x}"
    _, case_id = receive(database, arrival(study=study, patient=patient, content=content), now)
    now += timedelta(minutes=1)
    with database.transaction() as tx:
        complete_case(tx, case_id, by=CompletedBy.TIMER, now=now)
    with database.transaction() as tx:
        claim = claim_analysis(tx, case_id, owner="w", lease=LEASE, now=now)
    assert claim is not None
    analysis, numbers = analysis_of(claim)
    with database.transaction() as tx:
        assert finish_analysis(tx, claim, analysis, numbers, now=now)
    return case_id


def test_earlier_cases_are_those_of_the_same_patient_oldest_first(database):
    days = [NOW + timedelta(days=n) for n in range(4)]
    analysed(database, "1.2.1", "P1", days[1])
    analysed(database, "1.2.2", "P2", days[1])
    analysed(database, "1.2.3", "P1", days[0])
    mine = analysed(database, "1.2.4", "P1", days[2])
    analysed(database, "1.2.5", "P1", days[3])  # later
    with database.reading() as conn:
        found = earlier_results(conn, mine, limit=10)
        latest = earlier_results(conn, mine, limit=1)
    assert [e.analysed_at.date() for e in found] == [d.date() for d in days[:2]]
    assert {e.blasts for e in found} == {Proportion(1, 2)}
    assert latest == found[-1:]


def test_case_without_a_patient_id_has_nobody_beside_it(database):
    analysed(database, "1.2.1", " ", NOW)
    mine = analysed(database, "1.2.2", " ", NOW + timedelta(days=1))
    with database.reading() as conn:
        assert earlier_results(conn, mine, limit=10) == ()


def test_trail_head_is_where_the_chain_ends(database):
    analysed(database, "1.2.1", "P1", NOW)
    with database.reading() as conn:
        head, proven = trail_head(conn), verify_chain(conn)
    assert head is not None
    assert (head.event_id, head.sha256) == (proven.event_id, proven.sha256)
