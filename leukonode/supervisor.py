"""`leukonode serve`: PostgreSQL of our own where none is configured, the roles as child processes.

Promises: a child that dies is started again; when this process dies, all of them die with it, so
that the next start finds a free field; after any kill the service is at work again within a minute.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from db.embedded import EmbeddedServer
from db.errors import DatabaseError
from leukonode.child import die_with_parent
from leukonode.errors import AlreadySaid
from leukonode.settings import Settings

__all__ = ["ROLES", "WRONG_SETTING", "Supervisor"]

log = logging.getLogger(__name__)

ROLES = ("node", "worker")
WRONG_SETTING = 78  # EX_CONFIG of sysexits.h: a role says that starting again is no use
_LOOK_SECONDS = 0.25
_RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0)
_WELL_AFTER_SECONDS = 30.0
_STOP_SECONDS = 30.0


class Supervisor:
    """Keeps PostgreSQL and the roles running until `stop` is set."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], *, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._environment = dict(environment)
        self._say = say
        self._server = None if settings.database_url else EmbeddedServer(settings.data_dir)
        self._url = settings.database_url
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._well: set[str] = set()
        self._falls: dict[str, int] = dict.fromkeys(ROLES, 0)

    def run(self, over: threading.Event) -> None:
        """Run until `over` is set, then stop everything in order."""
        from db.migrate import upgrade

        if self._server is not None:
            self._url = self._server.start()
            self._say("database: embedded PostgreSQL is up")
        try:
            upgrade(self._url)
            while not over.wait(_LOOK_SECONDS):
                if self._server is not None and not self._server.alive():
                    self._start_again(self._server, over)
                for role in ROLES:
                    self._look_after(role)
        finally:
            self._stop_children()
            if self._server is not None:
                self._server.stop()

    def _start_again(self, server: EmbeddedServer, over: threading.Event) -> None:
        """PostgreSQL ended: start it, however often that takes."""
        log.warning("PostgreSQL ended; starting it again")
        while not over.is_set():
            try:
                url = server.start()
            except DatabaseError as error:
                log.warning("PostgreSQL does not start: %s", error)
                over.wait(_RESTART_SECONDS[-1])
                continue
            if url != self._url:  # another port: the roles have to be told
                self._url = url
                self._stop_children()
            return

    def _look_after(self, role: str) -> None:
        child = self._children.get(role)
        now = time.monotonic()
        if child is not None and child.poll() is None:
            if now - self._started[role] > _WELL_AFTER_SECONDS:
                self._falls[role] = 0
                self._well.add(role)
            return
        wait = _RESTART_SECONDS[min(self._falls[role], len(_RESTART_SECONDS) - 1)]
        if child is not None and child.returncode == WRONG_SETTING and role not in self._well:
            raise AlreadySaid(f"the {role} did not start")
        if child is not None:
            if now - self._started[role] < wait:
                return
            log.warning("the %s ended with status %s; starting it again", role, child.returncode)
            self._falls[role] += 1
        self._children[role] = subprocess.Popen(
            [sys.executable, "-P", "-m", "leukonode", "serve", "--supervised", "--role", role],
            env=self._environment | {"LEUKONODE_DATABASE_URL": self._url},
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 one system call, no lock taken
        )
        self._started[role] = now

    def _stop_children(self) -> None:
        for child in self._children.values():
            child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
