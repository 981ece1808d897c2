"""Which pictures a batch is made of: no class means a laboratory, and no laboratory a class.

A class is drawn first, all alike; then one of the laboratories that have it, each by the root of how
many it has; then one of its pictures.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Balanced"]


class Balanced:
    """Draws indices of pictures with replacement; everything random comes from the generator."""

    def __init__(self, laboratories: Sequence[str], labels: Sequence[str]) -> None:
        pairs = list(zip(labels, laboratories, strict=True))
        sizes = {pair: pairs.count(pair) for pair in sorted(set(pairs))}
        weights = {}
        for label in sorted(set(labels)):
            roots = {pair: n**0.5 for pair, n in sizes.items() if pair[0] == label}
            total = sum(roots.values())
            weights.update({pair: r / total / sizes[pair] for pair, r in roots.items()})
        p = np.array([weights[pair] for pair in pairs])
        self._p: npt.NDArray[np.float64] = p / p.sum()

    def draw(self, rng: np.random.Generator, size: int) -> list[int]:
        """`size` indices."""
        return [int(i) for i in rng.choice(len(self._p), size=size, p=self._p)]
