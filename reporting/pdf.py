"""The report for a person: A4, from the report value, the same bytes for the same report.

In      Report
Out     PDF bytes: text layer in reading order, fonts embedded; no script, link or attachment
Sections  reporting.pdf_sections; what every page carries  reporting.pdf_frame
Title and other metadata hold no patient data; the pages do.
"""

import io
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

from reporting.fonts import REGULAR, face
from reporting.pdf_frame import MARGIN, bottom, numbered_canvas, page_head, top
from reporting.pdf_sections import story
from reporting.report import Report

__all__ = ["pdf_bytes"]


def pdf_bytes(report: Report) -> bytes:
    """The PDF of a report."""
    face()
    sink = io.BytesIO()
    width, height = A4
    below, above = bottom(), top(report)
    document = BaseDocTemplate(
        sink,
        pagesize=A4,
        title=report.title,
        author=f"{report.producer.model} {report.producer.version}",
        subject=f"Case {report.case_id}, revision {report.revision}",
        creator=report.producer.model,
        producer=report.producer.model,
        keywords=[report.verification.lower(), "research use"],
        lang="en-US",
        invariant=1,
        initialFontName=REGULAR,
        initialFontSize=9,
    )
    frame = Frame(
        MARGIN,
        below,
        width - 2 * MARGIN,
        height - above - below,
        leftPadding=0,
        rightPadding=0,
        topPadding=0,
        bottomPadding=0,
    )
    document.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=page_head(report))])
    flowables: list[Any] = story(report, width=width - 2 * MARGIN)
    document.build(flowables, canvasmaker=numbered_canvas(report))
    return sink.getvalue()
