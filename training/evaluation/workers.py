"""Work shared among workers that each use one processor thread.

In      a function and its items
Out     what it gives, in the order of the items
Promise how many workers there are changes no number: every item is computed on one thread
A network that spreads one step over several threads waits for the slowest of them at every layer, which on
a machine with other work costs more than it brings; separate items never wait for each other.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["Progress", "in_turn", "silent", "workers_of"]

Item = TypeVar("Item")
Done = TypeVar("Done")
Progress = Callable[[str, int, int], None]


def workers_of(threads: int | None) -> int:
    """As many as are asked for, else as the process may use processors."""
    return threads or len(os.sched_getaffinity(0))


def silent(_what: str, _done: int, _of: int) -> None:
    """Progress that nobody sees."""


def in_turn(
    work: Callable[[Item], Done],
    items: Sequence[Item],
    *,
    workers: int,
    what: str = "",
    tell: Progress = silent,
) -> list[Done]:
    """Without gradients. An item that raises ends the work with its error."""

    def one(item: Item) -> Done:
        with torch.inference_mode():
            return work(item)

    def single_threaded() -> None:
        torch.set_num_threads(1)

    done: list[Done] = []
    tell(what, 0, len(items))
    with ThreadPoolExecutor(max_workers=workers, initializer=single_threaded) as pool:
        for result in pool.map(one, items):
            done.append(result)
            tell(what, len(done), len(items))
    return done
