"""The commands: each a thin room that parses, calls one function, and prints its value."""

import typer

__all__ = ["CalledWrongly", "name_of", "one_line"]

# typer carries a copy of click and shows only some of its exceptions; this is the root of those
# that mean a command was typed wrongly.
CalledWrongly: type[typer.BadParameter] = typer.BadParameter.__mro__[1]


def name_of(error: typer.BadParameter) -> str:
    """The command that was called wrongly, as it is typed."""
    path = error.ctx.command_path if error.ctx else "leukonode"
    return path.replace("python -m leukonode", "leukonode")


def one_line(error: Exception) -> str:
    """What to tell a person of an error: its own words when a room of ours wrote them."""
    from sqlalchemy.exc import OperationalError

    from db.errors import DatabaseError
    from dicom_node.errors import DicomNodeError
    from inference.errors import InferenceError

    text = " ".join(str(error).split())
    if isinstance(error, (DicomNodeError, InferenceError, DatabaseError)) and text:
        return text
    if isinstance(error, OperationalError):
        return "the database cannot be reached, or has gone; `leukonode doctor` looks at it"
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{name}"
    return f"internal error ({type(error).__name__}); `leukonode --trace ...` shows where"
