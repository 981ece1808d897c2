"""Which pictures are learned from and which are judged on.

A given split is kept. Else groups (slides, patients) are dealt out whole; without groups the last
contiguous block of file names becomes `val`, because neighbours in a folder are often neighbours on a
slide. Random splits are not offered: they leak.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

from training.pictures import Picture, Split

__all__ = ["by_block", "by_group", "divided"]

VAL_SHARE = 0.15
Key = TypeVar("Key", str, tuple[str, str])


def divided(pictures: Sequence[Picture]) -> list[Picture]:
    """By group where every picture has one and there are at least two, else by block; in both
    cases class by class within each laboratory, so that no class is left without `val`."""
    done: list[Picture] = []
    for _, alike in _by(pictures, lambda p: (p.laboratory, p.label)):
        several = len({p.group for p in alike}) > 1
        done += by_group(alike) if several and all(p.group for p in alike) else by_block(alike)
    return done


def by_group(pictures: Sequence[Picture]) -> list[Picture]:
    """The last groups by name go to `val` until it holds at least its share; one group at least
    stays in `train`."""
    sizes = {g: len(list(members)) for g, members in _by(pictures, lambda p: p.group)}
    val: set[str] = set()
    for group in sorted(sizes, reverse=True)[: len(sizes) - 1]:
        if sum(sizes[g] for g in val) >= VAL_SHARE * len(pictures):
            break
        val.add(group)
    return [replace(p, split=Split.VAL if p.group in val else Split.TRAIN) for p in pictures]


def by_block(pictures: Sequence[Picture]) -> list[Picture]:
    """In order of names: the last share is `val`, one picture before it is the gap."""
    ordered = sorted(pictures, key=lambda p: (len(p.path.name), p.path.name))
    if len(ordered) < 3:
        return [replace(p, split=Split.TRAIN) for p in ordered]
    val = max(1, round(VAL_SHARE * len(ordered)))
    first = len(ordered) - val
    sides = [Split.TRAIN] * (first - 1) + [Split.GAP] + [Split.VAL] * val
    return [replace(p, split=side) for p, side in zip(ordered, sides, strict=True)]


def _by(
    pictures: Sequence[Picture], key: Callable[[Picture], Key]
) -> list[tuple[Key, list[Picture]]]:
    return [(k, list(g)) for k, g in groupby(sorted(pictures, key=key), key=key)]
