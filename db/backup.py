"""The whole database into one file, and back into an empty one (pg_dump's custom format).

The programs are the embedded server's own, which read every server that LeukoNode supports. The
password goes to them by their environment, where no list of processes shows it.
"""

import os
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from db._cluster_home import bin_dir
from db._url import conninfo
from db.embedded import EmbeddedServer, url_of_running
from db.errors import DatabaseError
from db.migrate import upgrade

__all__ = ["backup", "restore", "restore_into"]

VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def backup(url: str, file: Path) -> None:
    """Write a consistent copy while the service runs. The file appears whole or not at all, and is
    readable to this account only: it holds patients' names. DatabaseError says why not."""
    fresh = file.with_name(f"{file.name}.part")
    try:
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    except OSError as error:
        raise DatabaseError(f"{fresh} can't be written: {error.strerror}") from None
    try:
        _run("pg_dump", url, ["--format=custom", f"--file={fresh}"])
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Fill an empty database from a backup and bring it to this program's schema. All or nothing."""
    if not file.is_file():
        raise DatabaseError(f"there is no backup {file}")
    try:
        with psycopg.connect(conninfo(url), connect_timeout=10) as conn:
            there = conn.execute("SELECT to_regnamespace('leukonode') IS NOT NULL").fetchone()
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"the database can't be reached: {str(error).splitlines()[0]}"
        ) from None
    if there is None or there[0]:
        raise DatabaseError(
            "this database is in use already; restore into a new, empty one (another data_dir)"
        )
    _run(
        "pg_restore",
        url,
        ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"],
        # without a name it would write to standard output
        after=["--dbname=", str(file)],
    )
    upgrade(url)


def restore_into(data_dir: Path, file: Path) -> None:
    """`restore` for the embedded database of a folder whose service does not run: its server is made
    and started for it, and stopped again. When it fails the database is as empty as it was."""
    if not file.is_file():
        raise DatabaseError(f"there is no backup {file}")
    if url_of_running(data_dir) is not None:
        raise DatabaseError(
            f"the service runs in {data_dir} and its database is in use; stop it and restore into a "
            "new, empty data_dir"
        )
    with EmbeddedServer(data_dir) as url:
        restore(url, file)


def _run(program: str, url: str, options: list[str], *, after: list[str] | None = None) -> None:
    given = conninfo_to_dict(conninfo(url))
    unknown = sorted(set(given) - set(VARIABLES))
    if unknown:
        raise DatabaseError(
            f"the database URL's {', '.join(unknown)} can't be handed to {program}; leave it out"
        )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {
        VARIABLES[key]: str(value) for key, value in given.items()
    }
    try:
        done = subprocess.run(
            [str(bin_dir() / program), *options, *(after or [])],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise DatabaseError(f"{program} can't be run: {error.strerror}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise DatabaseError(lines[0] if lines else f"{program} ended with {done.returncode}")
