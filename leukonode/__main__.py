"""The `leukonode` command.

Promises: exit status 0 done, 1 could not, 2 called wrongly; on failure one line on standard error
that says what, why and the mend, and never a trace (unless --trace asks for it).
"""

import logging
import os
import sys
from typing import Annotated

import typer

from leukonode import commands
from leukonode.commands import (
    analyze,
    assembling,
    cases,
    database,
    dicom,
    explain,
    models,
    reports,
    reproduce,
    service,
    training,
)
from leukonode.console import say_error
from leukonode.errors import AlreadySaid, LeukonodeError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Read stained blood smears sent by a PACS, and answer with a report. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    *,
    trace: Annotated[bool, typer.Option(help="On a failure, print where it happened.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    _state["trace"] = trace
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


_state = {"trace": False}

for _module in (service, analyze, dicom, cases, explain, reports, reproduce, training):
    _module.register(app)
assembling.register(models.app)
app.add_typer(models.app, name="models")
app.add_typer(database.db_app, name="db")
app.add_typer(database.audit_app, name="audit")


def main() -> None:
    """Run the command line and exit with the documented status."""
    sys.exit(_run())


def _run() -> int:
    try:
        result = app(standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except commands.CalledWrongly as error:
        if not sys.argv[1:]:
            app(["--help"], standalone_mode=False)
            return 2
        say_error(f"{error.format_message()} (see `{commands.name_of(error)} --help`)")
        return 2
    except AlreadySaid as error:
        return error.exit_status
    except LeukonodeError as error:
        say_error(str(error))
        return error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        say_error("stopped")
        return 1
    except BrokenPipeError:
        # the reader of our output has gone; point it elsewhere so that closing does not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _state["trace"]:
            raise
        say_error(commands.one_line(error))
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
