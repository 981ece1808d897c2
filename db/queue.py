"""The queue's port: a job says *look at this row*; the rows say what is to be done.

Behind it stands procrastinate, in schema `queue`. A job whose row has moved on does nothing, a lost
job is made again by the sweeper, so nothing depends on a job being run exactly once.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

import procrastinate
import psycopg
import psycopg_pool
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from psycopg import sql
from sqlalchemy import text

from db._url import conninfo
from db.database import Transaction
from db.roles import APP

__all__ = ["Step", "defer", "end_stalled_jobs", "run_worker"]

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0  # jobs that wait for their time are found by asking; new ones wake us
HEARTBEAT_SECONDS = 2.0
STALLED_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
ANALYSE_AT_ONCE, OTHERS_AT_ONCE = 1, 2
FRAMES = 5  # of an error, in the log


class Step(StrEnum):
    """The steps that wait in the queue, in the order of a case's road."""

    COMPLETE = "complete"  # key: case id
    ANALYSE = "analyse"  # key: case id
    REPORT = "report"  # key: case id
    DELIVER = "deliver"  # key: delivery id


def defer(tx: Transaction, step: Step, *, key: str, at: datetime | None = None) -> None:
    """Queue a job in the caller's transaction, not before `at`. A job that already waits for the
    same step and key is kept, and brought forward when `at` is sooner.

    The caller holds the lock of the row that the job is about: a worker that takes the waiting job
    at this moment then waits for that row, and sees what the caller has committed.
    """
    lock = f"{step}:{key}"
    while True:
        waiting = tx.connection.execute(_WAITING, {"lock": lock, "at": at}).first()
        if waiting is not None and not waiting.too_late:
            return
        if waiting is not None:
            moved = tx.connection.execute(_BRING_FORWARD, {"lock": lock, "at": at})
            if moved.rowcount == 1:
                return
            continue  # a worker has just taken it
        try:
            # a savepoint: the refusal of a second job must not end the caller's transaction
            with tx.connection.begin_nested():
                _DEFERRER.configure_task(
                    _task_name(step),
                    queue=step.value,
                    queueing_lock=lock,
                    schedule_at=at,
                    connection=tx.driver,
                ).defer(key=key)
        except AlreadyEnqueued:
            continue  # another transaction was quicker
        return


_WAITING = text("""
    SELECT scheduled_at IS NOT NULL
           AND (CAST(:at AS timestamptz) IS NULL OR scheduled_at > :at) AS too_late
      FROM queue.procrastinate_jobs
     WHERE queueing_lock = :lock AND status = 'todo'
""")

_BRING_FORWARD = text("""
    UPDATE queue.procrastinate_jobs
       SET scheduled_at = :at
     WHERE queueing_lock = :lock AND status = 'todo'
""")


def end_stalled_jobs(tx: Transaction) -> int:
    """Take the jobs of dead workers out of the queue; their rows will be given new ones."""
    ended = tx.connection.execute(_END_STALLED, {"seconds": STALLED_SECONDS})
    tx.connection.execute(_FORGET_WORKERS, {"seconds": STALLED_SECONDS})
    return ended.rowcount


_END_STALLED = text("""
    DELETE FROM queue.procrastinate_jobs AS job
     WHERE job.status = 'doing'
       AND NOT EXISTS (
           SELECT 1 FROM queue.procrastinate_workers AS worker
            WHERE worker.id = job.worker_id
              AND worker.last_heartbeat >= now() - make_interval(secs => :seconds))
""")
_FORGET_WORKERS = text("""
    DELETE FROM queue.procrastinate_workers
     WHERE last_heartbeat < now() - make_interval(secs => :seconds)
""")


async def run_worker(
    url: str,
    handlers: Mapping[Step, Callable[[str], None]],
    *,
    name: str = "worker",
) -> None:
    """Run handlers (key -> None, each in a thread) until cancelled: one `analyse` at a time, two of
    the rest. Cancelled, it waits for the handlers that run.

    Outlives a restart of PostgreSQL. The two lanes connect for themselves: one that has lost the
    database waits for the handlers it runs before it connects again, and an analysis may be long. A
    handler that raises ends its job; it is logged without its message, which may hold patient data.
    """
    analyse: dict[Step, Callable[[str], None]] = {}
    others: dict[Step, Callable[[str], None]] = {}
    for step, handler in handlers.items():
        (analyse if step is Step.ANALYSE else others)[step] = handler
    lanes = [
        asyncio.create_task(_keep_lane(url, lane, name=name, at_once=at_once))
        for lane, at_once in ((analyse, ANALYSE_AT_ONCE), (others, OTHERS_AT_ONCE))
        if lane
    ]
    try:
        # a lane ends only by an error that connecting again does not mend
        await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in lanes:
            task.cancel()
        ended = await asyncio.gather(*lanes, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def _keep_lane(
    url: str, handlers: Mapping[Step, Callable[[str], None]], *, name: str, at_once: int
) -> None:
    steps = ", ".join(handlers)
    while True:
        try:
            await _run_lane(url, handlers, name=name, at_once=at_once)
            log.warning("worker %s (%s) lost the database; it connects again", name, steps)
        except (ConnectorException, psycopg.Error, psycopg_pool.PoolTimeout) as error:
            kind = type(error).__name__
            log.warning("worker %s (%s): no database (%s); it tries again", name, steps, kind)
        await asyncio.sleep(RECONNECT_SECONDS)


async def _run_lane(
    url: str, handlers: Mapping[Step, Callable[[str], None]], *, name: str, at_once: int
) -> None:
    """Until cancelled, or until the connection to the database is lost."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=conninfo(url),
            kwargs={"options": "-c search_path=queue"},
            configure=_take_service_role,
            min_size=1,
            max_size=at_once + 3,
            timeout=10,
        )
    )
    for step, handler in handlers.items():
        app.task(name=_task_name(step), queue=step.value)(_called_with_key(step, handler))
    async with app.open_async():
        await app.run_worker_async(
            queues=[step.value for step in handlers],
            concurrency=at_once,
            name=name,
            listen_notify=True,
            fetch_job_polling_interval=POLL_SECONDS,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
            delete_jobs="always",
            install_signal_handlers=False,
        )


def _task_name(step: Step) -> str:
    return f"leukonode.{step}"


def _called_with_key(step: Step, handler: Callable[[str], None]) -> Callable[..., None]:
    def run(*, key: str) -> None:
        try:
            handler(key)
        except Exception as error:  # noqa: BLE001 (whatever it is, the worker goes on)
            # not on to procrastinate, which would log the message and the whole trace
            said = type(error).__name__, _place_of(error)
            log.error("%s %s: %s at %s", step, key, *said)  # noqa: TRY400 (the same holds here)

    return run


def _place_of(error: BaseException) -> str:
    """`file:line`, the innermost first: no message and no source line."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(frames))


async def _take_service_role(connection: psycopg.AsyncConnection) -> None:
    try:
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(APP)))
        await connection.commit()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        await connection.rollback()


# never opened: jobs are only ever written on the caller's own connection
_DEFERRER = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
