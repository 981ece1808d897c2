"""Reviews are written once: a trigger refuses every change of them.

`pre`: run before the program of this version starts. The program of the version before goes on beside
it: it only adds reviews.
"""

from pathlib import Path

from alembic import op

revision = "0005_pre_reviews_kept"
down_revision = "0004_pre_commissioned"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0005_reviews_kept.sql"


def upgrade() -> None:
    # by the driver itself: a script is several statements, and its % is no placeholder
    op.get_bind().connection.driver_connection.execute(SQL.read_text(encoding="utf-8"))
