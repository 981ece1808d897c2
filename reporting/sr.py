"""The report as a DICOM SR: TID 1500 Measurement Report on Comprehensive 3D SR (PS3.3 A.35.13).

In      Report
Out     a Part 10 file, Explicit VR Little Endian, RESEARCH; UNVERIFIED and PRELIMINARY until a person
        has signed, then VERIFIED and FINAL with the person as verifying observer
Header  reporting.headers; groups of measurements  reporting.sr_groups; codes  reporting.codes
The tree is made of highdicom's templates and content items; the header is not, because highdicom's
constructor reads the clock and refuses patient values that are to be repeated as they came.
A value that was not measured is a NUM without value and with a reason (CID 42), never 0.
"""

from collections.abc import Iterator

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    TextContentItem,
)
from highdicom.sr.enum import RelationshipTypeValues as Relation
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from domain.cells import Stage
from domain.study import Code
from reporting import codes
from reporting.annotations import annotated, annotations_series
from reporting.headers import (
    code_item as header_code,
)
from reporting.headers import (
    concept,
    evidence_sequence,
    part10,
    predecessor_sequence,
    reference,
    result_header,
)
from reporting.persons import review_words, status_sentences, verifying_observers
from reporting.report import UNTRAINED, Report
from reporting.sr_context import observation_context
from reporting.sr_groups import measurement_groups
from reporting.sr_items import code_item, container, image, words
from reporting.sr_regions import region_groups, region_words

__all__ = ["sr_document"]


def sr_document(report: Report, *, cells: bool = True) -> bytes:
    """The SR of a report; the same bytes for the same report. With `cells` it says where they are:
    as regions where the images have no annotations of their own."""
    dataset = result_header(
        report,
        sop_class_uid=Comprehensive3DSRStorage,
        instance_uid=report.uids.sr_instance,
        series_uid=report.uids.sr_series,
        modality="SR",
    )
    dataset.CompletionFlag = "PARTIAL" if report.failed else "COMPLETE"
    dataset.VerificationFlag = report.verification
    dataset.PreliminaryFlag = "FINAL" if report.signature else "PRELIMINARY"
    if report.signature:
        dataset.VerifyingObserverSequence = verifying_observers(report)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = [header_code(codes.LIGHT_MICROSCOPY)]
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
    for element in _tree(report, cells=cells):
        dataset.add(element)
    return part10(dataset)


def _tree(report: Report, *, cells: bool) -> ContainerContentItem:
    root = ContainerContentItem(name=concept(codes.REPORT_TITLE), template_id="1500")
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(concept(codes.LANGUAGE)))
    content.extend(observation_context(report))
    content.append(
        code_item(codes.PROCEDURE_REPORTED, codes.IMAGING_PROCEDURE, Relation.HAS_CONCEPT_MOD)
    )
    if report.context.evidence:
        content.append(_image_library(report))
    measurements = container(codes.IMAGING_MEASUREMENTS)
    measurements.ContentSequence.extend(measurement_groups(report))
    if cells:
        measurements.ContentSequence.extend(region_groups(report))
    content.append(measurements)
    evaluations = _evaluations(report)
    if cells:
        evaluations.ContentSequence.extend(_where_the_cells_are(report))
    content.append(evaluations)
    root.ContentSequence = content
    return root


def _image_library(report: Report) -> ContainerContentItem:
    """TID 1600: the analysed instances, in one group a modality."""
    library = container(codes.IMAGE_LIBRARY)
    groups: dict[str, ContainerContentItem] = {}
    for one in report.context.evidence:
        modality = codes.MODALITIES.get(one.sop_class_uid, codes.CAPTURED_MODALITY)
        group = groups.get(modality.value)
        if group is None:
            group = groups[modality.value] = container(codes.IMAGE_LIBRARY_GROUP)
            group.ContentSequence.append(
                code_item(codes.MODALITY, modality, Relation.HAS_ACQ_CONTEXT)
            )
            library.ContentSequence.append(group)
        group.ContentSequence.append(image(codes.SOURCE_IMAGE_OF_LIBRARY, one))
    return library


def _evaluations(report: Report) -> ContainerContentItem:
    """What is said in words and codes: state, finding, flags, failures, provenance, warnings."""
    evaluations = container(codes.QUALITATIVE_EVALUATIONS)
    analysis = report.analysis
    bundle = analysis.bundle
    said: list[TextContentItem | CodeContentItem] = []
    if report.untrained:
        said.append(words(codes.UNTRAINED_MODELS, UNTRAINED))
    said += [
        code_item(codes.SUMMARY, _summary(report)),
        words(codes.FINDING, report.finding.text),
        words(codes.COMMENT, report.disclaimer),
        *(code_item(codes.FLAG, codes.FLAGS[flag]) for flag in report.finding.flags),
        *(
            words(codes.FAILED_STAGE, f"{f.stage.value if f.stage else 'analysis'}: {f.reason}")
            for f in analysis.failures
        ),
        words(codes.COMMENT, f"Study complete {report.completed_by}"),
        words(
            codes.COMMENT,
            f"Bundle {bundle.id}, version {bundle.version}, manifest SHA-256 "
            f"{bundle.manifest_sha256}; {analysis.software}; {analysis.engine}; "
            f"{analysis.processor}",
        ),
    ]
    said += [words(codes.COMMENT, sentence) for sentence in status_sentences(report)]
    said += [words(codes.COMMENT, review_words(review)) for review in report.reviews]
    warnings = dict.fromkeys((*analysis.warnings, *report.context.warnings))
    said += [words(codes.COMMENT, f"Warning: {w}") for w in warnings]
    evaluations.ContentSequence.extend(said)
    return evaluations


def _where_the_cells_are(report: Report) -> Iterator[TextContentItem]:
    count = sum(1 for _ in annotated(report))
    if count:
        yield words(
            codes.COMMENT,
            f"Cells are shown, with the numbers of the report, by {count} annotation objects of "
            f"series {annotations_series(report)}",
        )
    yield from region_words(report)


def _summary(report: Report) -> Code:
    """CID 6047. A finding is a blast."""
    found = report.measured(Stage.MALIGNANCY) and bool(report.numbers.blasts.count)
    if not report.analysis.evaluable:
        return codes.NONE_SUCCEEDED
    if report.failed:
        return codes.SOME_WITH_FINDINGS if found else codes.SOME_WITHOUT_FINDINGS
    return codes.ALL_WITH_FINDINGS if found else codes.ALL_WITHOUT_FINDINGS
