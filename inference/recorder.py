"""What each stage did over one analysis: its time, how much it read, and whether it failed.

A stage that fails once is not called again in that analysis: its failure is a value that the report
shows, the stages before it keep what they found, and the process goes on.
"""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from domain.analysis import BundleInfo, StageFailure, StageRecord
from domain.cells import Stage
from inference.errors import NotFinite

__all__ = ["Recorder"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Recorder:
    """Counts and times the stages of one analysis. Not shared between threads."""

    def __init__(self, bundle: BundleInfo, *, engine: str) -> None:
        self._bundle = bundle
        self._engine = engine
        self._seconds = dict.fromkeys(Stage, 0.0)
        self._items = dict.fromkeys(Stage, 0)
        self._failed: dict[Stage, str] = {}

    def attempt(self, stage: Stage, work: Callable[[], T], *, items: int) -> T | None:
        """What `work` gives for `items` fields or cells; None when the stage failed, now or
        before."""
        if stage in self._failed:
            return None
        began = perf_counter()
        try:
            done = work()
        except NotFinite as error:
            self._fail(stage, str(error))
            return None
        except Exception as error:  # noqa: BLE001  whatever a network does, the report says so
            self._fail(stage, f"{type(error).__name__} in the network of stage {stage.number}")
            return None
        finally:
            self._seconds[stage] += perf_counter() - began
        self._items[stage] += items
        return done

    def has_failed(self, stage: Stage) -> bool:
        return stage in self._failed

    @property
    def failures(self) -> tuple[StageFailure, ...]:
        """In the order of the stages."""
        return tuple(
            StageFailure(stage=stage, reason=self._failed[stage])
            for stage in Stage
            if stage in self._failed
        )

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """One for each stage, also for those that had nothing to do."""
        return tuple(
            StageRecord(
                stage=model.stage,
                model=model.architecture,
                sha256=model.sha256,
                engine=self._engine,
                thresholds=model.thresholds,
                seconds=round(self._seconds[model.stage], 6),
                items=self._items[model.stage],
            )
            for model in self._bundle.models
        )

    def _fail(self, stage: Stage, reason: str) -> None:
        _log.exception("stage %d failed", stage.number)
        self._failed[stage] = reason
