"""Drawn smears as training material: cells whose class, box and mask are known without doubt.

They teach nothing about real cells, but keep the networks able to read the demonstration, and give
masks that no public set has.
"""

from collections.abc import Iterator
from functools import lru_cache

from phantom.smear import Phantom, draw
from phantom.spec import STAINS, leukaemic_smear, normal_smear

__all__ = ["VAL_SEED", "drawn_smears"]

TRAIN_SEED = 5_000
VAL_SEED = 9_000


def drawn_smears(count: int, *, first_seed: int, um_per_px: float = 0.1) -> Iterator[Phantom]:
    """Normal and leukaemic ones in turn, in all stains."""
    for i in range(count):
        yield _drawn(first_seed + i, i, um_per_px)


@lru_cache(maxsize=128)
def _drawn(seed: int, i: int, um_per_px: float) -> Phantom:
    stain = sorted(STAINS)[i // 2 % len(STAINS)]
    made = leukaemic_smear if i % 2 else normal_smear
    spec = made(
        seed,
        width_px=round(64 / um_per_px),
        height_px=round(48 / um_per_px),
        um_per_px=um_per_px,
        stain=stain,
        white_cells=6,
    )
    return draw(spec)
