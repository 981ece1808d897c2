"""For which laboratory a bundle was commissioned.

`pre`: run before the program of this version starts. The program of the version before goes on beside
it: its bundles were commissioned for none.
"""

from pathlib import Path

from alembic import op

revision = "0004_pre_commissioned"
down_revision = "0003_pre_annotations"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0004_commissioned.sql"


def upgrade() -> None:
    # by the driver itself: a script is several statements, and its % is no placeholder
    op.get_bind().connection.driver_connection.execute(SQL.read_text(encoding="utf-8"))
