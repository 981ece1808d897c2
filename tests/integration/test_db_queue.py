"""The queue: jobs commit with the caller's rows, are run once, and survive what may happen."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text

from db.database import Database
from db.queue import STALLED_SECONDS, Step, defer, end_stalled_jobs, run_worker

SOON, LATER = timedelta(hours=1), timedelta(hours=2)


def waiting(database: Database) -> list[tuple[str, str, datetime | None]]:
    with database.reading() as conn:
        rows = conn.execute(
            text(
                "SELECT queue_name, args->>'key', scheduled_at FROM queue.procrastinate_jobs "
                "WHERE status = 'todo' ORDER BY id"
            )
        )
        return [(queue, key, at) for queue, key, at in rows]


def put(database: Database, step: Step, key: str, at: datetime | None = None) -> None:
    with database.transaction() as tx:
        defer(tx, step, key=key, at=at)


class Working:
    """A worker in a thread of its own, stopped by cancelling it."""

    def __init__(self, url: str, handlers: dict[Step, Callable[[str], None]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._work = run_worker(url, handlers)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Working":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._loop.close()

    def _run(self) -> None:
        self._task = self._loop.create_task(self._work)
        with pytest.raises(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_job_commits_and_rolls_back_with_its_row(database: Database) -> None:
    put(database, Step.ANALYSE, "a")

    def failing() -> None:
        with database.transaction() as tx:
            defer(tx, Step.ANALYSE, key="b")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert waiting(database) == [("analyse", "a", None)]


def test_a_second_job_is_not_made_and_does_not_end_the_transaction(database: Database) -> None:
    with database.transaction() as tx:
        defer(tx, Step.ANALYSE, key="a")
        defer(tx, Step.ANALYSE, key="a")
        defer(tx, Step.REPORT, key="a")
    put(database, Step.ANALYSE, "a")
    assert waiting(database) == [("analyse", "a", None), ("report", "a", None)]


def test_a_waiting_job_is_brought_forward_and_never_put_off(database: Database) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    put(database, Step.DELIVER, "d", now + LATER)
    put(database, Step.DELIVER, "d", now + SOON)
    assert waiting(database) == [("deliver", "d", now + SOON)]
    put(database, Step.DELIVER, "d", now + LATER)
    assert waiting(database) == [("deliver", "d", now + SOON)]
    put(database, Step.DELIVER, "d")
    assert waiting(database) == [("deliver", "d", None)]
    put(database, Step.DELIVER, "d", now + LATER)
    assert waiting(database) == [("deliver", "d", None)]


def test_jobs_of_dead_workers_are_ended(database: Database) -> None:
    put(database, Step.ANALYSE, "a")
    put(database, Step.ANALYSE, "b")
    with database.transaction() as tx:
        tx.connection.execute(
            text(
                "INSERT INTO queue.procrastinate_workers (last_heartbeat) "
                "VALUES (now() - make_interval(secs => :s)), (now())"
            ),
            {"s": STALLED_SECONDS + 5},
        )
        tx.connection.execute(
            text(
                "UPDATE queue.procrastinate_jobs SET status = 'doing', worker_id = "
                "(SELECT id FROM queue.procrastinate_workers "
                " ORDER BY (last_heartbeat < now()) = (args->>'key' = 'a') DESC LIMIT 1)"
            )
        )
    with database.transaction() as tx:
        assert end_stalled_jobs(tx) == 1
    with database.transaction() as tx:
        assert end_stalled_jobs(tx) == 0
        left = tx.connection.execute(text("SELECT args->>'key' FROM queue.procrastinate_jobs"))
        assert left.scalars().all() == ["b"]


def test_the_worker_runs_jobs_that_come_and_stops_when_cancelled(
    database: Database, database_url: str
) -> None:
    done: list[tuple[str, str]] = []
    handlers = {step: (lambda key, step=step: done.append((step, key))) for step in Step}
    put(database, Step.COMPLETE, "before")
    with Working(database_url, handlers):
        wait_until(lambda: len(done) == 1)
        put(database, Step.ANALYSE, "during")
        put(database, Step.DELIVER, "soon", datetime.now(UTC) + timedelta(seconds=1))
        wait_until(lambda: len(done) == 3)
        wait_until(lambda: _jobs_left(database) == 0)
    assert sorted(done) == [("analyse", "during"), ("complete", "before"), ("deliver", "soon")]


def test_a_long_analysis_holds_no_delivery_up_and_no_second_analysis_starts(
    database: Database, database_url: str
) -> None:
    release = threading.Event()
    started: list[str] = []
    delivered = threading.Event()

    def analyse(key: str) -> None:
        started.append(key)
        release.wait(30)

    for key in ("a", "b"):
        put(database, Step.ANALYSE, key)
    put(database, Step.DELIVER, "d")
    handlers: dict[Step, Callable[[str], None]] = {
        Step.ANALYSE: analyse,
        Step.DELIVER: lambda _: delivered.set(),
    }
    with Working(database_url, handlers):
        assert delivered.wait(30)
        wait_until(lambda: started == ["a"])
        put(database, Step.ANALYSE, "a")  # a new job for the running one may wait
        release.set()
        wait_until(lambda: started == ["a", "b", "a"])


def test_a_handler_that_raises_ends_its_job_and_no_other(
    database: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    caplog.set_level(logging.DEBUG)

    def handle(key: str) -> None:
        done.append(key)
        if key == "bad":
            raise RuntimeError("Doe^Jane")

    put(database, Step.REPORT, "bad")
    put(database, Step.REPORT, "good")
    with Working(database_url, {Step.REPORT: handle}):
        wait_until(lambda: sorted(done) == ["bad", "good"])
        wait_until(lambda: _jobs_left(database) == 0)
    (said,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert said.startswith(f"report bad: RuntimeError at {__file__}:")
    assert "Doe" not in caplog.text


def test_the_worker_outlives_the_loss_of_its_connections(
    database: Database, database_url: str, admin_database_url: str
) -> None:
    done: list[str] = []
    with Working(database_url, {Step.REPORT: done.append}):
        put(database, Step.REPORT, "one")
        wait_until(lambda: done == ["one"])
        with psycopg.connect(admin_database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        put(database, Step.REPORT, "two")
        wait_until(lambda: done == ["one", "two"])


def test_a_lost_database_during_a_long_analysis_stops_no_other_step(
    database: Database, database_url: str, admin_database_url: str
) -> None:
    started, release = threading.Event(), threading.Event()
    done: list[str] = []

    def analyse(_: str) -> None:
        started.set()
        release.wait(60)

    with Working(database_url, {Step.ANALYSE: analyse, Step.REPORT: done.append}):
        put(database, Step.ANALYSE, "long")
        assert started.wait(30)
        with psycopg.connect(admin_database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        put(database, Step.REPORT, "meanwhile")
        try:
            wait_until(lambda: done == ["meanwhile"])
        finally:
            release.set()


def _jobs_left(database: Database) -> int:
    with database.reading() as conn:
        count: int = conn.execute(
            text("SELECT count(*) FROM queue.procrastinate_jobs")
        ).scalar_one()
    return count
