"""The first schema: cases, audit trail, the auditor's views, the queue.

`pre`: run before the program of this version starts. The SQL lies in ../sql, to be read as SQL.
"""

from pathlib import Path

from alembic import op

revision = "0001_pre_first_schema"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    for name in ("0001_tables.sql", "0001_audit.sql", "0001_auditor.sql"):
        _run((SQL / name).read_text(encoding="utf-8"))
    # procrastinate names its objects without a schema
    _run("CREATE SCHEMA queue; SET LOCAL search_path = queue")
    _run((SQL / "0001_queue.sql").read_text(encoding="utf-8"))
    _run("SET LOCAL search_path = DEFAULT")


def _run(script: str) -> None:
    # by the driver itself: a script is several statements, and its % is no placeholder
    op.get_bind().connection.driver_connection.execute(script)
