"""What reading the images of a case takes and gives: values that pass between worker and child.

The pictures a report shows are kept as one NumPy archive beside the analysis.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from domain.analysis import Analysis
from domain.identities import Sha256
from domain.image import Box
from reporting.report import GalleryCrop, Overview

__all__ = [
    "ChildDied",
    "Progress",
    "Reading",
    "ReadingFailed",
    "ReadingRequest",
    "pictures_from",
    "pictures_to_bytes",
]

Progress = Callable[[str, int, int], None]  # what, done, of how many


class ChildDied(RuntimeError):
    """The analysing process ended or hung while it worked; nothing of the attempt remains."""


class ReadingFailed(RuntimeError):
    """The analysing process is well and could not read the case; one line says why."""


@dataclass(frozen=True, kw_only=True)
class ReadingRequest:
    """Which stored objects to read, in which order, and how."""

    paths: tuple[Path, ...]
    sha256s: tuple[Sha256, ...]
    bundle: Path
    leukocytes_wanted: int
    software: str
    threads: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """An analysis, and the crops and overviews that its report shows."""

    analysis: Analysis
    gallery: tuple[GalleryCrop, ...]
    overviews: tuple[Overview, ...]


def pictures_to_bytes(reading: Reading) -> bytes:
    """The gallery and overviews as one compressed NumPy archive, the same for the same pictures."""
    arrays: dict[str, Any] = {f"crop{i}": crop.pixels for i, crop in enumerate(reading.gallery)}
    arrays |= {f"overview{i}": o.pixels for i, o in enumerate(reading.overviews)}
    index = {
        "crops": [[c.cell_number, c.um_per_px] for c in reading.gallery],
        "overviews": [
            [o.image, o.scale, *o.origin_px, [list(f) for f in o.fields_px]]
            for o in reading.overviews
        ],
    }
    buffer = io.BytesIO()
    words = np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, index=words, **arrays)
    return buffer.getvalue()


def pictures_from(file: Path) -> tuple[tuple[GalleryCrop, ...], tuple[Overview, ...]]:
    """What `pictures_to_bytes` wrote."""
    with np.load(file, allow_pickle=False) as archive:
        index = json.loads(archive["index"].tobytes())
        gallery = tuple(
            GalleryCrop(cell_number=number, pixels=archive[f"crop{i}"], um_per_px=scale)
            for i, (number, scale) in enumerate(index["crops"])
        )
        overviews = tuple(
            Overview(
                image=image,
                pixels=archive[f"overview{i}"],
                scale=scale,
                origin_px=(x, y),
                fields_px=tuple(Box(*f) for f in (fields[0] if fields else ())),
            )
            # an archive of an earlier version has no fields
            for i, (image, scale, x, y, *fields) in enumerate(index["overviews"])
        )
    return gallery, overviews
