"""Bring a database to the schema of this program, or say how it differs."""

from dataclasses import dataclass

__all__ = ["SchemaCheck", "check", "upgrade"]


@dataclass(frozen=True, kw_only=True)
class SchemaCheck:
    """`current` None: an empty database. `differences`: what the schema is and should not be.
    `warnings`: protections that this server did not let us set up (roles, grants)."""

    current: str | None
    head: str
    differences: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.current == self.head and not self.differences


def upgrade(url: str) -> None:
    """Run what is missing; safe to call from several processes at once. MigrationError says why not."""
    raise NotImplementedError


def check(url: str) -> SchemaCheck:
    """Compare the database with this program."""
    raise NotImplementedError
