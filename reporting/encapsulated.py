"""The PDF as a DICOM object, so that a PACS files it in the study it belongs to.

In      Report, and the PDF's bytes as `reporting.pdf` made them
Out     a Part 10 file of Encapsulated PDF Storage (PS3.3 A.45.1), Explicit VR Little Endian
It names every analysed instance as its source, the SR as its source report, and the document it
replaces. Burned In Annotation is YES: the page shows the patient.
"""

from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from reporting import codes
from reporting.headers import (
    acquisition_datetime,
    code_item,
    part10,
    predecessor_sequence,
    reference,
    result_header,
)
from reporting.report import Report

__all__ = ["encapsulated_pdf"]


def encapsulated_pdf(report: Report, pdf: bytes) -> bytes:
    """ValueError when `pdf` is no PDF."""
    if not pdf.startswith(b"%PDF-"):
        raise ValueError("these bytes are no PDF; nothing was wrapped")
    dataset = result_header(
        report,
        sop_class_uid=EncapsulatedPDFStorage,
        instance_uid=report.uids.pdf_instance,
        series_uid=report.uids.pdf_series,
        modality="DOC",
    )
    dataset.ConversionType = "WSD"
    dataset.AcquisitionDateTime = acquisition_datetime(report)
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = report.title
    dataset.ConceptNameCodeSequence = [code_item(codes.PDF_TITLE)]
    dataset.VerificationFlag = report.verification
    dataset.SourceInstanceSequence = [
        reference(e.sop_class_uid, e.instance_uid, codes.SOURCE_IMAGE)
        for e in report.context.evidence
    ] + [reference(Comprehensive3DSRStorage, report.uids.sr_instance, codes.SOURCE_REPORT)]
    if report.predecessor is not None:
        dataset.PredecessorDocumentsSequence = predecessor_sequence(
            report.context.study_uid, report.predecessor.pdf
        )
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)  # before the pad byte
    dataset.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    return part10(dataset)
