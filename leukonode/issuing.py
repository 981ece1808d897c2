"""Issue a report: its drawings into the store; and the analysis of a case that could not be read."""

import platform
from collections.abc import Sequence
from dataclasses import replace

from db.reporting_rows import IssuedReport, ObjectKind, ReportObject
from dicom_node.headers import InstanceHeader
from domain.analysis import Analysis, BundleInfo, StageFailure
from domain.identities import InstanceUID, SeriesUID, SopClassUID
from domain.image import ImageReading, ScaleFrom, Verdict, Viability
from domain.study import MixedStudyError, StudyContext, merged_context
from leukonode.about import SOFTWARE
from leukonode.store import FolderStore, Shelf, sha256_of
from reporting.encapsulated import encapsulated_pdf
from reporting.pdf import Paper, pdf_bytes
from reporting.report import ObjectRef, Predecessor, Report
from reporting.sr import sr_document

__all__ = ["context_of", "issue", "predecessor_of", "unread_analysis"]

_PDF_CLASS = SopClassUID("1.2.840.10008.5.1.4.1.1.104.1")
_SR_CLASS = SopClassUID("1.2.840.10008.5.1.4.1.1.88.34")
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def issue(
    report: Report, store: FolderStore, *, paper: Paper = Paper.A4
) -> tuple[ReportObject, ...]:
    """Draw PDF and SR and lay both in the store; durable on return."""
    return (
        _stored(
            store,
            encapsulated_pdf(report, pdf_bytes(report, paper=paper)),
            ObjectKind.PDF,
            _PDF_CLASS,
            report.uids.pdf_instance,
            report.uids.pdf_series,
        ),
        _stored(
            store,
            sr_document(report),
            ObjectKind.SR,
            _SR_CLASS,
            report.uids.sr_instance,
            report.uids.sr_series,
        ),
    )


def _stored(
    store: FolderStore,
    content: bytes,
    kind: ObjectKind,
    sop_class_uid: SopClassUID,
    instance_uid: InstanceUID,
    series_uid: SeriesUID,
) -> ReportObject:
    key = store.put(content, shelf=Shelf.RESULTS)
    return ReportObject(
        kind=kind,
        instance_uid=instance_uid,
        sop_class_uid=sop_class_uid,
        series_uid=series_uid,
        transfer_syntax_uid=_EXPLICIT_LITTLE_ENDIAN,
        sha256=sha256_of(store.path(key)),
        size_bytes=len(content),
        store_key=key,
    )


def predecessor_of(previous: IssuedReport | None) -> Predecessor | None:
    """How a report names the one it replaces."""
    if previous is None:
        return None
    return Predecessor(
        revision=previous.revision,
        pdf=_reference(previous.object(ObjectKind.PDF)),
        sr=_reference(previous.object(ObjectKind.SR)),
    )


def _reference(stored: ReportObject) -> ObjectRef:
    return ObjectRef(
        sop_class_uid=stored.sop_class_uid,
        instance_uid=stored.instance_uid,
        series_uid=stored.series_uid,
    )


def context_of(headers: Sequence[InstanceHeader]) -> tuple[StudyContext, str]:
    """The study's context, and why its images must not be read as one, empty when they may."""
    contexts = [h.context for h in headers]
    try:
        return merged_context(contexts), ""
    except MixedStudyError as error:
        apart = [_without_specimen(c) for c in contexts]
        try:
            return merged_context(apart), str(error)
        except MixedStudyError:
            return apart[0], str(error)


def _without_specimen(context: StudyContext) -> StudyContext:
    return replace(context, specimen=None)


def unread_analysis(
    bundle: BundleInfo, headers: Sequence[InstanceHeader], *, leukocytes_wanted: int, reason: str
) -> Analysis:
    """The value for a case whose images could not be read: it will be reported, plainly."""
    return Analysis(
        bundle=bundle,
        images=tuple(
            ImageReading(
                header=h.image,
                viability=Viability(p=None, verdict=Verdict.NOT_ASSESSED),
                um_per_px=None,
                scale_from=ScaleFrom.UNKNOWN,
                fields_read=0,
                fields_refused=0,
                not_evaluable=h.image.refusal or reason,
            )
            for h in headers
        ),
        cells=(),
        stages=(),
        engine="none",
        processor=platform.processor() or platform.machine(),
        software=SOFTWARE,
        leukocytes_wanted=leukocytes_wanted,
        failures=(StageFailure(stage=None, reason=reason),),
    )
