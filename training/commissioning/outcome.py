"""What commissioning came to for one stage, or for the gate before them; a value that tables, manifest and card are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.cells import Stage
from training.commissioning.choice import Score

__all__ = ["Outcome", "outcome_of"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`changed` names what is new, empty where the stage keeps all of the parent's; `before` and
    `after` are the same figures of the same cells, none of which the change was fitted on, and are
    equal where nothing was taken. `gain` is that of what was tried, taken or not. `entry` and
    `manifest` are fields that are written over; `rewritten` networks get a new file."""

    stage: Stage | None  # None: the gate
    changed: tuple[str, ...]
    before: tuple[Score, ...]
    after: tuple[Score, ...]
    gain: Score | None
    why: str
    entry: Mapping[str, Any]
    manifest: Mapping[str, Any]
    rewritten: bool

    @property
    def name(self) -> str:
        """For people: `4 wbc_class`, or `gate`."""
        return f"{self.stage.number} {self.stage.value}" if self.stage else "gate"


def outcome_of(
    stage: Stage | None,
    before: Sequence[Score] = (),
    after: Sequence[Score] = (),
    *,
    why: str,
    gain: Score | None = None,
    changed: Sequence[str] = (),
    entry: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    rewritten: bool = False,
) -> Outcome:
    """An Outcome in which nothing changes but what is given."""
    return Outcome(
        stage=stage,
        changed=tuple(changed),
        before=tuple(before),
        after=tuple(after),
        gain=gain,
        why=why,
        entry=dict(entry or {}),
        manifest=dict(manifest or {}),
        rewritten=rewritten,
    )
