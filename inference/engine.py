"""What the networks run on, and how: plain torch on the processor, in float32, the same each time.

Threads and determinism are switches of the whole process, so they are set for one analysis and put
back. No seed is used anywhere: at inference nothing is random.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["engine_name", "processor_name", "steady"]


def engine_name() -> str:
    """E.g. `torch 2.14.1 cpu float32`; without the build's suffix, which changes no number here."""
    return f"torch {torch.__version__.split('+')[0]} cpu float32"


def processor_name() -> str:
    """The processor's own name, its widest vector instructions, and how many threads are used:
    the last digits of a result depend on all three."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = named[0] if named else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {capability}, {torch.get_num_threads()} of {os.cpu_count()} threads"


@contextmanager
def steady(*, threads: int | None) -> Iterator[None]:
    """No gradients, deterministic kernels, and `threads` threads (None: torch's own choice)."""
    before_threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    before_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode=True)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before_threads)
        torch.use_deterministic_algorithms(before, warn_only=before_warn)
