"""Faults that end a command or a start, each with one line that says what, why and the mend.

LeukonodeError
├── SettingsError     a wrong setting; stops the start
├── UsageError        the command was called wrongly (exit status 2)
├── CouldNotError     the command was right and could not be done (exit status 1)
└── AlreadySaid       a process of ours has said why; nothing more is to be said
"""

__all__ = ["AlreadySaid", "CouldNotError", "LeukonodeError", "SettingsError", "UsageError"]


class LeukonodeError(Exception):
    """Root. `str()` is one line for a person."""

    exit_status = 1


class SettingsError(LeukonodeError):
    """A setting is wrong, or asks for what this machine does not give; a start ends with it, and
    starting again changes nothing."""


class UsageError(LeukonodeError):
    """The command line asks for something that does not fit together."""

    exit_status = 2


class CouldNotError(LeukonodeError):
    """What was asked for could not be done."""


class AlreadySaid(LeukonodeError):
    """The line is on standard error already."""
