"""Decoded frames of whatever is open in this process, within one budget of memory.

In      a key, and how to decode on a miss
Out     pixels that must not be written to
One cache serves all sources, so that memory does not grow with their number or size. The last
frame is kept even when it alone is over the budget.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from domain.image import Pixels

__all__ = ["DECODED", "FrameCache", "FrameKey"]

FrameKey = tuple[str, str, int]  # path, digest, frame


class FrameCache:
    """Least recently used frames go first."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._held = 0
        self._frames: OrderedDict[FrameKey, Pixels] = OrderedDict()
        self._lock = Lock()

    def get(self, key: FrameKey, decode: Callable[[], Pixels]) -> Pixels:
        """The frame under `key`; what `decode` raises passes through and nothing is kept."""
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        pixels = decode()
        pixels.flags.writeable = False
        with self._lock:
            before = self._frames.pop(key, None)
            self._held += pixels.nbytes - (before.nbytes if before is not None else 0)
            self._frames[key] = pixels
            while self._held > self._budget and len(self._frames) > 1:
                self._held -= self._frames.popitem(last=False)[1].nbytes
        return pixels


DECODED = FrameCache(96 * 1024**2)
