"""Read the numbers back out of made drawings, to compare them with `figures.figures_of`.

In      text of the PDF (`pdf_text`; any reader that keeps rows together), bytes of the SR, a result's dict
Out     the same flat names and forms as `figures_of`: what differs between them is a fault
Each drawing is read by its own words and codes, not by how it was made. A number said twice with
different values raises: text of the patient's own can't slip a number in.
"""

import io
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from domain.cells import Subtype, WbcClass
from domain.study import Code
from reporting import codes
from reporting.figures import one_decimal, ratio
from reporting.pdf_sections import NO_PATTERN, ROW
from reporting.persons import PERSONS_HEADING
from reporting.words import class_words

__all__ = [
    "Ambiguous",
    "coded_names",
    "content_items",
    "numbers_in_pdf_text",
    "numbers_in_result",
    "numbers_in_sr",
]

_NUMBER = r"(\d+\.\d+)"
_INTERVAL = rf"{_NUMBER} to {_NUMBER}"
_FRACTION = rf"(\d+) (?:{_NUMBER} {_INTERVAL}|– –)"


class Ambiguous(ValueError):
    """A drawing says one number in two ways."""


def numbers_in_pdf_text(text: str) -> dict[str, str]:
    """Numbers by name, from the PDF's text up to where persons' own words begin."""
    line = re.sub(r"\s+", " ", text).partition(PERSONS_HEADING)[0]
    found: dict[str, str] = {}
    for name, label in _fraction_labels():
        for count, percent, low, high in _matches(line, label, _FRACTION):
            _say(found, f"{name}.count", count)
            if percent:
                _say(found, f"{name}.percent", percent)
                _say(found, f"{name}.low", low)
                _say(found, f"{name}.high", high)
    if NO_PATTERN in line:
        for subtype in Subtype:
            _say(found, f"subtype.{subtype.value}.count", "0")
    for low, high in _matches(line, ROW["bounds"], _INTERVAL):
        _say(found, "blasts.bound_low", low)
        _say(found, "blasts.bound_high", high)
    for percent, low, high in _matches(line, ROW["corrected"], rf"{_NUMBER} {_INTERVAL}"):
        _say(found, "blasts.corrected.percent", percent)
        _say(found, "blasts.corrected.low", low)
        _say(found, "blasts.corrected.high", high)
    for name in ROW:
        if name in {"blasts", "morphological_blasts", "bounds", "corrected"}:
            continue
        for (value,) in _matches(line, ROW[name], r"(\d+(?:\.\d+)?)"):
            _say(found, name, value)
    return found


def numbers_in_sr(document: bytes) -> dict[str, str]:
    """Numbers by name, from the SR's coded content."""
    dataset = dcmread(io.BytesIO(document))
    by_code = {(c.scheme, c.value): (name, kind) for c, name, kind in coded_names()}
    found: dict[str, str] = {}
    for item in content_items(dataset):
        if item.ValueType != "NUM" or not item.MeasuredValueSequence:
            continue
        concept = item.ConceptNameCodeSequence[0]
        known = by_code.get((concept.CodingSchemeDesignator, concept.CodeValue))
        if known is None:
            continue
        name, kind = known
        value = Decimal(str(item.MeasuredValueSequence[0].NumericValue))
        if kind == "count":
            _say(found, name, str(int(value)))
        elif kind == "ratio":
            _say(found, name, ratio(float(value)))
        elif kind == "plain":
            _say(found, name, one_decimal(float(value)))
        else:
            above, below = _distances(item)
            _say(found, f"{name}.percent", f"{value:.1f}")
            _say(found, f"{name}.low", f"{value - below:.1f}")
            _say(found, f"{name}.high", f"{value + above:.1f}")
    return found


def numbers_in_result(result: Mapping[str, Any]) -> dict[str, str]:
    """Numbers by name, from `result.json`."""
    found: dict[str, str] = {}

    def fraction(name: str, row: Mapping[str, Any]) -> None:
        if row["count"] is not None:
            found[f"{name}.count"] = str(row["count"])
        if row["percent"] is not None:
            for part in ("percent", "low", "high"):
                found[f"{name}.{part}"] = one_decimal(row[part])

    for row in result["differential"]:
        fraction(f"differential.{row['class']}", row)
    for row in result["subtypes"]:
        fraction(f"subtype.{row['subtype']}", row)
    blasts, counts = result["blasts"], result["counts"]
    fraction("blasts", blasts)
    fraction("morphological_blasts", blasts["morphological"])
    unclassified = result["unclassified"]
    doubtful = unclassified.get("wbc_class", 0) + unclassified.get("malignancy", 0)
    if blasts["bounds"] is not None and doubtful:
        found["blasts.bound_low"], found["blasts.bound_high"] = map(one_decimal, blasts["bounds"])
    if blasts["corrected"] is not None:
        for part in ("percent", "low", "high"):
            found[f"blasts.corrected.{part}"] = one_decimal(blasts["corrected"][part])
    found |= {f"unclassified.{stage}": str(count) for stage, count in unclassified.items()}
    for name, value in (
        ("leukocytes", result["leukocytes_counted"]),
        ("red_cells", counts.get("red_blood_cell")),
        ("platelets", counts.get("platelet")),
        ("nucleated_red.count", counts.get("nucleated_red_blood_cells")),
        ("overruled", result["overruled"]),
        ("disagreements", result["disagreements"]),
    ):
        if value is not None:
            found[name] = str(value)
    if result["nucleated_red_per_100"] is not None:
        found["nucleated_red.per_100"] = one_decimal(result["nucleated_red_per_100"])
    for name in ("platelets_per_red_cell", "platelets_per_field"):
        if result[name] is not None:
            found[name] = ratio(result[name])
    return found


def _say(found: dict[str, str], name: str, value: str) -> None:
    if found.setdefault(name, value) != value:
        raise Ambiguous(f"{name} is said to be {found[name]} and {value}; look at the drawing")


def _matches(line: str, label: str, pattern: str) -> Iterator[tuple[str, ...]]:
    """Values after a label that stands as a word of its own, and ends before a space or the end."""
    early = r"(?<!Early )" if label == class_words(Subtype.PRE_B) else ""
    for match in re.finditer(rf"(?<![\w-]){early}{re.escape(label)} {pattern}(?![\w.])", line):
        yield match.groups()


def _fraction_labels() -> Iterator[tuple[str, str]]:
    yield "blasts", ROW["blasts"]
    yield "morphological_blasts", ROW["morphological_blasts"]
    for name in codes.DIFFERENTIAL:
        yield f"differential.{name.value}", class_words(name)
    for subtype in Subtype:
        yield f"subtype.{subtype.value}", class_words(subtype)


def coded_names() -> Iterator[tuple[Code, str, str]]:
    """(code, name in `figures_of`, how its number is said: count, ratio, plain, fraction)."""
    yield codes.DETECTED, "cells", "count"
    yield codes.CELLS_COUNTED, "leukocytes", "count"
    yield codes.PLATELETS_PER_RED_CELL, "platelets_per_red_cell", "ratio"
    yield codes.PLATELETS_PER_FIELD, "platelets_per_field", "ratio"
    yield codes.NUCLEATED_RED_PER_100, "nucleated_red.per_100", "plain"
    yield codes.OVERRULED, "overruled", "count"
    yield codes.DISAGREEMENTS, "disagreements", "count"
    yield codes.BLAST_FRACTION, "blasts", "fraction"
    yield codes.BLAST_COUNT, "blasts.count", "count"
    yield codes.MORPHOLOGICAL_FRACTION, "morphological_blasts", "fraction"
    yield codes.MORPHOLOGICAL_COUNT, "morphological_blasts.count", "count"
    yield codes.BLAST_BOUND_LOW, "blasts.bound_low", "plain"
    yield codes.BLAST_BOUND_HIGH, "blasts.bound_high", "plain"
    yield codes.BLAST_FRACTION_CORRECTED, "blasts.corrected", "fraction"
    for name, code in codes.DIFFERENTIAL.items():
        yield code, f"differential.{name.value}", "fraction"
        yield codes.CELL_COUNT_OF[name.value], f"differential.{name.value}.count", "count"
    yield codes.CELL_COUNT_OF["red_blood_cell"], "red_cells", "count"
    yield codes.CELL_COUNT_OF["platelet"], "platelets", "count"
    nucleated = WbcClass.NUCLEATED_RED_BLOOD_CELLS.value
    yield codes.CELL_COUNT_OF[nucleated], "nucleated_red.count", "count"
    for subtype, code in codes.SUBTYPE_FRACTION.items():
        yield code, f"subtype.{subtype.value}", "fraction"
        yield codes.SUBTYPE_COUNT[subtype], f"subtype.{subtype.value}.count", "count"
    for stage, code in codes.UNCLASSIFIED_AT.items():
        yield code, f"unclassified.{stage.value}", "count"


def content_items(item: Dataset) -> Iterator[Dataset]:
    """All content items of an SR below `item`, containers entered."""
    for child in item.get("ContentSequence", []):
        yield child
        if child.ValueType == "CONTAINER":  # a NUM's own children are its properties
            yield from content_items(child)


def _distances(item: Dataset) -> tuple[Decimal, Decimal]:
    """(above, below) of a fraction."""
    said = {
        child.ConceptNameCodeSequence[0].CodeValue: Decimal(
            str(child.MeasuredValueSequence[0].NumericValue)
        )
        for child in item.ContentSequence
        if child.ValueType == "NUM"
    }
    return said[codes.UNCERTAINTY_ABOVE.value], said[codes.UNCERTAINTY_BELOW.value]
