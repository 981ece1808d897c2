"""An Analysis as rows, and back, exactly."""

from sqlalchemy import Connection

from domain.analysis import Analysis
from domain.identities import AnalysisId

__all__ = ["load_analysis"]


def load_analysis(conn: Connection, analysis_id: AnalysisId) -> Analysis:
    """The analysis, equal to the one that was written. UnknownRow when there is none."""
    raise NotImplementedError
