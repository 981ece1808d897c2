"""The gate over the fields of one image: which are read, which are flagged, and what is said of them.

In      fields, one after the other, with their ground colour
Out     whether each is read; the warnings of the image's record, by whose first words it is flagged
Without a gate in the manifest every field is read. Only stained smears have a look that a gate could
know, and a field with nothing on it has none.
"""

from collections.abc import Sequence

from domain.image import OUTSIDE_STAIN, UNKNOWN_SMEAR, Domain, Field
from inference.crops import Colour
from inference.gate import Likeness, likeness, look_of
from inference.manifest import Gate

__all__ = ["StainRecord"]

# of an image's fields may be unlike by chance: the limit of the flag is that of one field in a hundred
USUAL_SHARE = 0.05


class StainRecord:
    """Changes as it goes; one an image."""

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._limits = (
            f"usual up to {gate.flag_above:g}, read up to {gate.refuse_above:g}" if gate else ""
        )
        self._flagged: list[Likeness] = []
        self._refused: list[Likeness] = []
        self._looked_at = 0

    def admits(self, field: Field, ground: Colour) -> bool:
        """Whether the field looks enough like those that the bundle was made for to be read."""
        if self._gate is None or field.domain is not Domain.SMEAR:
            return True
        look = look_of(field.pixels, ground=ground)
        if look is None:
            return True
        self._looked_at += 1
        found = likeness(look, self._gate)
        if found.distance > self._gate.refuse_above:
            self._refused.append(found)
            return False
        if found.distance > self._gate.flag_above:
            self._flagged.append(found)
        return True

    @property
    def reason(self) -> str:
        """Why nothing was read, where it was the gate that refused; else empty."""
        return f"it is {UNKNOWN_SMEAR} ({self._told(self._refused)})" if self._refused else ""

    @property
    def all_refused(self) -> bool:
        """Whether every field that shows anything was refused."""
        return bool(self._refused) and len(self._refused) == self._looked_at

    def warnings(self, fields_seen: int) -> list[str]:
        """At most one of a kind; none of the rare field that is unlike where many are read."""
        unlike = len(self._flagged) + len(self._refused)
        if unlike <= USUAL_SHARE * self._looked_at:
            return []
        return [
            f"{words}: {len(found)} of {fields_seen} fields ({self._told(found)})"
            for words, found in ((OUTSIDE_STAIN, self._flagged), (UNKNOWN_SMEAR, self._refused))
            if found
        ]

    def _told(self, found: Sequence[Likeness]) -> str:
        """The farthest of them, beside the limits."""
        farthest = max(found, key=lambda one: one.distance)
        return (
            f"distance from the training fields {farthest.distance:g}; {self._limits}; most unlike in "
            f"{farthest.most_unlike}"
        )
