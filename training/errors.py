"""What can go wrong in the room of training; each message says what, why and the mend in one line.

TrainingError
├── DataError          folders, labels or splits that cannot be trained on
├── OverlapError       pictures on both sides of a line that must keep them apart
├── CheckpointError    a started run that cannot be gone on with
└── CardError          reports that are of another bundle's weights
"""

__all__ = ["CardError", "CheckpointError", "DataError", "OverlapError", "TrainingError"]


class TrainingError(Exception):
    """Root of the tree."""


class DataError(TrainingError):
    """Folders, labels or splits that cannot be trained on."""


class OverlapError(TrainingError):
    """The same or nearly the same picture on both sides of a line that must keep them apart."""


class CheckpointError(TrainingError):
    """A started run that cannot be gone on with, or is not there."""


class CardError(TrainingError):
    """The reports do not belong to the bundle."""
