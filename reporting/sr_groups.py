"""The measurement groups of the SR (TID 1501): one for each image, then one for each stage.

Each group names the network behind it (TID 4019: architecture, bundle version, digest and
thresholds). Percentages carry their interval as the two uncertainty distances of CID 225, with a
TEXT that says level and method, since no DICOM code means "confidence limit".
"""

from collections.abc import Iterable, Iterator

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.enum import RelationshipTypeValues as Relation

from domain.cells import CellClass, Stage, WbcClass
from domain.counts import Proportion
from domain.image import ImageReading, Verdict
from domain.study import Code
from reporting import codes
from reporting.cell_groups import evidence_of
from reporting.figures import one_decimal, ratio
from reporting.headers import concept
from reporting.report import Report

__all__ = ["INTERVAL_WORDS", "measurement_groups", "writable"]

INTERVAL_WORDS = (
    "95 % interval, exact binomial (Clopper-Pearson): the sampling error of the count alone. "
    "Lower limit = value - lower range, upper limit = value + upper range."
)
CORRECTED_WORDS = (
    "Corrected fraction: Rogan-Gladen estimate from the bundle's own evaluation, with its 95 % "
    "interval (delta method)."
)


def writable(text: str) -> str:
    """Text that a UTF-8 data set can hold: a lone surrogate becomes a question mark, control
    characters but tab and line ends a blank (PS3.5 6.1.2.3)."""
    cleaned = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c >= " " or c in "\t\n\r" else " " for c in cleaned)


def measurement_groups(report: Report) -> Iterator[ContainerContentItem]:
    """All groups, in the order of the stages."""
    for index, image in enumerate(report.analysis.images):
        yield _image_group(report, index, image)
    yield _group(report, Stage.DETECTION, _detected(report))
    yield _group(report, Stage.CELL_CLASS, _cell_classes(report))
    yield _group(report, Stage.WBC_CLASS, _differential(report))
    yield _group(report, Stage.MALIGNANCY, _blasts(report))
    yield _group(report, Stage.SUBTYPE, _subtypes(report))


def _detected(report: Report) -> Iterator[ContentItem]:
    yield _number(
        codes.DETECTED,
        len(report.analysis.cells),
        codes.CELLS,
        missing=_missing(report, Stage.DETECTION),
    )


def _cell_classes(report: Report) -> Iterator[ContentItem]:
    numbers, missing = report.numbers, _missing(report, Stage.CELL_CLASS)
    for name in (CellClass.RED_BLOOD_CELL, CellClass.PLATELET):
        yield _number(
            codes.CELL_COUNT_OF[name.value], numbers.count(name), codes.CELLS, missing=missing
        )
    per_red = numbers.platelets_per_red_cell
    yield _number(
        codes.PLATELETS_PER_RED_CELL,
        None if per_red is None else float(ratio(per_red)),
        codes.NO_UNITS,
        missing=missing,
    )
    per_field = report.platelets_per_field
    yield _number(
        codes.PLATELETS_PER_FIELD,
        None if per_field is None else float(ratio(per_field)),
        codes.NO_UNITS,
        missing=missing,
    )


def _differential(report: Report) -> Iterator[ContentItem]:
    numbers, missing = report.numbers, _missing(report, Stage.WBC_CLASS)
    yield _number(codes.CELLS_COUNTED, numbers.leukocytes, codes.CELLS, missing=missing)
    for row in numbers.differential:
        name = WbcClass(row.name)
        yield _number(
            codes.CELL_COUNT_OF[name.value], row.proportion.count, codes.CELLS, missing=missing
        )
        yield _fraction(codes.DIFFERENTIAL[name], row.proportion, missing=missing)
    morphological = numbers.morphological_blasts
    yield _number(codes.MORPHOLOGICAL_COUNT, morphological.count, codes.CELLS, missing=missing)
    yield _fraction(codes.MORPHOLOGICAL_FRACTION, morphological, missing=missing)
    yield _words(codes.INTERVAL, INTERVAL_WORDS)
    nucleated = dict(numbers.counts).get(WbcClass.NUCLEATED_RED_BLOOD_CELLS)
    if nucleated is not None:
        per_100 = numbers.nucleated_red_per_100
        yield _number(
            codes.CELL_COUNT_OF[WbcClass.NUCLEATED_RED_BLOOD_CELLS.value],
            nucleated,
            codes.CELLS,
            missing=missing,
        )
        yield _number(
            codes.NUCLEATED_RED_PER_100,
            None if per_100 is None else float(one_decimal(per_100)),
            codes.PER_100_WBC,
            missing=missing,
        )
    yield _unclassified(report, Stage.WBC_CLASS)
    yield _number(codes.OVERRULED, numbers.overruled, codes.CELLS, missing=missing)
    if missing is None:
        yield _code(codes.ADEQUACY, codes.ADEQUACY_IS[numbers.adequacy.value])


def _blasts(report: Report) -> Iterator[ContentItem]:
    numbers, missing = report.numbers, _missing(report, Stage.MALIGNANCY)
    yield _number(codes.BLAST_COUNT, numbers.blasts.count, codes.CELLS, missing=missing)
    yield _fraction(codes.BLAST_FRACTION, numbers.blasts, missing=missing)
    yield _words(codes.INTERVAL, INTERVAL_WORDS)
    if numbers.blast_bounds is not None and numbers.white_unclassified and missing is None:
        for code, bound in zip(
            (codes.BLAST_BOUND_LOW, codes.BLAST_BOUND_HIGH), numbers.blast_bounds, strict=True
        ):
            yield _number(code, float(one_decimal(bound)), codes.PERCENT, missing=None)
    if numbers.corrected is not None and missing is None:
        c = numbers.corrected
        yield _percent(codes.BLAST_FRACTION_CORRECTED, c.percent, c.low, c.high)
        yield _words(codes.INTERVAL, CORRECTED_WORDS)
    yield _unclassified(report, Stage.MALIGNANCY)
    yield _number(codes.DISAGREEMENTS, numbers.disagreements, codes.CELLS, missing=missing)


def _subtypes(report: Report) -> Iterator[ContentItem]:
    missing = _missing(report, Stage.SUBTYPE)
    for row, count_code, code in zip(
        report.numbers.subtypes,
        codes.SUBTYPE_COUNT.values(),
        codes.SUBTYPE_FRACTION.values(),
        strict=True,
    ):
        yield _number(count_code, row.proportion.count, codes.CELLS, missing=missing)
        yield _fraction(code, row.proportion, missing=missing)
    yield _words(codes.INTERVAL, INTERVAL_WORDS)
    yield _unclassified(report, Stage.SUBTYPE)


def _image_group(report: Report, index: int, image: ImageReading) -> ContainerContentItem:
    """Stage 1's verdict on one image, and why it could not be evaluated."""
    verdict, p = image.viability.verdict, image.viability.p
    items: list[ContentItem] = []
    if verdict is not Verdict.NOT_ASSESSED:
        quality = codes.UNUSABLE if verdict is Verdict.NON_VIABLE else codes.MEETS_STANDARD
        items.append(_code(codes.QUALITY, quality))
    items.append(
        _number(
            codes.VIABILITY_PROBABILITY,
            None if p is None else round(p, 4),
            codes.NO_UNITS,
            missing=codes.NOT_ATTEMPTED if p is None else None,
        )
    )
    said = [f"Not evaluable: {image.not_evaluable}"] if image.not_evaluable else []
    said += [f"Warning: {w}" for w in dict.fromkeys((*image.header.warnings, *image.warnings))]
    items += [_words(codes.COMMENT, text) for text in said]
    source = evidence_of(report, image)
    if source is not None:
        items.append(
            ImageContentItem(
                name=concept(codes.SOURCE_OF_MEASUREMENT),
                referenced_sop_class_uid=source.sop_class_uid,
                referenced_sop_instance_uid=source.instance_uid,
                relationship_type=Relation.CONTAINS,
            )
        )
    return _group(report, Stage.VIABILITY, items, suffix=f", image {index + 1}")


def _group(
    report: Report, stage: Stage, items: Iterable[ContentItem], *, suffix: str = ""
) -> ContainerContentItem:
    name = codes.STAGE_GROUPS[stage] + suffix
    bundle, model = report.analysis.bundle, report.analysis.bundle.model(stage)
    group = ContainerContentItem(
        name=concept(codes.MEASUREMENT_GROUP),
        relationship_type=Relation.CONTAINS,
        template_id="1501",
    )
    content = ContentSequence()
    content.extend(
        TrackingIdentifier(uid=report.uids.tracking(stage.value + suffix), identifier=name)
    )
    content.extend(
        AlgorithmIdentification(
            name=f"{stage.value}: {model.architecture}",
            version=f"{bundle.id} {bundle.version}",
            parameters=[
                f"weights SHA-256 {model.sha256}",
                *(f"{threshold} = {value:g}" for threshold, value in model.thresholds),
            ],
            family=concept(codes.ARTIFICIAL_INTELLIGENCE),
        )
    )
    content.extend(items)
    group.ContentSequence = content
    return group


def _missing(report: Report, stage: Stage) -> Code | None:
    """Why this stage's numbers do not exist (CID 42); None when they do."""
    if report.measured(stage):
        return None
    failed = any(f.stage in (None, stage) for f in report.analysis.failures)
    return codes.MEASUREMENT_FAILURE if failed else codes.NOT_ATTEMPTED


def _unclassified(report: Report, stage: Stage) -> NumContentItem:
    return _number(
        codes.UNCLASSIFIED_AT[stage],
        dict(report.numbers.unclassified)[stage],
        codes.CELLS,
        missing=_missing(report, stage),
    )


def _fraction(code: Code, proportion: Proportion, *, missing: Code | None) -> NumContentItem:
    percent, low, high = proportion.percent, proportion.low, proportion.high
    if missing is not None or percent is None or low is None or high is None:
        return _number(code, None, codes.PERCENT, missing=missing)
    return _percent(code, percent, low, high)


def _percent(code: Code, percent: float, low: float, high: float) -> NumContentItem:
    """The value as printed and the distances to the limits as printed, so that adding them gives
    exactly the limits of the other drawings."""
    value, lower, upper = (float(one_decimal(x)) for x in (percent, low, high))
    item = _number(code, value, codes.PERCENT, missing=None)
    for name, distance in (
        (codes.UNCERTAINTY_ABOVE, upper - value),
        (codes.UNCERTAINTY_BELOW, value - lower),
    ):
        item.ContentSequence.append(
            NumContentItem(
                name=concept(name),
                value=float(one_decimal(distance)),
                unit=concept(codes.PERCENT),
                relationship_type=Relation.HAS_PROPERTIES,
            )
        )
    return item


def _number(code: Code, value: float | None, unit: Code, *, missing: Code | None) -> NumContentItem:
    """TID 300. Without a value the reason is `missing`, else that there was nothing to divide by."""
    reason = missing or (codes.DIVIDE_BY_ZERO if value is None else None)
    item = NumContentItem(
        name=concept(code),
        value=0 if value is None else value,
        unit=concept(unit),
        qualifier=None if reason is None else concept(reason),
        relationship_type=Relation.CONTAINS,
    )
    if reason is not None:
        item.MeasuredValueSequence = []
    elif value is not None:  # as printed; the library writes a count as 204.0
        item.MeasuredValueSequence[0].NumericValue = str(value)
    item.ContentSequence = ContentSequence(
        [
            CodeContentItem(
                name=concept(codes.MEASUREMENT_METHOD),
                value=concept(codes.AUTOMATED),
                relationship_type=Relation.HAS_CONCEPT_MOD,
            )
        ]
    )
    return item


def _words(name: Code, value: str) -> TextContentItem:
    return TextContentItem(
        name=concept(name), value=writable(value), relationship_type=Relation.CONTAINS
    )


def _code(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(
        name=concept(name), value=concept(value), relationship_type=Relation.CONTAINS
    )
