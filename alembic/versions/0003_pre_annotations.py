"""Cells' outlines, and several annotation objects of one report.

`pre`: run before the program of this version starts. The program of the version before goes on beside
it: its cells have no outline, and it issues no annotations.
"""

from pathlib import Path

from alembic import op

revision = "0003_pre_annotations"
down_revision = "0002_pre_reviews"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0003_annotations.sql"


def upgrade() -> None:
    # by the driver itself: a script is several statements, and its % is no placeholder
    op.get_bind().connection.driver_connection.execute(SQL.read_text(encoding="utf-8"))
