"""The report as a DICOM SR: TID 1500 Measurement Report on Comprehensive 3D SR (PS3.3 A.35.13).

In      Report
Out     a Part 10 file, Explicit VR Little Endian, UNVERIFIED, PRELIMINARY, RESEARCH
Header  reporting.headers; groups of measurements  reporting.sr_groups; codes  reporting.codes
The tree is made of highdicom's templates and content items; the header is not, because highdicom's
constructor reads the clock and refuses patient values that are to be repeated as they came.
A value that was not measured is a NUM without value and with a reason (CID 42), never 0.
"""

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    SubjectContext,
    SubjectContextSpecimen,
    TextContentItem,
)
from highdicom.sr.enum import RelationshipTypeValues as Relation
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from domain.cells import Stage
from domain.study import Code
from reporting import codes
from reporting.headers import (
    concept,
    evidence_sequence,
    part10,
    predecessor_sequence,
    reference,
    result_header,
)
from reporting.report import DISCLAIMER, UNTRAINED, UNVERIFIED, Report
from reporting.sr_groups import measurement_groups, writable

__all__ = ["sr_document"]


def sr_document(report: Report) -> bytes:
    """The SR of a report; the same bytes for the same report."""
    dataset = result_header(
        report,
        sop_class_uid=Comprehensive3DSRStorage,
        instance_uid=report.uids.sr_instance,
        series_uid=report.uids.sr_series,
        modality="SR",
    )
    dataset.CompletionFlag = "PARTIAL" if report.failed else "COMPLETE"
    dataset.VerificationFlag = UNVERIFIED
    dataset.PreliminaryFlag = "PRELIMINARY"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    context = report.context
    if context.evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = evidence_sequence(
            context.evidence, context.study_uid
        )
    dataset.ReferencedInstanceSequence = [
        reference(EncapsulatedPDFStorage, report.uids.pdf_instance, codes.RENDERING)
    ]
    if report.predecessor is not None:
        dataset.PredecessorDocumentsSequence = predecessor_sequence(
            context.study_uid, report.predecessor.sr
        )
    for element in _tree(report):
        dataset.add(element)
    return part10(dataset)


def _tree(report: Report) -> ContainerContentItem:
    root = ContainerContentItem(name=concept(codes.REPORT_TITLE), template_id="1500")
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(concept(codes.LANGUAGE)))
    content.extend(_observation_context(report))
    content.append(
        _code(codes.PROCEDURE_REPORTED, codes.LIGHT_MICROSCOPY, Relation.HAS_CONCEPT_MOD)
    )
    if report.context.evidence:
        content.append(_image_library(report))
    measurements = _container(codes.IMAGING_MEASUREMENTS)
    measurements.ContentSequence.extend(measurement_groups(report))
    content.append(measurements)
    content.append(_evaluations(report))
    root.ContentSequence = content
    return root


def _observation_context(report: Report) -> ObservationContext:
    """TID 1001: the device as observer, the specimen as subject when it is known."""
    producer, specimen = report.producer, report.context.specimen
    observer = ObserverContext(
        observer_type=concept(codes.DEVICE),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=producer.device_uid,
            name=f"{producer.model} {producer.version}",
            manufacturer_name=producer.manufacturer,
            model_name=producer.model,
            serial_number=producer.serial_number,
        ),
    )
    subject = None
    if specimen is not None and specimen.uid:  # Specimen UID is mandatory in TID 1009
        subject = SubjectContext(
            subject_class=concept(codes.SPECIMEN),
            subject_class_specific_context=SubjectContextSpecimen(
                uid=specimen.uid,
                identifier=writable(specimen.identifier) or None,
                container_identifier=writable(specimen.container_identifier) or None,
                specimen_type=concept(specimen.type_code) if specimen.type_code else None,
            ),
        )
    return ObservationContext(observer_device_context=observer, subject_context=subject)


def _image_library(report: Report) -> ContainerContentItem:
    """TID 1600: the analysed instances, in one group a modality."""
    library = _container(codes.IMAGE_LIBRARY)
    groups: dict[str, ContainerContentItem] = {}
    for one in report.context.evidence:
        modality = codes.MODALITIES.get(one.sop_class_uid, codes.OTHER_MODALITY)
        group = groups.get(modality.value)
        if group is None:
            group = groups[modality.value] = _container(codes.IMAGE_LIBRARY_GROUP)
            group.ContentSequence.append(_code(codes.MODALITY, modality, Relation.HAS_ACQ_CONTEXT))
            library.ContentSequence.append(group)
        group.ContentSequence.append(
            ImageContentItem(
                name=concept(codes.SOURCE_IMAGE_OF_LIBRARY),
                referenced_sop_class_uid=one.sop_class_uid,
                referenced_sop_instance_uid=one.instance_uid,
                relationship_type=Relation.CONTAINS,
            )
        )
    return library


def _evaluations(report: Report) -> ContainerContentItem:
    """What is said in words and codes: state, finding, flags, failures, provenance, warnings."""
    container = _container(codes.QUALITATIVE_EVALUATIONS)
    analysis = report.analysis
    bundle = analysis.bundle
    said: list[TextContentItem | CodeContentItem] = []
    if report.untrained:
        said.append(_text(codes.UNTRAINED_MODELS, UNTRAINED))
    said += [
        _code(codes.SUMMARY, _summary(report)),
        _text(codes.FINDING, report.finding.text),
        _text(codes.COMMENT, DISCLAIMER),
        *(_code(codes.FLAG, codes.FLAGS[flag]) for flag in report.finding.flags),
        *(
            _text(codes.FAILED_STAGE, f"{f.stage.value if f.stage else 'analysis'}: {f.reason}")
            for f in analysis.failures
        ),
        _text(codes.COMMENT, f"Study complete {report.completed_by}"),
        _text(
            codes.COMMENT,
            f"Bundle {bundle.id}, version {bundle.version}, manifest SHA-256 "
            f"{bundle.manifest_sha256}; {analysis.software}; {analysis.engine}; "
            f"{analysis.processor}",
        ),
    ]
    if report.predecessor is not None:
        said.append(
            _text(codes.COMMENT, f"Amended: replaces revision {report.predecessor.revision}")
        )
    warnings = dict.fromkeys((*analysis.warnings, *report.context.warnings))
    said += [_text(codes.COMMENT, f"Warning: {w}") for w in warnings]
    container.ContentSequence.extend(said)
    return container


def _summary(report: Report) -> Code:
    """CID 6047. A finding is a blast."""
    found = report.measured(Stage.MALIGNANCY) and bool(report.numbers.blasts.count)
    if not report.analysis.evaluable:
        return codes.NONE_SUCCEEDED
    if report.failed:
        return codes.SOME_WITH_FINDINGS if found else codes.SOME_WITHOUT_FINDINGS
    return codes.ALL_WITH_FINDINGS if found else codes.ALL_WITHOUT_FINDINGS


def _container(name: Code) -> ContainerContentItem:
    item = ContainerContentItem(name=concept(name), relationship_type=Relation.CONTAINS)
    item.ContentSequence = ContentSequence()
    return item


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(
        name=concept(name), value=writable(value), relationship_type=Relation.CONTAINS
    )


def _code(name: Code, value: Code, relation: Relation = Relation.CONTAINS) -> CodeContentItem:
    return CodeContentItem(name=concept(name), value=concept(value), relationship_type=relation)
