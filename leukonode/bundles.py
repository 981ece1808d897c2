"""Which bundle is used: the configured one, else the starter bundle, else an untrained one.

An untrained bundle is made once, from a fixed seed, so that the service can be tried before trained
weights exist; everything made with it carries UNTRAINED MODELS.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from leukonode.errors import SettingsError
from leukonode.settings import Settings

__all__ = ["bundle_folder", "ensure_bundle", "starter_bundle"]

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


def starter_bundle() -> Path | None:
    """The newest `models/starter-<version>` beside the packages, if this copy ships one."""
    models = Path(__file__).resolve().parent.parent / "models"
    found = sorted(models.glob(f"starter-*/{MANIFEST}"), key=lambda p: _version(p.parent.name))
    return found[-1].parent if found else None


def _version(name: str) -> tuple[int, ...]:
    digits = name.removeprefix("starter-").split(".")
    return tuple(int(d) if d.isdigit() else 0 for d in digits)


def bundle_folder(settings: Settings) -> Path:
    """The folder that will be used; it need not exist yet when it is the untrained one.

    Raises SettingsError when a configured bundle is not there.
    """
    if settings.bundle is not None:
        if not (settings.bundle / MANIFEST).is_file():
            raise SettingsError(
                f"setting bundle: {settings.bundle} holds no {MANIFEST}; "
                "`leukonode models init-untrained DIR` makes a bundle to try the service with"
            )
        return settings.bundle
    return starter_bundle() or settings.data_dir / "bundles" / "untrained"


def ensure_bundle(settings: Settings, *, progress: Callable[[str, int, int], None]) -> Path:
    """`bundle_folder`, made first where it is the untrained one and missing."""
    folder = bundle_folder(settings)
    if not (folder / MANIFEST).is_file():
        from inference.untrained import init_untrained

        log.warning("no trained bundle is configured: making an untrained one in %s", folder)
        init_untrained(folder, progress=progress)
    return folder
