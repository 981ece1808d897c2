"""What can go wrong at the DICOM door.

DicomNodeError
  x MalformedObject     a received object that cannot be kept; knows the status the peer gets
"""

import logging

__all__ = ["DicomNodeError", "MalformedObject", "log_failure"]


class DicomNodeError(Exception):
    """Root of this room's errors. Messages are one line without patient data."""


class MalformedObject(DicomNodeError):
    """A data set that is not what its bytes claim.

    status         C-STORE response status (PS3.7 C.4, PS3.4 B.2.3)
    reason         one line, free of values taken from the object
    offending_tag  (gggg << 16) | eeee of the element at fault, where one can be named
    """

    def __init__(self, status: int, reason: str, offending_tag: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.offending_tag = offending_tag

    def __reduce__(self) -> tuple[type["MalformedObject"], tuple[int, str, int | None]]:
        # crosses a process boundary, which the default (args only) would break
        return type(self), (self.status, self.reason, self.offending_tag)


def log_failure(logger: logging.Logger, what: str, error: BaseException) -> None:
    """Log an unforeseen failure by its kind and place. Its text and trace stay out: they may quote
    values of the object at hand."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    logger.error("%s: %s at %s", what, type(error).__name__, at)
