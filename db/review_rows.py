"""The reviews of a case as rows, and back: what persons did, in their order."""

from uuid import UUID

from sqlalchemy import Connection, RowMapping, select

from db.tables import analyses, reports, reviews
from domain.reviews import Called, Reclassification, Review, ReviewKind

__all__ = ["reviews_of"]


def reviews_of(conn: Connection, case_id: UUID) -> tuple[Review, ...]:
    """Every act of a person on the case, in order."""
    query = (
        select(reviews, analyses.c.ordinal.label("analysis_ordinal"), reports.c.revision)
        .join(analyses, analyses.c.id == reviews.c.analysis_id)
        .join(reports, reports.c.id == reviews.c.report_id)
        .where(reviews.c.case_id == case_id)
        .order_by(reviews.c.ordinal)
    )
    return tuple(
        Review(
            ordinal=row["ordinal"],
            kind=ReviewKind(row["kind"]),
            by=row["person"],
            organization=row["organization"],
            comment=row["comment"],
            at=row["at"],
            analysis_ordinal=row["analysis_ordinal"],
            revision=row["revision"],
            change=_change_of(row),
        )
        for row in conn.execute(query).mappings()
    )


def _change_of(row: RowMapping) -> Reclassification | None:
    if row["cell"] is None:
        return None
    before, after = (
        Called(
            wbc_class=row[f"{when}_wbc_class"],
            malignancy=row[f"{when}_malignancy"],
            subtype=row[f"{when}_subtype"],
            final_class=row[f"{when}_final_class"],
        )
        for when in ("before", "after")
    )
    return Reclassification(cell=row["cell"], before=before, after=after)
