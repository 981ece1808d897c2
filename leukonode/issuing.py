"""Issue a report: its drawings, through the gate, into the store; and the analysis of a case that
could not be read.
"""

import platform
from collections.abc import Collection, Sequence
from dataclasses import replace

from db.reporting_rows import IssuedReport, ObjectKind, ReportObject
from dicom_node.headers import InstanceHeader
from domain.analysis import Analysis, BundleInfo, StageFailure
from domain.counts import Numbers
from domain.identities import InstanceUID, SeriesUID, SopClassUID, derived_uid
from domain.image import ImageReading, ScaleFrom, Verdict, Viability
from domain.study import MixedStudyError, StudyContext, merged_context
from leukonode.about import SOFTWARE
from leukonode.store import FolderStore, Shelf, sha256_of
from reporting.annotations import annotations_of, annotations_series
from reporting.encapsulated import encapsulated_pdf
from reporting.figures import figures_of
from reporting.gate import (
    differences_in_fhir,
    differences_in_hl7,
    differences_in_pdf_object,
    differences_in_sr,
    wrong_words_in_pdf_object,
    wrong_words_in_sr,
)
from reporting.pdf import Paper, pdf_bytes
from reporting.report import ObjectRef, Predecessor, Report
from reporting.sr import sr_document

__all__ = ["NumbersDiffer", "context_of", "issue", "predecessor_of", "unread_analysis"]

_PDF_CLASS = SopClassUID("1.2.840.10008.5.1.4.1.1.104.1")
_SR_CLASS = SopClassUID("1.2.840.10008.5.1.4.1.1.88.34")
_ANNOTATIONS_CLASS = SopClassUID("1.2.840.10008.5.1.4.1.1.91.1")
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_READ_BACK = {ObjectKind.HL7: differences_in_hl7, ObjectKind.FHIR: differences_in_fhir}


class NumbersDiffer(RuntimeError):
    """A drawing says other numbers than the database: it must not leave. `differences` says which."""

    def __init__(self, differences: tuple[str, ...]) -> None:
        super().__init__(
            f"the drawn report differs from the database in {len(differences)} places; it stays here"
        )
        self.differences = differences


def issue(
    report: Report,
    store: FolderStore,
    *,
    stored: Numbers,
    annotations: bool,
    messages: Collection[ObjectKind] = (),
    paper: Paper = Paper.A4,
) -> tuple[ReportObject, ...]:
    """Draw PDF and SR, and where wanted the cells on their images and the messages asked for; read the
    numbers back, and lay all in the store; durable on return.

    `stored` are the numbers that the database holds. NumbersDiffer when a drawing says others.
    """
    drawn = pdf_bytes(report, paper=paper)
    pdf, sr = encapsulated_pdf(report, drawn), sr_document(report, cells=annotations)
    others = {kind: _message(report, kind, drawn) for kind in ObjectKind if kind in messages}
    expected = figures_of(replace(report, numbers=stored))
    differing = (
        *differences_in_pdf_object(expected, pdf),
        *differences_in_sr(expected, sr),
        *wrong_words_in_pdf_object(report, pdf),
        *wrong_words_in_sr(report, sr),
        *(d for kind, content in others.items() for d in _READ_BACK[kind](expected, content)),
    )
    if differing:
        raise NumbersDiffer(differing)
    uids = report.uids
    objects = [
        _stored(store, pdf, ObjectKind.PDF, _PDF_CLASS, uids.pdf_instance, uids.pdf_series),
        _stored(store, sr, ObjectKind.SR, _SR_CLASS, uids.sr_instance, uids.sr_series),
    ]
    if annotations:
        series = SeriesUID(annotations_series(report))
        objects += [
            _stored(
                store,
                made.content,
                ObjectKind.ANNOTATIONS,
                _ANNOTATIONS_CLASS,
                made.instance_uid,
                series,
            )
            for made in annotations_of(report)
        ]
    for kind, content in others.items():
        name = InstanceUID(derived_uid(uids.sr_instance, kind.value))
        no_class, no_series = SopClassUID(""), SeriesUID("")
        objects.append(_stored(store, content, kind, no_class, name, no_series, syntax=""))
    return tuple(objects)


def _message(report: Report, kind: ObjectKind, pdf: bytes) -> bytes:
    # each draws with a library that is wanted for it alone
    if kind is ObjectKind.HL7:
        from reporting.hl7 import oru_message

        return oru_message(report)
    from reporting.fhir import fhir_bundle

    return fhir_bundle(report, pdf)


def _stored(
    store: FolderStore,
    content: bytes,
    kind: ObjectKind,
    sop_class_uid: SopClassUID,
    instance_uid: InstanceUID,
    series_uid: SeriesUID,
    syntax: str = _EXPLICIT_LITTLE_ENDIAN,
) -> ReportObject:
    key = store.put(content, shelf=Shelf.MESSAGES if kind.is_message else Shelf.RESULTS)
    return ReportObject(
        kind=kind,
        instance_uid=instance_uid,
        sop_class_uid=sop_class_uid,
        series_uid=series_uid,
        transfer_syntax_uid=syntax,
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
