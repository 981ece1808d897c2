"""What a report measured and said, as flat lists: the one source of the HL7 and FHIR drawings.

In      Report
Out     Measurement: a coded number as printed, or the reason why there is none (CID 42), never 0
        Statement: a coded word or text
The numbers are formatted as in every other drawing (`figures`); a test reads them back.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum

from domain.cells import CellClass, Stage, WbcClass
from domain.counts import Proportion
from domain.study import Code, StudyContext
from reporting import codes
from reporting.figures import one_decimal, ratio
from reporting.persons import review_words, signed_words, status_sentences
from reporting.report import UNTRAINED, Report

__all__ = [
    "Interval",
    "Measurement",
    "Standing",
    "Statement",
    "acquired",
    "measurements",
    "standing_of",
    "statements",
]


class Standing(StrEnum):
    """How far a receiver may take the results for settled."""

    PRELIMINARY = "preliminary"  # no person has signed them
    FINAL = "final"
    CORRECTED = "corrected"  # they replace what was final


def standing_of(report: Report) -> Standing:
    """The one place that tells the messages' result status from the report's state. What nobody has
    signed is preliminary, also where it amends a signed report; a later signature corrects an earlier."""
    if report.signature is None:
        return Standing.PRELIMINARY
    return Standing.CORRECTED if report.corrects_final else Standing.FINAL


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Limits as printed; `code` says level and method."""

    code: Code
    low: str
    high: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number. `key` is its name in the report; `value` is None exactly where `missing` says why."""

    key: str
    code: Code
    unit: Code
    stage: Stage  # the network it rests on
    value: str | None
    missing: Code | None = None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Something said in a code or in words."""

    key: str
    code: Code
    value: Code | str


def measurements(report: Report) -> tuple[Measurement, ...]:
    """Every number of the report, in the order of the stages."""
    return (
        *_cells(report),
        *_differential(report),
        *_blasts(report),
        *_subtypes(report),
    )


def _cells(report: Report) -> Iterator[Measurement]:
    numbers = report.numbers
    yield _count(report, "cells", codes.DETECTED, len(report.analysis.cells), Stage.DETECTION)
    for key, kind in (("red_cells", CellClass.RED_BLOOD_CELL), ("platelets", CellClass.PLATELET)):
        code = codes.CELL_COUNT_OF[kind.value]
        yield _count(report, key, code, numbers.count(kind), Stage.CELL_CLASS)
    for key, code, value in (
        ("platelets_per_red_cell", codes.PLATELETS_PER_RED_CELL, numbers.platelets_per_red_cell),
        ("platelets_per_field", codes.PLATELETS_PER_FIELD, report.platelets_per_field),
    ):
        said = None if value is None else ratio(value)
        yield _number(report, key, code, codes.NO_UNITS, said, Stage.CELL_CLASS)


def _differential(report: Report) -> Iterator[Measurement]:
    numbers, stage = report.numbers, Stage.WBC_CLASS
    yield _count(report, "leukocytes", codes.CELLS_COUNTED, numbers.leukocytes, stage)
    for row in numbers.differential:
        name = WbcClass(row.name)
        yield from _share(
            report,
            f"differential.{name.value}",
            codes.CELL_COUNT_OF[name.value],
            codes.DIFFERENTIAL[name],
            row.proportion,
            stage,
        )
    yield from _share(
        report,
        "morphological_blasts",
        codes.MORPHOLOGICAL_COUNT,
        codes.MORPHOLOGICAL_FRACTION,
        numbers.morphological_blasts,
        stage,
    )
    nucleated = WbcClass.NUCLEATED_RED_BLOOD_CELLS.value
    count, per_100 = dict(numbers.counts).get(nucleated), numbers.nucleated_red_per_100
    if count is not None:
        code = codes.CELL_COUNT_OF[nucleated]
        yield _count(report, "nucleated_red.count", code, count, stage)
        yield _number(
            report,
            "nucleated_red.per_100",
            codes.NUCLEATED_RED_PER_100,
            codes.PER_100_WBC,
            None if per_100 is None else one_decimal(per_100),
            stage,
        )
    yield _unclassified(report, stage)
    yield _count(report, "overruled", codes.OVERRULED, numbers.overruled, stage)


def _blasts(report: Report) -> Iterator[Measurement]:
    numbers, stage = report.numbers, Stage.MALIGNANCY
    yield from _share(
        report, "blasts", codes.BLAST_COUNT, codes.BLAST_FRACTION, numbers.blasts, stage
    )
    if report.measured(stage) and numbers.blast_bounds is not None and numbers.white_unclassified:
        for key, code, bound in zip(
            ("blasts.bound_low", "blasts.bound_high"),
            (codes.BLAST_BOUND_LOW, codes.BLAST_BOUND_HIGH),
            numbers.blast_bounds,
            strict=True,
        ):
            yield _number(report, key, code, codes.PERCENT, one_decimal(bound), stage)
    corrected = numbers.corrected
    if report.measured(stage) and corrected is not None:
        yield Measurement(
            key="blasts.corrected.percent",
            code=codes.BLAST_FRACTION_CORRECTED,
            unit=codes.PERCENT,
            stage=stage,
            value=one_decimal(corrected.percent),
            interval=Interval(
                code=codes.INTERVAL_CORRECTED,
                low=one_decimal(corrected.low),
                high=one_decimal(corrected.high),
            ),
        )
    yield _unclassified(report, stage)
    yield _count(report, "disagreements", codes.DISAGREEMENTS, numbers.disagreements, stage)


def _subtypes(report: Report) -> Iterator[Measurement]:
    for row, count_code, code in zip(
        report.numbers.subtypes,
        codes.SUBTYPE_COUNT.values(),
        codes.SUBTYPE_FRACTION.values(),
        strict=True,
    ):
        key = f"subtype.{row.name}"
        yield from _share(report, key, count_code, code, row.proportion, Stage.SUBTYPE)
    yield _unclassified(report, Stage.SUBTYPE)


def _share(
    report: Report,
    key: str,
    count_code: Code,
    code: Code,
    proportion: Proportion,
    stage: Stage,
) -> Iterator[Measurement]:
    """The count, then the percentage with its interval."""
    yield _count(report, f"{key}.count", count_code, proportion.count, stage)
    percent, low, high = proportion.percent, proportion.low, proportion.high
    yield _number(
        report,
        f"{key}.percent",
        code,
        codes.PERCENT,
        None if percent is None else one_decimal(percent),
        stage,
        Interval(code=codes.INTERVAL_EXACT, low=one_decimal(low), high=one_decimal(high))
        if low is not None and high is not None
        else None,
    )


def _unclassified(report: Report, stage: Stage) -> Measurement:
    count = dict(report.numbers.unclassified)[stage]
    return _count(report, f"unclassified.{stage.value}", codes.UNCLASSIFIED_AT[stage], count, stage)


def _count(report: Report, key: str, code: Code, count: int, stage: Stage) -> Measurement:
    return _number(report, key, code, codes.CELLS, str(count), stage)


def _number(
    report: Report,
    key: str,
    code: Code,
    unit: Code,
    value: str | None,
    stage: Stage,
    interval: Interval | None = None,
) -> Measurement:
    """Without a value although its stage ran, there was nothing to divide by."""
    missing = _missing(report, stage) or (codes.DIVIDE_BY_ZERO if value is None else None)
    return Measurement(
        key=key,
        code=code,
        unit=unit,
        stage=stage,
        value=None if missing else value,
        missing=missing,
        interval=None if missing else interval,
    )


def _missing(report: Report, stage: Stage) -> Code | None:
    """Why this stage's numbers do not exist (CID 42); None when they do."""
    if report.measured(stage):
        return None
    failed = any(f.stage in (None, stage) for f in report.analysis.failures)
    return codes.MEASUREMENT_FAILURE if failed else codes.NOT_ATTEMPTED


def statements(report: Report) -> tuple[Statement, ...]:
    """What is said beside the numbers: finding, adequacy, flags, failures, provenance, warnings."""
    analysis, bundle = report.analysis, report.analysis.bundle
    said: list[tuple[Code, Code | str]] = []
    if report.untrained:
        said.append((codes.UNTRAINED_MODELS, UNTRAINED))
    said += [(codes.FINDING, report.finding.text), (codes.COMMENT, report.disclaimer)]
    if report.measured(Stage.WBC_CLASS):
        said.append((codes.ADEQUACY, codes.ADEQUACY_IS[report.numbers.adequacy.value]))
    said += [(codes.FLAG, codes.FLAGS[flag]) for flag in report.finding.flags]
    said += [
        (codes.FAILED_STAGE, f"{f.stage.value if f.stage else 'analysis'}: {f.reason}")
        for f in analysis.failures
    ]
    said.append((codes.COMMENT, f"Study complete {report.completed_by}"))
    provenance = (
        f"Bundle {bundle.id}, version {bundle.version}, manifest SHA-256 {bundle.manifest_sha256}",
        analysis.software,
        analysis.engine,
        analysis.processor,
    )
    said.append((codes.COMMENT, "; ".join(provenance)))
    acts = (signed_words(report), *status_sentences(report), *map(review_words, report.reviews))
    said += [(codes.COMMENT, words) for words in acts if words]
    warnings = dict.fromkeys((*analysis.warnings, *report.context.warnings))
    said += [(codes.COMMENT, f"Warning: {w}") for w in warnings]
    return tuple(
        Statement(key=f"statement.{n}", code=code, value=value)
        for n, (code, value) in enumerate(said, 1)
    )


def acquired(context: StudyContext) -> datetime | date | None:
    """When the images were taken, else the study's date: with its zone where one is stated, a date
    alone where no time is known, None where the source says nothing that is a date."""
    return _moment(context.acquired_at, context.timezone_offset) or _moment(
        context.study_date + (context.study_time if context.study_date else ""),
        context.timezone_offset,
    )


def _moment(value: str, offset: str) -> datetime | date | None:
    """A DICOM DT (PS3.5 6.2), to the second."""
    form = r"(\d{8})(\d{6})?(?:(?<=\d{14})\.\d{1,6})?([+-]\d{4})?"
    found = re.fullmatch(form, value.strip())
    if found is None:
        return None
    day, time, own_offset = found.groups()
    try:
        if time is None:
            return datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007 a day has no zone
        naive = datetime.strptime(day + time, "%Y%m%d%H%M%S")  # noqa: DTZ007 the zone follows
        zone = _zone(own_offset or offset.strip())
        return naive.replace(tzinfo=zone)
    except ValueError:
        return None


def _zone(offset: str) -> timezone | None:
    """&ZZXX (PS3.3 C.12.1.1.8); None when it is none."""
    stated = re.fullmatch(r"([+-])(0\d|1[0-4])([0-5]\d)", offset)
    if stated is None:
        return None
    sign, hours, minutes = stated.groups()
    span = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-span if sign == "-" else span)
