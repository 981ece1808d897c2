"""The database room's own house rules, without a database."""

import re
from pathlib import Path

import alembic
import pytest

from db import migrate, tables
from db._leases import backoff, check_aware
from db._url import conninfo, engine_url
from db.audit import ChainHead
from db.delivering import DeliveryOutcome, is_success
from db.errors import DatabaseError
from db.queue import Step
from db.receiving import InstanceRole, QuarantineReason
from domain.reviews import ReviewKind
from domain.states import CaseState, CompletedBy, DeliveryState

ROOT = Path(__file__).parents[2]


def test_the_folder_alembic_never_hides_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert ROOT / "alembic" not in Path(alembic.__file__).parents
    assert migrate.revisions_dir() == ROOT / "alembic"


def test_the_tables_know_every_word_of_the_domain() -> None:
    def allowed(table: str, constraint: str) -> str:
        found = tables.metadata.tables[table].constraints
        return next(str(c.sqltext) for c in found if str(c.name or "") == constraint)  # type: ignore[attr-defined]

    assert set(CaseState) == set(tables.CASE_STATES)
    assert set(DeliveryState) == set(tables.DELIVERY_STATES)
    for words, text in (
        (CompletedBy, allowed("leukonode.analyses", "analyses_completed_by_check")),
        (InstanceRole, allowed("leukonode.instances", "instances_role_check")),
        (QuarantineReason, allowed("leukonode.quarantine", "quarantine_reason_check")),
        (ReviewKind, allowed("leukonode.reviews", "reviews_kind_check")),
    ):
        assert text.count("'") == 2 * len(words)
        assert all(f"'{word}'" in text for word in words)


def test_one_url_is_read_in_every_form_that_people_write() -> None:
    for written in (
        "postgresql://u:p@h:5/d",
        "postgres://u:p@h:5/d",
        "postgresql+psycopg://u:p@h:5/d",
    ):
        assert engine_url(written).drivername == "postgresql+psycopg"
        assert conninfo(written) == "postgresql://u:p@h:5/d"
    for wrong in ("", "mysql://h/d", "nonsense", "/tmp/x"):
        with pytest.raises(DatabaseError, match="postgresql://"):
            engine_url(wrong)


def test_a_password_with_odd_letters_survives() -> None:
    assert conninfo("postgresql://u:p%40%2F%25@h/d") == "postgresql://u:p%40%2F%25@h/d"


def test_an_object_is_taken_by_the_peers_word_alone() -> None:
    """PS3.7 annex C: success 0000; warnings 0001, 0107, 0116 and Bxxx; 0111 says that the peer holds
    this SOP Instance already. Every other status, and none at all, is a failure."""
    taken = {"0000", "0001", "0107", "0116", "0111"} | {f"B{n:03X}" for n in range(0x1000)}
    assert {f"{s:04X}" for s in range(0x10000) if is_success(s)} == taken
    assert not is_success(None)


def test_backoff_grows() -> None:
    assert [backoff(n).total_seconds() for n in (1, 2, 3)] == [5, 20, 80]


def test_times_carry_their_zone() -> None:
    from datetime import UTC, datetime

    check_aware(datetime.now(UTC))
    with pytest.raises(ValueError, match="zone"):
        check_aware(datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_empty_trail_has_a_head() -> None:
    assert ChainHead(event_id=0, sha256="").event_id == 0


def test_the_sweeper_speaks_of_steps_that_exist() -> None:
    from db.sweeping import _WITHOUT_JOB

    assert all(f"'{step}'" in str(_WITHOUT_JOB) for step in Step)


def test_the_manual_names_every_event_that_is_written() -> None:
    manual = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
    names = {f"delivery {outcome}" for outcome in DeliveryOutcome}
    for module in (ROOT / "db").glob("*.py"):
        for statement in re.findall(
            r'\bevent=(.*?),\n|_tell_delivery\(tx, row, (".*?")', module.read_text(encoding="utf-8")
        ):
            names |= set(re.findall(r'(?<!f)"([a-z ]+)"', "".join(statement)))
    assert {"study complete", "case undelivered", "report put back"} <= names
    assert {name for name in names if f"`{name}`" not in manual} == set()
