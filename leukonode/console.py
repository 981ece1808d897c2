"""Terminal: progress bars on a terminal, plain lines elsewhere, data on standard output.

Text that came from outside is made harmless before it is printed: control characters, which could
steer a terminal, become visible marks.
"""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["harmless", "print_json", "print_table", "progress_bar", "say", "say_error"]


def harmless(text: str) -> str:
    """`text` on one line, with control and direction characters shown as U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)


def say(line: str) -> None:
    """One line of output for a person."""
    sys.stdout.write(f"{harmless(line)}\n")
    sys.stdout.flush()


def say_error(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"leukonode: {harmless(line)}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """`value` as JSON on standard output, for scripts."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; tab-separated lines elsewhere, so that `cut` works."""
    texts = [["" if v is None else harmless(str(v)) for v in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (list(columns), *texts):
            sys.stdout.write("\t".join(row) + "\n")
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in texts:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A function `(what, done, of)` that moves a bar on a terminal and is silent elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _what, _done, _of: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def move(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(harmless(what), total=of)
            bars.update(tasks[what], completed=done, total=of)

        yield move
