"""The text of a made PDF, for the numbers to be read back from it.

PDFium reads our pages row by row as they were drawn; it may not be used by two threads at once.
"""

import threading

import pypdfium2

__all__ = ["pdf_text"]

_ONE_AT_A_TIME = threading.Lock()


def pdf_text(pdf: bytes) -> str:
    """All pages' text in their order. ValueError for what is no readable PDF."""
    with _ONE_AT_A_TIME:
        try:
            document = pypdfium2.PdfDocument(pdf)
        except pypdfium2.PdfiumError as error:
            raise ValueError("the PDF cannot be read back; it is no whole PDF") from error
        try:
            return "\n".join(_page(document, number) for number in range(len(document)))
        finally:
            document.close()


def _page(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    text = page.get_textpage()
    try:
        return str(text.get_text_range())
    finally:
        text.close()
        page.close()
