"""Our packages have everyday names; make sure it is ours that are imported.

Two distributions that both ship `inference/` install without a word, and the second overwrites the
first. So before the service runs, all rooms must lie in one folder.
"""

import importlib.util
from pathlib import Path

from leukonode.errors import CouldNotError

__all__ = ["ROOMS", "refuse_strangers", "strangers"]

ROOMS = ("leukonode", "domain", "dicom_node", "inference", "reporting", "db", "phantom", "training")


def strangers() -> list[str]:
    """Rooms that are found elsewhere than beside this package, with where."""
    home = Path(__file__).resolve().parent.parent
    found = []
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != home:
            found.append(f"{room} ({origin or 'not found'})")
    return found


def refuse_strangers() -> None:
    """Raise CouldNotError when another distribution stands where a room of ours should be."""
    found = strangers()
    if found:
        raise CouldNotError(
            f"another package has the name of one of ours: {', '.join(found)}; "
            "install leukonode into an environment of its own"
        )
