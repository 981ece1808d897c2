"""`leukonode reproduce`: read a stored case again with the bundle that its analysis names, and compare.

The stored objects must be the bytes that were read then, and the bundle the one that read them; else
it is said and nothing is run. What persons changed since is no part of it: the networks' own answer is
compared. The networks run in a child process, as they do in the worker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from db import queries
from db.analysing import StoredInstance, instances_of
from db.analysis_rows import load_analysis
from db.database import Database
from dicom_node.begin import data_set_begin
from domain.analysis import Analysis
from domain.comparison import Comparison, compared
from domain.identities import CaseId, Sha256
from leukonode.bundles import MANIFEST, bundle_folder
from leukonode.chosen import headers_to_read
from leukonode.errors import CouldNotError, SettingsError
from leukonode.reading import ChildDied, Reading, ReadingFailed, ReadingRequest
from leukonode.settings import Settings
from leukonode.store import FolderStore, sha256_of

__all__ = ["Reproduced", "bundle_of", "reproduce"]


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """What was run again, and how it compares."""

    case_id: CaseId
    analysis: int  # its ordinal
    bundle: str
    manifest_sha256: Sha256
    images: int
    comparison: Comparison


def reproduce(
    database: Database,
    store: FolderStore,
    settings: Settings,
    case: str,
    *,
    analysis: int | None,
    bundle: Path | None,
    tolerance: float,
    read: Callable[[ReadingRequest], Reading],
) -> Reproduced:
    """Run the latest finished analysis of a case again, or the one asked for.

    `bundle` None looks for the one that is named. Raises CouldNotError when objects or bundle are
    not what they were, and UnknownRow when the case is not known.
    """
    with database.reading() as conn:
        found = queries.case(conn, case)
        line = _finished(found, analysis)
        stored = load_analysis(conn, line.analysis_id)
        instances = instances_of(conn, line.analysis_id)
    if stored.engine == "none":
        raise CouldNotError(
            f"analysis {line.ordinal} read no image ({stored.failures[0].reason}), so there is nothing "
            "to run again"
        )
    folder = bundle_of(settings, stored, given=bundle)
    _check_bytes(store, instances)
    again = _read(store, settings, stored, instances, folder, read)
    return Reproduced(
        case_id=found.line.case_id,
        analysis=line.ordinal,
        bundle=stored.bundle.id,
        manifest_sha256=stored.bundle.manifest_sha256,
        images=len(stored.images),
        comparison=compared(stored, again, tolerance=tolerance),
    )


def bundle_of(settings: Settings, stored: Analysis, *, given: Path | None) -> Path:
    """The folder of the bundle that read the case, told by the digest of its manifest."""
    wanted = stored.bundle.manifest_sha256
    for folder in [given] if given is not None else _candidates(settings):
        manifest = folder / MANIFEST
        if manifest.is_file() and sha256_of(manifest) == wanted:
            return folder
    where = str(given) if given is not None else "the bundles known here"
    raise CouldNotError(
        f"the case was read with bundle {stored.bundle.id} {stored.bundle.version} (manifest "
        f"{wanted[:12]}…), which is not {where}; name its folder with --bundle"
    )


def _candidates(settings: Settings) -> list[Path]:
    """The bundle in use, those shipped, those made here."""
    shipped = Path(__file__).resolve().parent.parent / "models"
    beside = [settings.data_dir / "bundles", shipped]
    found = [m.parent for folder in beside for m in sorted(folder.glob(f"*/{MANIFEST}"))]
    try:
        return [bundle_folder(settings), *found]
    except SettingsError:  # the configured one is not there; another may be the one that is wanted
        return found


def _finished(found: queries.CaseDetail, ordinal: int | None) -> queries.AnalysisLine:
    done = [a for a in found.analyses if a.finished_at is not None]
    chosen = [a for a in done if ordinal in (None, a.ordinal)]
    if not chosen:
        which = "no finished analysis" if ordinal is None else f"no finished analysis {ordinal}"
        raise CouldNotError(f"the case has {which} yet; its state is {found.line.state.value}")
    return chosen[-1]


def _check_bytes(store: FolderStore, instances: tuple[StoredInstance, ...]) -> None:
    changed = [i.instance_uid for i in instances if not _unchanged(store, i)]
    if changed:
        raise CouldNotError(
            f"{len(changed)} stored objects are not the bytes that were read ({changed[0]}); "
            "restore the store from a backup"
        )


def _unchanged(store: FolderStore, stored: StoredInstance) -> bool:
    """The digest in the database is that of the data set, without the file's head."""
    path = store.path(stored.store_key)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        offset = data_set_begin(file).offset
    return sha256_of(path, offset=offset) == stored.sha256


def _read(
    store: FolderStore,
    settings: Settings,
    stored: Analysis,
    instances: tuple[StoredInstance, ...],
    bundle: Path,
    read: Callable[[ReadingRequest], Reading],
) -> Analysis:
    by_uid = {i.instance_uid: i for i in instances}
    headers = headers_to_read(store, instances, um_per_px=stored.bundle.um_per_px)
    chosen = [by_uid[h.instance_uid] for h in headers]
    request = ReadingRequest(
        paths=tuple(store.path(i.store_key) for i in chosen),
        sha256s=tuple(i.sha256 for i in chosen),
        bundle=bundle,
        leukocytes_wanted=stored.leukocytes_wanted,
        software=stored.software,
        threads=settings.threads,
    )
    try:
        return read(request).analysis
    except (ChildDied, ReadingFailed) as error:
        raise CouldNotError(f"the case could not be read again: {error}") from None
