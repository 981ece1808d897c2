"""The commands: each a thin room that parses, calls one function, and prints its value."""

from click.exceptions import ClickException, UsageError

__all__ = ["name_of", "one_line"]


def name_of(error: ClickException) -> str:
    """The command that was called wrongly, as it is typed."""
    context = error.ctx if isinstance(error, UsageError) else None
    path = context.command_path if context else "leukonode"
    return path.replace("python -m leukonode", "leukonode")


def one_line(error: Exception) -> str:
    """What to tell a person of an error: its own words when a room of ours wrote them."""
    from db.errors import DatabaseError
    from dicom_node.errors import DicomNodeError
    from inference.errors import InferenceError

    text = " ".join(str(error).split())
    if isinstance(error, (DicomNodeError, InferenceError, DatabaseError)) and text:
        return text
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{name}"
    return f"internal error ({type(error).__name__}); `leukonode --trace ...` shows where"
