"""What persons do to a case: signatures, amendments, reclassified cells, and the numbers after them.

`pre`: run before the program of this version starts. The program of the version before goes on beside
it, its rows take the defaults, until a person signs or reclassifies: it would report such a case without
what the person did. Stop the workers of the version before then.
"""

from pathlib import Path

from alembic import op

revision = "0002_pre_reviews"
down_revision = "0001_pre_first_schema"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0002_reviews.sql"


def upgrade() -> None:
    # by the driver itself: a script is several statements, and its % is no placeholder
    op.get_bind().connection.driver_connection.execute(SQL.read_text(encoding="utf-8"))
