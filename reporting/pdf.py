"""The report for a person: A4 or Letter, from the report value, the same bytes for the same report.

In      Report, and the paper
Out     PDF bytes (PDF/A-2u, tagged): text in reading order, every font embedded; no script, link or
        attachment
Sections  reporting.pdf_sections; what every page carries  reporting.pdf_frame
Title and other metadata hold no patient data; the pages do.
"""

import io

from reportlab import rl_config
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

from reporting.fonts import REGULAR, face
from reporting.pdf_archive import KEYWORDS, author_of, subject_of, with_line_ends
from reporting.pdf_frame import Paper, numbered_canvas, page_head, sheet_of
from reporting.pdf_sections import story
from reporting.report import Report

__all__ = ["Paper", "pdf_bytes"]

# streams are written as they are, not as text: reportlab has no other place for it than its own settings
rl_config.useA85 = 0


def pdf_bytes(report: Report, *, paper: Paper = Paper.A4) -> bytes:
    """The PDF of a report."""
    face()
    sink = io.BytesIO()
    sheet = sheet_of(report, paper)
    document = BaseDocTemplate(
        sink,
        pagesize=(sheet.width, sheet.height),
        title=report.title,
        author=author_of(report),
        subject=subject_of(report),
        creator=report.producer.model,
        producer=report.producer.model,
        keywords=KEYWORDS,
        lang="en-US",
        invariant=1,
        initialFontName=REGULAR,
        initialFontSize=9,
    )
    frame = Frame(
        sheet.margin,
        sheet.bottom,
        sheet.column,
        sheet.height - sheet.top - sheet.bottom,
        leftPadding=0,
        rightPadding=0,
        topPadding=0,
        bottomPadding=0,
    )
    page = PageTemplate(id="page", frames=[frame], onPage=page_head(report, sheet))
    document.addPageTemplates([page])
    document.build(story(report, sheet), canvasmaker=numbered_canvas(report, sheet))
    return with_line_ends(sink.getvalue())
