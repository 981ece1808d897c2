"""The measurement groups of the SR (TID 1501): one for each image, one for each stage after the first,
and one for the adequacy of the count.

Each group names the network behind it (TID 4019: architecture, bundle version, digest and
thresholds). Percentages carry their interval as the two uncertainty distances of CID 225, with a
TEXT that says level and method, since no DICOM code means "confidence limit".
"""

from collections.abc import Iterable, Iterator

from highdicom.sr import (
    AlgorithmIdentification,
    ContainerContentItem,
    ContentItem,
    NumContentItem,
)

from domain.cells import CellClass, Stage, WbcClass
from domain.counts import Proportion
from domain.image import ImageReading, Verdict
from domain.study import Code
from reporting import codes
from reporting.cell_groups import evidence_of
from reporting.figures import one_decimal, ratio
from reporting.headers import concept
from reporting.report import Report
from reporting.sr_items import code_item, image, measurement_group, number, percent, words

__all__ = ["INTERVAL_WORDS", "algorithm_of", "measurement_groups"]

INTERVAL_WORDS = (
    "95 % interval, exact binomial (Clopper-Pearson): the sampling error of the count alone. "
    "Lower limit = value - lower range, upper limit = value + upper range."
)
CORRECTED_WORDS = (
    "Corrected fraction: Rogan-Gladen estimate from the bundle's own evaluation, with its 95 % "
    "interval (delta method)."
)


def measurement_groups(report: Report) -> Iterator[ContainerContentItem]:
    """All groups, in the order of the stages."""
    for index, reading in enumerate(report.analysis.images):
        yield _image_group(report, index, reading)
    yield _group(report, Stage.DETECTION, _detected(report))
    yield _group(report, Stage.CELL_CLASS, _cell_classes(report))
    yield _group(report, Stage.WBC_CLASS, _differential(report))
    yield _group(report, Stage.MALIGNANCY, _blasts(report), finding=codes.BLAST_CELL)
    yield _group(report, Stage.SUBTYPE, _subtypes(report))
    yield _adequacy(report)


def _detected(report: Report) -> Iterator[ContentItem]:
    yield number(
        codes.DETECTED,
        len(report.analysis.cells),
        codes.CELLS,
        missing=_missing(report, Stage.DETECTION),
    )


def _cell_classes(report: Report) -> Iterator[ContentItem]:
    numbers, missing = report.numbers, _missing(report, Stage.CELL_CLASS)
    for name in (CellClass.RED_BLOOD_CELL, CellClass.PLATELET):
        yield number(
            codes.CELL_COUNT_OF[name.value], numbers.count(name), codes.CELLS, missing=missing
        )
    per_red = numbers.platelets_per_red_cell
    yield number(
        codes.PLATELETS_PER_RED_CELL,
        None if per_red is None else float(ratio(per_red)),
        codes.NO_UNITS,
        missing=missing,
    )
    per_field = report.platelets_per_field
    yield number(
        codes.PLATELETS_PER_FIELD,
        None if per_field is None else float(ratio(per_field)),
        codes.NO_UNITS,
        missing=missing,
    )


def _differential(report: Report) -> Iterator[ContentItem]:
    numbers, missing = report.numbers, _missing(report, Stage.WBC_CLASS)
    yield number(codes.CELLS_COUNTED, numbers.leukocytes, codes.CELLS, missing=missing)
    for row in numbers.differential:
        name = WbcClass(row.name)
        yield number(
            codes.CELL_COUNT_OF[name.value], row.proportion.count, codes.CELLS, missing=missing
        )
        yield _fraction(codes.DIFFERENTIAL[name], row.proportion, missing=missing)
    morphological = numbers.morphological_blasts
    yield number(codes.MORPHOLOGICAL_COUNT, morphological.count, codes.CELLS, missing=missing)
    yield _fraction(codes.MORPHOLOGICAL_FRACTION, morphological, missing=missing)
    yield words(codes.INTERVAL, INTERVAL_WORDS)
    nucleated = dict(numbers.counts).get(WbcClass.NUCLEATED_RED_BLOOD_CELLS)
    if nucleated is not None:
        per_100 = numbers.nucleated_red_per_100
        yield number(
            codes.CELL_COUNT_OF[WbcClass.NUCLEATED_RED_BLOOD_CELLS.value],
            nucleated,
            codes.CELLS,
            missing=missing,
        )
        yield number(
            codes.NUCLEATED_RED_PER_100,
            None if per_100 is None else float(one_decimal(per_100)),
            codes.PER_100_WBC,
            missing=missing,
        )
    yield _unclassified(report, Stage.WBC_CLASS)
    yield number(codes.OVERRULED, numbers.overruled, codes.CELLS, missing=missing)


def _blasts(report: Report) -> Iterator[ContentItem]:
    numbers, missing = report.numbers, _missing(report, Stage.MALIGNANCY)
    yield number(codes.BLAST_COUNT, numbers.blasts.count, codes.CELLS, missing=missing)
    yield _fraction(codes.BLAST_FRACTION, numbers.blasts, missing=missing)
    yield words(codes.INTERVAL, INTERVAL_WORDS)
    if numbers.blast_bounds is not None and numbers.white_unclassified and missing is None:
        for code, bound in zip(
            (codes.BLAST_BOUND_LOW, codes.BLAST_BOUND_HIGH), numbers.blast_bounds, strict=True
        ):
            yield number(code, float(one_decimal(bound)), codes.PERCENT, missing=None)
    if numbers.corrected is not None and missing is None:
        c = numbers.corrected
        yield percent(codes.BLAST_FRACTION_CORRECTED, c.percent, c.low, c.high)
        yield words(codes.INTERVAL, CORRECTED_WORDS)
    yield _unclassified(report, Stage.MALIGNANCY)
    yield number(codes.DISAGREEMENTS, numbers.disagreements, codes.CELLS, missing=missing)
    yield code_item(codes.BLASTS_SEEN, _seen(numbers.blasts, missing))


def _subtypes(report: Report) -> Iterator[ContentItem]:
    missing = _missing(report, Stage.SUBTYPE)
    for row, count_code, code in zip(
        report.numbers.subtypes,
        codes.SUBTYPE_COUNT.values(),
        codes.SUBTYPE_FRACTION.values(),
        strict=True,
    ):
        yield number(count_code, row.proportion.count, codes.CELLS, missing=missing)
        yield _fraction(code, row.proportion, missing=missing)
    yield words(codes.INTERVAL, INTERVAL_WORDS)
    yield _unclassified(report, Stage.SUBTYPE)


def _seen(blasts: Proportion, missing: Code | None) -> Code:
    """CID 240. Undetermined where nothing was counted: no cell is no sign of absence."""
    if missing is not None or not blasts.total:
        return codes.UNDETERMINED
    return codes.PRESENT if blasts.count else codes.ABSENT


def _adequacy(report: Report) -> ContainerContentItem:
    """How far the count carries, by the limits that are set, and how much of the images was read."""
    measured = report.measured(Stage.WBC_CLASS)
    limits, images = report.limits, report.analysis.images
    verdict = codes.ADEQUACY_IS[report.numbers.adequacy.value] if measured else codes.UNDETERMINED
    fields = {
        codes.FIELDS_READ: sum(i.fields_read for i in images),
        codes.FIELDS_REFUSED: sum(i.fields_refused for i in images),
        codes.FIELDS_LEFT: sum(i.fields_left for i in images),
    }
    return measurement_group(
        tracking=(report.uids.tracking("adequacy"), "Adequacy"),
        algorithm=AlgorithmIdentification(
            name="adequacy of the leukocyte count",
            version=f"{report.producer.model} {report.producer.version}",
            parameters=[
                f"adequate from {limits.adequate} leukocytes",
                f"limited from {limits.limited} leukocytes",
            ],
        ),
        items=[
            number(codes.LEUKOCYTES_WANTED, report.leukocytes_wanted, codes.CELLS, missing=None),
            *(number(code, count, codes.FIELDS, missing=None) for code, count in fields.items()),
            code_item(codes.ADEQUACY, verdict),
        ],
    )


def _image_group(report: Report, index: int, reading: ImageReading) -> ContainerContentItem:
    """Stage 1's verdict on one image, and why it could not be evaluated."""
    verdict, p = reading.viability.verdict, reading.viability.p
    items: list[ContentItem] = []
    if verdict is not Verdict.NOT_ASSESSED:
        quality = codes.UNUSABLE if verdict is Verdict.NON_VIABLE else codes.MEETS_STANDARD
        items.append(code_item(codes.QUALITY, quality))
    items.append(
        number(
            codes.VIABILITY_PROBABILITY,
            None if p is None else round(p, 4),
            codes.NO_UNITS,
            missing=codes.NOT_ATTEMPTED if p is None else None,
        )
    )
    said = [f"Not evaluable: {reading.not_evaluable}"] if reading.not_evaluable else []
    warnings = dict.fromkeys((*reading.header.warnings, *reading.warnings))
    said += [f"Warning: {w}" for w in warnings]
    items += [words(codes.COMMENT, text) for text in said]
    source = evidence_of(report, reading)
    if source is not None:
        items.append(image(codes.SOURCE_OF_MEASUREMENT, source))
    return _group(report, Stage.VIABILITY, items, suffix=f", image {index + 1}")


def _group(
    report: Report,
    stage: Stage,
    items: Iterable[ContentItem],
    *,
    suffix: str = "",
    finding: Code | None = None,
) -> ContainerContentItem:
    """The group of a stage, with the network behind it."""
    return measurement_group(
        tracking=(report.uids.tracking(stage.value + suffix), codes.STAGE_GROUPS[stage] + suffix),
        algorithm=algorithm_of(report, stage),
        items=items,
        finding=finding,
    )


def algorithm_of(report: Report, stage: Stage) -> AlgorithmIdentification:
    """TID 4019 of a stage's network: architecture, bundle, digest, thresholds."""
    bundle, model = report.analysis.bundle, report.analysis.bundle.model(stage)
    return AlgorithmIdentification(
        name=f"{stage.value}: {model.architecture}",
        version=f"{bundle.id} {bundle.version}",
        parameters=[
            f"weights SHA-256 {model.sha256}",
            *(f"{threshold} = {value:g}" for threshold, value in model.thresholds),
        ],
        family=concept(codes.ARTIFICIAL_INTELLIGENCE),
    )


def _missing(report: Report, stage: Stage) -> Code | None:
    """Why this stage's numbers do not exist (CID 42); None when they do."""
    if report.measured(stage):
        return None
    failed = any(f.stage in (None, stage) for f in report.analysis.failures)
    return codes.MEASUREMENT_FAILURE if failed else codes.NOT_ATTEMPTED


def _unclassified(report: Report, stage: Stage) -> NumContentItem:
    return number(
        codes.UNCLASSIFIED_AT[stage],
        dict(report.numbers.unclassified)[stage],
        codes.CELLS,
        missing=_missing(report, stage),
    )


def _fraction(code: Code, proportion: Proportion, *, missing: Code | None) -> NumContentItem:
    middle, low, high = proportion.percent, proportion.low, proportion.high
    if missing is not None or middle is None or low is None or high is None:
        return number(code, None, codes.PERCENT, missing=missing)
    return percent(code, middle, low, high)
