"""One database URL in the two forms that our libraries read."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from db.errors import DatabaseError

__all__ = ["conninfo", "engine_url"]


def engine_url(url: str) -> URL:
    """For SQLAlchemy, by psycopg 3. DatabaseError for what is no PostgreSQL URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername.split("+")[0] not in ("postgresql", "postgres"):
        raise DatabaseError(
            "the database URL is none of PostgreSQL; write postgresql://user:password@host/name"
        )
    return parsed.set(drivername="postgresql+psycopg")


def conninfo(url: str) -> str:
    """For psycopg and libpq."""
    return engine_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
